//! Lists that change while they are read.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use importer::{
    base::{
        clock::Clock,
        events::{Events, RunEvents},
        fault::Fault,
        identity::{DeliveryId, ListId},
        record::{Mapped, Outgoing, Payload, Record},
        secret::Secret,
        window::{Page, Span, Window},
    },
    controller::Verdict,
    engine::{
        plan::{Ended, Pipeline, Plan},
        run,
    },
    mapping::Mapping,
    sink::{Delivery, Prepared, Rejection, Sink, SinkSpec},
    source::{OffsetPaging, Paging, Scope, Source},
    store::{FolderStore, records::Records},
};
use serde_json::value::to_raw_value;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::{NOON, World, at, hours};

/// During a load a member at a random position changes every 20 ms; the next incremental sync delivers the
/// changes.
#[tokio::test(start_paused = true)]
async fn no_member_is_skipped_when_others_change_while_pages_are_read_side_by_side() {
    for (seed, workers) in (0..8).zip([1, 8].into_iter().cycle()) {
        let text =
            format!(r#"[{{"list_id": "edits1", "worker_count": {workers}, "items_per_request": 20}}]"#);
        let world = World::new().list("edits1", 1000).with_state(&text);
        let edits = async {
            let mut random = fastrand::Rng::with_seed(seed);
            loop {
                sleep(std::time::Duration::from_millis(20)).await;
                let now = world.clock.now();
                world.sandbox.mailchimp().edit("edits1", random.u64(..1000), now, |member| {
                    member.first = "Augusta".into();
                });
            }
        };
        let load = tokio::select! {
            verdict = world.once() => verdict,
            () = edits => unreachable!("edits go on for ever"),
        };
        assert_eq!(load.unwrap(), Verdict::Done);
        sleep(hours(3)).await;
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        world.assert_delivered("edits1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_listed_twice_is_sent_once_unless_it_changed_in_between() {
    let text = r#"[{"list_id": "moves1", "worker_count": 1, "items_per_request": 50}]"#;
    let world = World::new().list("moves1", 500).with_state(text);
    let mut edited = 0;
    let edits = async {
        loop {
            sleep(std::time::Duration::from_millis(150)).await;
            edited += 1;
            let now = world.clock.now();
            let oldest = world.sandbox.mailchimp().members("moves1").next().unwrap().number;
            world.sandbox.mailchimp().edit("moves1", oldest, now, |member| member.first = "Augusta".into());
        }
    };
    let once = async {
        tokio::select! { verdict = world.once() => verdict, () = edits => unreachable!() }
    };
    timeout(hours(1), once).await.unwrap().unwrap();
    let pushed: usize = world.pushes().iter().sum();
    assert_eq!(world.field("total_updates"), pushed);
    // Only the members that changed during the load were sent again.
    assert!(pushed <= world.contacts() + edited, "{pushed} {} {edited}", world.contacts());
    assert_eq!(world.logged(" 0 read twice"), 0);
}

/// A source with 30 rows, some of which it reports wrongly.
struct Liar {
    /// Counted, but not listed.
    hidden: Option<u64>,
    /// Rows without a time, which are in no window.
    timeless: u64,
    /// Whether it ignores the bounds of a window while rows are added.
    boundless: bool,
    reads: AtomicU64,
}

fn honest() -> Liar {
    Liar { hidden: None, timeless: 0, boundless: false, reads: AtomicU64::new(0) }
}

impl Source for Liar {
    fn now(&self) -> DateTime<Utc> {
        at(NOON)
    }

    fn scope(&self) -> Scope {
        Scope::Changes
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Offset(self)
    }
}

/// A clock that does not move, like the source's.
struct Noon;

impl Clock for Noon {
    fn now(&self) -> DateTime<Utc> {
        at(NOON)
    }
}

impl OffsetPaging for Liar {
    fn read<'a>(&'a self, window: &'a Window, span: Span) -> BoxFuture<'a, Result<Page, Fault>> {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        // In the second half of the rows, the last hour and an hour to come.
        let after_noon = |row: u64| match TimeDelta::minutes(4 * row as i64 - 90) {
            // A row that enters the listing changed a moment ago.
            after if self.boundless => after.min(TimeDelta::seconds(30)),
            after => after,
        };
        let changed = |row: u64| (row >= self.timeless).then(|| at(NOON) + after_noon(row));
        let within = |row: &u64| match changed(*row) {
            _ if self.boundless => true,
            None => window.since.is_none() && window.until.is_none(),
            Some(changed) => {
                window.since.is_none_or(|since| changed > since)
                    && window.until.is_none_or(|until| changed <= until)
            }
        };
        let all = if self.boundless { 30 + reads } else { 30 };
        let rows: Vec<u64> = (0..all).filter(within).collect();
        let total = rows.len() as u64;
        let rows = rows.into_iter().skip(span.offset as usize).take(span.count);
        let record = |row: u64| Record {
            key: format!("{row}").into(),
            changed: changed(row),
            status: "subscribed".into(),
            deleted: false,
            unreadable: None,
            body: to_raw_value(&row).unwrap().into(),
        };
        let records = rows.filter(|row| Some(*row) != self.hidden).map(record).collect();
        let page = Page { records, total, at: at(NOON) };
        // Only a count from at least a minute after the opening can't come from a stale snapshot.
        let wait = std::time::Duration::from_secs(if self.boundless { 20 } else { 0 });
        Box::pin(async move {
            sleep(wait).await;
            Ok(page)
        })
    }
}

/// Mapping that sends every record unchanged.
struct AsItIs;

impl Mapping for AsItIs {
    fn map(&self, record: &Record) -> Mapped {
        Mapped::Send(Outgoing::plain(vec![record.body.clone()]))
    }
}

/// Sink that accepts everything.
struct Anywhere;

impl Sink for Anywhere {
    fn spec(&self) -> SinkSpec {
        SinkSpec::new(Secret::new(""), String::new(), 7, 2)
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        Ok(Prepared::new(&payload.key, "{}".to_owned()))
    }

    fn deliver<'a>(&'a self, _: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        Box::pin(async { Ok(Delivery::default()) })
    }
}

fn plan(folder: &tempfile::TempDir, since: Option<DateTime<Utc>>) -> Plan {
    Plan {
        events: RunEvents::default(),
        list_id: "l".into(),
        since,
        overlap: TimeDelta::seconds(60),
        start_offset: 0,
        items_per_request: 7,
        worker_count: 2,
        entry: "e".into(),
        store: Arc::new(FolderStore {
            events: Events::default(),
            checkpoint: folder.path().join("l"),
            delivery: folder.path().join("l"),
            dead_letters: folder.path().join("dead.ndjson"),
        }),
        run_fingerprint: "null".into(),
        delivered_before: false,
        reads_archived: true,
        siblings: Some(vec!["e".into()]),
        consent_scope: String::new(),
        allow_mass_change: false,
        records: Arc::new(Records::new(&Arc::default(), folder.path(), "", 1, None)),
        holds_back: false,
        taken: Arc::default(),
        confirm: None,
    }
}

fn ends(source: Liar) -> Pipeline {
    let list = ListId { source: "liar".into(), account: None, id: "l".into() };
    Pipeline {
        source: Arc::new(source),
        mapping: Arc::new(AsItIs),
        sink: Arc::new(Anywhere),
        spec: Anywhere.spec(),
        clock: Arc::new(Noon),
        requests: Arc::default(),
        retry: true,
        destination: String::new(),
        delivery: DeliveryId::new(list, "anywhere", None, "d"),
        former: Default::default(),
        references: String::new(),
        notify: None,
    }
}

/// Returns the outcome of a full load of the source.
async fn load(source: Liar) -> Result<Ended, Fault> {
    let ends = ends(source);
    let folder = tempfile::tempdir().unwrap();
    run::run(&ends, &plan(&folder, None), &CancellationToken::new()).await
}

#[tokio::test(start_paused = true)]
async fn what_a_source_counts_and_does_not_list_fails_the_list_with_the_numbers() {
    assert!(matches!(load(honest()).await, Ok(Ended::Finished(_))));
    for (source, told) in [
        (
            Liar { hidden: Some(17), ..honest() },
            "counts 23 records, but listed only 22 different ones; 1 are unexplained",
        ),
        (
            Liar { timeless: 2, hidden: Some(0), ..honest() },
            "2 records have no time of their last change, and the listing shows only 1 of them",
        ),
        (Liar { boundless: true, ..honest() }, "in a window that has ended: it ignores the window's bounds"),
    ] {
        let fault = load(source).await.unwrap_err().to_string();
        assert!(fault.contains(told), "{fault}");
        assert!(
            fault.contains("records in the window") && fault.contains("nothing is recorded as delivered"),
            "{fault}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_would_end_before_it_begins_is_reported_and_not_read() {
    let ends = ends(honest());
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(&folder, Some(at("2026-11-21T12:30:00")));
    let fault = run::run(&ends, &plan, &CancellationToken::new()).await.unwrap_err();
    assert!(fault.to_string().contains("clock says 2026-11-21 12:00:00"), "{fault}");
}
