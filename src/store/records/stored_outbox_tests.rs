//! The bounds of an outbox, its tables, and writes that fail.

use chrono::TimeDelta;
use redb::TableHandle;

use super::*;
use crate::{
    base::{
        clock::SystemClock,
        event::{Event, NoticeEvent},
        events::{Events, Inbox},
        time,
    },
    store::{
        DeliveryCache,
        records::{Delivered, NewNotice, Records, read},
    },
};

fn noon() -> DateTime<Utc> {
    time::parse("2026-11-21T12:00:00").unwrap()
}

fn notice(id: u64, at: DateTime<Utc>) -> NewNotice {
    let (list_id, key) = ("a".to_owned(), id.to_string());
    let notice =
        Notice { id: format!("{id:x}"), kind: NoticeKind::Rejection, list_id, key, at, reason: None };
    NewNotice { notice, record: Some(id.into()) }
}

fn records(databases: &Arc<Databases>, folder: &Path) -> Records {
    Records::new(databases, folder, "destination", 1, None)
}

/// Returns a bus, and an inbox for its events.
fn watched() -> (Events, Inbox) {
    let events = Events::new(Arc::new(SystemClock));
    let inbox = events.subscribe(9, |_| true);
    (events, inbox)
}

fn reported(inbox: &mut Inbox) -> Vec<Event> {
    let mut events = vec![];
    assert_eq!(inbox.take(&mut events), 0);
    events.iter().map(|emitted| emitted.event.clone()).collect()
}

#[tokio::test]
async fn the_oldest_notices_are_dropped_beyond_the_bound_and_counted() {
    let (folder, databases) = (tempfile::tempdir().unwrap(), Arc::<Databases>::default());
    let records = records(&databases, folder.path());
    records.notice((0..10).map(|id| notice(id, noon())).collect()).await.unwrap();
    records.sync_notices().await.unwrap();
    let outbox = StoredOutbox::new(&databases, folder.path());
    let dropped =
        outbox.work(|open| change(open, |outbox, totals| drop_excess(outbox, totals, 7, noon()))).await;
    dropped.unwrap();
    let status = outbox.status().await.unwrap();
    assert_eq!((status.waiting, status.dropped), (7, 3));
    assert_eq!(outbox.oldest(1, noon()).await.unwrap()[0].1.key, "3");
    // Another process may read it meanwhile.
    assert_eq!(read::outbox(folder.path(), &Events::default()).await.unwrap(), status);
}

#[tokio::test]
async fn notices_older_than_30_days_are_dropped_when_they_are_read_and_when_others_are_added() {
    let (folder, databases) = (tempfile::tempdir().unwrap(), Arc::<Databases>::default());
    let records = records(&databases, folder.path());
    let outbox = StoredOutbox::new(&databases, folder.path());
    let day = TimeDelta::days(1);
    records
        .notice(vec![notice(1, noon()), notice(2, noon() + day), notice(3, noon() + day * 2)])
        .await
        .unwrap();
    records.sync_notices().await.unwrap();
    assert_eq!(outbox.oldest(9, noon() + day * 30).await.unwrap().len(), 3);
    let late = noon() + day * 30 + TimeDelta::seconds(1);
    assert_eq!(outbox.oldest(9, late).await.unwrap().len(), 2);
    records.notice(vec![notice(4, late + day)]).await.unwrap();
    records.sync_notices().await.unwrap();
    let status = outbox.status().await.unwrap();
    assert_eq!((status.waiting, status.oldest, status.dropped), (2, Some(noon() + day * 2), 2));
}

#[tokio::test]
async fn a_write_that_fails_keeps_the_notices_and_their_order() {
    let (folder, databases) = (tempfile::tempdir().unwrap(), Arc::<Databases>::default());
    let records = records(&databases, folder.path());
    records.begin_ledger(noon()).await.unwrap();
    records.notice(vec![notice(1, noon()), notice(2, noon())]).await.unwrap();
    let outbox = StoredOutbox::new(&databases, folder.path());
    let failed = outbox.work(|open| open.change(|_| Err::<(), _>(Failed::DatabaseClosed))).await;
    assert!(failed.is_err());
    records.notice(vec![notice(3, noon())]).await.unwrap();
    records.sync_notices().await.unwrap();
    let keys: Vec<String> =
        outbox.oldest(9, noon()).await.unwrap().into_iter().map(|(_, notice)| notice.key).collect();
    assert_eq!(keys, ["1", "2", "3"]);
}

/// Replaces notices by what a later version may write.
async fn replace(outbox: &StoredOutbox, numbers: &[u64]) {
    let numbers = numbers.to_vec();
    let replaced = outbox.work(move |open| {
        change(open, |outbox, _| {
            let unknown = br#"{"id":"1","event":"new_kind","list_id":"a","reason":5}"#.as_slice();
            numbers.iter().try_for_each(|number| outbox.insert(number, unknown).map(drop))?;
            Ok(())
        })
    });
    replaced.await.unwrap();
}

#[tokio::test]
async fn a_notice_that_cannot_be_read_is_dropped_and_keeps_no_other_and_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let (events, mut inbox) = watched();
    let databases = Arc::new(Databases::new(events));
    let records = records(&databases, folder.path());
    records.begin_ledger(noon()).await.unwrap();
    records.notice((0..5).map(|id| notice(id, noon())).collect()).await.unwrap();
    records.sync_notices().await.unwrap();
    let outbox = StoredOutbox::new(&databases, folder.path());
    replace(&outbox, &[0, 2, 3]).await;
    assert_eq!(outbox.status().await.unwrap().waiting, 5);
    for expected in ["1", "4"] {
        let notices = outbox.oldest(9, noon()).await.unwrap();
        assert_eq!(notices.iter().map(|(_, notice)| notice.key.as_str()).collect::<Vec<_>>(), [expected]);
        outbox.remove(vec![notices[0].0], 0).await.unwrap();
    }
    let status = outbox.status().await.unwrap();
    assert_eq!((status.waiting, status.dropped), (0, 3));
    let [dropped] = &reported(&mut inbox)[..] else { panic!("one warning a day, and no damage") };
    let list_id = "a".to_owned();
    assert_eq!(*dropped, NoticeEvent::Dropped { list_id, dropped: 1, most: MOST, days: 30 }.into());
}

#[tokio::test]
async fn dropped_notices_are_reported_once_they_are_dropped_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (events, mut inbox) = watched();
    let databases = Arc::new(Databases::new(events));
    let records = records(&databases, folder.path());
    records.notice(vec![notice(0, noon())]).await.unwrap();
    records.sync_notices().await.unwrap();
    let outbox = StoredOutbox::new(&databases, folder.path());
    replace(&outbox, &[0]).await;
    records.notice(vec![notice(1, noon())]).await.unwrap();
    for _ in 0..2 {
        let failed = outbox.work(|open| open.change(|_| Err::<(), _>(Failed::DatabaseClosed))).await;
        assert!(failed.is_err());
        assert_eq!(reported(&mut inbox), []);
    }
    records.sync_notices().await.unwrap();
    assert_eq!(reported(&mut inbox).len(), 1);
    let status = outbox.status().await.unwrap();
    assert_eq!((status.waiting, status.dropped), (1, 1));
}

#[tokio::test]
async fn a_delivery_without_notices_has_no_tables_for_them() {
    let (folder, databases) = (tempfile::tempdir().unwrap(), Arc::<Databases>::default());
    let records = Records::new(&databases, folder.path(), "destination", 1, Some(TimeDelta::days(1)));
    records.begin().await.unwrap();
    records.begin_ledger(noon()).await.unwrap();
    records.forget_noticed(HashMap::from([(1, None)])).await.unwrap();
    records.sync_notices().await.unwrap();
    records.add(Delivered::beginning(noon())).await.unwrap();
    let outbox = StoredOutbox::new(&databases, folder.path());
    assert_eq!(outbox.oldest(9, noon()).await.unwrap(), []);
    let names = outbox.work(|open| {
        let transaction = open.database.begin_read()?;
        let tables = transaction.list_tables()?;
        Ok(tables.map(|table| table.name().to_owned()).collect::<Vec<_>>())
    });
    let mut names = names.await.unwrap();
    names.sort();
    assert_eq!(names, ["meta", "records"]);
}
