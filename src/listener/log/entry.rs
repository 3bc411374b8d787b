//! Messages about entries.

use log::Level::{Error, Info, Warn};

use super::{Message, once};
use crate::base::{
    event::{EntryEvent, EntryName, Obstacle, Start},
    time::{humanize, log_format},
};

pub fn message(entry: &EntryName, event: &EntryEvent) -> Message {
    let (level, text) = match event {
        EntryEvent::Due { start: Start::Full, routine } => {
            (once(Info, *routine), format!("{entry} has no latest timestamp, firing full load."))
        }
        EntryEvent::Due { start: Start::Incremental { since, every }, routine } => (
            once(Info, *routine),
            format!(
                "{entry} last updated on {:?}, over {} ago, firing incremental sync.",
                log_format(*since),
                humanize(*every)
            ),
        ),
        EntryEvent::Due { start: Start::Requested { since }, .. } => (
            Info,
            format!(
                "{entry} last updated on {:?}, firing the requested incremental sync.",
                log_format(*since)
            ),
        ),
        EntryEvent::UpToDate { since } => {
            (Info, format!("{entry} up to date, last updated on {:?}.", log_format(*since)))
        }
        EntryEvent::Future { problem } => (Error, problem.clone()),
        EntryEvent::Waits { obstacle } => (Info, waits(entry, obstacle)),
        EntryEvent::FirstLoadWaits => (
            Warn,
            format!(
                "{entry}: the first load waits for a confirmation, since the entry has `\"first_load\": \"ask\"`. Pause \
                 everything at the sink that new records start, such as a welcome campaign; then set `first_load` to \
                 \"confirmed\"."
            ),
        ),
        EntryEvent::NotThisTime => (
            Info,
            format!(
                "{entry}: its entry was added or enabled after the start and does not run now; start importer again to \
                 run it."
            ),
        ),
        EntryEvent::NotOpened { problem } => (Error, format!("{entry}: {problem}")),
        EntryEvent::OffsetIgnored { offset, reads_all, counts_rows } => {
            (Warn, offset_ignored(entry, *offset, (*reads_all, *counts_rows)))
        }
        EntryEvent::Written { latest_timestamp, routine } => (
            once(Info, *routine),
            format!("{entry} updated, latest timestamp {:?}.", log_format(*latest_timestamp)),
        ),
        EntryEvent::Overruled(why) => (Warn, format!("{entry}: {why}.")),
        EntryEvent::InJournal => (
            Info,
            format!(
                "{entry}: the result of its run is in the journal; the next start writes it to the state file."
            ),
        ),
        EntryEvent::CutShort => (Warn, format!("{entry} was cut short; its next run delivers the rest.")),
    };
    Message::new(level, text)
}

/// Says why an entry can't start.
fn waits(entry: &EntryName, obstacle: &Obstacle) -> String {
    let list = &entry.list_id;
    match obstacle {
        Obstacle::Paused => format!("list {list:?} is paused (`enabled` is false)."),
        Obstacle::Running => format!("list {list:?} is running."),
        Obstacle::PreviousRun => format!(
            "list {list:?} is running with its previous settings; the change applies from the next run."
        ),
        Obstacle::OtherEntry => format!(
            "{entry} waits until its own previous run, or the run of another entry of the list, has ended."
        ),
        Obstacle::Resting { left } => {
            let seconds = left.as_secs_f64().ceil();
            format!("list {list:?}: the last run failed; the next attempt starts in {seconds} s.")
        }
        Obstacle::Stopped => format!(
            "list {list:?} is stopped; it starts when a sync is requested, when its entry is edited, or when importer \
             starts again."
        ),
    }
}

/// Warns that a run ignores `start_offset`.
fn offset_ignored(entry: &EntryName, offset: u64, (reads_all, counts_rows): (bool, bool)) -> String {
    if reads_all {
        return format!(
            "{entry}: start_offset {offset} is ignored, since every run reads this source whole; remove it."
        );
    }
    if !counts_rows {
        return format!(
            "{entry}: start_offset {offset} is ignored, since this source has no offsets; remove it."
        );
    }
    format!("{entry}: start_offset {offset} bounds full loads only; this incremental sync ignores it.")
}
