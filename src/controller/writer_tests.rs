//! Tests of the writer with the saver, by themselves and in the loop.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests act as the user, and a write may wait on its own thread"
)]

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use super::{
    super::{
        Mode, OpenRequest, Tools, Verdict, quit, run,
        saver::{Finished, Saver},
        schedule::RunId,
        support_tests::tools,
        watch::Watch,
    },
    *,
};
use crate::{
    base::{clock::SystemClock, events::Events, time},
    engine::{
        plan::Pipeline,
        support_tests::{AsItIs, Feed, Store, pipeline},
    },
    state::{
        Edit, RunStamp, Unfit,
        disk::{Means, Step as Moment},
        document::{Outcome, Overruled},
        history,
        layout::NAME,
        vocabulary::SAMPLE,
    },
    store::{FolderStore, checkpoint},
};

/// Returns the state file of some lists, `l0` and so on, with a hook for the moments of a write.
fn opened(
    folder: &Path,
    lists: usize,
    hook: impl Fn(Moment) -> io::Result<()> + Send + Sync + 'static,
) -> Arc<StateFile> {
    let entries: Vec<String> = (0..lists).map(|list| format!("  {{\"list_id\": \"l{list}\"}}")).collect();
    fs::write(folder.join(NAME), format!("[\n{}\n]\n", entries.join(",\n"))).unwrap();
    let state = StateFile::open(folder, Arc::new(SystemClock), &SAMPLE, Events::default()).unwrap();
    Arc::new(state.with(Means::Exchange, Box::new(hook)))
}

/// Opens a list whose source and sink take no time.
fn open(_: OpenRequest) -> Result<Pipeline, Unfit> {
    let mut feed = Feed::new(&[], false);
    feed.list.tick = Duration::ZERO;
    let clock = feed.list;
    Ok(pipeline(feed, AsItIs, Store::new(1, 0.0), clock))
}

/// Returns the results of all lists, each with a checkpoint.
fn finished(state: &StateFile, folder: &Path) -> Vec<Finished> {
    let stamp = RunStamp {
        latest_timestamp: time::parse("2026-11-21T12:00:00").unwrap(),
        elapsed_seconds: 1.0,
        total_updates: 2,
    };
    let result = |(run, entry): (u64, crate::state::Entry)| {
        let delivery = folder.join("checkpoints").join(&entry.id.list_id);
        fs::create_dir_all(&delivery).unwrap();
        fs::write(checkpoint::path(&delivery), "").unwrap();
        let store = FolderStore::alone(&delivery);
        let edit = Edit { entry: entry.id, alone: entry.alone, was: entry.was, stamp };
        Finished { run: RunId(run), edit, store: Arc::new(store), routine: true }
    };
    (0..).zip(state.load().unwrap().entries).map(result).collect()
}

/// Writes until nothing waits. Returns the outcomes of each write.
async fn drive(saver: &mut Saver, writer: &mut Writer) -> Vec<Result<Vec<Outcome>, String>> {
    let mut writes = vec![];
    loop {
        if let Some(save) = saver.begin() {
            writer.write(save);
        }
        match writer.next().await {
            None => return writes,
            Some(Done::LookedBack) => saver.looked_back(),
            Some(Done::Written(applied)) => {
                let results = saver.written(applied.is_ok());
                if applied.is_err() {
                    results.into_iter().for_each(|result| saver.keep(result));
                }
                writes.push(applied.map(|applied| applied.outcomes).map_err(|fault| fault.to_string()));
            }
        }
    }
}

/// Counts how often each moment occurs.
fn counting() -> (Arc<Mutex<Vec<Moment>>>, impl Fn(Moment) -> io::Result<()>) {
    let moments = Arc::new(Mutex::new(vec![]));
    let noted = Arc::clone(&moments);
    let hook = move |moment| {
        noted.lock().unwrap().push(moment);
        Ok(())
    };
    (moments, hook)
}

#[tokio::test]
async fn a_thousand_results_that_wait_at_a_stop_cost_two_exchanges() {
    let folder = tempfile::tempdir().unwrap();
    let (moments, hook) = counting();
    let state = opened(folder.path(), 1000, hook);
    let mut results = finished(&state, folder.path()).into_iter();
    let (mut saver, mut writer) = (Saver::default(), Writer::new(Arc::clone(&state), Events::default()));
    saver.add(results.next().unwrap());
    writer.write(saver.begin().unwrap());
    assert!(saver.is_writing());
    // They end while the first one is being written.
    results.for_each(|result| saver.add(result));
    assert!(saver.begin().is_none());
    let writes = drive(&mut saver, &mut writer).await;
    assert_eq!(writes, [Ok(vec![Outcome::Stamped]), Ok(vec![Outcome::Stamped; 999])]);
    let count = |moment| moments.lock().unwrap().iter().filter(|at| **at == moment).count();
    assert_eq!(
        (count(Moment::Pending), count(Moment::Exchanged)),
        (2, 2),
        "writes of the journal, exchanges"
    );
    let text = fs::read_to_string(state.path()).unwrap();
    assert_eq!(text.matches("\"latest_timestamp\": \"2026-11-21T12:00:00\"").count(), 1000);
    assert_eq!(history::versions(folder.path()).unwrap().len(), 3, "the text of the user and two of ours");
    assert!(!saver.is_busy() && saver.kept().is_empty());
}

#[tokio::test]
async fn a_checkpoint_is_removed_only_when_the_journal_has_its_result() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = folder.path().join("checkpoints");
    let seen = Arc::new(Mutex::new(vec![]));
    let noted = Arc::clone(&seen);
    let hook = move |moment| {
        let left = fs::read_dir(&checkpoints).unwrap();
        let left = left.filter(|list| checkpoint::path(&list.as_ref().unwrap().path()).exists()).count();
        noted.lock().unwrap().push((moment, left));
        Ok(())
    };
    let state = opened(folder.path(), 3, hook);
    let (mut saver, mut writer) = (Saver::default(), Writer::new(Arc::clone(&state), Events::default()));
    finished(&state, folder.path()).into_iter().for_each(|result| saver.add(result));
    drive(&mut saver, &mut writer).await;
    assert_eq!(seen.lock().unwrap()[..2], [(Moment::Pending, 3), (Moment::Written, 0)]);
}

#[tokio::test]
async fn results_that_a_broken_file_holds_up_wait_in_the_journal_and_are_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let state = opened(folder.path(), 3, |_| Ok(()));
    let text = fs::read_to_string(state.path()).unwrap();
    let (mut saver, mut writer) = (Saver::default(), Writer::new(Arc::clone(&state), Events::default()));
    let mut results = finished(&state, folder.path());
    let later = results.pop().unwrap();
    results.into_iter().for_each(|result| saver.add(result));
    fs::write(state.path(), "[{").unwrap();
    let writes = drive(&mut saver, &mut writer).await;
    assert!(matches!(&writes[..], [Err(fault)] if fault.contains("state.json:1:2")), "{writes:?}");
    assert_eq!((saver.kept().len(), saver.is_busy()), (2, false));
    let journal = fs::read_to_string(folder.path().join(".importer/journal.json")).unwrap();
    assert!(journal.contains("\"l0\"") && journal.contains("\"l1\""), "{journal}");
    // The user has set one of them back meanwhile.
    let mended = text.replace("\"l1\"", "\"l1\", \"latest_timestamp\": null");
    fs::write(state.path(), &mended).unwrap();
    saver.add(later);
    saver.retry();
    let by_hand = Outcome::Overruled(Overruled::ByHand);
    // The newest result is the first of the next write.
    assert_eq!(drive(&mut saver, &mut writer).await, [Ok(vec![Outcome::Stamped, Outcome::Stamped, by_hand])]);
    assert!(saver.kept().is_empty());
    assert_eq!(
        fs::read_to_string(folder.path().join(".importer/journal.json")).unwrap(),
        r#"{"wishes":[],"exchange":null}"#
    );
}

/// Waits until a condition holds. Returns false if it does not within a minute: the test then fails.
fn comes_true(condition: impl Fn() -> bool) -> bool {
    (0..6000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        condition()
    })
}

#[tokio::test]
async fn the_loop_goes_on_while_a_result_is_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let quit = folder.path().join(quit::NAME);
    let noticed = Arc::new(Mutex::new(None));
    let note = Arc::clone(&noticed);
    // The write waits until the loop has found the quit file, which it looks for every second.
    let hook = move |moment| {
        if moment == Moment::Written {
            fs::write(&quit, "")?;
            *note.lock().unwrap() = Some(comes_true(|| !quit.exists()));
        }
        Ok(())
    };
    let state = opened(folder.path(), 1, hook);
    let tools = tools(Arc::into_inner(state).unwrap(), Box::new(open));
    assert_eq!(run(tools, Mode::Loop).await.unwrap(), Verdict::Done);
    assert_eq!(*noticed.lock().unwrap(), Some(true), "the quit file was found during the write");
    let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
    assert!(text.contains("latest_timestamp"), "the program ends when its results are written: {text}");
}

/// An event in the folder, such as that of importer's own write, must not delay the loop by the time in which an editor
/// finishes a save.
#[tokio::test(start_paused = true)]
async fn an_event_without_an_edit_delays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(NAME), r#"[{"list_id": "l0", "latest_timestamp": "2019-10-21T09:00:00"}]"#)
        .unwrap();
    let state = StateFile::open(folder.path(), Arc::new(SystemClock), &SAMPLE, Events::default()).unwrap();
    let (event, changes) = tokio::sync::mpsc::channel(1);
    event.try_send(()).unwrap();
    let tools = Tools { watch: Watch::manual(changes), ..tools(state, Box::new(open)) };
    let start = tokio::time::Instant::now();
    assert_eq!(run(tools, Mode::Once).await.unwrap(), Verdict::Done);
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_save_through_a_replaced_file_is_taken_over_before_a_single_pass_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let old = Arc::new(Mutex::new(None));
    let (late, at) = (Arc::clone(&old), path.clone());
    let hook = move |moment| {
        match moment {
            Moment::Pending => *late.lock().unwrap() = Some(fs::OpenOptions::new().write(true).open(&at)?),
            Moment::Done => {
                let file = late.lock().unwrap().take();
                let mut file = file.ok_or(io::ErrorKind::NotFound)?;
                file.set_len(0)?;
                io::Write::write_all(&mut file, br#"[{"list_id": "l0", "worker_count": 2}]"#)?;
            }
            _ => {}
        }
        Ok(())
    };
    let state = opened(folder.path(), 1, hook);
    let tools = tools(Arc::into_inner(state).unwrap(), Box::new(open));
    assert_eq!(run(tools, Mode::Once).await.unwrap(), Verdict::Done);
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("\"worker_count\": 2") && text.contains("latest_timestamp"), "{text}");
}
