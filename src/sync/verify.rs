//! Whether the members that a source counts are those that our runs have delivered. Pure.

use std::{collections::HashMap, fmt};

use chrono::{DateTime, Utc};

use super::ledger::Ledger;
use crate::base::time;

/// What one listing's members are not counted against: those who were archived before the first load are not read.
const ARCHIVED: &str = "archived";

/// Both counts, of everybody last changed up to `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    until: DateTime<Utc>,
    /// Status, number at the source, number that our runs have settled.
    rows: Vec<(String, u64, u64)>,
    /// Changed later, archived ones too.
    since: u64,
    left_out: u64,
}

impl Comparison {
    /// `source`: the members of each status that were last changed up to `until`, a time before the ledger's end. `since`:
    /// how many changed later.
    pub fn new(ledger: &Ledger, until: DateTime<Utc>, source: Vec<(String, u64)>, since: u64) -> Self {
        let mut ours: HashMap<String, u64> = ledger.census();
        let mut rows: Vec<_> = source
            .into_iter()
            .map(|(status, count)| {
                let delivered = ours.remove(&status).unwrap_or(0);
                (status, count, delivered)
            })
            .collect();
        // Statuses that the source does not name any more.
        let mut others: Vec<_> = ours.into_iter().map(|(status, delivered)| (status, 0, delivered)).collect();
        others.sort();
        rows.extend(others);
        Comparison { until, rows, since, left_out: ledger.summary.left_out }
    }

    fn listed(&self) -> impl Iterator<Item = &(String, u64, u64)> {
        self.rows.iter().filter(|(status, ..)| status != ARCHIVED)
    }

    /// Members at the source that no run has settled as what they are. A member that has not changed since can't have become
    /// another one, so each status is compared by itself.
    pub fn missing(&self) -> u64 {
        let short: u64 = self.listed().map(|(_, source, ours)| source.saturating_sub(*ours)).sum();
        short.saturating_sub(self.left_out)
    }

    /// Members that our runs have settled and the source does not hold any more: neither as they were, nor changed.
    fn gone(&self) -> u64 {
        let surplus: u64 = self.listed().map(|(_, source, ours)| ours.saturating_sub(*source)).sum();
        surplus.saturating_sub(self.since)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<14} {:>14} {:>14}", "status", "at the source", "by our runs")?;
        for (status, source, ours) in &self.rows {
            let note = if status == ARCHIVED { "  (only those archived after a load are read)" } else { "" };
            writeln!(f, "  {status:<14} {source:>14} {ours:>14}{note}")?;
        }
        let (until, missing, gone) = (time::spoken(self.until), self.missing(), self.gone());
        writeln!(
            f,
            "\nCounted are records last changed up to {until} UTC, a minute before the end of what is delivered."
        )?;
        if self.since > 0 {
            writeln!(
                f,
                "{} have changed since; what of it is not delivered comes with the next sync.",
                self.since
            )?;
        }
        if self.left_out > 0 {
            writeln!(f, "{} were left out of the full load by start_offset.", self.left_out)?;
        }
        if gone > 0 {
            writeln!(
                f,
                "At least {gone} are at the source no more: deleted for good, which no sync can notice. If they must not stay \
                 at the other end, remove them there."
            )?;
        }
        match missing {
            0 => write!(f, "Nobody is missing, as far as the counts can tell."),
            _ => write!(
                f,
                "{missing} are missing: the source counts them, and no run has delivered them as they are. If that is still so \
                 after the next sync, set latest_timestamp to null to load the whole list again."
            ),
        }
    }
}
