//! The contract of [`RunStore`], which every implementation has to keep: files, and the memory of a test.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    FolderStore, RunStore,
    checkpoint::{Header, Line},
    dead_letter::DeadLetter,
    hold::HoldReason,
    position::{Position, Positions},
    progress::Progress,
    runs::{LastRuns, tests::run},
    support_tests::InMemory,
};
use crate::base::{
    events::Events,
    key::key_digest,
    window::{Cursor, Listing, Window},
};

/// A delivery without earlier runs. Each entry and each run opens a store of its own.
enum Delivery {
    Files(tempfile::TempDir),
    Memory(InMemory),
}

impl Delivery {
    /// Returns a delivery of each kind.
    fn of_each_kind() -> [Self; 2] {
        [Delivery::Files(tempfile::tempdir().unwrap()), Delivery::Memory(InMemory::new("a"))]
    }

    /// Opens the store of an entry, as a new run does.
    fn store(&self, entry: &str) -> Arc<dyn RunStore> {
        match self {
            Delivery::Files(folder) => Arc::new(FolderStore {
                events: Events::default(),
                checkpoint: folder.path().join("delivery").join(entry),
                delivery: folder.path().join("delivery"),
                dead_letters: folder.path().join("dead-letter").join("delivery.ndjson"),
            }),
            Delivery::Memory(first) => Arc::new(first.of(entry)),
        }
    }

    /// Returns what a run of the entry finds in the checkpoint.
    async fn left(&self, entry: &str, run_fingerprint: &str) -> Option<(Header, Vec<Line>)> {
        self.store(entry).open_checkpoint(run_fingerprint).await.unwrap().1
    }

    /// Stores the beginning of a run with one settled page.
    async fn interrupt(&self, entry: &str) {
        let (mut checkpoint, _) = self.store(entry).open_checkpoint("null").await.unwrap();
        checkpoint.begin(header(1));
        checkpoint.append(vec![line(5)]).await.unwrap();
    }

    /// Returns the entry, the key and the reason of each dead letter.
    async fn letters(&self) -> Vec<(String, String, String)> {
        let (letters, unreadable) = self.store("a").dead_letters().await.unwrap();
        assert_eq!(unreadable, 0);
        letters.into_iter().map(|letter| (letter.entry, letter.key, letter.reason)).collect()
    }
}

fn header(pass: u32) -> Header {
    let until = crate::base::time::parse("2026-11-21");
    Header { pass, ..Header::new("null", vec![Window { listing: Listing::Listed, since: None, until }]) }
}

fn line(offset: u64) -> Line {
    let part = Window { listing: Listing::Listed, since: None, until: None };
    Line {
        walk: 0,
        progress: Progress { window: Some(9), ..Progress::new(part) },
        offset,
        opened: 9,
        total: 9,
        cut: vec![],
        names: vec!["subscribed".into()],
        rows: "AAAA".into(),
        read_twice: 2,
        fields: BTreeMap::from([("PHONE".into(), 3)]),
        seconds: 1.5,
        choice: Some("id".into()),
    }
}

fn letter(entry: &str, key: &str, reason: &str) -> DeadLetter {
    DeadLetter {
        key: key.into(),
        entry: entry.into(),
        reason: reason.into(),
        request_id: None,
        time: "2026-11-21T12:00:00Z".into(),
        changed: None,
        opts_out: false,
        deleted: false,
        payload: None,
    }
}

fn names(entries: &[&str]) -> Vec<String> {
    entries.iter().map(|name| (*name).to_owned()).collect()
}

fn told(letters: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    letters.iter().map(|(entry, key, reason)| ((*entry).into(), (*key).into(), (*reason).into())).collect()
}

#[tokio::test]
async fn a_hold_counts_for_all_entries_of_the_delivery_until_it_is_lifted() {
    for delivery in Delivery::of_each_kind() {
        let [a, b] = ["a", "b"].map(|entry| delivery.store(entry));
        assert_eq!(a.hold().await.unwrap(), None);
        a.lift_hold().await.unwrap();
        for (store, why) in [(&a, "too many"), (&b, "far too many")] {
            let hold = HoldReason { entry: "a".into(), what: "stopped".into(), why: why.into() };
            store.keep_hold(&hold).await.unwrap();
            assert_eq!(a.hold().await.unwrap(), Some(hold.clone()));
            assert_eq!(b.hold().await.unwrap(), Some(hold));
        }
        b.lift_hold().await.unwrap();
        assert_eq!(a.hold().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_run_of_the_same_entry_and_fingerprint_resumes_after_the_settled_pages() {
    for delivery in Delivery::of_each_kind() {
        let (mut checkpoint, left) = delivery.store("a").open_checkpoint("null").await.unwrap();
        assert_eq!(left, None);
        checkpoint.begin(header(1));
        checkpoint.until(crate::base::time::parse("2026-11-22").unwrap());
        assert_eq!(delivery.left("a", "null").await, None, "nothing is settled yet");
        checkpoint.append(vec![line(5)]).await.unwrap();
        checkpoint.append(vec![line(4), line(3)]).await.unwrap();
        drop(checkpoint);
        assert_eq!(delivery.left("b", "null").await, None, "the checkpoint belongs to the entry");
        let (mut resumed, left) = delivery.store("a").open_checkpoint("null").await.unwrap();
        let mut begun = header(1);
        begun.end_at(crate::base::time::parse("2026-11-22").unwrap());
        assert_eq!(left, Some((begun.clone(), vec![line(5), line(4), line(3)])));
        resumed.append(vec![line(2)]).await.unwrap();
        let all = vec![line(5), line(4), line(3), line(2)];
        assert_eq!(delivery.left("a", "null").await, Some((begun, all)));
        // A new pass replaces the previous one once it has settled a page.
        resumed.begin(header(2));
        assert_eq!(delivery.left("a", "null").await.unwrap().0.pass, 1);
        resumed.append(vec![line(7)]).await.unwrap();
        assert_eq!(delivery.left("a", "null").await, Some((header(2), vec![line(7)])));
    }
}

#[tokio::test]
async fn a_checkpoint_of_another_fingerprint_is_removed() {
    for delivery in Delivery::of_each_kind() {
        delivery.interrupt("a").await;
        assert_eq!(delivery.left("a", "2026-11-21").await, None);
        assert_eq!(delivery.left("a", "null").await, None);
        // The next run can use it.
        delivery.interrupt("a").await;
        assert_eq!(delivery.left("a", "null").await, Some((header(1), vec![line(5)])));
    }
}

#[tokio::test]
async fn discarded_checkpoints_are_those_of_the_entry_or_of_entries_that_no_longer_exist() {
    for delivery in Delivery::of_each_kind() {
        let has = async |entry| delivery.left(entry, "null").await.is_some();
        delivery.store("a").discard_checkpoint().await.unwrap();
        for entry in ["a", "b", "c", "d"] {
            delivery.interrupt(entry).await;
        }
        delivery.store("a").discard_checkpoint().await.unwrap();
        assert!(!has("a").await && has("b").await);
        let dropped = delivery.store("a").discard_orphans(&names(&["a", "c"])).await.unwrap();
        assert!(dropped.len() == 2 && dropped[0].contains('b') && dropped[1].contains('d'), "{dropped:?}");
        assert!(!has("b").await && has("c").await && !has("d").await);
        assert_eq!(delivery.store("a").discard_orphans(&names(&["a", "c"])).await.unwrap(), names(&[]));
    }
}

#[tokio::test]
async fn a_quiet_run_does_not_hide_the_last_one_with_changes_and_entries_have_runs_of_their_own() {
    for delivery in Delivery::of_each_kind() {
        let of = async |entry| delivery.store("x").last_runs(entry).await.unwrap();
        assert_eq!(of("a").await, LastRuns::default());
        for (entry, minute, sent) in [("a", 0, 5), ("b", 1, 0), ("a", 2, 0)] {
            delivery.store(entry).record_run(run(entry, minute, sent)).await.unwrap();
        }
        let (changes, quiet) = (run("a", 0, 5), run("a", 2, 0));
        let expected =
            LastRuns { last: Some(quiet.clone()), finished: Some(quiet), with_changes: Some(changes) };
        assert_eq!(of("a").await, expected);
        assert_eq!(of("b").await.with_changes, None);
    }
}

#[tokio::test]
async fn positions_are_replaced_as_a_whole_and_name_their_entry() {
    let positions = |of: &[(&str, Position)]| -> Positions {
        of.iter().map(|(shard, position)| ((*shard).to_owned(), position.clone())).collect()
    };
    for delivery in Delivery::of_each_kind() {
        assert_eq!(delivery.store("a").positions().await.unwrap(), None);
        let after = Position::After(Cursor("\"7\"".into()));
        for (entry, of) in [("a", positions(&[("x", after), ("y", Position::Closed)])), ("b", positions(&[]))]
        {
            delivery.store("a").keep_positions(entry, of.clone()).await.unwrap();
            let found = delivery.store("b").positions().await.unwrap().unwrap();
            assert_eq!((found.entry.as_str(), found.shards), (entry, of));
        }
    }
}

#[tokio::test]
async fn dead_letters_stay_until_the_records_of_their_entry_are_settled() {
    for delivery in Delivery::of_each_kind() {
        assert_eq!(delivery.letters().await, told(&[]));
        let (store, key) = (delivery.store("a"), |key| HashSet::from([key_digest(key)]));
        store.tidy_dead_letters("a", key("1")).await.unwrap();
        store.append_dead_letters(vec![letter("a", "1", "old"), letter("b", "1", "old")]).await.unwrap();
        let more = vec![letter("a", "2", "old"), letter("a", "1", "new")];
        delivery.store("b").append_dead_letters(more).await.unwrap();
        let all = [("a", "1", "old"), ("b", "1", "old"), ("a", "2", "old"), ("a", "1", "new")];
        assert_eq!(delivery.letters().await, told(&all));
        store.tidy_dead_letters("a", key("3")).await.unwrap();
        assert_eq!(delivery.letters().await, told(&all[1..]), "the latest of each record and entry");
        store.tidy_dead_letters("a", key("1")).await.unwrap();
        assert_eq!(delivery.letters().await, told(&all[1..3]));
        assert!(!store.dead_letter_location().is_empty());
    }
}

#[tokio::test]
async fn dead_letters_of_entries_that_no_longer_exist_go_to_each_current_entry() {
    for delivery in Delivery::of_each_kind() {
        let store = delivery.store("a");
        store.adopt_dead_letters(&names(&["a"])).await.unwrap();
        let letters = vec![letter("gone", "1", "old"), letter("b", "2", "old"), letter("gone", "3", "old")];
        store.append_dead_letters(letters).await.unwrap();
        for _ in 0..2 {
            store.adopt_dead_letters(&names(&["a", "b"])).await.unwrap();
            let mut found = delivery.letters().await;
            found.sort();
            let mut all: Vec<_> = ["1", "3"].map(|key| [("a", key, "old"), ("b", key, "old")]).concat();
            all.push(("b", "2", "old"));
            all.sort_unstable();
            assert_eq!(found, told(&all));
        }
    }
}
