//! Figures for Prometheus: what the runs since the start have done, from their events, and the present state of each
//! entry. Labels are ids of lists and words of the code, so no figure has personal data.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    base::{
        counts::Counts,
        event::{Emitted, Event, RunEvent},
        events::Inbox,
    },
    controller::status::{EntryState, EntryStatus, Status},
};

/// Number of events that may wait to be counted: the ends of many runs.
pub const QUEUE: usize = 1 << 12;
/// Maximum number of events that are counted at once.
const BATCH: usize = 256;

/// What was counted since the start.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    lists: BTreeMap<String, OfList>,
    /// Events that came faster than they were counted.
    lost: u64,
}

#[derive(Debug, Default)]
struct OfList {
    /// Records of finished runs by fate. A run that was interrupted counts when it has finished.
    records: BTreeMap<&'static str, u64>,
    /// Runs by result.
    runs: BTreeMap<&'static str, u64>,
    finished: u64,
    elapsed: Duration,
}

/// Returns whether an event is counted.
pub fn is_counted(event: &Event) -> bool {
    matches!(event, Event::Run(_, event) if result(event).is_some())
}

fn result(event: &RunEvent) -> Option<&'static str> {
    match event {
        RunEvent::Finished { .. } => Some("finished"),
        RunEvent::Stopped { .. } | RunEvent::CutAtPause { .. } => Some("stopped"),
        RunEvent::Failed { .. } | RunEvent::FailedAtPause { .. } => Some("failed"),
        _ => None,
    }
}

impl Metrics {
    /// Counts the events of an inbox until there are no more.
    pub async fn listen(&self, mut inbox: Inbox) {
        let mut events = vec![];
        while let Some(lost) = inbox.next(&mut events, BATCH).await {
            let mut counted = self.counted();
            counted.lost += lost;
            events.drain(..).for_each(|event| counted.count(&event));
        }
    }

    /// Returns all figures in the text format of Prometheus (version 0.0.4).
    pub fn text(&self, status: &Status) -> String {
        let counted = self.counted();
        let mut text = Text::default();
        text.family(
            "importer_records_total",
            "counter",
            "Records of finished runs since the start, by fate.",
        );
        for (list, of_list) in &counted.lists {
            for (fate, records) in &of_list.records {
                text.value(&[("list", list), ("fate", fate)], *records as f64);
            }
        }
        text.family("importer_runs_total", "counter", "Runs since the start, by result.");
        for (list, of_list) in &counted.lists {
            for (result, runs) in &of_list.runs {
                text.value(&[("list", list), ("result", result)], *runs as f64);
            }
        }
        text.family("importer_run_duration_seconds", "summary", "Duration of finished runs since the start.");
        for (list, of_list) in &counted.lists {
            text.part("_sum", &[("list", list)], of_list.elapsed.as_secs_f64());
            text.part("_count", &[("list", list)], of_list.finished as f64);
        }
        text.of_entries(status);
        text.family(
            "importer_state_file_valid",
            "gauge",
            "1 if the state file in force can be read, else 0.",
        );
        text.value(&[], if status.file.broken.is_none() { 1.0 } else { 0.0 });
        text.family("importer_events_lost_total", "counter", "Ends of runs that the figures above lack.");
        text.value(&[], counted.lost as f64);
        text.text
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn count(&mut self, emitted: &Arc<Emitted>) {
        let Event::Run(run, event) = &emitted.event else { return };
        let Some(result) = result(event) else { return };
        let of_list = self.lists.entry(run.entry.list_id.clone()).or_default();
        *of_list.runs.entry(result).or_default() += 1;
        if let RunEvent::Finished { elapsed, counts, .. } = event {
            of_list.finished += 1;
            of_list.elapsed += *elapsed;
            for (fate, records) in fates(counts) {
                *of_list.records.entry(fate).or_default() += records;
            }
        }
    }
}

/// Returns the records of a run by fate.
fn fates(counts: &Counts) -> [(&'static str, u64); 5] {
    [
        ("sent", counts.sent),
        ("unchanged", counts.unchanged),
        ("skipped", counts.skipped.values().sum()),
        ("rejected", counts.rejected.values().sum()),
        ("superseded", counts.superseded),
    ]
}

/// The text format.
#[derive(Default)]
struct Text {
    text: String,
    family: &'static str,
}

impl Text {
    /// Begins the figures of this name.
    fn family(&mut self, name: &'static str, kind: &str, about: &str) {
        self.family = name;
        // Writing to a text does not fail.
        let _ = writeln!(self.text, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, labels: &[(&str, &str)], value: f64) {
        self.part("", labels, value);
    }

    fn part(&mut self, ending: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(name, label)| format!("{name}=\"{}\"", escaped(label))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{}{ending}{labels} {value}", self.family);
    }

    /// Adds the figures of the entries that run.
    fn of_entries(&mut self, status: &Status) {
        let named = |entry: &'_ EntryStatus| Some((entry.list_id.clone()?, entry.entry.clone()?));
        self.family(
            "importer_last_success_age_seconds",
            "gauge",
            "Time since the moment up to which an entry is delivered.",
        );
        for entry in &status.entries {
            if let (Some((list, name)), Some(latest)) = (named(entry), entry.latest_timestamp) {
                let age = (status.time - latest).as_seconds_f64();
                self.value(&[("list", &list), ("entry", &name)], age);
            }
        }
        self.family("importer_entry_running", "gauge", "1 if a run of the entry is active, else 0.");
        for entry in &status.entries {
            if let Some((list, name)) = named(entry) {
                let runs = matches!(entry.state, EntryState::Running { .. });
                self.value(&[("list", &list), ("entry", &name)], if runs { 1.0 } else { 0.0 });
            }
        }
    }
}

/// Returns a label as it stands between quotes.
fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_can_not_end_before_its_quote() {
        let mut text = Text::default();
        text.family("a_total", "counter", "About.");
        text.value(&[("list", "x\"} 1\\\n"), ("fate", "sent")], 2.0);
        let expected = "# HELP a_total About.\n# TYPE a_total counter\na_total{list=\"x\\\"} 1\\\\\\n\",fate=\"sent\"} 2\n";
        assert_eq!(text.text, expected);
    }
}
