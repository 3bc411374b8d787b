//! Messages about runs.

use std::cmp::Reverse;

use log::Level::{Debug, Error, Info, Warn};

use super::{Message, once};
use crate::base::{
    counts::{Counts, grouped},
    event::{EntryName, Findings, PauseReason, RunEvent, RunName},
    time::log_format,
};

pub fn messages(run: &RunName, event: &RunEvent) -> Vec<Message> {
    let (entry, list) = (&run.entry, format!("list {:?}", run.entry.list_id));
    let (level, text) = match event {
        RunEvent::Started { .. }
        | RunEvent::BatchDelivered { .. }
        | RunEvent::Progress { regular: false, .. } => {
            return vec![];
        }
        RunEvent::Finished { elapsed, counts, findings, routine, repeated } => {
            return finished(entry, (elapsed.as_secs_f64(), counts), findings, (*routine, *repeated));
        }
        RunEvent::Resumed { settled } => {
            (Info, format!("{list}: resuming the interrupted run, {settled} records of this pass are done."))
        }
        RunEvent::FirstLoad { caution } => (Warn, format!("{list} is loaded for the first time: {caution}.")),
        RunEvent::MassChangeAllowed => (
            Warn,
            format!(
                "{list}: `allow_mass_change` is true, so any number of opt-outs and opt-ins may pass; remove it after this \
                 run."
            ),
        ),
        RunEvent::NoLedger => (
            Warn,
            format!(
                "{list}: there is no record of what was delivered, so a mass opt-in can't be detected; check the list's \
                 opt-ins at the source."
            ),
        ),
        RunEvent::NoLedgerForArchived => (
            Warn,
            format!(
                "{list}: there is no record of which members were delivered; all archived records are read and sent as \
                 archived."
            ),
        ),
        RunEvent::PageRead { records, offset: Some(offset) } => {
            (Debug, format!("{list}: {records} records from {offset}."))
        }
        RunEvent::PageRead { records, offset: None } => (Debug, format!("{list}: {records} records.")),
        RunEvent::Progress { seen, window, sent, .. } => {
            (Info, format!("{list}: {seen} of {window} records read, {sent} sent."))
        }
        RunEvent::AnswersCapped { records } => (
            Info,
            format!(
                "{list}: the source returns at most {records} records per answer; reading smaller pages."
            ),
        ),
        RunEvent::PageTooSlow { problem, split } => {
            let then =
                if *split { "splitting the window in two by time" } else { "requesting smaller pages" };
            (Warn, format!("{problem}; {then}."))
        }
        RunEvent::PagesApart { wait } => {
            let seconds = wait.as_secs();
            (
                Info,
                format!(
                    "{list}: two neighboring pages share no record; reading the lower one again in {seconds} s, when every \
                     answer is newer than the upper page."
                ),
            )
        }
        RunEvent::BoundaryRead { details } => (Debug, format!("{list}: {details}.")),
        RunEvent::WindowRepeated { why } => (Warn, format!("{list}: {why}; reading the window again.")),
        RunEvent::PartlyAccepted { left, payloads, wait } => (
            Debug,
            format!(
                "{list}: the sink has not yet accepted {left} of {payloads} payloads; sending these again in {:.1} s.",
                wait.as_secs_f64()
            ),
        ),
        RunEvent::IdsRepeat { rows } => {
            let repeat = match rows {
                1 => "1 row repeats".to_owned(),
                rows => format!("{rows} rows repeat"),
            };
            (
                Warn,
                format!(
                    "{list}: {repeat} another row's id, and nothing distinguishes them; rows with the same id are \
                     delivered as one record."
                ),
            )
        }
        RunEvent::ShardGone { shard } => (
            Warn,
            format!(
                "{list}: the source no longer lists shard {shard:?}, which was not read to its end; its remaining events \
                 are not delivered unless the source lists the shard again."
            ),
        ),
        RunEvent::Pausing { reason } => {
            let why = match reason {
                PauseReason::Disabled => "its entry is paused",
                PauseReason::Removed => "the state file has no entry for it anymore",
                PauseReason::Redirected => "its entry has another source or sink",
                PauseReason::Requested => "a stop of the list was requested",
            };
            (Info, format!("{list}: {why}; its run delivers the records that it has read, then ends."))
        }
        RunEvent::Stopped { counts, reason: None, .. } => (
            Info,
            format!("{entry} stopped: {counts}. Its entry is unchanged; the next run continues from here."),
        ),
        RunEvent::Stopped { counts, reason: Some(reason), full } => (
            Info,
            format!(
                "{entry}: {}; {} records were delivered, and {}.",
                reason,
                grouped(counts.sent),
                resumes(*reason, *full)
            ),
        ),
        RunEvent::FailedAtPause { reason, problem, full } => (
            Warn,
            format!(
                "{entry}: {}; the run failed while it was ending: {problem}. The delivered records stay recorded, and {}.",
                reason,
                resumes(*reason, *full)
            ),
        ),
        RunEvent::CutAtPause { reason } => (
            Warn,
            format!(
                "{list}: {}; the run was cut short. The next run repeats the deliveries that were not confirmed.",
                reason
            ),
        ),
        RunEvent::Failed { problem, routine } => (
            once(Error, *routine),
            format!(
                "{list} failed: {problem}. Its entry is unchanged; the next run delivers what this one has not delivered."
            ),
        ),
    };
    vec![Message::new(level, text)]
}

fn resumes(reason: PauseReason, full: bool) -> String {
    let run = if full { "load" } else { "sync" };
    match reason {
        PauseReason::Disabled => format!("the {run} continues when the entry is enabled again"),
        PauseReason::Removed => format!("the {run} continues if the entry is added again"),
        PauseReason::Redirected => "a run with the new source and sink follows".into(),
        PauseReason::Requested => format!(
            "the {run} continues when a sync is requested, when the entry is edited, or when importer starts again"
        ),
    }
}

/// Accounts for every record of a finished run, and warns of what it has found.
fn finished(
    list: &EntryName,
    (seconds, counts): (f64, &Counts),
    findings: &Findings,
    (routine, repeated): (bool, bool),
) -> Vec<Message> {
    let info = once(Info, routine);
    let mut messages =
        vec![Message::new(info, format!("{list} finished in {seconds:.1} seconds: {counts}."))];
    if !repeated {
        messages.extend(warnings(list, counts, findings).map(|text| Message::new(Warn, text)));
    }
    messages.extend(fields_left_out(list, counts).map(|text| Message::new(info, text)));
    messages
}

/// Warns of everything that a person should look at after a run.
fn warnings(list: &EntryName, counts: &Counts, findings: &Findings) -> impl Iterator<Item = String> {
    let unknown = |what: &String| {
        format!(
            "{list}: no record has {what}; check that the entry spells it as the source does, capitals included."
        )
    };
    let unknown: Vec<String> = findings.unknown.iter().map(unknown).collect();
    unknown
        .into_iter()
        .chain(totals_wrong(list, counts))
        .chain(clocks_apart(list, findings))
        .chain(rows_after_end(list, findings))
        .chain(rejected(list, counts, findings))
        .chain(nothing_left(list, counts, findings))
}

/// Warns that the source listed more records than it counts.
fn totals_wrong(list: &EntryName, counts: &Counts) -> Option<String> {
    counts.totals_wrong.then(|| {
        format!(
            "{list}: the source's totals are wrong: it listed more records than it counts. The run read the listing to its \
             end, but no count can show whether records are missing."
        )
    })
}

/// Warns that the clocks of the source and of this machine differ.
fn clocks_apart(list: &EntryName, findings: &Findings) -> Option<String> {
    let (source, ours) = findings.clocks?;
    let (source, ours) = (log_format(source), log_format(ours));
    Some(format!(
        "{list}: the clocks differ by more than 60 seconds: the source's clock says {source}, this machine's clock says \
         {ours}. The run reads up to the earlier time; correct the clock that is wrong."
    ))
}

/// Warns that rows changed after the end of the window.
fn rows_after_end(list: &EntryName, findings: &Findings) -> Option<String> {
    let (rows, changed, until) = findings.after_end?;
    let records = if rows == 1 { "1 record".into() } else { format!("{rows} records") };
    let (changed, until) = (log_format(changed), log_format(until));
    Some(format!(
        "{list}: {records} changed after the end of the window ({until}), the last at {changed}; the next run reads them \
         again. If this warning persists, compare the clocks of the source and of this machine."
    ))
}

/// Warns that records were rejected, and names the location of their dead letters.
fn rejected(list: &EntryName, counts: &Counts, findings: &Findings) -> Option<String> {
    let then = findings.remedy.advice(&list.list_id);
    let (rejected, location) = (counts.rejected.values().sum::<u64>(), &findings.rejected_at);
    let records =
        if rejected == 1 { "1 rejected record".into() } else { format!("{rejected} rejected records") };
    (rejected > 0).then(|| {
        format!("{list}: {records} can't be delivered; {location} lists them with the reasons. To deliver them, {then}.")
    })
}

/// Warns that `start_offset` is larger than the list.
fn nothing_left(list: &EntryName, counts: &Counts, findings: &Findings) -> Option<String> {
    let offset = findings.start_offset;
    (counts.left_out > 0 && counts.window == 0)
        .then(|| format!("{list}: start_offset {offset} leaves out the whole list; lower or remove it."))
}

/// Counts the fields left out of payloads, most frequent first; `not_mapped` fields, which need no correction, come
/// last.
fn fields_left_out(list: &EntryName, counts: &Counts) -> Option<String> {
    const NAMED: usize = 12;
    let mut fields: Vec<(&String, &u64)> = counts.fields.iter().collect();
    fields.sort_by_key(|(name, count)| (name.ends_with("not_mapped"), Reverse(**count), *name));
    let more = fields.len().saturating_sub(NAMED);
    let named: Vec<String> =
        fields.iter().take(NAMED).map(|(name, count)| format!("{count} {}", name.escape_debug())).collect();
    let more = if more > 0 { format!(", and {more} other kinds") } else { String::new() };
    let hint = format!("`importer preview {}` shows them for single records", list.list_id);
    (!named.is_empty()).then(|| format!("{list}: fields left out: {}{more} ({hint}).", named.join(", ")))
}
