//! Counts of a run: its rows, and the results of its records.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::fate::{Effect, Fate, ReasonId};

/// Counts of rows and results. In a finished run two equations hold:
///
/// * `window + late = seen + repeated + left + unexplained`
/// * `seen + again = sent + unchanged + skipped + rejected + superseded`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Rows in the windows when these were opened.
    pub window: u64,
    /// Rows that `start_offset` excludes.
    pub left_out: u64,
    /// Distinct records read.
    pub seen: u64,
    /// Records that the sink accepted.
    pub sent: u64,
    /// Deletions among the accepted records.
    #[serde(default)]
    pub deletions: u64,
    /// Records whose payload the sink has accepted before, and which are not sent again.
    #[serde(default)]
    pub unchanged: u64,
    /// Records listed in the previous run, and in this one neither listed nor reported as deleted.
    #[serde(default)]
    pub unlisted: u64,
    /// Payloads that withdraw a person's consent.
    #[serde(default)]
    pub opt_outs: u64,
    /// Opt-outs of records whose last accepted payload was an opt-out too.
    #[serde(default)]
    pub known_opt_outs: u64,
    /// Opt-ins of records that had another status, or were opted out, before the run.
    #[serde(default)]
    pub opt_ins: u64,
    /// Records that a rule of the mapping left out, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Records that could not be delivered, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Versions that were not sent because a newer version of the record was read before that.
    #[serde(default)]
    pub superseded: u64,
    /// Further versions of a record in a pass, and all records of a repeated pass.
    #[serde(default)]
    pub again: u64,
    /// Rows that were read before; pages overlap.
    pub read_twice: u64,
    /// Rows with the key of another row in the same response.
    #[serde(default)]
    pub repeated: u64,
    /// Rows that left the windows before they were read, because they changed or were deleted.
    pub left: u64,
    /// Rows that entered the windows after these were opened, because their changes became visible late.
    #[serde(default)]
    pub late: u64,
    /// Rows that the source counts but that were not read, for an unknown reason.
    #[serde(default)]
    pub unexplained: u64,
    /// Whether the source's totals are wrong, so that the count of the rows can't be verified.
    #[serde(default)]
    pub totals_wrong: bool,
    /// Passes of the run, counted from 1.
    pub passes: u32,
    /// Fields that payloads leave out, by name and reason. After a crash some may be counted twice.
    #[serde(default)]
    pub fields: BTreeMap<String, u64>,
}

impl Counts {
    /// Counts one record by its fate.
    pub fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Sent(effect) => {
                self.sent += 1;
                self.opt_outs += u64::from(matches!(effect, Effect::OptOut | Effect::OptOutAgain));
                self.known_opt_outs += u64::from(effect == Effect::OptOutAgain);
                self.opt_ins += u64::from(effect == Effect::OptIn);
                self.deletions += u64::from(effect == Effect::Deletion);
            }
            Fate::Unchanged => self.unchanged += 1,
            Fate::Skipped(reason) => count_reason(&mut self.skipped, reason),
            Fate::Rejected(reason) => count_reason(&mut self.rejected, reason),
            Fate::Outdated => self.superseded += 1,
        }
    }

    /// Returns a text that changes whenever the counts warn of something else.
    pub fn warnings(&self) -> String {
        let rejected = self.rejected.values().sum::<u64>();
        format!("{} {rejected} {}", self.totals_wrong, self.left_out > 0 && self.window == 0)
    }

    /// Whether the run sent nothing and no record has disappeared from the listing.
    pub fn brought_nothing(&self) -> bool {
        self.sent == 0 && self.unlisted == 0
    }
}

/// Adds one record to the counts by reason.
fn count_reason(reasons: &mut BTreeMap<String, u64>, reason: ReasonId) {
    let reason = reason.as_str();
    match reasons.get_mut(reason) {
        Some(count) => *count += 1,
        None => {
            reasons.insert(reason.to_owned(), 1);
        }
    }
}

/// Writes a count with its reasons: `, 3 skipped (2 pending, 1 archived)`.
pub fn write_reasons(f: &mut fmt::Formatter, word: &str, reasons: &BTreeMap<String, u64>) -> fmt::Result {
    write!(f, ", {} {word}", reasons.values().sum::<u64>())?;
    if reasons.is_empty() {
        return Ok(());
    }
    write!(f, " ({})", counted(reasons))
}

/// Formats counts by reason: `2 pending, 1 archived`.
pub fn counted(reasons: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.join(", ")
}

/// Formats a number with commas between thousands: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let places = digits.char_indices().map(|(index, digit)| {
        let comma = index > 0 && (digits.len() - index).is_multiple_of(3);
        if comma { format!(",{digit}") } else { digit.to_string() }
    });
    places.collect()
}

/// Formats the counts for the log:
/// `2410 records in the window, 2410 seen: 2350 sent, 60 skipped (60 pending), 0 rejected; 5 read twice, …`
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { window, seen, sent, read_twice, left, passes, unexplained, .. } = self;
        write!(f, "{window} records in the window, {seen} seen: {sent} sent")?;
        let kinds = [(self.opt_outs, "opted out"), (self.deletions, "deleted")];
        let parts: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if !parts.is_empty() {
            write!(f, " ({})", parts.join(", "))?;
        }
        if self.unchanged > 0 {
            write!(f, ", {} unchanged", self.unchanged)?;
        }
        write_reasons(f, "skipped", &self.skipped)?;
        write_reasons(f, "rejected", &self.rejected)?;
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
