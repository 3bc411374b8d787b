//! The contracts of [`DeliveryCache`] and [`Outbox`], which every implementation has to keep: the database, and the memory
//! of a test.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    AcceptedDelivery, CacheRules, CachedDelivery, Databases, Delivered, GONE, NewNotice, OutboxStatus,
    Records, StoredOutbox,
    support_tests::{self as memory, OutboxInMemory, RecordsInMemory},
};
use crate::{
    base::{
        fate::{Effect, Fate},
        notice::{Notice, NoticeKind},
        time,
    },
    store::{DeliveryCache, Outbox, progress::Row, seen::Seen},
};

/// The records of a delivery, in a process that may crash.
enum Delivery {
    Database(tempfile::TempDir, Arc<Databases>),
    Memory(Arc<Mutex<memory::Delivery>>),
}

const WEEK: Option<TimeDelta> = Some(TimeDelta::days(7));

impl Delivery {
    /// Returns a delivery of each kind, without earlier runs.
    fn of_each_kind() -> [Self; 2] {
        let folder = tempfile::tempdir().unwrap();
        [Delivery::Database(folder, Arc::default()), Delivery::Memory(Arc::default())]
    }

    fn open(&self, destination: &str, expire: Option<TimeDelta>) -> Arc<dyn DeliveryCache> {
        match self {
            Delivery::Database(folder, databases) => {
                Arc::new(Records::new(databases, folder.path(), destination, 1, expire))
            }
            Delivery::Memory(delivery) => {
                Arc::new(RecordsInMemory::new(delivery, destination, CacheRules { version: 1, expire }))
            }
        }
    }

    /// Opens the records for the next run, with a cache.
    fn next_run(&self) -> Arc<dyn DeliveryCache> {
        self.open("destination", WEEK)
    }

    fn outbox(&self) -> Box<dyn Outbox> {
        match self {
            Delivery::Database(folder, databases) => Box::new(StoredOutbox::new(databases, folder.path())),
            Delivery::Memory(delivery) => Box::new(OutboxInMemory(Arc::clone(delivery))),
        }
    }

    /// Returns the ids of the notices in the outbox.
    async fn ids(&self) -> Vec<String> {
        let notices = self.outbox().oldest(100, noon()).await.unwrap();
        notices.into_iter().map(|(_, notice)| notice.id).collect()
    }

    /// Ends the process of these runs by a crash, which loses what is not durable.
    fn crash<const RUNS: usize>(&mut self, runs: [Arc<dyn DeliveryCache>; RUNS]) {
        drop(runs);
        match self {
            Delivery::Database(_, databases) => *databases = Arc::default(),
            Delivery::Memory(delivery) => delivery.lock().unwrap().crash(),
        }
    }
}

fn noon() -> DateTime<Utc> {
    time::parse("2026-11-21T12:00:00").unwrap()
}

fn accepted(key: u128, digest: u128) -> AcceptedDelivery {
    AcceptedDelivery { key, digest, opted_out: true, request_id: Some("r-1".into()), notice: None }
}

/// Returns a notice about this record.
fn notice(id: &str, kind: NoticeKind, record: u128) -> NewNotice {
    let (id, list_id, key) = (id.to_owned(), "a".to_owned(), record.to_string());
    let notice = Notice { id, kind, list_id, key, at: noon(), reason: None };
    NewNotice { notice, record: Some(record) }
}

/// Returns an accepted opt-out with its notice.
fn opt_out(id: &str, key: u128) -> AcceptedDelivery {
    let notice = notice(id, NoticeKind::OptOut, key);
    AcceptedDelivery { notice: Some(Box::new(notice)), ..accepted(key, 5) }
}

async fn cached(records: &Arc<dyn DeliveryCache>, key: u128) -> Option<CachedDelivery> {
    records.recall(vec![key, 99]).await.unwrap().remove(&key)?.cached
}

/// Returns which of three records the sink is known to have with the digest 5.
async fn held(records: &Arc<dyn DeliveryCache>) -> Vec<u128> {
    let mut held = vec![];
    for key in 1..=3 {
        let known = cached(records, key).await;
        held.extend(known.filter(|known| records.rules().is_current(known, 5, noon())).map(|_| key));
    }
    held
}

/// Returns the statuses of four records before the run.
async fn statuses(records: &Arc<dyn DeliveryCache>) -> [String; 4] {
    let known = records.recall(vec![1, 2, 3, 4]).await.unwrap();
    let status = |key| Some(known.get(&key)?.settled.as_ref()?.status.to_string());
    [1, 2, 3, 4].map(|key| status(key).unwrap_or_default())
}

fn seen(rows: &[(u128, &str)]) -> Seen {
    let mut seen = Seen::default();
    rows.iter().for_each(|(key, status)| {
        seen.insert(Row { key: *key, second: 5 }, status, Fate::Sent(Effect::None));
    });
    seen
}

fn pass(seen: &Seen, whole: bool) -> Delivered<'_> {
    Delivered { seen: vec![seen], whole, most_rows: 7, ..Delivered::beginning(noon()) }
}

#[tokio::test]
async fn what_the_sink_has_accepted_counts_at_once_and_after_a_crash_if_it_was_synced() {
    for mut delivery in Delivery::of_each_kind() {
        let records = delivery.next_run();
        assert_eq!(records.begin().await.unwrap(), None);
        records.accepted(vec![accepted(1, 5), accepted(2, 6)], noon()).await.unwrap();
        assert_eq!(held(&records).await, [1]);
        let known = cached(&records, 1).await.unwrap();
        assert_eq!((known.seen, known.fate), (noon(), Fate::Sent(Effect::None)));
        assert!(known.opted_out() && &*known.sent.unwrap().request_id == "r-1");
        records.sync().await.unwrap();
        records.accepted(vec![accepted(2, 5)], noon()).await.unwrap();
        assert_eq!(held(&records).await, [1, 2]);
        delivery.crash([records]);
        let records = delivery.next_run();
        records.begin().await.unwrap();
        let left = held(&records).await;
        assert!(left.contains(&1) && !left.contains(&3), "{left:?}");
    }
}

#[tokio::test]
async fn a_forgotten_version_never_counts_again_even_after_a_crash() {
    for mut delivery in Delivery::of_each_kind() {
        for synced in [true, false] {
            let records = delivery.next_run();
            records.begin().await.unwrap();
            records.accepted([1, 2, 3].map(|key| accepted(key, 5)).to_vec(), noon()).await.unwrap();
            if synced {
                records.sync().await.unwrap();
            }
            // A fate that was noted since keeps the version.
            records.note(vec![(1, Fate::Unchanged)], noon()).await.unwrap();
            assert_eq!(held(&records).await, [1, 2, 3]);
            records.forget(vec![1, 2, 4]).await.unwrap();
            assert_eq!(held(&records).await, [3]);
            assert!(cached(&records, 1).await.unwrap().sent.is_some(), "when it was sent is still known");
            delivery.crash([records]);
            let records = delivery.next_run();
            records.begin().await.unwrap();
            let left = held(&records).await;
            assert!(!left.contains(&1) && !left.contains(&2) && (left == [3] || !synced), "{left:?}");
        }
    }
}

#[tokio::test]
async fn the_cache_is_emptied_for_good_by_a_clear_another_account_or_an_entry_without_a_cache() {
    for mut delivery in Delivery::of_each_kind() {
        for (destination, expire, clears) in [
            ("destination", WEEK, true),
            ("another", WEEK, false),
            ("destination", None, false),
            ("destination", WEEK, false),
        ] {
            let records = delivery.next_run();
            records.begin().await.unwrap();
            records.accepted(vec![accepted(1, 5)], noon()).await.unwrap();
            records.sync().await.unwrap();
            let other = delivery.open(destination, expire);
            other.begin().await.unwrap();
            if clears {
                other.clear().await.unwrap();
            }
            let empties = (destination, expire) != ("destination", WEEK) || clears;
            assert_eq!(held(&other).await.is_empty(), empties, "{destination} {expire:?}");
            assert_eq!(other.cache().is_some(), expire.is_some());
            delivery.crash([records, other]);
            let records = delivery.next_run();
            records.begin().await.unwrap();
            assert_eq!(held(&records).await.is_empty(), empties, "{destination} {expire:?}");
        }
    }
}

#[tokio::test]
async fn a_run_sees_the_statuses_from_before_it_and_the_next_one_those_that_its_passes_have_added() {
    for mut delivery in Delivery::of_each_kind() {
        let records = delivery.next_run();
        assert_eq!(records.begin().await.unwrap(), None);
        records.begin_ledger(noon()).await.unwrap();
        delivery.crash([records]);
        let records = delivery.next_run();
        let summary = records.begin().await.unwrap().unwrap();
        assert!(summary.is_empty() && summary.archived_until == noon());
        let first = seen(&[(1, "subscribed"), (2, "pending"), (3, GONE)]);
        for _ in 0..2 {
            assert_eq!(records.add(pass(&first, true)).await.unwrap(), 0, "adding it twice changes nothing");
            assert_eq!(statuses(&records).await, ["", "", "", ""]);
        }
        delivery.crash([records]);
        let records = delivery.next_run();
        let summary = records.begin().await.unwrap().unwrap();
        assert_eq!((summary.len(), summary.whole, summary.most_rows), (3, true, 7));
        assert_eq!(statuses(&records).await, ["subscribed", "pending", GONE, ""]);
        records.add(pass(&seen(&[(1, "cleaned"), (4, "subscribed")]), false)).await.unwrap();
        assert_eq!(records.add(pass(&seen(&[(4, "pending")]), true)).await.unwrap(), 2, "one was deleted");
        assert_eq!(statuses(&records).await, ["subscribed", "pending", GONE, ""]);
        assert_eq!(records.summary().await.unwrap().unwrap().len(), 1);
        let records = delivery.next_run();
        records.begin().await.unwrap();
        assert_eq!(statuses(&records).await, ["", "", "", "pending"]);
    }
}

#[tokio::test]
async fn adding_a_pass_makes_durable_what_waits_and_housekeeping_removes_what_has_expired() {
    for mut delivery in Delivery::of_each_kind() {
        let records = delivery.next_run();
        records.begin().await.unwrap();
        records.accepted(vec![accepted(1, 5), accepted(2, 5)], noon()).await.unwrap();
        records.note(vec![(3, Fate::Unchanged)], noon()).await.unwrap();
        records.add(pass(&seen(&[(1, "subscribed")]), false)).await.unwrap();
        delivery.crash([records]);
        let records = delivery.next_run();
        records.begin().await.unwrap();
        assert_eq!((held(&records).await, cached(&records, 3).await.unwrap().sent), (vec![1, 2], None));
        let later = noon() + TimeDelta::days(8);
        records.note(vec![(2, Fate::Unchanged)], later).await.unwrap();
        records.tidy(later).await.unwrap();
        let there = async |records: &Arc<dyn DeliveryCache>| {
            let known = records.recall(vec![1, 2, 3]).await.unwrap();
            [1, 2, 3].map(|key| known.get(&key).is_some_and(|known| known.cached.is_some()))
        };
        assert_eq!(there(&records).await, [false, true, false]);
        assert_eq!(statuses(&records).await[0], "subscribed");
        // It happens once a day.
        records.accepted(vec![accepted(3, 5)], noon()).await.unwrap();
        records.tidy(later + TimeDelta::hours(23)).await.unwrap();
        assert_eq!(there(&records).await, [false, true, true]);
        records.tidy(later + TimeDelta::hours(24)).await.unwrap();
        assert_eq!(there(&records).await, [false, true, false]);
    }
}

#[tokio::test]
async fn notices_keep_their_order_and_are_durable_after_every_kind_of_sync() {
    for mut delivery in Delivery::of_each_kind() {
        let mut expected = vec![];
        for (number, sync) in ["notices", "accepted", "pass"].into_iter().enumerate() {
            let records = delivery.next_run();
            records.begin().await.unwrap();
            let key = number as u128 * 10;
            let [first, second, third] = [1, 2, 3].map(|n| format!("{number}{n}"));
            records.notice(vec![notice(&first, NoticeKind::Rejection, key + 1)]).await.unwrap();
            records.accepted(vec![opt_out(&second, key)], noon()).await.unwrap();
            records.notice(vec![notice(&third, NoticeKind::Rejection, key + 2)]).await.unwrap();
            match sync {
                "notices" => records.sync_notices().await.unwrap(),
                "accepted" => records.sync().await.unwrap(),
                _ => drop(records.add(pass(&seen(&[]), false)).await.unwrap()),
            }
            expected.extend([first, second, third]);
            records.notice(vec![notice("lost", NoticeKind::Rejection, 99)]).await.unwrap();
            delivery.crash([records]);
            assert_eq!(delivery.ids().await, expected, "{sync}");
        }
    }
}

#[tokio::test]
async fn no_crash_loses_a_notice_and_keeps_its_delivery() {
    for mut delivery in Delivery::of_each_kind() {
        for (synced, key) in [(true, 1), (false, 2)] {
            let records = delivery.next_run();
            records.begin().await.unwrap();
            records.accepted(vec![opt_out(&key.to_string(), key)], noon()).await.unwrap();
            if synced {
                records.sync().await.unwrap();
            }
            delivery.crash([records]);
            let records = delivery.next_run();
            records.begin().await.unwrap();
            let is_held = held(&records).await.contains(&key);
            assert_eq!(delivery.ids().await.contains(&key.to_string()), is_held, "{key}");
            assert!(is_held || !synced);
        }
    }
}

#[tokio::test]
async fn without_a_cache_the_notices_of_accepted_records_are_stored_and_nothing_else() {
    for mut delivery in Delivery::of_each_kind() {
        let records = delivery.open("destination", None);
        records.begin().await.unwrap();
        records.accepted(vec![accepted(1, 5), opt_out("a", 2)], noon()).await.unwrap();
        records.sync().await.unwrap();
        delivery.crash([records]);
        // An entry without a cache, or with another destination, empties the cache and not the outbox.
        for (destination, expire) in [("destination", None), ("another", WEEK)] {
            let records = delivery.open(destination, expire);
            records.notice(vec![notice(destination, NoticeKind::Rejection, 3)]).await.unwrap();
            records.begin().await.unwrap();
            records.clear().await.unwrap();
            records.sync_notices().await.unwrap();
            delivery.crash([records]);
        }
        assert_eq!(delivery.ids().await, ["a", "destination", "another"]);
        let records = delivery.open("another", WEEK);
        records.begin().await.unwrap();
        assert!(held(&records).await.is_empty());
    }
}

#[tokio::test]
async fn an_effect_is_news_again_only_after_a_payload_with_another_effect_was_sent() {
    const OPT_OUT: Option<NoticeKind> = Some(NoticeKind::OptOut);
    for mut delivery in Delivery::of_each_kind() {
        let mut expected = vec![];
        for (id, sent, is_news) in [
            ("1", OPT_OUT, true),
            ("2", OPT_OUT, false),
            ("", None, false),
            ("3", OPT_OUT, true),
            ("4", Some(NoticeKind::Deletion), true),
            ("5", Some(NoticeKind::Deletion), false),
            ("6", OPT_OUT, true),
        ] {
            for crashes in [false, true] {
                let records = delivery.next_run();
                records.begin().await.unwrap();
                records.forget_noticed(HashMap::from([(1, sent), (2, None)])).await.unwrap();
                // A crash in between may have hidden what the sink has accepted.
                if crashes {
                    delivery.crash([records]);
                    continue;
                }
                let notices = sent.into_iter().map(|kind| notice(id, kind, 1));
                records.notice(notices.collect()).await.unwrap();
                records.sync_notices().await.unwrap();
            }
            expected.extend(is_news.then(|| id.to_owned()));
            assert_eq!(delivery.ids().await, expected, "after {id:?}");
        }
    }
}

#[tokio::test]
async fn what_was_noticed_in_memory_is_forgotten_before_another_effect_is_sent() {
    for mut delivery in Delivery::of_each_kind() {
        let records = delivery.next_run();
        records.begin().await.unwrap();
        records.begin_ledger(noon()).await.unwrap();
        records.accepted(vec![opt_out("1", 1)], noon()).await.unwrap();
        records.forget_noticed(HashMap::from([(1, None)])).await.unwrap();
        delivery.crash([records]);
        let records = delivery.next_run();
        records.begin().await.unwrap();
        records.accepted(vec![opt_out("2", 1)], noon()).await.unwrap();
        records.sync().await.unwrap();
        assert_eq!(delivery.ids().await, ["1", "2"]);
    }
}

#[tokio::test]
async fn a_rejection_is_noticed_once_and_a_unique_record_each_time() {
    for delivery in Delivery::of_each_kind() {
        let records = delivery.next_run();
        for id in ["a1", "a1", "b2", "b2", "a1"] {
            records.notice(vec![notice(id, NoticeKind::Rejection, 1)]).await.unwrap();
            records.sync_notices().await.unwrap();
        }
        for _ in 0..2 {
            let unique = NewNotice { record: None, ..notice("u", NoticeKind::Deletion, 2) };
            records.notice(vec![unique]).await.unwrap();
        }
        records.sync_notices().await.unwrap();
        assert_eq!(delivery.ids().await, ["a1", "b2", "a1", "u", "u"]);
    }
}

#[tokio::test]
async fn removed_notices_do_not_come_again_and_the_refused_ones_are_counted() {
    for mut delivery in Delivery::of_each_kind() {
        assert_eq!(delivery.outbox().status().await.unwrap(), OutboxStatus::default());
        let records = delivery.next_run();
        let notices = (1..=5).map(|key| notice(&key.to_string(), NoticeKind::OptOut, key));
        records.notice(notices.collect()).await.unwrap();
        records.sync_notices().await.unwrap();
        let first = delivery.outbox().oldest(3, noon()).await.unwrap();
        let (numbers, ids): (Vec<u64>, Vec<&str>) =
            first.iter().map(|(number, notice)| (*number, notice.id.as_str())).unzip();
        assert_eq!(ids, ["1", "2", "3"]);
        delivery.outbox().remove(numbers, 1).await.unwrap();
        delivery.crash([records]);
        assert_eq!(delivery.ids().await, ["4", "5"]);
        let status = OutboxStatus { waiting: 2, oldest: Some(noon()), dropped: 0, refused: 1 };
        assert_eq!(delivery.outbox().status().await.unwrap(), status);
        // No number is used twice, even after the outbox was empty.
        let numbers: Vec<u64> =
            delivery.outbox().oldest(9, noon()).await.unwrap().iter().map(|(number, _)| *number).collect();
        delivery.outbox().remove(numbers.clone(), 0).await.unwrap();
        let records = delivery.next_run();
        records.notice(vec![notice("6", NoticeKind::OptOut, 6)]).await.unwrap();
        records.sync_notices().await.unwrap();
        assert!(delivery.outbox().oldest(9, noon()).await.unwrap()[0].0 > numbers[1]);
    }
}
