//! The pool: when a database is opened and closed, and what happens when too many are in use.

use std::{future::poll_fn, path::PathBuf, task::Poll};

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

/// Returns which of these databases are open.
fn open<const N: usize>(databases: &Databases, paths: [&PathBuf; N]) -> [bool; N] {
    let slots = locked(&databases.0.slots);
    paths.map(|path| slots.get(path).is_some_and(|slot| locked(&slot.open).is_some()))
}

/// Closes idle databases, and waits until they are closed.
async fn close_idle(databases: &Databases) {
    let idle = databases.0.idle(IDLE);
    databases.close_idle();
    for slot in idle {
        while slot.open.try_lock().is_ok_and(|open| open.is_some()) {
            sleep(Duration::from_millis(1)).await;
        }
    }
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
    close_idle(&databases).await;
    assert_eq!(open(&databases, [&one, &other]), [true, true]);
    advance(Duration::from_secs(1)).await;
    close_idle(&databases).await;
    assert_eq!(open(&databases, [&one, &other]), [false, true]);
    touch(&databases, &one).await;
    assert_eq!(open(&databases, [&one, &other]), [true, true]);
    databases.close().await;
    assert_eq!(open(&databases, [&one, &other]), [false, false]);
}

#[tokio::test(start_paused = true)]
async fn above_the_limit_the_database_that_was_idle_longest_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (databases, paths) =
        (Databases::with_limit(3, Events::default()), [0, 1, 2, 3].map(|n| path(folder.path(), n)));
    for used in [0, 1, 2, 0, 3] {
        touch(&databases, &paths[used]).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(open(&databases, paths.each_ref()), [true, false, true, true]);
}

/// While all are in use, further callers wait. Nobody waits for ever.
#[tokio::test]
async fn many_more_deliveries_than_databases_may_be_used_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::with_limit(4, Events::default());
    let paths: Vec<PathBuf> = (0..40).map(|number| path(folder.path(), number)).collect();
    let all = join_all(paths.iter().map(async |path| {
        for _ in 0..3 {
            touch(&databases, path).await;
        }
    }));
    all.await;
    let open = paths.iter().filter(|path| open(&databases, [path])[0]).count();
    assert_eq!((open, *locked(&databases.0.free)), (4, 0));
}

#[tokio::test]
async fn a_database_in_use_is_not_closed_for_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let databases = Databases::with_limit(1, Events::default());
    let paths = [1, 2].map(|number| path(folder.path(), number));
    let (begun, begins) = std::sync::mpsc::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let busy = databases.within(&paths[0], true, IfDamaged::Fail, move |open| {
        begun.send(()).unwrap();
        ends.recv().unwrap();
        open.change(|_| Ok(()))
    });
    let other = async {
        spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
        let waits = touch(&databases, &paths[1]);
        tokio::pin!(waits);
        let waited = tokio::time::timeout(Duration::from_millis(200), &mut waits).await;
        assert!(waited.is_err(), "there is one place only");
        end.send(()).unwrap();
        waits.await;
    };
    let (busy, ()) = tokio::join!(busy, other);
    busy.unwrap().unwrap();
    assert_eq!(open(&databases, paths.each_ref()), [false, true]);
}

/// A run may leave a future alone while it waits for another one.
#[tokio::test]
async fn a_caller_that_is_not_polled_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (databases, path) = (Databases::with_limit(1, Events::default()), path(folder.path(), 1));
    for _ in 0..20 {
        let mut left: Vec<_> = (0..4).map(|_| Box::pin(touch(&databases, &path))).collect();
        for waits in &mut left {
            poll_fn(|context| Poll::Ready(waits.as_mut().poll(context).is_ready())).await;
        }
        touch(&databases, &path).await;
        drop(left);
    }
}

#[tokio::test]
async fn what_waits_in_memory_is_written_before_a_database_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (databases, path) = (Databases::default(), path(folder.path(), 1));
    touch(&databases, &path).await;
    let now = chrono::DateTime::UNIX_EPOCH;
    let fate = crate::base::fate::Fate::Unchanged;
    databases.waiting(&path, |waiting| waiting.note(vec![(7, fate)], "destination", now));
    databases.close().await;
    assert!(databases.waiting(&path, |waiting| waiting.is_empty()));
    let known = databases.within(&path, false, IfDamaged::Fail, |open| open.recall(vec![7], true));
    assert!(known.await.unwrap().unwrap()[&7].cached.is_some());
}
