//! The pool: when a database is opened and closed, and what happens when too many are in use.

use std::path::PathBuf;

use futures::future::join_all;
use tokio::time::{advance, sleep};

use super::*;

fn path(folder: &Path, number: usize) -> PathBuf {
    folder.join(number.to_string()).join("records.redb")
}

/// Creates the database of this number, or uses it.
async fn touch(databases: &Databases, path: &Path) {
    databases.within(path, true, IfDamaged::Fail, |open| open.change(|_| Ok(()))).await.unwrap().unwrap();
}

async fn is_open(databases: &Databases, path: &Path) -> bool {
    databases.slot(path).held.lock().await.is_some()
}

/// Returns how many of these databases are open.
async fn open(databases: &Databases, paths: &[PathBuf]) -> usize {
    let slots = databases.slots.lock().unwrap().clone();
    let mut open = 0;
    for path in paths {
        let Some(slot) = slots.get(path) else { continue };
        open += usize::from(slot.held.lock().await.is_some());
    }
    open
}

#[tokio::test(start_paused = true)]
async fn a_database_is_opened_when_it_is_used_and_closed_a_minute_later() {
    let folder = tempfile::tempdir().unwrap();
    let (databases, one, other) = (Databases::default(), path(folder.path(), 1), path(folder.path(), 2));
    let nothing = databases.within(&one, false, IfDamaged::Fail, |_| Ok(())).await.unwrap();
    assert!(nothing.is_none() && !one.exists());
    touch(&databases, &one).await;
    advance(Duration::from_secs(30)).await;
    touch(&databases, &other).await;
    advance(Duration::from_secs(29)).await;
    databases.close_idle();
    assert_eq!(open(&databases, &[one.clone(), other.clone()]).await, 2);
    advance(Duration::from_secs(1)).await;
    databases.close_idle();
    assert_eq!(open(&databases, &[one.clone(), other.clone()]).await, 1);
    assert!(!is_open(&databases, &one).await);
    touch(&databases, &one).await;
    assert_eq!(open(&databases, &[one.clone(), other.clone()]).await, 2);
    databases.close().await;
    assert_eq!(open(&databases, &[one, other]).await, 0);
}

#[tokio::test(start_paused = true)]
async fn for_one_too_many_the_one_that_was_idle_longest_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (databases, paths) = (Databases::with_limit(3), [0, 1, 2, 3].map(|n| path(folder.path(), n)));
    for used in [0, 1, 2, 0, 3] {
        touch(&databases, &paths[used]).await;
        sleep(Duration::from_secs(1)).await;
    }
    let slots = databases.slots.lock().unwrap().clone();
    let mut found = vec![];
    for path in &paths {
        found.push(slots[path].held.lock().await.is_some());
    }
    assert_eq!(found, [true, false, true, true]);
}

/// While all are in use, further callers wait. Nobody waits for ever.
#[tokio::test(start_paused = true)]
async fn many_more_deliveries_than_databases_may_be_used_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::with_limit(4);
    let paths: Vec<PathBuf> = (0..40).map(|number| path(folder.path(), number)).collect();
    let busy = databases.slot(&paths[0]).held.clone();
    touch(&databases, &paths[0]).await;
    let busy = busy.lock_owned().await;
    let all = join_all(paths[1..].iter().map(async |path| {
        for _ in 0..3 {
            touch(&databases, path).await;
        }
    }));
    all.await;
    assert!(busy.is_some(), "one that is in use is not closed");
    drop(busy);
    assert!(open(&databases, &paths).await <= 4);
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_memory_is_written_before_a_database_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (databases, path) = (Databases::default(), path(folder.path(), 1));
    touch(&databases, &path).await;
    let now = chrono::DateTime::UNIX_EPOCH;
    let fate = crate::base::fate::Fate::Unchanged;
    databases.in_memory(&path, |open| open.note(vec![(7, fate)], now)).await.unwrap();
    databases.close().await;
    let known = databases.within(&path, false, IfDamaged::Fail, |open| open.recall(vec![7], true));
    assert!(known.await.unwrap().unwrap()[&7].cached.is_some());
}
