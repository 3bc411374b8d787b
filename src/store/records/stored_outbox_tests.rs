//! The bounds of an outbox, its tables, and writes that fail.

use chrono::TimeDelta;
use redb::TableHandle;

use super::*;
use crate::{
    base::{events::Events, time},
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

#[tokio::test]
async fn the_oldest_notices_are_dropped_beyond_the_bound_and_counted() {
    let (folder, databases) = (tempfile::tempdir().unwrap(), Arc::<Databases>::default());
    let records = records(&databases, folder.path());
    records.notice((0..10).map(|id| notice(id, noon())).collect()).await.unwrap();
    records.sync_notices().await.unwrap();
    let outbox = StoredOutbox::new(&databases, folder.path());
    let dropped = outbox
        .work(|open| {
            let nobody = Events::default();
            change(open, |outbox, totals| drop_excess(outbox, totals, 7, noon(), &nobody))
        })
        .await;
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
