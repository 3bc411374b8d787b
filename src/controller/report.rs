//! What the controller says of an entry, in the words that people know.

use std::{cmp::Reverse, path::Path};

use super::{pauses::Pause, schedule::due::Due};
use crate::{
    base::{
        counts::Counts,
        fault::Fault,
        time::{lasting, spoken},
    },
    engine::{clocks::Noticed, deferred::News, plan::Outcome},
    state::{Edit, Entry},
};

/// Why an entry runs, or does not.
pub fn due(entry: &Entry, due: Due) -> String {
    let list = name(entry);
    match due {
        Due::Full => format!("{list} has no latest timestamp, firing full load."),
        Due::Incremental { since } => {
            format!(
                "{list} last updated on {:?}, over {} ago, firing incremental sync.",
                spoken(since),
                lasting(entry.every)
            )
        }
        Due::UpToDate { since } => format!("{list} up to date, last updated on {:?}.", spoken(since)),
        Due::Future { since } => format!(
            "list {:?} (entry at {}) has the latest timestamp {:?}, which is in the future; it does not run. \
             Set it to an earlier time, or to null for a full load.",
            entry.id.list_id,
            entry.place,
            spoken(since)
        ),
    }
}

/// `rereads`: the source has no rows that could be counted.
pub fn offset_ignored(entry: &Entry, rereads: bool) -> String {
    let (list, offset) = (name(entry), entry.start_offset);
    match rereads {
        true => format!("{list}: start_offset {offset} is ignored, this source is always read whole."),
        false => {
            format!("{list}: start_offset {offset} bounds full loads only, this incremental sync ignores it.")
        }
    }
}

/// The list, and where others have it too the entry.
fn name(entry: &Entry) -> String {
    let list = &entry.id.list_id;
    if entry.alone { format!("list {list:?}") } else { format!("list {list:?} (entry at {})", entry.place) }
}

pub fn finished(entry: &Entry, outcome: &Outcome) -> String {
    let (list, seconds) = (name(entry), outcome.elapsed.as_secs_f64());
    format!("{list} finished in {seconds:.1} seconds: {}.", outcome.counts)
}

/// Warns that the source listed more records than it counts.
pub fn totals_wrong(entry: &Entry, counts: &Counts) -> Option<String> {
    counts.totals_wrong.then(|| {
        format!(
            "{}: the source's totals are wrong: it listed more records than it counts. The listing was read to its end, but \
             no count can show whether records are missing.",
            name(entry)
        )
    })
}

/// Warns that the source's clock and ours differ.
pub fn clocks_apart(entry: &Entry, noticed: &Noticed) -> Option<String> {
    let (list, clocks) = (name(entry), noticed.apart?);
    let (source, ours) = (spoken(clocks.source), spoken(clocks.ours));
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
    let (changed, until) = (spoken(changed), spoken(until));
    Some(format!(
        "{list}: {records} changed after the end of the window ({until}), the last at {changed}; the next run reads them \
         again. If this lasts, compare the clocks of the source and of this machine."
    ))
}

/// Something that the entry names is not there.
pub fn unknown(entry: &Entry, what: &str) -> String {
    let list = name(entry);
    format!("{list}: no record has {what}; is it spelled as at the source, capitals included?")
}

/// The most frequent of them, those that nothing is wrong with last.
pub fn fields_left_out(entry: &Entry, counts: &Counts) -> Option<String> {
    const TOLD: usize = 12;
    let list = &entry.id.list_id;
    let mut fields: Vec<(&String, &u64)> = counts.fields.iter().collect();
    fields.sort_by_key(|(name, count)| (name.ends_with("not_mapped"), Reverse(**count), *name));
    let more = fields.len().saturating_sub(TOLD);
    let told: Vec<String> =
        fields.iter().take(TOLD).map(|(name, count)| format!("{count} {}", name.escape_debug())).collect();
    let more = if more > 0 { format!(", and {more} other kinds") } else { String::new() };
    let hint = format!("`importer preview {list}` shows what becomes of a record");
    (!told.is_empty()).then(|| format!("{}: left out: {}{more} ({hint}).", name(entry), told.join(", ")))
}

/// The sink's validation is of the whole account and names no record.
pub fn late_errors(news: &News) -> String {
    let told: Vec<String> = news.kinds.iter().map(|(kind, count)| format!("{count} {kind:?}")).collect();
    let count: u64 = news.kinds.values().sum();
    let since = news.since.map_or("up to now".into(), |since| format!("since {}", spoken(since)));
    format!(
        "the sink has found {}{count} errors {since} in records that it had taken, from importer or from elsewhere, and \
         does not say in which: {}.",
        if news.at_least { "at least " } else { "" },
        told.join(", ")
    )
}

pub fn rejected(entry: &Entry, counts: &Counts, file: &Path) -> Option<String> {
    let (list, rejected) = (name(entry), counts.rejected.values().sum::<u64>());
    let members =
        if rejected == 1 { "1 rejected record".into() } else { format!("{rejected} rejected records") };
    (rejected > 0).then(|| {
        format!(
            "{list}: {members} can't be sent as they are; {} keeps them, with the reason. When it is mended, \
             `importer replay` sends them.",
            file.display()
        )
    })
}

pub fn nothing_left(entry: &Entry, counts: &Counts) -> Option<String> {
    let (list, offset) = (name(entry), entry.start_offset);
    (counts.left_out > 0 && counts.window == 0)
        .then(|| format!("{list}: start_offset {offset} leaves out the whole list; is that meant?"))
}

pub fn stopped(entry: &Entry, counts: &Counts, pause: Option<Pause>) -> String {
    let list = name(entry);
    let Some(pause) = pause else {
        return format!(
            "{list} stopped: {counts}. Its entry is left as it was; its next run goes on from here."
        );
    };
    format!(
        "{list}: {}; {} records were delivered, and {}.",
        why(pause),
        grouped(counts.sent),
        resumes(entry, pause)
    )
}

pub fn first_load_waits(entry: &Entry) -> String {
    format!(
        "{}: its first load waits, since its entry says `\"first_load\": \"ask\"`. Pause everything that new records start at \
         the sink, such as a welcome campaign; then set `first_load` to \"confirmed\".",
        name(entry)
    )
}

/// Reports that a run is about to end, since its entry was paused or removed.
pub fn pausing(list: &str, pause: Pause) -> String {
    let why = match pause {
        Pause::Disabled => "its entry is paused",
        Pause::Removed => "the state file has no entry for it anymore",
    };
    format!("list {list:?}: {why}; its run delivers what it has read and ends.")
}

pub fn failed_at_pause(entry: &Entry, pause: Pause, fault: &Fault) -> String {
    let (list, why) = (name(entry), why(pause));
    format!(
        "{list}: {why}; the run failed while it was ending: {fault}. Its delivered records stay on record, and {}.",
        resumes(entry, pause)
    )
}

pub fn cut_at_pause(list: &str, pause: Pause) -> String {
    let why = why(pause);
    format!(
        "list {list:?}: {why}; the run was cut short, and the next run sends the records again that are not on record as delivered."
    )
}

fn why(pause: Pause) -> &'static str {
    match pause {
        Pause::Disabled => "paused by its entry",
        Pause::Removed => "its entry was removed from the state file",
    }
}

fn resumes(entry: &Entry, pause: Pause) -> String {
    let run = if entry.latest_timestamp.is_none() { "load" } else { "sync" };
    match pause {
        Pause::Disabled => format!("the {run} continues when the entry is enabled again"),
        Pause::Removed => format!("the {run} continues if the entry is added again"),
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

pub fn written(edit: &Edit) -> String {
    let (list, until) = (&edit.entry.list_id, spoken(edit.stamp.latest_timestamp));
    format!("list {list:?} updated, latest timestamp {until:?}.")
}

pub fn overruled_by_hand(list: &str) -> String {
    format!(
        "list {list:?}: latest_timestamp or start_offset was changed by hand during the run and is kept as it is."
    )
}

pub fn entry_gone(list: &str) -> String {
    format!("list {list:?}: its entry is no longer in the state file as it was, nothing is written.")
}
