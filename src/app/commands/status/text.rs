//! The status as text, for a person.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    app::commands::history,
    base::{
        counts::grouped,
        time::{approximately, log_format},
    },
    controller::status::{Adapter, EntryState, EntryStatus, Report, RunProgress, Stored, Wait},
    store::runs::RunKind,
};

/// Returns the status as lines.
pub fn of(shown: &Report) -> String {
    let status = &shown.status;
    let mut text = format!("{}: {}, at {} UTC\n", status.file.path, importer(shown), log_format(status.time));
    if shown.is_silent {
        text += "the running importer has not reported since then; look at its log\n";
    }
    if let Some(broken) = &status.file.broken {
        text += &match status.entries.is_empty() {
            true => format!("the state file can't be read, so no list runs: {broken}\n"),
            false => format!("the state file can't be read; its last valid version is in use: {broken}\n"),
        };
    } else if let Some(why) = &shown.not_stored {
        text += &format!("last runs and rejected records are not shown: {why}\n");
    } else if status.entries.is_empty() {
        text += "the state file has no entry; add one, such as {\"list_id\": \"…\"}\n";
    }
    for entry in &status.entries {
        text += "\n";
        text += &paragraph(entry, shown);
    }
    text
}

fn importer(shown: &Report) -> String {
    match shown.pid {
        Some(pid) if shown.is_published => format!("importer is running (process {pid})"),
        Some(pid) => format!("process {pid} works on the state folder, and has not reported yet"),
        None => "importer is not running".to_owned(),
    }
}

/// Describes one entry.
fn paragraph(entry: &EntryStatus, shown: &Report) -> String {
    let name = entry.list_id.as_deref().unwrap_or("(unknown list)");
    let twice = shown.status.entries.iter().filter(|other| other.list_id == entry.list_id).count() > 1;
    let place = if twice { format!(" (entry at {})", entry.place) } else { String::new() };
    let ends: Vec<String> = [&entry.source, &entry.sink].into_iter().flatten().map(adapter).collect();
    let ends = if ends.is_empty() { String::new() } else { format!(": {}", ends.join(" to ")) };
    let mut text = format!("{name}{place}{ends}\n");
    let mut line = |label: &str, words: String| text += &format!("  {label:<9} {words}\n");
    line("now", now(entry, shown));
    let is_valid = !matches!(entry.state, EntryState::Problem { .. });
    if let Some(latest) = entry.latest_timestamp.filter(|_| is_valid) {
        let age = approximately(shown.now - latest);
        line("delivered", format!("everything up to {}, {age} ago", log_format(latest)));
    }
    if let Some(stored) = &entry.stored {
        for (label, words) in stored_lines(name, stored) {
            line(label, words);
        }
    }
    text
}

fn adapter(adapter: &Adapter) -> String {
    match &adapter.account {
        Some(account) => format!("{} ({account})", adapter.kind),
        None => adapter.kind.clone(),
    }
}

/// Says what the entry does, or why it does nothing.
fn now(entry: &EntryStatus, shown: &Report) -> String {
    let is_running = shown.is_published;
    let interrupted = entry.stored.as_ref().is_some_and(|stored| stored.is_interrupted);
    let continues = if interrupted { "; continues an interrupted run" } else { "" };
    match &entry.state {
        EntryState::Running { kind, start } => running(*kind, *start, entry.progress.as_ref()),
        EntryState::Waiting { cause } => waits(*cause).to_owned(),
        EntryState::Paused => "paused (`enabled` is false)".to_owned(),
        EntryState::Stopped => "stopped on request; request a sync or edit its entry to start it".to_owned(),
        EntryState::Resting { until, failures, why } => {
            let failures = if *failures == 1 { "1 failure".into() } else { format!("{failures} failures") };
            format!("resting until {} after {failures}: {why}", hour(*until, shown.now))
        }
        EntryState::Due if !is_running => format!("due; runs when importer is started{continues}"),
        EntryState::Due => format!("due, starts at the next check{continues}"),
        EntryState::UpToDate { next_due } => {
            format!("up to date, due {}{continues}", hour(*next_due, shown.now))
        }
        EntryState::Held { why } => format!("held by the safety brake: {why}"),
        EntryState::Problem { text } => format!("can't run: {text}"),
        EntryState::Done => "done".to_owned(),
    }
}

fn running(run: RunKind, since: DateTime<Utc>, progress: Option<&RunProgress>) -> String {
    let verb = match run {
        RunKind::FullLoad => "loading",
        RunKind::Sync => "syncing",
    };
    let Some(RunProgress { done, total, sent, records_per_second, seconds_left, .. }) = progress else {
        return format!("{verb} since {}", log_format(since));
    };
    let percent = if *total == 0 { 100 } else { done * 100 / total };
    let mut text = format!(
        "{verb}, {} of {} records ({percent} %), {} sent",
        grouped(*done),
        grouped(*total),
        grouped(*sent)
    );
    if let Some(rate) = records_per_second {
        text += &format!(", {} records/s", grouped(rate.round() as u64));
    }
    if let Some(seconds) = seconds_left {
        text += &format!(", {} left", approximately(TimeDelta::seconds((*seconds).min(1 << 31) as i64)));
    }
    text
}

fn waits(cause: Wait) -> &'static str {
    match cause {
        Wait::Capacity => "due, waits for the end of other runs",
        Wait::List => "due, waits for the run of another entry of its list",
        Wait::PreviousRun => "waits for the end of its previous run",
        Wait::Result => "its result waits until the state file can be written",
        Wait::Person => "waits for a confirmation of its first load; set `first_load` to \"confirmed\"",
    }
}

/// Formats a moment: with seconds if it is near, and without its date within a day.
fn hour(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (at - now).abs() {
        near if near < TimeDelta::minutes(10) => at.format("%H:%M:%S").to_string(),
        near if near < TimeDelta::days(1) => at.format("%H:%M").to_string(),
        _ => log_format(at),
    }
}

fn stored_lines(name: &str, stored: &Stored) -> Vec<(&'static str, String)> {
    let mut lines = vec![];
    if let Some(why) = &stored.unreadable {
        lines.push(("unknown", format!("last runs and rejected records can't be read: {why}")));
    }
    if let Some(last) = &stored.last_run {
        lines.push(("last run", history::described(last)));
    }
    if let Some(changed) = stored
        .last_run_with_changes
        .as_ref()
        .filter(|_| stored.last_run.as_ref().is_some_and(|last| last.is_quiet()))
    {
        lines.push(("changes", history::described(changed)));
    }
    if stored.rejected > 0 {
        let records = if stored.rejected == 1 { "record waits" } else { "records wait" };
        lines.push((
            "rejected",
            format!("{} {records}; {}", grouped(stored.rejected), stored.remedy.advice(name)),
        ));
    }
    lines.extend(notices(stored).map(|words| ("notices", words)));
    lines
}

/// Describes the notices of a delivery; `None` if none waits and none was lost.
fn notices(stored: &Stored) -> Option<String> {
    let mut parts = vec![];
    if stored.notices_waiting > 0 {
        let since =
            stored.oldest_notice.map(|oldest| format!(" since {}", log_format(oldest))).unwrap_or_default();
        parts.push(format!("{} waiting{since}", grouped(stored.notices_waiting)));
    }
    if stored.notices_dropped > 0 {
        let dropped = grouped(stored.notices_dropped);
        parts.push(format!("{dropped} dropped (at most 1,000,000 wait, for 30 days; check the receiver)"));
    }
    if stored.notices_refused > 0 {
        parts.push(format!("{} refused by the receiver", grouped(stored.notices_refused)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_that_wait_or_were_lost_are_one_line() {
        let oldest_notice = crate::base::time::parse("2026-11-21T12:00:00");
        for (waiting, dropped, refused, expected) in [
            (0, 0, 0, None),
            (1200, 0, 0, Some("1,200 waiting since 2026-11-21 12:00:00")),
            (0, 0, 1, Some("1 refused by the receiver")),
            (
                1,
                5,
                2,
                Some(
                    "1 waiting since 2026-11-21 12:00:00; 5 dropped (at most 1,000,000 wait, for 30 days; check the \
                     receiver); 2 refused by the receiver",
                ),
            ),
        ] {
            let stored = Stored {
                notices_waiting: waiting,
                oldest_notice,
                notices_dropped: dropped,
                notices_refused: refused,
                ..Stored::default()
            };
            assert_eq!(notices(&stored).as_deref(), expected);
        }
    }
}
