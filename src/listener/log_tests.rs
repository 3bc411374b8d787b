//! What the log says of events.

use chrono::DateTime;

use super::*;
use crate::base::{
    counts::Counts,
    event::{EntryEvent, EntryName, FileEvent, Findings, Place, ProgramEvent, RunEvent, RunName},
    remedy::Remedy,
};

#[test]
fn a_line_names_time_level_module_and_line_and_each_line_of_a_text_has_them() {
    let here = Place::here();
    let emitted = Emitted {
        at: DateTime::UNIX_EPOCH,
        place: here,
        event: FileEvent::EntryInvalid { problem: "x".into(), excerpt: "1 | \u{1b}[2J".into() }.into(),
    };
    let expected = format!(
        "1970-01-01 00:00:00 ERROR |listener|{0}| x; this entry does not run.\n1970-01-01 00:00:00 ERROR |listener|{0}| 1 | \u{fffd}[2J\n",
        here.line()
    );
    assert_eq!(lines(&emitted, |_, _| true), expected);
    assert_eq!(lines(&emitted, |level, module| level < Level::Error || module != "listener::log_tests"), "");
}

#[test]
fn what_an_entry_repeats_is_logged_at_debug() {
    let entry = EntryName::alone("a");
    for (routine, level) in [(false, Level::Info), (true, Level::Debug)] {
        let written = EntryEvent::Written { latest_timestamp: DateTime::UNIX_EPOCH, routine };
        assert_eq!(messages(&Event::Entry(entry.clone(), written))[0].level, level);
    }
    let run = std::sync::Arc::new(RunName::alone("a"));
    for (routine, level) in [(false, Level::Error), (true, Level::Debug)] {
        let failed = RunEvent::Failed { problem: "x".into(), routine };
        assert_eq!(messages(&Event::Run(run.clone(), failed))[0].level, level);
    }
}

fn finished(counts: Counts, findings: Findings, repeated: bool) -> Vec<Message> {
    let event = RunEvent::Finished {
        elapsed: std::time::Duration::ZERO,
        counts: Box::new(counts),
        findings: Box::new(findings),
        routine: false,
        repeated,
    };
    messages(&Event::Run(std::sync::Arc::new(RunName::alone("a")), event))
}

#[test]
fn a_warning_of_rejected_records_says_how_they_are_delivered_again() {
    let mut counts = Counts::default();
    counts.rejected.insert("unfit".into(), 1);
    for (remedy, then) in [
        (Remedy::Replay, "then run `importer replay a`."),
        (Remedy::NextRun, "the next run reads them again."),
        (Remedy::FullLoad, "so that a full load reads them again"),
    ] {
        let findings = Findings { remedy, rejected_at: "letters".into(), ..Findings::default() };
        let messages = finished(counts.clone(), findings, false);
        let [done, warning] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!((done.level, warning.level), (Level::Info, Level::Warn));
        assert!(
            warning.text.contains(then) && warning.text.contains("1 rejected record can't be delivered"),
            "{warning:?}"
        );
    }
    assert_eq!(finished(counts, Findings::default(), true).len(), 1);
}

#[test]
fn an_offset_is_ignored_by_what_a_source_reads() {
    for (reads_all, counts_rows, why) in [
        (true, true, "every run reads this source whole"),
        (false, false, "this source has no offsets"),
        (false, true, "bounds full loads only"),
    ] {
        let event = EntryEvent::OffsetIgnored { offset: 5, reads_all, counts_rows };
        let messages = messages(&Event::Entry(EntryName::alone("a"), event));
        assert!(
            messages[0].text.contains("start_offset 5") && messages[0].text.contains(why),
            "{messages:?}"
        );
    }
}

#[test]
fn many_lists_are_named_by_the_first_three() {
    for (lists, expected) in [
        (vec!["a"], r#"list "a": no space"#),
        (vec!["a", "b", "c"], r#"lists "a", "b", "c": no space"#),
        (vec!["a", "b", "c", "d", "e"], r#"lists "a", "b", "c" and 2 more: no space"#),
    ] {
        let lists = lists.into_iter().map(str::to_owned).collect();
        let event = FileEvent::ResultsUnwritten { lists, problem: "no space".into() };
        assert_eq!(messages(&event.into())[0].text, expected);
    }
    let event = ProgramEvent::NoCapacity { lists: 1, runs: 32, loads: 24 };
    assert!(messages(&event.into())[0].text.starts_with("1 list is due and waits for the end of other runs"));
}
