//! What became of the rows and records of a run, in numbers.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

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

    /// Nothing was sent, and nothing is missing that was there.
    pub fn brought_nothing(&self) -> bool {
        self.sent == 0 && self.unlisted == 0
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
