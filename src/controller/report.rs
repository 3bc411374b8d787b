//! The controller's log messages about entries. Operators search for some of them, so those texts are fixed.

use std::{cmp::Reverse, time::Duration};

use super::{
    pauses::Pause,
    schedule::{
        capacity::{LOADS, RUNS},
        due::Due,
        slots::Slot,
    },
};
use crate::{
    base::{
        counts::Counts,
        fault::Fault,
        time::{humanize, log_format},
    },
    engine::{
        clocks::Noticed,
        deferred::News,
        plan::{Outcome, Pipeline},
    },
    state::{Edit, Entry},
};

/// Says why an entry runs or does not run.
pub fn due(entry: &Entry, due: Due) -> String {
    let list = name(entry);
    match due {
        Due::Full => format!("{list} has no latest timestamp, firing full load."),
        Due::Incremental { since } => {
            format!(
                "{list} last updated on {:?}, over {} ago, firing incremental sync.",
                log_format(since),
                humanize(entry.every)
            )
        }
        Due::UpToDate { since } => format!("{list} up to date, last updated on {:?}.", log_format(since)),
        Due::Future { since } => format!(
            "list {:?} (entry at {}) has the latest timestamp {:?}, which is in the future, so the entry does not \
             run. Set `latest_timestamp` to an earlier time, or to null for a full load.",
            entry.id.list_id,
            entry.place,
            log_format(since)
        ),
    }
}

/// Says why an entry can't start, whether it is due or not; `None` if it has had the only run that `go --once`
/// gives it.
pub fn not_free(entry: &Entry, slot: &Slot) -> Option<String> {
    let list = &entry.id.list_id;
    Some(match slot {
        Slot::Free => format!("list {list:?} is paused (`enabled` is false)."),
        Slot::Running => format!("list {list:?} is running."),
        Slot::Waiting if entry.alone => {
            format!(
                "list {list:?} is running with its previous settings; the change applies from the next run."
            )
        }
        Slot::Waiting => format!(
            "list {list:?} (entry at {}) waits until its own previous run, or the run of another entry of the list, has \
             ended.",
            entry.place
        ),
        Slot::Resting { left } => {
            let seconds = left.as_secs_f64().ceil();
            format!("list {list:?}: the last run failed; the next attempt starts in {seconds} s.")
        }
        Slot::Settled => return None,
    })
}

/// Says how many due lists wait for the end of other runs.
pub fn no_capacity(lists: usize) -> String {
    let wait =
        if lists == 1 { "1 list is due and waits".into() } else { format!("{lists} lists are due and wait") };
    format!("{wait} for the end of other runs: at most {RUNS} runs are active, {LOADS} of them full loads.")
}

/// Warns that a run ignores `start_offset`.
pub fn offset_ignored(entry: &Entry, pipeline: &Pipeline) -> String {
    let (list, offset) = (name(entry), entry.start_offset);
    if pipeline.reads_all() {
        return format!(
            "{list}: start_offset {offset} is ignored, since every run reads this source whole; remove it."
        );
    }
    if !pipeline.counts_rows() {
        return format!(
            "{list}: start_offset {offset} is ignored, since this source has no offsets; remove it."
        );
    }
    format!("{list}: start_offset {offset} bounds full loads only; this incremental sync ignores it.")
}

/// Returns the name of the list, with the place of the entry if the list has several entries.
fn name(entry: &Entry) -> String {
    let list = &entry.id.list_id;
    if entry.alone { format!("list {list:?}") } else { format!("list {list:?} (entry at {})", entry.place) }
}

/// Accounts for every record of a finished run.
pub fn finished(entry: &Entry, outcome: &Outcome) -> String {
    let (list, seconds) = (name(entry), outcome.elapsed.as_secs_f64());
    format!("{list} finished in {seconds:.1} seconds: {}.", outcome.counts)
}

/// Warns that the source listed more records than it counts.
pub fn totals_wrong(entry: &Entry, counts: &Counts) -> Option<String> {
    counts.totals_wrong.then(|| {
        format!(
            "{}: the source's totals are wrong: it listed more records than it counts. The run read the listing to its \
             end, but no count can show whether records are missing.",
            name(entry)
        )
    })
}

/// Warns that the clocks of the source and of this machine differ.
pub fn clocks_apart(entry: &Entry, noticed: &Noticed) -> Option<String> {
    let (list, clocks) = (name(entry), noticed.apart?);
    let (source, ours) = (log_format(clocks.source), log_format(clocks.ours));
    Some(format!(
        "{list}: the clocks differ by more than 60 seconds: the source's clock says {source}, this machine's clock says \
         {ours}. The run reads up to the earlier time; correct the clock that is wrong."
    ))
}

/// Warns that rows changed after the end of the window.
pub fn rows_after_end(entry: &Entry, noticed: &Noticed) -> Option<String> {
    let (list, (changed, until)) = (name(entry), noticed.last_after?);
    let records =
        if noticed.after_end == 1 { "1 record".into() } else { format!("{} records", noticed.after_end) };
    let (changed, until) = (log_format(changed), log_format(until));
    Some(format!(
        "{list}: {records} changed after the end of the window ({until}), the last at {changed}; the next run reads them \
         again. If this warning persists, compare the clocks of the source and of this machine."
    ))
}

/// Warns that no record has something that the entry names.
pub fn unknown(entry: &Entry, what: &str) -> String {
    let list = name(entry);
    format!(
        "{list}: no record has {what}; check that the entry spells it as the source does, capitals included."
    )
}

/// Counts the fields left out of payloads, most frequent first; `not_mapped` fields, which need no
/// correction, come last.
pub fn fields_left_out(entry: &Entry, counts: &Counts) -> Option<String> {
    const TOLD: usize = 12;
    let list = &entry.id.list_id;
    let mut fields: Vec<(&String, &u64)> = counts.fields.iter().collect();
    fields.sort_by_key(|(name, count)| (name.ends_with("not_mapped"), Reverse(**count), *name));
    let more = fields.len().saturating_sub(TOLD);
    let told: Vec<String> =
        fields.iter().take(TOLD).map(|(name, count)| format!("{count} {}", name.escape_debug())).collect();
    let more = if more > 0 { format!(", and {more} other kinds") } else { String::new() };
    let hint = format!("`importer preview {list}` shows them for single records");
    (!told.is_empty())
        .then(|| format!("{}: fields left out: {}{more} ({hint}).", name(entry), told.join(", ")))
}

/// Warns of errors that a sink found after it had accepted records. They cover the account and name no record.
pub fn deferred_errors(news: &News) -> String {
    let told: Vec<String> = news.kinds.iter().map(|(kind, count)| format!("{count} {kind:?}")).collect();
    let count: u64 = news.kinds.values().sum();
    let since = news.since.map_or("so far".into(), |since| format!("since {}", log_format(since)));
    format!(
        "the sink has found {}{count} errors {since} in records that it had accepted, from importer or from other \
         programs: {}. It does not name the records; look the errors up in the account of the sink.",
        if news.at_least { "at least " } else { "" },
        told.join(", ")
    )
}

/// Warns that records were rejected, and names the location of their dead letters.
pub fn rejected(entry: &Entry, outcome: &Outcome, location: &str) -> Option<String> {
    let then = match outcome.replayable {
        true => "Correct the cause, then run `importer replay`.",
        false => {
            "Correct the cause, then load the list again (`latest_timestamp`: null), since this source can't be \
             replayed."
        }
    };
    let (list, rejected) = (name(entry), outcome.counts.rejected.values().sum::<u64>());
    let members =
        if rejected == 1 { "1 rejected record".into() } else { format!("{rejected} rejected records") };
    (rejected > 0).then(|| {
        format!("{list}: {members} can't be sent as they are; {location} lists them with the reasons. {then}")
    })
}

/// Warns that `start_offset` is larger than the list.
pub fn nothing_left(entry: &Entry, counts: &Counts) -> Option<String> {
    let (list, offset) = (name(entry), entry.start_offset);
    (counts.left_out > 0 && counts.window == 0)
        .then(|| format!("{list}: start_offset {offset} leaves out the whole list; lower or remove it."))
}

/// Reports that a run was stopped: with the program, or by a `pause`.
pub fn stopped(entry: &Entry, counts: &Counts, pause: Option<Pause>) -> String {
    let list = name(entry);
    let Some(pause) = pause else {
        return format!(
            "{list} stopped: {counts}. Its entry is unchanged; the next run continues from here."
        );
    };
    format!(
        "{list}: {}; {} records were delivered, and {}.",
        why(pause),
        grouped(counts.sent),
        resumes(entry, pause)
    )
}

/// Warns that notices could not be delivered.
pub fn notices_wait(list: &str, waiting: u64, why: &str, delay: Duration) -> String {
    let notices = if waiting == 1 { "1 notice waits".into() } else { format!("{waiting} notices wait") };
    let minutes = delay.as_secs() / 60;
    format!("list {list:?}: {notices} for the receiver in `notify`: {why}; next attempt in {minutes} min.")
}

/// Warns that the receiver has refused notices.
pub fn notices_refused(list: &str, refused: u64) -> String {
    let notices = if refused == 1 { "1 notice".into() } else { format!("{refused} notices") };
    format!(
        "list {list:?}: the receiver in `notify` has refused {notices} for good, so importer dropped them; compare its \
         rules with the members of a notice, which docs/adapters.md lists."
    )
}

/// Warns that `go --once` ends although notices are left.
pub const NOTICES_LEFT: &str =
    "a receiver in `notify` has not responded within 60 s; its notices wait until importer runs again.";

/// Warns that a first load waits for a person.
pub fn first_load_waits(entry: &Entry) -> String {
    format!(
        "{}: the first load waits for a confirmation, since the entry has `\"first_load\": \"ask\"`. Pause everything \
         at the sink that new records start, such as a welcome campaign; then set `first_load` to \"confirmed\".",
        name(entry)
    )
}

/// Reports that a run is about to end, since its entry was paused, removed or redirected.
pub fn pausing(list: &str, pause: Pause) -> String {
    let why = match pause {
        Pause::Disabled => "its entry is paused",
        Pause::Removed => "the state file has no entry for it anymore",
        Pause::Redirected => "its entry has another source or sink",
    };
    format!("list {list:?}: {why}; its run delivers the records that it has read, then ends.")
}

/// Reports that a run failed after its entry was paused or removed.
pub fn failed_at_pause(entry: &Entry, pause: Pause, fault: &Fault) -> String {
    let (list, why) = (name(entry), why(pause));
    format!(
        "{list}: {why}; the run failed while it was ending: {fault}. The delivered records stay recorded, and {}.",
        resumes(entry, pause)
    )
}

/// Reports that a run was aborted, since it had not ended within the grace after a pause.
pub fn cut_at_pause(list: &str, pause: Pause) -> String {
    let why = why(pause);
    format!(
        "list {list:?}: {why}; the run was cut short. The next run repeats the deliveries that were not confirmed."
    )
}

fn why(pause: Pause) -> &'static str {
    match pause {
        Pause::Disabled => "paused by its entry",
        Pause::Removed => "its entry was removed from the state file",
        Pause::Redirected => "its source or sink was changed in the state file",
    }
}

fn resumes(entry: &Entry, pause: Pause) -> String {
    let run = if entry.latest_timestamp.is_none() { "load" } else { "sync" };
    match pause {
        Pause::Disabled => format!("the {run} continues when the entry is enabled again"),
        Pause::Removed => format!("the {run} continues if the entry is added again"),
        Pause::Redirected => "a run with the new source and sink follows".into(),
    }
}

/// Formats a number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let places = digits.char_indices().map(|(index, digit)| {
        let comma = index > 0 && (digits.len() - index).is_multiple_of(3);
        if comma { format!(",{digit}") } else { digit.to_string() }
    });
    places.collect()
}

/// Names lists for a message: at most three, and the number of the others.
pub fn lists<'a>(lists: impl ExactSizeIterator<Item = &'a str>) -> String {
    const NAMED: usize = 3;
    let (count, more) = (lists.len(), lists.len().saturating_sub(NAMED));
    let names: Vec<String> = lists.take(NAMED).map(|list| format!("{list:?}")).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("list{} {}{more}", if count == 1 { "" } else { "s" }, names.join(", "))
}

/// Reports that results could not be written yet.
pub fn kept(results: usize) -> String {
    let what = match results {
        1 => "the result of the run is kept; importer writes it".into(),
        _ => format!("the results of {results} runs are kept; importer writes them"),
    };
    format!("{what} as soon as the state file is usable.")
}

/// Reports that the result of a run is in the state file.
pub fn written(edit: &Edit) -> String {
    let (list, until) = (&edit.entry.list_id, log_format(edit.stamp.latest_timestamp));
    format!("list {list:?} updated, latest timestamp {until:?}.")
}

/// Warns that an edit by hand overruled the result of a run.
pub fn overruled_by_hand(list: &str) -> String {
    format!(
        "list {list:?}: latest_timestamp or start_offset was changed by hand during the run; the edit is kept and the \
         result of the run is not written."
    )
}

/// Warns that the entry of a finished run has another source or sink now.
pub fn redirected(list: &str) -> String {
    format!(
        "list {list:?}: its source or its sink was changed during the run, so the result is not written; it belongs to \
         the former delivery. The next run uses the new settings."
    )
}

/// Warns that the entry of a finished run is not in the state file anymore.
pub fn entry_gone(list: &str) -> String {
    format!("list {list:?}: its entry was removed or changed during the run, so the result is not written.")
}
