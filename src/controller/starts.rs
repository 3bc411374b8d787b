//! Starts runs: opens the source, the mapping and the sink of an entry, and spawns the run.

use std::sync::Arc;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::{
    OpenRequest,
    driver::{Driver, Running},
    fingerprint,
    input::{Begun, Input, Ran, Start},
    names::run_name,
    siblings::{Destination, siblings},
};
use crate::{
    base::{counts::Counts, event::RunEvent, events::Events, fault::Fault},
    engine::{
        plan::{Ended, Pipeline, Plan},
        run,
    },
    state::{
        Entry,
        folders::Folders,
        model::{FirstLoad, FullLoad, Remember},
    },
    store::{
        FolderStore, Lease, RunStore, hold,
        records::{self, Databases, Records},
    },
};

impl Driver {
    /// Starts a run. Returns the input that says whether it has begun.
    pub(super) fn start(&mut self, start: Start) -> Input {
        let Start { run, entry, since, lease } = start;
        let pipeline = match (self.open)(OpenRequest { entry: &entry, urgent: since.is_some() }) {
            Ok(pipeline) => pipeline,
            Err(unfit) => return Input::NotOpened(run, unfit.text),
        };
        let folders = self.file.folders();
        let store: Arc<dyn RunStore> = Arc::new(run_store(&entry, &pipeline, &folders, &self.events));
        let siblings = siblings(&entry, &pipeline.delivery, self.file.all_read(), self.open.as_ref());
        let plan = Plan {
            list_id: entry.id.list_id.clone(),
            events: self.events.of_run(run_name(&entry)),
            since,
            overlap: entry.overlap,
            start_offset: entry.start_offset,
            items_per_request: entry.items_per_request,
            worker_count: entry.worker_count,
            entry: entry.folder.clone(),
            store: Arc::clone(&store),
            run_fingerprint: fingerprint::run_fingerprint(&entry, &pipeline.references),
            delivered_before: entry.delivered_before,
            reads_archived: entry.policy.reads_archived() && pipeline.source.archives(),
            siblings,
            consent_scope: fingerprint::consent_scope(&entry, &pipeline),
            allow_mass_change: entry.allow_mass_change,
            records: Arc::new(records(&entry, &pipeline, &folders, &self.databases)),
            holds_back: since.is_some() || entry.full_load == FullLoad::ChangedOnly,
            taken: self.late.begins(&pipeline),
            confirm: self.confirm.clone().filter(|_| entry.first_load != FirstLoad::Confirmed),
        };
        let (stop, destination) = (self.stop.child_token(), Destination::of(&pipeline));
        let (of_run, requests) = (Arc::clone(&store), Arc::clone(&pipeline.requests));
        let (stopped, delivered, open) = (stop.clone(), destination.clone(), Arc::clone(&self.open));
        plan.events.emit(RunEvent::Started { full: since.is_none() });
        let task = self.jobs.spawn(async move {
            let ended = run_with_lease(lease.as_ref(), &stopped, run::run(&pipeline, &plan, &stopped)).await;
            let retry = pipeline.retry;
            drop(pipeline);
            let folder = folders.delivery(&delivered.delivery);
            let now = || open(OpenRequest { entry: &entry, urgent: false }).ok();
            Ran {
                retry,
                delivery_now: ended.is_ok().then(now).flatten().map(|pipeline| pipeline.delivery),
                hold: if ended.is_err() { hold::peek(&folder) } else { None },
                has_ledger: records::exists(&folder),
                destination: delivered,
                entry,
                store: of_run,
                ended,
            }
        });
        self.tasks.insert(task.id(), run);
        self.notices.run_began(&destination);
        self.running.insert(run, Running { stop, task, destination: destination.clone() });
        Input::Began(run, Begun { destination, store, requests })
    }
}

/// Confirms the lease, then awaits `run`. If `stop` is canceled first, returns [`Ended::Stopped`] without counts:
/// the run did not begin.
///
/// # Errors
///
/// The fault of the lease or of the run.
async fn run_with_lease(
    lease: &dyn Lease,
    stop: &CancellationToken,
    run: impl Future<Output = Result<Ended, Fault>>,
) -> Result<Ended, Fault> {
    tokio::select! {
        biased;
        confirmed = lease.confirm() => confirmed?,
        () = stop.cancelled() => return Ok(Ended::Stopped(Counts::default())),
    }
    run.await
}

/// Returns the files of the entry's checkpoint, and of the hold, the positions and the dead letters of its delivery.
pub fn run_store(entry: &Entry, pipeline: &Pipeline, folders: &Folders, events: &Events) -> FolderStore {
    FolderStore {
        checkpoint: folders.entry(&pipeline.delivery, &entry.folder),
        delivery: folders.delivery(&pipeline.delivery),
        dead_letters: folders.dead_letter(&pipeline.delivery),
        events: events.clone(),
    }
}

/// Returns the records of the entry's delivery: its ledger, and its delivery cache, which is on by default for
/// sources that are read whole in every run. The entries with this delivery share them.
pub fn records(entry: &Entry, pipeline: &Pipeline, folders: &Folders, databases: &Arc<Databases>) -> Records {
    let folder = folders.delivery(&pipeline.delivery);
    let (version, expire) = (pipeline.mapping.version(), expire(entry, pipeline));
    Records::new(databases, &folder, &pipeline.destination, version, expire)
}

/// Returns whether the delivery cache of the entry is on.
pub fn remembers(entry: &Entry, pipeline: &Pipeline) -> bool {
    expire(entry, pipeline).is_some()
}

/// Returns the time after which a cached delivery expires, or `None` if the cache is off.
fn expire(entry: &Entry, pipeline: &Pipeline) -> Option<TimeDelta> {
    let caches = pipeline.reads_all() && pipeline.spec.caches;
    let usual = || if caches { Remember::by_default() } else { Remember::Off };
    match entry.unchanged.unwrap_or_else(usual) {
        Remember::Off => None,
        Remember::For(expire) => Some(expire),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::future::BoxFuture;

    use super::{super::lists::Opened, *};
    use crate::{
        base::identity::ListId,
        engine::support_tests::{AsItIs, Feed, Scope, Scoped, Store, pipeline},
        state::{schema, vocabulary::SAMPLE},
        store::{Leases, leases::ProcessLeases},
    };

    #[tokio::test(start_paused = true)]
    async fn the_cache_is_on_by_default_and_what_a_source_reads_is_known_of_its_entry() {
        let text = r#"[{"list_id": "a", "start_offset": 5}]"#;
        let entry = schema::read(text, &SAMPLE).unwrap().entries.remove(0);
        for (scope, on) in [(Scope::Full, true), (Scope::Changes, false), (Scope::Positions, false)] {
            let feed = Feed::new(&[], false);
            let clock = feed.list;
            let mut pipeline = pipeline(Scoped(feed, scope), AsItIs, Store::new(1, 0.0), clock);
            assert_eq!(remembers(&entry, &pipeline), on, "{scope:?}");
            let opened = Opened::of(&pipeline);
            assert_eq!((opened.reads_all, opened.counts_rows), (on, false), "{scope:?}");
            pipeline.spec.caches = false;
            assert!(!remembers(&entry, &pipeline), "{scope:?}");
        }
    }

    /// A lease whose confirmation fails, or never comes.
    #[derive(Debug)]
    struct Unsure {
        fails: bool,
    }

    impl Lease for Unsure {
        fn confirm(&self) -> BoxFuture<'_, Result<(), Fault>> {
            Box::pin(async {
                match self.fails {
                    true => Err(Fault::list("another process has the list")),
                    false => std::future::pending().await,
                }
            })
        }
    }

    #[tokio::test]
    async fn no_run_begins_before_its_lease_is_confirmed() {
        let (stop, began) = (CancellationToken::new(), AtomicBool::new(false));
        let run = || async {
            began.store(true, Ordering::Relaxed);
            Ok(Ended::Stopped(Counts { sent: 7, ..Counts::default() }))
        };
        let fault = run_with_lease(&Unsure { fails: true }, &stop, run()).await.unwrap_err();
        assert!(fault.to_string().contains("another process has the list"), "{fault}");
        let (lease, run_later) = (Unsure { fails: false }, run());
        let waits = async {
            tokio::task::yield_now().await;
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(run_with_lease(&lease, &stop, run_later), waits);
        assert!(matches!(ended, Ok(Ended::Stopped(counts)) if counts == Counts::default()));
        assert!(!began.load(Ordering::Relaxed));
        let list = ListId { source: "rows".into(), account: None, id: "a".into() };
        let lease = ProcessLeases::default().take(&list).unwrap();
        // After a stop, the run itself decides how it ends.
        let ended = run_with_lease(lease.as_ref(), &stop, run()).await;
        assert!(matches!(ended, Ok(Ended::Stopped(counts)) if counts.sent == 7));
    }
}
