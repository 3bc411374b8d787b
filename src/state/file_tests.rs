//! Tests of one process and one user: what a write keeps, and what remains after a crash or a save at any of
//! its steps.
#![expect(clippy::disallowed_methods, reason = "the tests act as the user, who may save in any way")]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    sync::{Arc, Mutex},
};

use super::{
    disk::{Means, Step},
    document::{Edit, Outcome, Overruled, RunStamp},
    file::{Applied, StateFile},
    history,
    identity::BaseVersion,
    layout::{NAME, OURS},
    vocabulary::SAMPLE,
};
use crate::base::{clock::SystemClock, events::Events, fault::Fault, time};

const TEXT: &str = "[\n  {\"list_id\": \"a\"}, // ours\n  {\"list_id\": \"b\", \"worker_count\": 1}\n]\n";

fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(NAME), text).unwrap();
    folder
}

fn open(folder: &Path) -> StateFile {
    StateFile::open(folder, Arc::new(SystemClock), &SAMPLE, Events::default()).unwrap()
}

fn edit(file: &StateFile) -> Edit {
    edit_of(file, "a")
}

fn edit_of(file: &StateFile, list_id: &str) -> Edit {
    let entry = file.load().unwrap().entries.into_iter().find(|entry| entry.id.list_id == list_id).unwrap();
    let latest_timestamp = time::parse("2019-10-21T10:00:00").unwrap();
    let stamp = RunStamp { latest_timestamp, elapsed_seconds: 1.0, total_updates: 2 };
    Edit { entry: entry.id, alone: entry.alone, was: entry.was, stamp }
}

/// Writes edits and looks for a late save, as the saver does.
fn apply(file: &StateFile, edits: &[Edit]) -> Result<Applied, Fault> {
    let applied = file.apply(edits)?;
    file.look_back_soon();
    Ok(applied)
}

fn read(folder: &Path) -> String {
    fs::read_to_string(folder.join(NAME)).unwrap()
}

const STAMPED: &str = "\"latest_timestamp\": \"2019-10-21T10:00:00\"";

#[test]
fn a_write_keeps_the_mode_follows_a_symlink_and_leaves_nothing_but_our_folder() {
    for means in [Means::Exchange, Means::Replace] {
        let folder = folder(TEXT);
        let (link, real) = (folder.path().join(NAME), folder.path().join("real.json"));
        fs::rename(&link, &real).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.json", &link).unwrap();
        let file = open(folder.path()).with(means, Box::new(|_| Ok(())));
        let applied = apply(&file, &[edit(&file)]).unwrap();
        assert_eq!(applied.outcomes, [Outcome::Stamped]);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&real).unwrap(), applied.snapshot.text);
        assert!(applied.snapshot.text.contains(STAMPED));
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [OURS, "real.json", NAME]);
    }
}

#[test]
fn a_write_keeps_the_owner() {
    let folder = folder(TEXT);
    let path = folder.path().join(NAME);
    if chown(&path, Some(1234), Some(4321)).is_err() {
        println!("skipped: only root can change the owner of a file");
        return;
    }
    let file = open(folder.path());
    apply(&file, &[edit(&file)]).unwrap();
    let owner = fs::metadata(&path).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (1234, 4321));
}

#[test]
fn an_overruled_edit_writes_nothing() {
    let folder = folder(TEXT);
    let file = open(folder.path());
    let edit = edit(&file);
    let theirs = TEXT.replace("\"a\"", "\"a\", \"latest_timestamp\": \"2018-01-01T00:00:00\"");
    fs::write(folder.path().join(NAME), &theirs).unwrap();
    assert_eq!(apply(&file, &[edit]).unwrap().outcomes, [Outcome::Overruled(Overruled::ByHand)]);
    assert_eq!(read(folder.path()), theirs);
}

#[test]
fn an_unusable_file_says_where_shows_the_line_and_says_what_to_do() {
    let folder = folder("[\n{\"list_id\" \"a\"}]");
    let file = open(folder.path());
    let told = file.load().unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "state");
    assert_eq!(
        told,
        "state/state.json:2:12: expected a colon after the key (fix the file)\n \
         2 | {\"list_id\" \"a\"}]\n   |            ^"
    );
    fs::write(file.path(), b"[\n \xff]").unwrap();
    assert!(file.load().unwrap_err().to_string().contains("state.json:2:2: expected UTF-8 text"));
}

#[test]
fn a_missing_file_says_where_it_should_be_and_how_to_get_one() {
    let folder = folder("");
    let file = open(folder.path());
    fs::remove_file(file.path()).unwrap();
    let told = || file.load().unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "state");
    assert_eq!(
        told(),
        "there is no state file `state/state.json` (create it with `[{\"list_id\": \"…\"}]` and the id of your list)"
    );
    fs::write(folder.path().join("state.example.json"), "[]").unwrap();
    assert!(told().contains("copy state/state.example.json there"), "{}", told());
}

#[test]
fn a_half_saved_file_is_read_again_before_it_is_called_broken() {
    let folder = folder(TEXT);
    let file = open(folder.path());
    std::thread::scope(|threads| {
        for half in ["", &TEXT[..30]] {
            fs::write(file.path(), half).unwrap();
            let saving = threads.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(100));
                fs::write(file.path(), TEXT).unwrap();
            });
            assert_eq!(file.load().unwrap().text, TEXT);
            saving.join().unwrap();
        }
        fs::remove_file(file.path()).unwrap();
        threads.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            fs::write(file.path(), TEXT).unwrap();
        });
        assert_eq!(file.load().unwrap().text, TEXT);
    });
}

#[test]
fn a_result_waits_in_the_journal_until_the_file_is_mended_even_over_a_restart() {
    let folder = folder(TEXT);
    let file = open(folder.path());
    let edit = edit(&file);
    fs::write(file.path(), "[{").unwrap();
    assert!(apply(&file, &[edit]).is_err());
    assert_eq!(read(folder.path()), "[{");
    drop(file);
    let file = open(folder.path());
    assert_eq!(read(folder.path()), "[{");
    fs::write(file.path(), TEXT).unwrap();
    // Reading the repaired file is enough; no other restart is needed.
    assert!(file.load().unwrap().text.contains(STAMPED));
    assert!(read(folder.path()).contains(STAMPED));
}

/// How the user saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Save {
    Rename,
    InPlace,
    /// Through a descriptor that was opened before the write began.
    Late,
}

/// The user's edit, applied to the text that the user sees at that moment.
const BEFORE: &str = "\"worker_count\": 1";
const AFTER: &str = "\"worker_count\": 2";

fn save(path: &Path, how: Save, text: &str, late: &mut File) {
    let seen = fs::read_to_string(path).unwrap();
    let saved = match how {
        // The user opened the file before importer wrote it.
        Save::Late => text.replace(BEFORE, AFTER),
        _ => seen.replace(BEFORE, AFTER),
    };
    match how {
        Save::Rename => {
            fs::write(path.with_file_name("new"), saved).unwrap();
            fs::rename(path.with_file_name("new"), path).unwrap();
        }
        Save::InPlace => fs::write(path, saved).unwrap(),
        Save::Late => {
            late.set_len(0).unwrap();
            late.rewind().unwrap();
            late.write_all(saved.as_bytes()).unwrap();
        }
    }
}

const STEPS: [Step; 6] =
    [Step::Pending, Step::Written, Step::Prepared, Step::Exchanged, Step::Kept, Step::Done];

/// The state after a write during which the user saved at one step, a crash at one step, and a new start.
struct Left {
    text: String,
    conflicts: Vec<String>,
    /// Whether the write reached the step of the user's save.
    saved: bool,
}

/// The edits of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    One,
    /// Three edits; the user has overruled the second one.
    Three,
}

const BATCHES: [Batch; 2] = [Batch::One, Batch::Three];
const BY_HAND: &str = "\"latest_timestamp\": \"2018-01-01T00:00:00\"";

impl Batch {
    fn text(self) -> String {
        let more =
            format!("\"worker_count\": 1}},\n  {{\"list_id\": \"c\", {BY_HAND}}},\n  {{\"list_id\": \"d\"}}");
        if self == Batch::One { TEXT.into() } else { TEXT.replace("\"worker_count\": 1}", &more) }
    }

    fn edits(self, file: &StateFile) -> Vec<Edit> {
        if self == Batch::One {
            return vec![edit(file)];
        }
        let overruled = Edit { was: BaseVersion::Null { start_offset: 0 }, ..edit_of(file, "c") };
        vec![edit(file), overruled, edit_of(file, "d")]
    }

    /// Returns whether the text has every stamp once and what the user wrote.
    fn is_in(self, text: &str) -> bool {
        match self {
            Batch::One => text.matches(STAMPED).count() == 1,
            Batch::Three => text.matches(STAMPED).count() == 2 && text.contains(BY_HAND),
        }
    }
}

fn write_with(batch: Batch, means: Means, saves: Option<(Step, Save)>, crash: Option<Step>) -> Left {
    let folder = folder(&batch.text());
    let path = folder.path().join(NAME);
    let late = Mutex::new(OpenOptions::new().write(true).open(&path).unwrap());
    let (at, saved) = (path.clone(), Arc::new(Mutex::new(false)));
    let done = Arc::clone(&saved);
    let hook = move |step| {
        let mut saved = saved.lock().unwrap();
        if let Some((_, how)) = saves.filter(|(when, _)| *when == step && !*saved) {
            *saved = true;
            save(&at, how, &batch.text(), &mut late.lock().unwrap());
        }
        let whole = super::schema::read(&fs::read_to_string(&at).unwrap(), &SAMPLE).is_ok();
        assert!(whole, "at {step:?} the file is not whole");
        if crash == Some(step) { Err(io::Error::other("crash")) } else { Ok(()) }
    };
    let file = open(folder.path()).with(means, Box::new(hook));
    let edits = batch.edits(&file);
    let applied = apply(&file, &edits);
    let reached = crash.is_some_and(|crash| crash != Step::PutBack);
    assert!(applied.is_err() == reached || saves.is_some(), "{applied:?}");
    drop(file);
    let file = open(folder.path());
    file.look_back().unwrap();
    let names =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let conflicts = names.filter(|name| name.contains("conflict"));
    let conflicts = conflicts.map(|name| fs::read_to_string(folder.path().join(name)).unwrap()).collect();
    let saved = *done.lock().unwrap();
    Left { text: read(folder.path()), conflicts, saved }
}

#[test]
fn a_crash_at_any_step_loses_no_edit_of_ours() {
    for batch in BATCHES {
        for means in [Means::Exchange, Means::Replace] {
            for crash in STEPS {
                let Left { text, conflicts, saved } = write_with(batch, means, None, Some(crash));
                assert!(batch.is_in(&text) && !saved, "{batch:?} {means:?} {crash:?}: {text}");
                assert!(conflicts.is_empty(), "{batch:?} {means:?} {crash:?}: {conflicts:?}");
            }
        }
    }
}

fn batches_and_saves() -> impl Iterator<Item = (Batch, Save)> {
    let saves = [Save::Rename, Save::InPlace, Save::Late];
    BATCHES.into_iter().flat_map(move |batch| saves.map(|how| (batch, how)))
}

#[test]
fn a_save_at_any_step_is_kept_and_so_is_ours() {
    for (batch, how) in batches_and_saves() {
        for when in STEPS {
            let Left { text, conflicts, saved } = write_with(batch, Means::Exchange, Some((when, how)), None);
            assert!(
                saved && text.contains(AFTER) && batch.is_in(&text),
                "{batch:?} {how:?} at {when:?}: {text}"
            );
            assert!(conflicts.is_empty(), "{batch:?} {how:?} at {when:?}: {conflicts:?}");
        }
    }
}

/// After a crash, no process knows which stamps to add to a save that went to a displaced text. Such a save
/// may be kept aside, but it is kept.
#[test]
fn a_save_and_a_crash_at_any_steps_lose_no_edit_of_the_users() {
    for (batch, how) in batches_and_saves() {
        for when in STEPS {
            for crash in STEPS.into_iter().chain([Step::PutBack]) {
                let Left { text, conflicts, saved } =
                    write_with(batch, Means::Exchange, Some((when, how)), Some(crash));
                let kept =
                    !saved || text.contains(AFTER) || conflicts.iter().any(|text| text.contains(AFTER));
                assert!(kept, "{how:?} at {when:?}, crash at {crash:?}: {text} {conflicts:?}");
                assert!(batch.is_in(&text), "{batch:?} {how:?} at {when:?}, crash at {crash:?}: {text}");
                let aside_only_if_late = conflicts.is_empty() || how == Save::Late;
                assert!(aside_only_if_late, "{how:?} at {when:?}, crash at {crash:?}: {conflicts:?}");
            }
        }
    }
}

#[test]
fn where_files_cannot_be_exchanged_a_save_in_place_or_late_is_still_kept() {
    for how in [Save::InPlace, Save::Late] {
        for when in STEPS {
            let Left { text, conflicts, saved } =
                write_with(Batch::Three, Means::Replace, Some((when, how)), None);
            let kept = saved && text.contains(AFTER) && Batch::Three.is_in(&text);
            assert!(kept, "{how:?} at {when:?}: {text} {conflicts:?}");
        }
    }
}

#[test]
fn a_second_save_while_the_first_gets_its_name_back_is_in_force_and_the_first_is_kept_aside() {
    let folder = folder(TEXT);
    let path = folder.path().join(NAME);
    let at = path.clone();
    let saves = Mutex::new(0);
    let hook = move |step| {
        let mut saves = saves.lock().unwrap();
        if *saves < 2 && [Step::Prepared, Step::Exchanged].contains(&step) {
            *saves += 1;
            let seen = fs::read_to_string(&at).unwrap();
            fs::write(&at, seen.replace(BEFORE, &format!("\"worker_count\": {}", *saves + 1))).unwrap();
        }
        Ok(())
    };
    let file = open(folder.path()).with(Means::Exchange, Box::new(hook));
    apply(&file, &[edit(&file)]).unwrap();
    assert!(read(folder.path()).contains("\"worker_count\": 3") && read(folder.path()).contains(STAMPED));
    let conflict = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let conflict = conflict.into_iter().find(|path| path.to_str().unwrap().contains("conflict")).unwrap();
    assert!(fs::read_to_string(conflict).unwrap().contains("\"worker_count\": 2"));
}

#[test]
fn a_file_that_an_editor_has_moved_away_is_waited_for() {
    let folder = folder(TEXT);
    let path = folder.path().join(NAME);
    let (at, moved) = (path.clone(), Mutex::new(false));
    let hook = move |step| {
        let mut moved = moved.lock().unwrap();
        if step == Step::Prepared && !*moved {
            *moved = true;
            fs::rename(&at, at.with_file_name("state.json~")).unwrap();
            let at = at.clone();
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(100));
                fs::write(&at, TEXT.replace(BEFORE, AFTER)).unwrap();
            });
        }
        Ok(())
    };
    let file = open(folder.path()).with(Means::Exchange, Box::new(hook));
    apply(&file, &[edit(&file)]).unwrap();
    assert!(read(folder.path()).contains(AFTER) && read(folder.path()).contains(STAMPED));
}

#[test]
fn a_save_through_an_old_descriptor_is_taken_over_after_several_of_our_writes() {
    let text =
        TEXT.replace("\"b\"", "\"c\"").replace("]\n", ", {\"list_id\": \"b\", \"worker_count\": 1}]\n");
    let folder = folder(&text);
    let file = open(folder.path());
    let mut late = OpenOptions::new().write(true).open(file.path()).unwrap();
    let first = edit(&file);
    let mut second = first.clone();
    second.entry = file.load().unwrap().entries.into_iter().find(|entry| entry.id.list_id == "c").unwrap().id;
    apply(&file, &[first]).unwrap();
    apply(&file, &[second]).unwrap();
    let saved = text.replace(&format!("\"b\", {BEFORE}"), &format!("\"b\", {AFTER}"));
    late.write_all(saved.as_bytes()).unwrap();
    file.look_back().unwrap();
    let text = read(folder.path());
    assert!(text.contains(AFTER) && text.matches(STAMPED).count() == 2, "{text}");
}

#[test]
fn a_late_save_that_never_becomes_whole_is_not_put_in_force() {
    let folder = folder(TEXT);
    let file = open(folder.path());
    let late = OpenOptions::new().write(true).open(file.path()).unwrap();
    apply(&file, &[edit(&file)]).unwrap();
    let stamped = read(folder.path());
    late.set_len(0).unwrap();
    file.look_back().unwrap();
    assert_eq!(read(folder.path()), stamped);
}

#[test]
fn a_reload_asked_for_after_a_crash_is_not_undone_by_the_journal() {
    for crash in [Step::Exchanged, Step::Kept, Step::Done] {
        let folder = folder(TEXT);
        let hook = move |step| if step == crash { Err(io::Error::other("crash")) } else { Ok(()) };
        let file = open(folder.path()).with(Means::Exchange, Box::new(hook));
        assert!(apply(&file, &[edit(&file)]).is_err());
        drop(file);
        fs::write(folder.path().join(NAME), TEXT).unwrap();
        open(folder.path());
        assert_eq!(read(folder.path()), TEXT, "crash at {crash:?}");
    }
}

#[test]
fn every_text_that_is_kept_aside_has_a_name_of_its_own() {
    let folder = folder(TEXT);
    let file = open(folder.path());
    drop(file);
    for n in 0..5 {
        fs::write(folder.path().join(OURS).join(format!("displaced-{n}")), format!("[{n}]")).unwrap();
    }
    open(folder.path());
    let names =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.contains("conflict")).count(), 5);
}

#[test]
fn half_a_text_in_the_slot_is_never_put_in_force() {
    let folder = folder(TEXT);
    let hook = |step| if step == Step::Exchanged { Err(io::Error::other("crash")) } else { Ok(()) };
    let file = open(folder.path()).with(Means::Exchange, Box::new(hook));
    assert!(apply(&file, &[edit(&file)]).is_err());
    drop(file);
    fs::write(folder.path().join(OURS).join("slot"), &TEXT[..20]).unwrap();
    open(folder.path());
    assert!(read(folder.path()).contains(STAMPED));
}

/// A user who removes a stamp after the crash has the last word, for each stamp of the batch.
#[test]
fn a_reload_of_one_list_of_a_batch_is_not_undone_by_the_journal() {
    for crash in [Step::Exchanged, Step::Kept, Step::Done] {
        for list in ["\"a\"", "\"d\""] {
            let original = Batch::Three.text();
            let folder = folder(&original);
            let hook = move |step| if step == crash { Err(io::Error::other("crash")) } else { Ok(()) };
            let file = open(folder.path()).with(Means::Exchange, Box::new(hook));
            let edits = Batch::Three.edits(&file);
            assert!(file.apply(&edits).is_err());
            drop(file);
            // The line of this list as it was before the run.
            let stamped = read(folder.path());
            let lines = stamped.lines().zip(original.lines());
            let line = |(now, before): (&str, &str)| if now.contains(list) { before } else { now }.to_owned();
            let reload = lines.map(line).collect::<Vec<String>>().join("\n");
            assert_eq!(reload.matches(STAMPED).count(), 1, "{reload}");
            fs::write(folder.path().join(NAME), &reload).unwrap();
            open(folder.path());
            assert_eq!(read(folder.path()), reload, "crash at {crash:?}, {list}");
        }
    }
}

#[test]
fn edits_of_one_write_are_one_exchange_and_one_version_in_the_history() {
    let folder = folder(&Batch::Three.text());
    let steps = Arc::new(Mutex::new(vec![]));
    let noted = Arc::clone(&steps);
    let hook = move |step| {
        noted.lock().unwrap().push(step);
        Ok(())
    };
    let file = open(folder.path()).with(Means::Exchange, Box::new(hook));
    let edits = Batch::Three.edits(&file);
    file.keep_pending(&edits).unwrap();
    let applied = file.apply(&edits).unwrap();
    assert_eq!(applied.outcomes, [Outcome::Stamped, Outcome::Overruled(Overruled::ByHand), Outcome::Stamped]);
    assert_eq!(*steps.lock().unwrap(), STEPS);
    let versions = history::versions(folder.path()).unwrap();
    let texts: Vec<String> = versions.iter().map(|version| version.text().unwrap()).collect();
    assert_eq!(texts, [Batch::Three.text(), read(folder.path())]);
}

#[test]
fn the_journal_is_written_only_when_it_changes() {
    let folder = folder(TEXT);
    let journal = folder.path().join(OURS).join("journal.json");
    let (at, seen) = (journal.clone(), Arc::new(Mutex::new(vec![])));
    let noted = Arc::clone(&seen);
    let hook = move |_| {
        noted.lock().unwrap().push(fs::metadata(&at)?.ino());
        Ok(())
    };
    let file = open(folder.path());
    // Each text is a new file, made while the one before has its name.
    let begun = fs::metadata(&journal).unwrap().ino();
    drop(file);
    let file = open(folder.path()).with(Means::Exchange, Box::new(hook));
    assert_eq!(fs::metadata(&journal).unwrap().ino(), begun, "nothing has changed since");
    apply(&file, &[edit(&file)]).unwrap();
    let mut written = seen.lock().unwrap().clone();
    assert_eq!(written.len(), STEPS.len());
    written.dedup();
    assert_eq!(written.len(), 3, "the edit, the exchange, and their end");
}

#[test]
fn an_edit_is_pending_only_once_it_is_on_disk() {
    let folder = folder(TEXT);
    let journal = folder.path().join(OURS).join("journal.json");
    let file = open(folder.path());
    let edits = [edit(&file)];
    let new = journal.with_extension("json.new");
    fs::create_dir(&new).unwrap();
    assert!(file.keep_pending(&edits).is_err());
    fs::remove_dir(&new).unwrap();
    file.keep_pending(&edits).unwrap();
    assert!(
        fs::read_to_string(&journal).unwrap().contains("\"list_id\":\"a\""),
        "the second write made up for it"
    );
}
