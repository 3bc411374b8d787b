//! Tables of [`Machine::handle`]: what has happened, and what there is to do then. Nothing runs, and time is a number.

use std::{path::Path, time::Duration};

use chrono::TimeDelta;
use tokio::sync::oneshot;

use super::*;
use crate::{
    base::{counts::Counts, remedy::Remedy, time},
    controller::{
        handle::Command,
        input::{Begun, FileRead, Ran, Reply, RunEnd, Written},
        lists::Opened,
        schedule::capacity::{LOADS, RUNS},
        siblings::Destination,
        status::{EntryState, Refusal, RunOutcome, SyncAnswer, Synced, Wait},
    },
    engine::{
        clocks::Noticed,
        plan::{Ended, Outcome as RunsOutcome},
    },
    state::{
        Entry,
        document::{Outcome, Overruled},
        schema,
        vocabulary::SAMPLE,
    },
    store::{
        FolderStore,
        leases::ProcessLeases,
        runs::{Cause, ResultKind, RunRecord},
        support_tests::InMemory,
    },
};

const NOON: &str = "2026-11-21T12:00:00";
/// An entry that is not due for an hour.
const FRESH: &str = r#"{"list_id": "a", "latest_timestamp": "2026-11-21T11:00:00"}"#;
/// An entry that has been due for an hour.
const DUE: &str = r#"{"list_id": "a", "latest_timestamp": "2026-11-21T09:00:00"}"#;
const NEW: &str = r#"{"list_id": "a"}"#;

/// A machine, and the seconds since it began.
struct World {
    machine: Machine,
    began: Instant,
    seconds: u64,
    is_stopping: bool,
    /// The entries of the runs so far.
    runs: BTreeMap<RunId, Entry>,
    replies: Vec<Reply>,
    /// The history so far.
    history: Vec<RunRecord>,
    /// Whether the entries of runs can be opened.
    opens: bool,
}

/// Returns the entries of a file whose lists were all opened. A delivery is named by the sink in the entry.
fn lists(entries: &str) -> Lists {
    let snapshot = schema::read(&format!("[{entries}]"), &SAMPLE).unwrap();
    let opened = snapshot.entries.iter().map(|entry| {
        let opened = Opened { destination: destination(entry), reads_all: false, counts_rows: true };
        (entry.folder.clone(), opened)
    });
    let first_loads =
        snapshot.entries.iter().filter(|entry| entry.first_load == crate::state::model::FirstLoad::Ask);
    Lists {
        opened: Arc::new(opened.collect()),
        first_loads: Arc::new(first_loads.map(|entry| entry.folder.clone()).collect()),
        snapshot: Arc::new(snapshot),
    }
}

fn destination(entry: &Entry) -> Destination {
    let delivery = DeliveryId::new(entry.list.clone(), "file", None, &entry.route[1].to_string());
    Destination { delivery, digest: String::new(), receiver: None }
}

fn begun(entry: &Entry) -> Begun {
    let store = Arc::new(InMemory::new(&entry.folder));
    Begun { destination: destination(entry), store, requests: Arc::default() }
}

fn read(entries: &str) -> Result<FileRead, Fault> {
    Ok(FileRead::Read { lists: lists(entries), problems: 0, is_migrating: Ok(false) })
}

impl World {
    /// Returns a machine that has read these entries, and what it does then.
    fn new(mode: Mode, entries: &str) -> (Self, String) {
        let began = Instant::now();
        let now = Now { instant: began, utc: time::parse(NOON).unwrap(), is_stopping: false };
        let leases = Arc::new(ProcessLeases::default());
        let machine = Machine::new(mode, "state.json".into(), leases, Events::default(), now);
        let (runs, replies, history) = (BTreeMap::new(), vec![], vec![]);
        let mut world =
            World { machine, began, seconds: 0, is_stopping: false, runs, replies, history, opens: true };
        assert_eq!(world.input(Input::Begin), "read All");
        let done = world.input(Input::Read(Reading::All, read(entries)));
        (world, done)
    }

    /// Returns a machine whose first run has begun.
    fn running(mode: Mode, entries: &str) -> Self {
        let (world, done) = World::new(mode, entries);
        assert!(done.starts_with("start a "), "{done}");
        world
    }

    fn now(&self) -> Now {
        let (instant, utc) = (self.began + Duration::from_secs(self.seconds), time::parse(NOON).unwrap());
        let utc = utc + TimeDelta::seconds(self.seconds as i64);
        Now { instant, utc, is_stopping: self.is_stopping }
    }

    /// Passes an input, and lets every run begin that starts. Returns the actions.
    fn input(&mut self, input: Input) -> String {
        let actions = self.machine.handle(self.now(), input);
        let mut done = vec![];
        for action in actions {
            if let Action::Record(ended) = action {
                self.history.push(ended.run);
                continue;
            }
            done.push(match &action {
                Action::Read(reading) => format!("read {reading:?}"),
                Action::ResetPoll => "reset poll".into(),
                Action::Start(start) => {
                    let kind = if start.since.is_some() { "incremental" } else { "full" };
                    format!("start {} {kind}", start.entry.id.list_id)
                }
                Action::Cancel(run) => format!("cancel {}", run.0),
                Action::Abort(run) => format!("abort {}", run.0),
                Action::Save(save) => {
                    let lists: Vec<&str> =
                        save.edits.iter().map(|edit| edit.entry.list_id.as_str()).collect();
                    format!("save {}", lists.join(" "))
                }
                Action::LookBack => "look back".into(),
                // Every tick does these.
                Action::Record(_) => unreachable!(),
                Action::DeliverNotices
                | Action::CloseIdleDatabases
                | Action::PollDeferredErrors
                | Action::Publish => continue,
                Action::StopProgram => "stop program".into(),
                Action::Reply(_) => "reply".into(),
            });
            match action {
                Action::Start(start) if self.opens => {
                    let began = Input::Began(start.run, begun(&start.entry));
                    self.runs.insert(start.run, start.entry);
                    assert!(self.machine.handle(self.now(), began).is_empty());
                }
                Action::Reply(reply) => self.replies.push(reply),
                _ => {}
            }
        }
        done.join(", ")
    }

    /// Passes an input after some seconds.
    fn after(&mut self, seconds: u64, input: Input) -> String {
        self.seconds += seconds;
        self.input(input)
    }

    fn tick(&mut self, seconds: u64) -> String {
        self.after(seconds, Input::Tick { quit: false })
    }

    fn ended(&mut self, run: u64, ended: Result<Ended, Fault>) -> String {
        let now = self.runs[&RunId(run)].clone();
        self.ended_with(run, ended, destination(&now).delivery)
    }

    /// Passes the end of a run whose entry would deliver to `delivery_now`.
    fn ended_with(&mut self, run: u64, ended: Result<Ended, Fault>, delivery_now: DeliveryId) -> String {
        let entry = self.runs[&RunId(run)].clone();
        let ran = Ran {
            store: Arc::new(FolderStore::alone(Path::new("nowhere"))),
            retry: true,
            destination: destination(&entry),
            delivery_now: Some(delivery_now),
            hold: None,
            has_ledger: true,
            ended,
            entry,
        };
        self.input(Input::Ended(vec![(RunId(run), RunEnd::Ran(Box::new(ran)))]))
    }

    fn written(&mut self, entries: &str, outcome: Outcome) -> String {
        self.input(Input::Written(Ok(Written { lists: lists(entries), outcomes: vec![outcome] })))
    }

    /// Passes what changes in the file, as its next check.
    fn edited(&mut self, entries: &str) -> String {
        self.input(Input::Read(Reading::All, read(entries)))
    }

    /// Requests a sync. Returns the actions, and the answers once they are given.
    fn sync(&mut self, list: Option<&str>, waits: bool) -> String {
        let (reply, answer) = oneshot::channel();
        // The receiver stays: a caller that goes away is forgotten.
        std::mem::forget(answer);
        self.input(Input::Command(Command::SyncNow { list: list.map(str::to_owned), waits, reply }))
    }

    /// Returns the answers of the last reply.
    fn synced(&mut self) -> Vec<Synced> {
        match self.replies.pop() {
            Some(Reply::Synced(_, answers)) => answers,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self) -> SyncAnswer {
        self.synced().remove(0).answer
    }

    fn state(&self) -> EntryState {
        self.machine.status().entries.remove(0).state
    }
}

fn finished() -> Result<Ended, Fault> {
    let until = time::parse("2026-11-21T11:59:59").unwrap();
    Ok(Ended::Finished(RunsOutcome {
        until,
        elapsed: Duration::from_secs(1),
        counts: Counts { sent: 7, ..Counts::default() },
        unknown: vec![],
        noticed: Noticed::default(),
        remedy: Remedy::Replay,
    }))
}

fn stopped() -> Result<Ended, Fault> {
    Ok(Ended::Stopped(Counts::default()))
}

fn failed() -> Result<Ended, Fault> {
    Err(Fault::list("it failed"))
}

/// The entry with the result of [`finished`].
const STAMPED: &str = r#"{"list_id": "a", "latest_timestamp": "2026-11-21T11:59:59"}"#;

#[test]
fn an_entry_starts_if_it_is_due_and_free() {
    let other = |entry: &str, more: &str| entry.replace("\"a\"", &format!("\"a\", {more}"));
    for (entries, done) in [
        ("", ""),
        (NEW, "start a full"),
        (DUE, "start a incremental"),
        (FRESH, ""),
        (&other(FRESH, r#""every": "30m""#), "start a incremental"),
        (r#"{"list_id": "a", "latest_timestamp": "2026-11-21T14:00:00"}"#, ""),
        (&other(NEW, r#""enabled": false"#), ""),
        (&other(NEW, r#""first_load": "ask""#), ""),
        (&other(DUE, r#""first_load": "ask""#), "start a incremental"),
        (&other(NEW, r#""first_load": "confirmed""#), "start a full"),
        (&other(NEW, r#""every": 5"#), ""),
        (&format!("{NEW}, {}", NEW.replace("\"a\"", "\"b\"")), "start a full, start b full"),
        (&format!("{NEW}, {}", other(DUE, r#""consent": "none""#)), "start a full"),
    ] {
        for mode in [Mode::Loop, Mode::Once] {
            assert_eq!(World::new(mode, entries).1, done, "{mode:?} {entries}");
        }
    }
}

#[test]
fn a_file_that_can_not_be_read_ends_a_single_pass_and_not_the_loop() {
    let broken = || Input::Read(Reading::All, Err(Fault::process("broken")));
    for (mode, phase) in [(Mode::Loop, Phase::Running), (Mode::Once, Phase::Over)] {
        let (mut world, _) = World::new(mode, "");
        assert_eq!((world.input(broken()), world.machine.phase()), (String::new(), phase), "{mode:?}");
        assert_eq!(world.machine.verdict().is_err(), mode == Mode::Once);
    }
    // In the loop, the last valid version counts.
    let (mut world, _) = World::new(Mode::Loop, FRESH);
    world.seconds = 3601;
    assert_eq!(world.input(broken()), "start a incremental");
    // After the first read, an unreadable file does not end a single pass.
    let mut world = World::running(Mode::Once, NEW);
    let again = Input::Read(Reading::Changes, Err(Fault::process("broken")));
    assert_eq!((world.input(again), world.machine.phase()), (String::new(), Phase::Running));
}

#[test]
fn the_file_is_read_when_it_may_have_changed() {
    for (mode, poll, changed) in [
        (Mode::Loop, "read All", "reset poll, read All"),
        (Mode::Once, "read Changes", "reset poll, read Changes"),
    ] {
        let mut world = World::running(mode, NEW);
        assert_eq!(world.input(Input::Poll), poll);
        assert_eq!(world.input(Input::FileChanged(true)), changed);
        assert_eq!(world.input(Input::FileChanged(false)), "");
        assert_eq!(world.input(Input::Read(Reading::Changes, Ok(FileRead::Unchanged))), "");
        assert!(world.machine.may_read());
        assert_eq!(world.ended(1, finished()), "save a");
        assert!(!world.machine.may_read(), "a read beside a write could show the older text last");
    }
}

#[test]
fn nothing_runs_before_the_files_of_version_0_1_are_migrated() {
    let (mut world, _) = World::new(Mode::Loop, "");
    let read = |is_migrating| {
        Input::Read(Reading::All, Ok(FileRead::Read { lists: lists(NEW), problems: 1, is_migrating }))
    };
    assert_eq!(world.input(read(Ok(true))), "");
    world.sync(Some("a"), false);
    assert!(matches!(world.answer(), SyncAnswer::Refused { reason: Refusal::Problem { .. } }));
    assert_eq!(world.input(read(Ok(false))), "start a full");
    assert_eq!(world.input(read(Err(Fault::process("x")))), "stop program");
    assert_eq!(world.ended(1, stopped()), "", "nothing starts after the fault");
    assert!(world.machine.verdict().is_err());
}

#[test]
fn a_result_is_saved_and_the_entry_runs_again_when_every_is_over() {
    let mut world = World::running(Mode::Loop, DUE);
    assert_eq!(world.ended(1, finished()), "save a");
    assert_eq!(world.input(Input::WakeUp), "", "the list is taken until the result is written");
    assert_eq!(world.written(STAMPED, Outcome::Stamped), "");
    assert_eq!(world.tick(1), "", "a look back is part of the write");
    assert_eq!((world.input(Input::LookedBack), world.tick(1)), (String::new(), "look back".into()));
    world.input(Input::LookedBack);
    assert_eq!(world.tick(4), "", "late saves come soon");
    let wake = world.machine.next_wake(world.now()).unwrap();
    assert_eq!(wake.duration_since(world.began), Duration::from_millis(2 * 3_600_000 + 1));
    world.seconds = 0;
    assert_eq!(world.after(7200, Input::WakeUp), "");
    assert_eq!(world.after(1, Input::WakeUp), "start a incremental");
}

#[test]
fn results_that_end_during_a_write_wait_for_the_next_one() {
    let two = format!("{DUE}, {}", DUE.replace("\"a\"", "\"b\""));
    let mut world = World::running(Mode::Loop, &two);
    assert_eq!((world.ended(1, finished()), world.ended(2, finished())), ("save a".into(), String::new()));
    assert_eq!(world.written(&two, Outcome::Stamped), "start a incremental");
    assert_eq!(world.input(Input::LookedBack), "save b");
}

#[test]
fn an_edit_by_hand_overrules_a_result() {
    for (why, done) in [
        (Overruled::ByHand, "start a full"),
        (Overruled::NoSuchEntry, "start a full"),
        (Overruled::Redirected, "start a full"),
    ] {
        let mut world = World::running(Mode::Loop, DUE);
        world.ended(1, finished());
        assert_eq!(world.written(NEW, Outcome::Overruled(why)), done, "{why:?}");
        let results = world.machine.results.of(None);
        let RunOutcome::Finished { not_written, .. } = &results[0].outcome else { panic!("{results:?}") };
        assert!(not_written.is_some(), "{why:?}");
    }
}

#[test]
fn a_result_of_another_delivery_is_dropped_and_the_entry_runs_again() {
    let elsewhere = || {
        let lists = lists(r#"{"list_id": "a", "sink": "pipe"}"#);
        destination(&lists.snapshot.entries[0]).delivery
    };
    for mode in [Mode::Loop, Mode::Once] {
        let mut world = World::running(mode, DUE);
        assert_eq!(world.ended_with(1, finished(), elsewhere()), "start a incremental", "{mode:?}");
        let results = world.machine.results.of(None);
        assert!(matches!(&results[0].outcome, RunOutcome::Finished { not_written: Some(_), .. }));
    }
    // The failures before it are forgotten, as after any run that finished.
    let mut world = World::running(Mode::Loop, DUE);
    world.ended(1, failed());
    assert_eq!(world.after(60, Input::WakeUp), "start a incremental");
    world.ended_with(2, finished(), elsewhere());
    world.ended(3, failed());
    assert_eq!(world.after(59, Input::WakeUp), "");
    assert_eq!(world.after(1, Input::WakeUp), "start a incremental");
}

#[test]
fn a_result_that_can_not_be_written_waits_for_the_file_and_ends_a_single_pass() {
    for (mode, phase) in [(Mode::Loop, Phase::Running), (Mode::Once, Phase::Over)] {
        let mut world = World::running(mode, DUE);
        assert_eq!(world.ended(1, finished()), "save a");
        assert_eq!(world.input(Input::Written(Err(Fault::process("full")))), "");
        assert_eq!(world.machine.phase(), phase, "{mode:?}");
        if mode == Mode::Loop {
            assert_eq!(world.edited(DUE), "save a", "and the list stays taken");
            world.written(STAMPED, Outcome::Stamped);
            let results = world.machine.results.of(None);
            assert!(matches!(&results[0].outcome, RunOutcome::Finished { not_written: None, .. }));
        }
        assert_eq!(world.machine.verdict().is_err(), mode == Mode::Once);
    }
}

#[test]
fn a_failed_entry_rests_longer_after_every_failure() {
    let mut world = World::running(Mode::Loop, NEW);
    for (run, rest) in [(1, 60), (2, 120), (3, 240)] {
        assert_eq!(world.ended(run, failed()), "");
        let until = world.now().utc + TimeDelta::seconds(rest);
        let why = "it failed".to_owned();
        assert_eq!(world.state(), EntryState::Resting { until, failures: run as u32, why });
        assert_eq!(world.after(rest as u64 - 1, Input::WakeUp), "");
        assert_eq!(world.after(1, Input::WakeUp), "start a full");
    }
    let panicked = Input::Ended(vec![(RunId(4), RunEnd::Panicked)]);
    assert_eq!(
        (world.input(panicked), world.after(480, Input::WakeUp)),
        (String::new(), "start a full".into())
    );
    // A single pass does not try again.
    let mut world = World::running(Mode::Once, NEW);
    assert_eq!((world.ended(1, failed()), world.machine.phase()), (String::new(), Phase::Over));
    assert_eq!(world.machine.verdict().unwrap(), Verdict::Failed);
}

#[test]
fn an_entry_that_can_not_be_opened_rests_and_others_get_its_place() {
    let other = NEW.replace("\"a\"", r#""a", "consent": "none""#);
    let (mut world, _) = World::new(Mode::Loop, "");
    world.opens = false;
    assert_eq!(world.edited(&format!("{NEW}, {other}")), "start a full");
    world.opens = true;
    assert_eq!(world.input(Input::NotOpened(RunId(1), "no key".into())), "start a full");
    assert_eq!(world.state(), EntryState::Waiting { cause: Wait::List });
    assert_eq!(world.runs[&RunId(2)].id, lists(&other).snapshot.entries[0].id);
}

#[test]
fn a_run_ends_when_its_entry_is_paused_removed_or_redirected() {
    for (edit, done, then) in [
        (r#"{"list_id": "a", "enabled": false}"#, "cancel 1", ""),
        ("", "cancel 1", ""),
        (r#"{"list_id": "a", "sink": "pipe"}"#, "cancel 1", "start a full"),
        (r#"{"list_id": "a", "worker_count": 2}"#, "", "start a full"),
        (r#"{"list_id": "a", "every": 5}"#, "", ""),
    ] {
        for mode in [Mode::Loop, Mode::Once] {
            let mut world = World::running(mode, NEW);
            let reading = if mode == Mode::Loop { Reading::All } else { Reading::Changes };
            assert_eq!(world.input(Input::Read(reading, read(edit))), done, "{mode:?} {edit}");
            assert_eq!(world.input(Input::Read(reading, read(edit))), "", "once: {mode:?} {edit}");
            if !then.is_empty() {
                assert_eq!(world.state(), EntryState::Waiting { cause: Wait::PreviousRun });
            }
            assert_eq!(world.ended(1, stopped()), then, "{mode:?} {edit}");
        }
    }
}

#[test]
fn a_paused_run_that_does_not_end_is_aborted_and_its_entry_continues_when_enabled() {
    for mode in [Mode::Loop, Mode::Once] {
        let mut world = World::running(mode, NEW);
        let reading = if mode == Mode::Loop { Reading::All } else { Reading::Changes };
        let paused = r#"{"list_id": "a", "enabled": false}"#;
        assert_eq!(world.input(Input::Read(reading, read(paused))), "cancel 1");
        assert_eq!((world.tick(7), world.tick(1)), (String::new(), "abort 1".into()));
        assert_eq!(world.input(Input::Read(reading, read(NEW))), "", "the previous run is ending");
        assert!(matches!(world.state(), EntryState::Running { .. }));
        assert_eq!(world.input(Input::Ended(vec![(RunId(1), RunEnd::Aborted)])), "start a full");
    }
}

#[test]
fn a_list_that_is_busy_and_a_full_program_let_entries_wait() {
    let entries: Vec<String> = (0..40).map(|list| format!(r#"{{"list_id": "a{list}"}}"#)).collect();
    let (mut world, done) = World::new(Mode::Loop, &entries.join(", "));
    assert_eq!((done.matches("full").count(), world.machine.capacity.waiting()), (LOADS, 40 - LOADS));
    assert_eq!(world.machine.status().entries[LOADS].state, EntryState::Waiting { cause: Wait::Capacity });
    assert_eq!(world.ended(5, failed()), format!("start a{LOADS} full"), "the one that has waited longest");
    let synced = |text: &String| text.replace('}', r#", "latest_timestamp": "2026-11-21T09:00:00"}"#);
    let entries: Vec<String> = entries.iter().map(synced).collect();
    assert_eq!(World::new(Mode::Loop, &entries.join(", ")).1.matches("incremental").count(), RUNS);
}

#[test]
fn a_stop_ends_the_runs_within_the_grace_and_saves_their_results() {
    let mut world = World::running(Mode::Loop, NEW);
    let quit = world.after(5, Input::Tick { quit: true });
    assert_eq!(quit, "stop program", "the stop follows as an input");
    world.is_stopping = true;
    assert_eq!(world.input(Input::Stop), "stop program");
    let deadline = world.now().instant + GRACE;
    assert_eq!(world.machine.phase(), Phase::Ending(deadline));
    assert_eq!(world.sync(Some("a"), true), "reply");
    assert_eq!(world.answer(), SyncAnswer::Refused { reason: Refusal::Stopping });
    assert_eq!((world.ended(1, finished()), world.machine.phase()), ("save a".into(), Phase::Saving));
    assert_eq!(world.written(DUE, Outcome::Stamped), "", "nothing starts anymore");
    assert_eq!(world.machine.phase(), Phase::Saving);
    assert_eq!((world.input(Input::LookedBack), world.machine.phase()), (String::new(), Phase::Over));
    assert_eq!(world.machine.verdict().unwrap(), Verdict::Done);
}

#[test]
fn a_run_that_outlasts_the_grace_is_cut_short_and_its_callers_are_answered() {
    let mut world = World::running(Mode::Loop, NEW);
    world.sync(Some("a"), true);
    world.ended(1, stopped());
    assert_eq!(world.replies.len(), 0, "the request waits for its own run");
    assert_eq!(world.sync(Some("a"), true), "");
    world.is_stopping = true;
    assert_eq!(world.input(Input::Stop), "stop program, reply", "the second request had no run yet");
    assert_eq!(world.answer(), SyncAnswer::Refused { reason: Refusal::Stopping });
    world.input(Input::GraceOver);
    assert_eq!(world.machine.phase(), Phase::Over);
    let (actions, _) = world.machine.finish(world.now());
    let [Action::Record(_), Action::Reply(Reply::Synced(_, answers))] = &actions[..] else {
        panic!("{actions:?}")
    };
    let SyncAnswer::Ended { result } = &answers[0].answer else { panic!("{answers:?}") };
    assert!(
        matches!(&result.outcome, RunOutcome::Stopped { reason: why, counts: None } if why.contains("cut short"))
    );
    // Without runs, a stop ends at once. Nothing starts even before it arrives as an input.
    let (mut world, _) = World::new(Mode::Loop, FRESH);
    world.is_stopping = true;
    assert_eq!(world.after(7200, Input::WakeUp), "");
    assert_eq!((world.input(Input::Stop), world.machine.phase()), (String::new(), Phase::Over));
}

#[test]
fn a_single_pass_is_over_when_its_results_are_saved() {
    let mut world = World::running(Mode::Once, NEW);
    assert_eq!(
        world
            .input(Input::Read(Reading::Changes, read(&format!("{NEW}, {}", NEW.replace("\"a\"", "\"b\""))))),
        ""
    );
    assert_eq!((world.ended(1, finished()), world.machine.phase()), ("save a".into(), Phase::Running));
    assert_eq!(
        (world.written(DUE, Outcome::Stamped), world.machine.phase()),
        (String::new(), Phase::Over),
        "the driver looks for late saves while it ends"
    );
    assert_eq!(world.machine.next_wake(world.now()), None);
    assert_eq!(world.machine.verdict().unwrap(), Verdict::Done);
}

#[test]
fn a_requested_run_starts_although_it_is_not_due_and_after_one_that_is_active() {
    let (mut world, _) = World::new(Mode::Loop, FRESH);
    assert_eq!(world.sync(Some("a"), false), "start a incremental, reply");
    assert_eq!(world.answer(), SyncAnswer::Started);
    // During a run: two requests share the next one.
    assert_eq!((world.sync(None, true), world.sync(Some("a"), false)), (String::new(), "reply".into()));
    assert_eq!(world.answer(), SyncAnswer::Queued);
    assert!(world.machine.status().entries[0].requested);
    assert_eq!(world.sync(Some("a"), true), "");
    assert_eq!(world.ended(1, failed()), "start a incremental", "although the entry rests");
    assert_eq!(world.ended(2, finished()), "save a");
    assert_eq!(world.written(STAMPED, Outcome::Stamped), "reply, reply");
    let [one, two] = [world.answer(), world.answer()];
    assert!(one == two && matches!(one, SyncAnswer::Ended { .. }), "{one:?}");
    assert_eq!(world.after(60, Input::WakeUp), "", "the requests are met");
    // A request follows its entry when that is edited, and is refused if the entry can't run anymore.
    for (edit, done) in [
        (r#"{"list_id": "a", "worker_count": 2}"#, "start a full, reply"),
        (r#"{"list_id": "a", "enabled": false}"#, "reply"),
        ("", "reply"),
    ] {
        let mut world = World::running(Mode::Loop, NEW);
        assert_eq!(world.sync(Some("a"), true), "");
        let told = [world.edited(edit), world.ended(1, stopped())];
        let told: Vec<&str> =
            told.iter().flat_map(|told| told.split(", ")).filter(|told| !told.is_empty()).collect();
        let expected =
            if done.starts_with("start") { &["start a full"][..] } else { &["cancel 1", "reply"][..] };
        assert_eq!(told, expected, "{edit}");
    }
}

#[test]
fn a_held_delivery_does_not_run_on_request() {
    let (mut world, _) = World::new(Mode::Loop, FRESH);
    let delivery = destination(&lists(FRESH).snapshot.entries[0]).delivery;
    let hold = HoldReason { entry: String::new(), what: "stopped".into(), why: "too many".into() };
    assert_eq!(world.input(Input::Holds(vec![(delivery.clone(), Some(hold))])), "");
    assert!(matches!(world.state(), EntryState::Held { why } if why.contains("too many")));
    assert_eq!(world.sync(Some("a"), true), "reply");
    assert!(matches!(world.answer(), SyncAnswer::Refused { reason: Refusal::Held { .. } }));
    world.input(Input::Holds(vec![(delivery, None)]));
    assert!(matches!(world.state(), EntryState::UpToDate { .. }));
    assert_eq!(world.sync(Some("a"), true), "start a incremental");
}

#[test]
fn a_first_load_waits_for_a_person_until_a_run_has_left_a_ledger() {
    let ask = NEW.replace("\"a\"", r#""a", "first_load": "ask""#);
    let (mut world, done) = World::new(Mode::Loop, &ask);
    assert_eq!((done.as_str(), world.state()), ("", EntryState::Waiting { cause: Wait::Person }));
    assert_eq!(world.sync(Some("a"), false), "reply");
    assert_eq!(world.answer(), SyncAnswer::Refused { reason: Refusal::FirstLoad });
    let mut world = World::running(Mode::Loop, &format!("{NEW}, {ask}"));
    assert_eq!(world.ended(1, failed()), "start a full", "the other entry has the same delivery");
    // A single pass does not wait.
    let (world, _) = World::new(Mode::Once, &ask);
    assert_eq!((world.machine.phase(), world.machine.verdict().unwrap()), (Phase::Over, Verdict::Failed));
}

#[test]
fn a_list_is_stopped_until_it_is_requested_or_edited() {
    let stop = |world: &mut World, list: &str| {
        let (reply, answer) = oneshot::channel();
        std::mem::forget(answer);
        world.input(Input::Command(Command::StopOne { list: list.into(), reply }))
    };
    let mut world = World::running(Mode::Loop, NEW);
    assert_eq!(stop(&mut world, "b"), "reply");
    assert!(matches!(world.replies.pop(), Some(Reply::Stopped(_, Err(Refusal::UnknownList)))));
    assert_eq!(world.sync(Some("a"), true), "");
    assert_eq!(stop(&mut world, "a"), "reply, cancel 1");
    assert_eq!(world.answer(), SyncAnswer::Refused { reason: Refusal::Stopped });
    assert_eq!(stop(&mut world, "a"), "", "a run that is stopping is not canceled again");
    assert_eq!(world.ended(1, stopped()), "reply, reply");
    for _ in 0..2 {
        let Some(Reply::Stopped(_, Ok(runs))) = world.replies.pop() else { panic!() };
        assert!(
            matches!(&runs[0].outcome, RunOutcome::Stopped { reason: why, .. } if why == "stopped on request")
        );
    }
    assert_eq!((world.edited(NEW), world.state()), (String::new(), EntryState::Stopped));
    assert_eq!(stop(&mut world, "a"), "reply", "nothing runs");
    assert_eq!(world.sync(Some("a"), false), "start a full, reply");
    // A run that finishes nevertheless is written, and that is no edit.
    assert_eq!(stop(&mut world, "a"), "cancel 2");
    assert_eq!(
        (world.ended(2, finished()), world.written(DUE, Outcome::Stamped)),
        ("save a".into(), "reply".into())
    );
    assert_eq!(world.state(), EntryState::Stopped);
    assert_eq!(world.edited(&DUE.replace("09:00", "09:01")), "start a incremental");
}

#[test]
fn results_are_answered_newest_first_and_bounded() {
    let mut world = World::running(Mode::Loop, NEW);
    for run in 1..=30 {
        world.ended(run, failed());
        world.after(3600, Input::WakeUp);
    }
    let (reply, _answer) = oneshot::channel();
    assert_eq!(world.input(Input::Command(Command::Results { list: Some("a".into()), reply })), "reply");
    let Some(Reply::Results(_, results)) = world.replies.pop() else { panic!() };
    assert_eq!(results.len(), crate::controller::results::PER_LIST);
    assert!(results.is_sorted_by(|newer, older| newer.end > older.end));
    world.edited("");
    assert!(world.machine.results.of(None).is_empty(), "the file has the list no longer");
}

#[test]
fn every_end_of_a_run_is_one_line_of_the_history() {
    let (mut world, done) = World::new(Mode::Loop, NEW);
    assert_eq!(done, "start a full");
    world.ended(1, failed());
    world.after(3_700, Input::WakeUp);
    world.ended(2, finished());
    let (mut stopped_world, _) = World::new(Mode::Loop, DUE);
    stopped_world.ended(1, stopped());
    let (mut aborted, _) = World::new(Mode::Loop, DUE);
    aborted.input(Input::Ended(vec![(RunId(1), RunEnd::Aborted)]));
    let (mut requested, _) = World::new(Mode::Loop, FRESH);
    requested.sync(None, false);
    requested.input(Input::Ended(vec![(RunId(1), RunEnd::Panicked)]));
    let line = |run: &RunRecord| {
        let sent = run.counts.as_ref().map(|counts| counts.sent);
        let why = run.error.as_deref().or(run.reason.as_deref()).unwrap_or_default();
        (run.result, run.cause, sent, why.chars().take(24).collect::<String>())
    };
    let lines: Vec<_> = [&world, &stopped_world, &aborted, &requested]
        .iter()
        .flat_map(|world| world.history.iter().map(line))
        .collect();
    // The result of the finished run is not in the state file yet.
    let expected = [
        (ResultKind::Failed, Cause::Schedule, None, "it failed"),
        (ResultKind::Stopped, Cause::Schedule, Some(0), "importer was stopped"),
        (ResultKind::Stopped, Cause::Schedule, None, "importer was stopped"),
        (ResultKind::Failed, Cause::Command, None, "a bug in importer ended "),
    ];
    assert_eq!(lines, expected.map(|(result, cause, sent, why)| (result, cause, sent, why.to_owned())));
    world.written(NEW, Outcome::Overruled(Overruled::ByHand));
    let [.., last] = &world.history[..] else { panic!() };
    let by_hand = "latest_timestamp or star";
    assert_eq!(line(last), (ResultKind::Finished, Cause::Schedule, Some(7), by_hand.to_owned()));
    assert_eq!(
        (last.since, last.latest_timestamp.map(|until| until.to_rfc3339())),
        (None, Some("2026-11-21T11:59:59+00:00".into()))
    );
    assert!(last.start < last.end || last.start == last.end && last.list_id == "a");
}

#[test]
fn a_result_that_waits_for_the_state_file_is_in_the_history_when_it_is_written_or_at_the_end() {
    let unwritten = || {
        let (mut world, _) = World::new(Mode::Loop, NEW);
        world.ended(1, finished());
        world.input(Input::Written(Err(Fault::process("no space"))));
        assert!(world.history.is_empty());
        assert_eq!(world.state(), EntryState::Waiting { cause: Wait::Result });
        world
    };
    let mut later = unwritten();
    assert_eq!(later.edited(NEW), "save a");
    later.written(DUE, Outcome::Stamped);
    assert_eq!(later.history.iter().map(|run| run.reason.clone()).collect::<Vec<_>>(), [None]);
    let mut never = unwritten();
    never.is_stopping = true;
    never.input(Input::Stop);
    let (actions, _) = never.machine.finish(never.now());
    let reasons: Vec<_> = actions
        .into_iter()
        .filter_map(|action| match action {
            Action::Record(ended) => Some(ended.run.reason.unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, ["its result is in the journal"]);
}
