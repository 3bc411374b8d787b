//! What became of the rows of a run, and whether that explains all of them. Pure.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::seen::Seen;

/// Counts of the rows and their results. In a finished run two equations hold:
///
/// * `window + late = seen + repeated + left + unexplained`
/// * `seen + again = sent + unchanged + skipped + rejected + superseded`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows that were to be read, when the windows were opened.
    pub window: u64,
    /// Rows that `start_offset` left out.
    pub left_out: u64,
    /// Different records read.
    pub seen: u64,
    /// Records that the sink accepted.
    pub sent: u64,
    /// Deletions that the sink accepted, which are among those.
    #[serde(default)]
    pub deletions: u64,
    /// Records that the sink holds already, just as they are.
    #[serde(default)]
    pub unchanged: u64,
    /// Records that the source has listed in the run before, and neither listed nor told to be gone in this one.
    #[serde(default)]
    pub unlisted: u64,
    /// Records whose consent is withdrawn.
    #[serde(default)]
    pub opt_outs: u64,
    /// Those of them that the sink is known to have had already.
    #[serde(default)]
    pub known_opt_outs: u64,
    /// Opt-ins of records that were known with another status, or as opted out, before the run.
    #[serde(default)]
    pub opt_ins: u64,
    pub skipped: BTreeMap<String, u64>,
    pub rejected: BTreeMap<String, u64>,
    /// Versions that were not sent, since a newer version of the record was known by then.
    #[serde(default)]
    pub superseded: u64,
    /// Versions of a record beyond the first in a pass, and all records of a pass that was repeated.
    #[serde(default)]
    pub again: u64,
    /// Rows that had been read before.
    pub read_twice: u64,
    /// Rows of one answer that repeat the key of another row.
    #[serde(default)]
    pub repeated: u64,
    /// Rows that left the windows before they were read: they changed, or are gone.
    pub left: u64,
    /// Rows that entered the windows after these were opened: changes that became visible late.
    #[serde(default)]
    pub late: u64,
    /// Rows that the source counts, that were not read, and whose absence nothing explains.
    #[serde(default)]
    pub unexplained: u64,
    /// Whether the source's totals are wrong, so that no count can be compared with them.
    #[serde(default)]
    pub totals_wrong: bool,
    pub passes: u32,
    /// Fields that were left out of the records sent, by name and reason; after a crash some may be counted twice.
    #[serde(default)]
    pub fields: BTreeMap<String, u64>,
}

/// The words of a fate, as they are kept and counted.
pub const SENT: &str = "sent";
/// What a record was sent for, if that counts.
pub const OPT_OUT: &str = "opt_out";
pub const OPT_OUT_AGAIN: &str = "opt_out_again";
/// An opt-in of a record that was known with another status, or as opted out, before the run.
pub const OPT_IN: &str = "opt_in";
pub const DELETION: &str = "deletion";
pub const UNCHANGED: &str = "unchanged";
pub const SKIPPED: &str = "skipped";
pub const REJECTED: &str = "rejected";
/// Read here too, but a newer version of it stood in the other listing.
pub const OUTDATED: &str = "outdated";

impl Counts {
    /// Counts one record by its fate: one of the words above, and after a space the reason.
    pub fn count(&mut self, fate: &str) {
        let (word, reason) = fate.split_once(' ').unwrap_or((fate, ""));
        match word {
            SENT => {
                self.sent += 1;
                self.opt_outs += u64::from(reason == OPT_OUT || reason == OPT_OUT_AGAIN);
                self.known_opt_outs += u64::from(reason == OPT_OUT_AGAIN);
                self.opt_ins += u64::from(reason == OPT_IN);
                self.deletions += u64::from(reason == DELETION);
            }
            UNCHANGED => self.unchanged += 1,
            SKIPPED => *self.skipped.entry(reason.to_owned()).or_default() += 1,
            REJECTED => *self.rejected.entry(reason.to_owned()).or_default() += 1,
            _ => self.superseded += 1,
        }
    }

    /// Adds the rows of one listing of a pass.
    pub fn add(&mut self, rows: Rows) {
        self.window += rows.window;
        self.seen += rows.seen;
        self.repeated += rows.repeated;
        self.left += rows.left();
        self.late += rows.late();
        self.unexplained += rows.missing();
    }

    /// Nothing was sent, and nothing is missing that was there.
    pub fn brought_nothing(&self) -> bool {
        self.sent == 0 && self.unlisted == 0
    }

    /// Counts every record that is known, each once.
    pub fn count_all(&mut self, seen: &Seen) {
        seen.iter().for_each(|(_, known)| self.count(seen.name(known.fate)));
    }
}

/// `, 3 skipped (2 pending, 1 archived)`
pub fn write_reasons(f: &mut fmt::Formatter, word: &str, reasons: &BTreeMap<String, u64>) -> fmt::Result {
    write!(f, ", {} {word}", reasons.values().sum::<u64>())?;
    if reasons.is_empty() {
        return Ok(());
    }
    write!(f, " ({})", counted(reasons))
}

/// `2 pending, 1 archived`
pub fn counted(reasons: &BTreeMap<String, u64>) -> String {
    let told: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    told.join(", ")
}

/// `2410 records in the window, 2410 seen: 2350 sent, 60 skipped (60 pending), 0 rejected; 5 read twice, …`
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { window, seen, sent, read_twice, left, passes, unexplained, .. } = self;
        write!(f, "{window} records in the window, {seen} seen: {sent} sent")?;
        let kinds = [(self.opt_outs, "opted out"), (self.deletions, "deleted")];
        let told: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if !told.is_empty() {
            write!(f, " ({})", told.join(", "))?;
        }
        if self.unchanged > 0 {
            write!(f, ", {} unchanged", self.unchanged)?;
        }
        write_reasons(f, SKIPPED, &self.skipped)?;
        write_reasons(f, REJECTED, &self.rejected)?;
        if self.superseded > 0 {
            write!(f, ", {} superseded", self.superseded)?;
        }
        write!(f, "; {read_twice} read twice, {left} left the window")?;
        let more = [(self.late, "came in late"), (self.repeated, "repeated")];
        for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        if self.again > 0 {
            write!(f, ", {} settled again", self.again)?;
        }
        if self.left_out > 0 {
            write!(f, ", {} left out by start_offset", self.left_out)?;
        }
        if self.unlisted > 0 {
            write!(f, ", {} no longer listed", self.unlisted)?;
        }
        write!(f, ", {passes} {}, ", if *passes == 1 { "pass" } else { "passes" })?;
        match self.totals_wrong {
            true => write!(f, "unexplained: unknown"),
            false => write!(f, "{unexplained} unexplained"),
        }
    }
}

/// The rows of one listing in one pass, as its source counted them and as we saw them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rows {
    /// Rows that were to be read when the window was opened.
    pub window: u64,
    /// The fewest that it held later, `start_offset` taken off.
    pub held: u64,
    /// Different ones that were seen.
    pub seen: u64,
    /// The most by which the totals have grown.
    pub growth: u64,
    /// Rows that were listed although their time is not in the window.
    pub outside: u64,
    /// Rows of the window's last seconds that became visible after these seconds were read. The next window reads them.
    pub unseen: u64,
    /// Rows of one answer that repeat the key of another row.
    pub repeated: u64,
}

impl Rows {
    /// Returns the number of rows that left before they were read.
    pub fn left(&self) -> u64 {
        self.window.saturating_sub(self.seen + self.repeated + self.missing())
    }

    /// Returns the number of rows that entered after the window was opened.
    pub fn late(&self) -> u64 {
        (self.seen + self.repeated + self.missing()).saturating_sub(self.window)
    }

    /// Returns the number of rows that stayed and were not seen.
    pub fn missing(&self) -> u64 {
        self.held.saturating_sub(self.seen + self.repeated + self.unseen)
    }

    /// Whether the answer needs a second look: rows that stayed were not seen, or some came in.
    pub fn suspicious(&self) -> bool {
        self.seen + self.repeated < self.held || self.growth > 0
    }

    /// Says why some rows are unexplained, if any are. `late` is the number of rows in the window's last seconds now, and
    /// `late_seen` the number of them that were seen: changes of these seconds may have become visible after they were read, and
    /// the next window reads them again.
    pub fn unexplained(&mut self, late: u64, late_seen: u64) -> Option<String> {
        self.unseen = late.saturating_sub(late_seen);
        let missing = self.missing();
        if missing > 0 {
            let Rows { held, seen, .. } = self;
            return Some(format!(
                "the source counts {held} records, but listed only {seen} different ones; {missing} are unexplained"
            ));
        }
        // Rows outside alone may have changed while the answer was made.
        (self.growth > late.max(late_seen) || (self.growth > 0 && self.outside > 0)).then(|| {
            let growth = self.growth;
            format!(
                "the source's count grew by {growth} in a window whose end is past: it does not keep to the bounds"
            )
        })
    }
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod counts;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_explained_if_it_was_seen_has_left_or_came_in_late() {
        for (window, held, seen, growth, outside, late, late_seen, unexplained) in [
            (100, 100, 100, 0, 0, 0, 0, false),
            // Left before or after it was read.
            (100, 90, 95, 0, 0, 0, 0, false),
            (100, 90, 90, 0, 0, 0, 0, false),
            (100, 90, 89, 0, 0, 0, 0, true),
            // Became visible after the highest page was read.
            (100, 103, 100, 3, 0, 3, 0, false),
            (100, 103, 100, 3, 0, 5, 2, false),
            (100, 103, 100, 3, 0, 5, 3, true),
            // Came in where nothing comes in.
            (100, 103, 103, 3, 0, 2, 2, true),
            // Came in late, was seen, and has changed again.
            (100, 103, 103, 3, 0, 0, 3, false),
            (100, 103, 103, 3, 0, 3, 3, false),
            (100, 103, 103, 3, 1, 9, 9, true),
            // Changed while the answer was made.
            (100, 100, 100, 0, 1, 0, 0, false),
            (0, 0, 0, 0, 0, 0, 0, false),
        ] {
            let mut rows = Rows { window, held, seen, growth, outside, unseen: 0, repeated: 0 };
            assert_eq!(
                rows.unexplained(late, late_seen).is_some(),
                unexplained,
                "{rows:?} {late} {late_seen}"
            );
            assert!(rows.suspicious() || !unexplained, "{rows:?}");
            assert_eq!(
                rows.window + rows.late(),
                rows.seen + rows.repeated + rows.left() + rows.missing(),
                "{rows:?}"
            );
        }
    }
}
