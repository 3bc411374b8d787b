//! Compares the members that a source counts with those that importer has delivered. Pure.

use std::{collections::HashSet, fmt};

use chrono::{DateTime, Utc};

use crate::{
    base::{key::key_digest, time},
    store::{
        dead_letter::DeadLetter,
        records::{Census, Tally},
    },
};

/// The status that is not compared: members that were archived before the first load are never read.
const ARCHIVED: &str = "archived";

/// Returns the keys of the records in these dead letters.
pub fn keys(letters: &[DeadLetter]) -> HashSet<u128> {
    letters.iter().map(|letter| key_digest(&letter.key)).collect()
}

/// Both counts, for all records last changed up to `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    until: DateTime<Utc>,
    rows: Vec<Row>,
    /// Number of records that changed later, including archived ones.
    since: u64,
    left_out: u64,
    /// Rejected records that are not in the ledger.
    strangers: u64,
}

/// The records of one status.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    status: String,
    source: u64,
    ours: Tally,
}

impl Row {
    /// Returns the number of records that a run has delivered or rejected.
    fn settled(&self) -> u64 {
        self.ours.delivered + self.ours.rejected
    }
}

impl Comparison {
    /// Compares the counts. `source` contains the number of members of each status that were last changed up
    /// to `until`, a time before the end of the ledger. `since` is the number of members that changed later.
    pub fn new(ledger: Census, until: DateTime<Utc>, source: Vec<(String, u64)>, since: u64) -> Self {
        let Census { summary, tallies: mut ours, strangers } = ledger;
        let mut rows: Vec<Row> = source
            .into_iter()
            .map(|(status, source)| {
                let ours = ours.remove(&status).unwrap_or_default();
                Row { status, source, ours }
            })
            .collect();
        // Statuses that the source no longer names.
        let mut others: Vec<Row> =
            ours.into_iter().map(|(status, ours)| Row { status, source: 0, ours }).collect();
        others.sort_by(|a, b| a.status.cmp(&b.status));
        rows.extend(others);
        Comparison { until, rows, since, left_out: summary.left_out, strangers }
    }

    fn listed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.status != ARCHIVED)
    }

    /// Returns the number of members at the source that no run has settled with their current status. A
    /// member without a change can't have moved to another status, so each status is compared separately.
    pub fn missing(&self) -> u64 {
        let short: u64 = self.listed().map(|row| row.source.saturating_sub(row.settled())).sum();
        short.saturating_sub(self.left_out)
    }

    /// Returns the number of rejected records that were not delivered since.
    pub fn rejected(&self) -> u64 {
        self.rows.iter().map(|row| row.ours.rejected).sum::<u64>() + self.strangers
    }

    /// Returns the least number of settled members that are gone at the source: neither unchanged nor
    /// changed.
    fn gone(&self) -> u64 {
        let surplus: u64 = self.listed().map(|row| row.settled().saturating_sub(row.source)).sum();
        surplus.saturating_sub(self.since)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<14} {:>14} {:>14} {:>14}", "status", "at the source", "delivered", "rejected")?;
        for Row { status, source, ours: Tally { delivered, rejected } } in &self.rows {
            let note = if status == ARCHIVED { "  (only those archived after a load are read)" } else { "" };
            writeln!(f, "  {status:<14} {source:>14} {delivered:>14} {rejected:>14}{note}")?;
        }
        let (until, missing, gone) = (time::log_format(self.until), self.missing(), self.gone());
        writeln!(
            f,
            "\nThe counts cover records last changed up to {until} UTC, \
             a minute before the end of the last delivered window."
        )?;
        if self.since > 0 {
            writeln!(
                f,
                "{} have changed since then; the next sync delivers those not delivered yet.",
                self.since
            )?;
        }
        if self.left_out > 0 {
            writeln!(f, "{} were left out of the full load by start_offset.", self.left_out)?;
        }
        if gone > 0 {
            writeln!(
                f,
                "At least {gone} are no longer at the source: they were permanently deleted, \
                 which no sync can detect. Delete them at the sink too if they must not stay there."
            )?;
        }
        match missing {
            0 if self.rejected() > 0 => Ok(()),
            0 => write!(f, "Nothing is missing, as far as the counts can tell."),
            _ => write!(
                f,
                "{missing} are missing: the source counts them, but no run has delivered their current \
                 version. If they are still missing after the next sync, set latest_timestamp to null to \
                 reload the list."
            ),
        }
    }
}
