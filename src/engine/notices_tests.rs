//! Notices: their delivery to a receiver that fails in several ways, and runs that are cut off or fail anywhere.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use chrono::TimeDelta;
use futures::future::{BoxFuture, poll_fn};
use serde_json::Value;
use tokio::time::sleep;

use super::*;
use crate::{
    base::{
        fate::Fate,
        key::key_digest,
        record::{Mapped, Outgoing, Record},
        secret::Secret,
        window::{Cursor, CursorPage, Window},
    },
    engine::{
        plan::{Ended, Plan},
        replay,
        sinks_tests::Known,
        stores_tests::{Keeps, Kept},
        support_tests::{self as support, Failing, List, NOON, ROWS, Store, runtime},
    },
    mapping::Mapping,
    sink::{Rejection, Settles, Sink, SinkSpec},
    source::{CursorPaging, Paging, Scope, Source},
    store::dead_letter::DeadLetter,
};

// ---- A receiver ----

/// What a receiver does with a batch.
#[derive(Clone, Copy)]
enum Answer {
    Accept,
    Fail,
    /// Refuses the batch as a whole if it contains this key.
    RefuseWith(&'static str),
    Reject(usize),
    Retry(&'static [usize]),
}

struct Receiver {
    answers: Mutex<Vec<Answer>>,
    batches: Mutex<Vec<Vec<String>>>,
}

impl Receiver {
    /// Returns a receiver that gives these answers, and then accepts everything.
    fn of(answers: &[Answer], records: usize) -> (Arc<Self>, Opened) {
        let answers = Mutex::new(answers.iter().rev().copied().collect());
        let receiver = Arc::new(Receiver { answers, batches: Mutex::default() });
        let mut spec = receiver.spec();
        spec.limits.records = records;
        (receiver.clone(), Opened { sink: receiver, spec })
    }

    fn batches(&self) -> Vec<String> {
        self.batches.lock().unwrap().drain(..).map(|batch| batch.join(" ")).collect()
    }
}

impl Sink for Receiver {
    fn spec(&self) -> SinkSpec {
        SinkSpec::new(Secret::new(""), String::new(), 10, 4)
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        Ok(Prepared::new(&payload.key, payload.body.as_ref().unwrap().get().to_owned()))
    }

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        let key = |prepared: &Prepared| {
            let notice: Value = serde_json::from_slice(&prepared.bytes).unwrap();
            notice["key"].as_str().unwrap().to_owned()
        };
        let keys: Vec<String> = batch.iter().map(key).collect();
        let answer = match *self.answers.lock().unwrap() {
            // A key that is refused stays refused.
            ref answers if matches!(answers.last(), Some(Answer::RefuseWith(_))) => *answers.last().unwrap(),
            ref mut answers => answers.pop().unwrap_or(Answer::Accept),
        };
        let is_refused = |refused: &str| keys.iter().any(|key| key == refused);
        let delivery = match answer {
            Answer::Fail => Err(Fault::list("the receiver failed")),
            Answer::RefuseWith(refused) if is_refused(refused) => {
                Err(Fault::too_large("a record is invalid"))
            }
            Answer::Accept | Answer::RefuseWith(_) => Ok(Delivery::default()),
            Answer::Reject(at) => {
                Ok(Delivery { rejected: vec![(at, Rejection::new("unfit"))], ..Delivery::default() })
            }
            Answer::Retry(retry) => Ok(Delivery { retry: retry.to_vec(), ..Delivery::default() }),
        };
        self.batches.lock().unwrap().push(keys);
        Box::pin(async { delivery })
    }
}

/// Returns an outbox with a notice about each of these records.
async fn outbox(keys: &str) -> Box<dyn Outbox> {
    let kept = Kept::new(Keeps::InMemory);
    let plan = kept.plan(1, 1, None);
    for (id, key) in keys.split(' ').enumerate() {
        let (id, list_id, key) = (format!("{id:x}"), "l".to_owned(), key.to_owned());
        let notice = Notice { id, kind: NoticeKind::OptOut, list_id, key, at: *NOON, reason: None };
        plan.records.notice(vec![NewNotice { notice, record: None }]).await.unwrap();
    }
    plan.records.sync_notices().await.unwrap();
    kept.outbox()
}

/// Delivers until the outbox is empty, at most ten times. Returns the sum, and the number of faults.
async fn deliver_all(outbox: &dyn Outbox, receiver: &Opened) -> (Removed, usize) {
    let (mut sum, mut faults) = (Removed::default(), 0);
    for _ in 0..10 {
        match deliver_oldest(outbox, receiver, *NOON, &mut sum).await {
            Ok(true) => {}
            Ok(false) => return (sum, faults),
            Err(_) => faults += 1,
        }
    }
    panic!("notices are left");
}

#[tokio::test]
async fn notices_are_delivered_in_batches_and_again_after_a_fault() {
    let outbox = outbox("a b c d e").await;
    let (receiver, opened) = Receiver::of(&[Answer::Fail, Answer::Accept, Answer::Fail], 2);
    let (sum, faults) = deliver_all(outbox.as_ref(), &opened).await;
    assert_eq!(receiver.batches(), ["a b", "a b", "c d", "c d", "e"]);
    assert_eq!((sum, faults), (Removed { confirmed: 5, refused: 0 }, 2));
}

#[tokio::test]
async fn a_refused_notice_is_dropped_and_counted_and_holds_up_no_other() {
    let outbox1 = outbox("a b c d e").await;
    let (receiver, opened) = Receiver::of(&[Answer::RefuseWith("d")], 5);
    let (sum, faults) = deliver_all(outbox1.as_ref(), &opened).await;
    assert_eq!(receiver.batches(), ["a b c d e", "a b", "c d e", "c", "d e", "d", "e"]);
    assert_eq!((sum, faults), (Removed { confirmed: 4, refused: 1 }, 0));
    assert_eq!(outbox1.status().await.unwrap().refused, 1);
    let outbox2 = outbox("a b c").await;
    let (receiver, opened) = Receiver::of(&[Answer::Reject(1)], 5);
    let (sum, faults) = deliver_all(outbox2.as_ref(), &opened).await;
    assert_eq!(receiver.batches(), ["a b c"]);
    assert_eq!((sum, faults), (Removed { confirmed: 2, refused: 1 }, 0));
}

#[tokio::test]
async fn a_notice_that_is_to_be_sent_again_is_not_overtaken_by_a_later_one_of_its_record() {
    let outbox = outbox("a b a c b").await;
    let (receiver, mut opened) = Receiver::of(&[Answer::Retry(&[0]), Answer::Retry(&[0])], 5);
    opened.spec.retries = true;
    let (sum, faults) = deliver_all(outbox.as_ref(), &opened).await;
    assert_eq!(receiver.batches(), ["a b", "a", "a", "a c b"]);
    assert_eq!((sum, faults), (Removed { confirmed: 5, refused: 0 }, 2));
}

#[tokio::test]
async fn a_batch_has_at_most_the_bytes_that_the_receiver_takes() {
    let outbox = outbox("a b c").await;
    let (receiver, mut opened) = Receiver::of(&[], 5);
    opened.spec.limits.bytes = Some(250);
    deliver_all(outbox.as_ref(), &opened).await;
    assert_eq!(receiver.batches(), ["a b", "c"]);
}

// ---- Runs ----

const REJECTED: &[u64] = &[7, 20, 100];
const UNFIT: &[u64] = &[33];

/// Opts out every fifth row.
struct SomeOptOut;

fn opts_out(row: u64) -> bool {
    row.is_multiple_of(5)
}

impl Mapping for SomeOptOut {
    fn map(&self, record: &Record) -> Mapped {
        let row = record.key.parse().unwrap();
        Mapped::Send(Outgoing { opts_out: opts_out(row), ..Outgoing::plain(vec![record.body.clone()]) })
    }
}

fn pipeline(store: &Store<List>) -> Pipeline {
    // A sink that is dropped undoes what it has not closed.
    store.open.lock().unwrap().clear();
    let (_, receiver) = Receiver::of(&[], 10);
    let mut pipeline = support::pipeline(store.list, SomeOptOut, store.clone(), store.list);
    pipeline.notify = Some(receiver);
    pipeline
}

fn plan(kept: &Kept, expire: Option<TimeDelta>) -> Plan {
    Plan { allow_mass_change: true, ..kept.plan(7, 3, expire) }
}

async fn run(kept: &Kept, store: &Store<List>, expire: Option<TimeDelta>) -> Result<Ended, Fault> {
    support::cut_off(&pipeline(store), &plan(kept, expire), usize::MAX).await.unwrap()
}

/// Makes a full load from the beginning.
async fn load_again(kept: &Kept, store: &Store<List>, expire: Option<TimeDelta>) {
    kept.store().discard_checkpoint().await.unwrap();
    run(kept, store, expire).await.unwrap();
}

/// Returns the notices that wait, as record and kind, after the process has ended.
async fn noticed(kept: &Kept) -> Vec<(u64, NoticeKind)> {
    let notices = kept.outbox().oldest(1000, *NOON).await.unwrap();
    notices.iter().map(|(_, notice)| (notice.key.parse().unwrap(), notice.kind)).collect()
}

/// Returns the fates of the rows that the checkpoint of the first pass has settled.
async fn settled(kept: &Kept) -> BTreeMap<u64, Fate> {
    let Some((header, lines)) = kept.store().open_checkpoint("null").await.unwrap().1 else {
        return BTreeMap::new();
    };
    let mut seen = crate::store::seen::Seen::default();
    for line in lines.iter().filter(|_| header.pass == 1) {
        assert!(seen.decode(&line.rows, &line.names).is_some());
    }
    let fate = |row: u64| seen.get(key_digest(&row.to_string())).map(|known| known.fate);
    (0..ROWS).filter_map(|row| Some((row, fate(row)?))).collect()
}

/// Returns the notice that a row causes.
fn expected(row: u64) -> Option<NoticeKind> {
    let rejected = REJECTED.contains(&row) || UNFIT.contains(&row);
    if rejected { Some(NoticeKind::Rejection) } else { opts_out(row).then_some(NoticeKind::OptOut) }
}

/// Checks that every row has exactly the notice that it causes.
async fn assert_all_noticed(kept: &Kept, told: &str) {
    let mut noticed = noticed(kept).await;
    noticed.sort_by_key(|(row, _)| *row);
    let all: Vec<_> = (0..ROWS).filter_map(|row| Some((row, expected(row)?))).collect();
    assert_eq!(noticed, all, "{told}");
}

fn store(seed: u64, settles: Settles) -> Store<List> {
    Store { rejected: REJECTED, unfit: UNFIT, settles, ..Store::new(seed, 0.0) }
}

/// Cuts a run off after its first poll, its second, and so on, and finishes it. After each cut, every settled row has
/// its notice.
fn cuts_everywhere(keeps: Keeps, settles: Settles, expire: Option<TimeDelta>) {
    let mut resumed = 0;
    for polls in 0.. {
        let (ended, settled) = runtime().block_on(async {
            let (kept, store) = (Kept::new(keeps), store(polls as u64, settles));
            let told = format!("{keeps:?} {settles:?} {expire:?} cut off after {polls} polls");
            let ended = support::cut_off(&pipeline(&store), &plan(&kept, expire), polls).await;
            let (settled, noticed) = (settled(&kept).await, noticed(&kept).await);
            for row in settled.keys() {
                let notices = noticed.iter().filter(|(of, _)| of == row).map(|(_, kind)| *kind);
                assert_eq!(notices.collect::<Vec<_>>(), Vec::from_iter(expected(*row)), "{told}: row {row}");
            }
            run(&kept, &store, expire).await.unwrap();
            assert_all_noticed(&kept, &told).await;
            (ended.is_some(), settled.len())
        });
        resumed += usize::from(settled > 0);
        if ended {
            break;
        }
    }
    assert!(resumed > 20 || settles == Settles::AtClose, "only {resumed} cuts left settled rows");
}

#[test]
fn wherever_a_run_is_cut_off_no_notice_of_a_settled_record_is_missing() {
    cuts_everywhere(Keeps::OnDisk, Settles::EachBatch, None);
}

#[test]
fn wherever_a_run_with_a_cache_is_cut_off_no_notice_of_a_settled_record_is_missing() {
    cuts_everywhere(Keeps::InMemory, Settles::EachBatch, Some(TimeDelta::days(7)));
}

#[test]
fn wherever_a_run_into_a_sink_that_settles_at_its_close_is_cut_off_no_notice_is_missing() {
    for expire in [None, Some(TimeDelta::days(7))] {
        cuts_everywhere(Keeps::InMemory, Settles::AtClose, expire);
    }
}

#[test]
fn whichever_delivery_fails_every_notice_arrives_once() {
    for settles in [Settles::EachBatch, Settles::AtClose] {
        for number in 1.. {
            let failed = runtime().block_on(async {
                let kept = Kept::new(Keeps::InMemory);
                let failing = Failing::Once { number, accepted: number.is_multiple_of(2) };
                let store = Store { failing, ..store(number as u64, settles) };
                let failed = run(&kept, &store, None).await.is_err();
                if failed {
                    run(&kept, &store, None).await.unwrap();
                }
                assert_all_noticed(&kept, &format!("{settles:?}, delivery {number} fails")).await;
                failed
            });
            if !failed {
                assert!(number > 10, "only {number} deliveries");
                break;
            }
        }
    }
}

/// The last call of such a sink is the close.
#[test]
fn a_sink_that_settles_at_its_close_causes_no_notice_of_an_opt_out_before() {
    let load = |failing: Failing| {
        runtime().block_on(async {
            let (kept, store) = (Kept::new(Keeps::InMemory), store(1, Settles::AtClose));
            let store = Store { failing, ..store };
            let ended = run(&kept, &store, None).await;
            let mut noticed = noticed(&kept).await;
            noticed.retain(|(_, kind)| *kind == NoticeKind::OptOut);
            (ended.is_ok(), noticed.len(), store.sizes.lock().unwrap().len())
        })
    };
    let (_, all, batches) = load(Failing::Share(0.0));
    for number in 1..=batches + 1 {
        let (is_ok, opt_outs, _) = load(Failing::Once { number, accepted: false });
        assert!(all > 20 && (is_ok || opt_outs == 0), "call {number} fails, {opt_outs} of {all} noticed");
    }
}

/// Time that a page of [`Versions`] takes.
const PAGE: Duration = Duration::from_millis(10);

/// Lists a record again and again, each time in its next version.
struct Versions(usize);

impl Source for Versions {
    fn now(&self) -> DateTime<Utc> {
        *NOON
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Cursor(self)
    }

    fn scope(&self) -> Scope {
        Scope::Full
    }
}

impl CursorPaging for Versions {
    fn follow<'a>(
        &'a self,
        _: &'a Window,
        cursor: Option<&'a Cursor>,
        _: usize,
    ) -> BoxFuture<'a, Result<CursorPage, Fault>> {
        let version = cursor.map_or(0, |cursor| cursor.0.parse().unwrap());
        let record = Record {
            key: "1".into(),
            changed: Some(*NOON - TimeDelta::hours(2) + TimeDelta::seconds(version as i64)),
            status: "subscribed".into(),
            deleted: false,
            unreadable: None,
            body: to_raw_value(&[1, version]).unwrap().into(),
        };
        let next = (version + 1 < self.0).then(|| Cursor((version + 1).to_string()));
        let page = CursorPage { records: vec![record], next, total: None, at: *NOON };
        Box::pin(async {
            sleep(PAGE).await;
            Ok(page)
        })
    }
}

/// Opts out the versions for which it has true.
struct OptsOut(&'static [bool]);

impl Mapping for OptsOut {
    fn map(&self, record: &Record) -> Mapped {
        let [_, version]: [usize; 2] = serde_json::from_str(record.body.get()).unwrap();
        Mapped::Send(Outgoing { opts_out: self.0[version], ..Outgoing::plain(vec![record.body.clone()]) })
    }
}

/// Loads a record with these versions, one delivery each, and then another one with an opt-out. Returns the number of
/// its notices after each load. A slow sink still has an older version in flight when a newer one is read.
async fn load_versions(versions: &'static [bool], settles: Settles, slow: bool) -> [usize; 2] {
    let (kept, tick) = (Kept::new(Keeps::InMemory), if slow { PAGE } else { Duration::ZERO });
    let mut after = [0; 2];
    for (at, versions) in [versions, &[false, true]].into_iter().enumerate() {
        let store = Store { settles, tick, ..Store::new(1, 0.0) };
        let source = Versions(versions.len());
        let mut pipeline = support::pipeline(source, OptsOut(versions), store.clone(), support::Noon);
        pipeline.notify = Some(Receiver::of(&[], 10).1);
        pipeline.spec.limits.records = 1;
        let plan = Plan { reads_archived: false, ..plan(&kept, None) };
        support::cut_off(&pipeline, &plan, usize::MAX).await.unwrap().unwrap();
        assert_eq!(store.accepted.lock().unwrap().len(), versions.len(), "every version is sent");
        after[at] = noticed(&kept).await.len();
        kept.store().discard_checkpoint().await.unwrap();
    }
    after
}

#[tokio::test(start_paused = true)]
async fn an_opt_out_is_noticed_even_if_a_newer_version_follows_before_the_sink_settles_it() {
    for (versions, notices) in [
        (&[true, false][..], 1),
        (&[true, true], 1),
        (&[true, false, true], 2),
        (&[false, true, false, false], 1),
    ] {
        for settles in [Settles::EachBatch, Settles::AtClose] {
            // Of three versions, a slow sink would not get the second one.
            for slow in [false, true].iter().filter(|slow| !**slow || versions.len() == 2) {
                let after = load_versions(versions, settles, *slow).await;
                assert_eq!(after, [notices, notices + 1], "{versions:?}, {settles:?}, slow: {slow}");
            }
        }
    }
}

/// An opt-out that the cache shows is no news, unless the cache is unsure what the sink has.
#[tokio::test(start_paused = true)]
async fn a_record_that_the_sink_is_known_to_have_as_opted_out_causes_no_notice() {
    let kept = Kept::new(Keeps::InMemory);
    let (store, week) = (store(1, Settles::EachBatch), Some(TimeDelta::days(7)));
    // This run notifies nobody.
    let silent = Pipeline { notify: None, ..pipeline(&store) };
    support::cut_off(&silent, &plan(&kept, week), usize::MAX).await.unwrap().unwrap();
    assert_eq!(noticed(&kept).await, []);
    plan(&kept, week).records.forget(vec![key_digest("10")]).await.unwrap();
    load_again(&kept, &store, week).await;
    let opt_outs = noticed(&kept).await.into_iter().filter(|(_, kind)| *kind == NoticeKind::OptOut);
    assert_eq!(opt_outs.collect::<Vec<_>>(), [(10, NoticeKind::OptOut)]);
}

#[tokio::test(start_paused = true)]
async fn a_full_load_that_is_repeated_notices_nothing_again() {
    for expire in [None, Some(TimeDelta::days(7))] {
        let (kept, store) = (Kept::new(Keeps::InMemory), store(1, Settles::EachBatch));
        for load in 1..4 {
            load_again(&kept, &store, expire).await;
            assert_all_noticed(&kept, &format!("load {load}")).await;
            assert_eq!(store.times()[&(0, 0)], load, "everything is sent again");
        }
    }
}

/// Rows 5 and 10 are opted out; the sink rejects row 7 again.
#[test]
fn wherever_a_replay_is_cut_off_no_notice_of_a_removed_dead_letter_is_missing() {
    for polls in 0.. {
        let done = runtime().block_on(async {
            let (kept, store) = (Kept::new(Keeps::InMemory), store(polls, Settles::EachBatch));
            let letter = |key: u64| DeadLetter {
                key: key.to_string(),
                entry: "e".into(),
                reason: "refused".into(),
                request_id: None,
                time: "2026-11-21T12:00:00Z".into(),
                changed: Some(*NOON - TimeDelta::hours(3)),
                opts_out: false,
                deleted: false,
                payload: None,
            };
            kept.store().append_dead_letters([5, 7, 10].map(letter).to_vec()).await.unwrap();
            let replay = async |polls: u64| {
                let (_, receiver) = Receiver::of(&[], 10);
                let known = Known(store.list);
                let mut pipeline = support::pipeline(known, SomeOptOut, store.clone(), store.list);
                (pipeline.notify, pipeline.spec.limits.records) = (Some(receiver), 2);
                let letters = replay::Letters {
                    store: kept.store(),
                    entry: "e".into(),
                    entries: vec!["e".into()],
                    records: plan(&kept, None).records,
                    events: Default::default(),
                    dry_run: false,
                };
                let mut running = pin!(replay::run(&pipeline, &letters));
                let mut polled = 0;
                poll_fn(|context| {
                    polled += 1;
                    let ended = running.as_mut().poll(context);
                    if polled > polls { Poll::Ready(ended.is_ready()) } else { ended.map(|_| true) }
                })
                .await
            };
            let done = replay(polls).await;
            let (letters, _) = kept.store().dead_letters().await.unwrap();
            let is_left = |row: &u64| letters.iter().any(|letter| letter.key == row.to_string());
            let noticed = noticed(&kept).await;
            for row in [5, 10].iter().filter(|row| !is_left(row)) {
                assert!(noticed.contains(&(*row, NoticeKind::OptOut)), "after {polls} polls: row {row}");
            }
            assert!(replay(u64::MAX - 1).await);
            let mut noticed = self::noticed(&kept).await;
            noticed.sort_by_key(|(row, _)| *row);
            let all = [5, 7, 10].map(|row| (row, expected(row).unwrap()));
            assert_eq!(noticed, all, "after {polls} polls");
            done
        });
        if done {
            assert!(polls > 20, "only {polls} polls");
            break;
        }
    }
}
