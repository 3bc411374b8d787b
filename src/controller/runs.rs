//! Starts runs and handles their results.

use std::sync::Arc;

use chrono::TimeDelta;
use log::{Level, error, info, log, warn};
use tokio::{
    task::{self, JoinError},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Controller, Mode, OpenRequest, Ran, fingerprint,
    pauses::Pause,
    report,
    saver::Finished,
    schedule::{capacity::RunKind, due::Due},
    siblings::{Destination, siblings},
};
use crate::{
    base::{counts::Counts, fault::Fault},
    engine::{
        plan::{self, Ended, Pipeline, Plan},
        run,
    },
    state::{
        Applied, Edit, Entry, RunStamp,
        document::{Outcome, Overruled},
        folders::Folders,
        identity::EntryId,
        model::{FirstLoad, FullLoad, Remember},
    },
    store::{
        FolderStore, Lease, RunStore,
        records::{Databases, Records},
    },
};

impl Controller {
    /// Returns the log level for a run. A run without changes (`nothing`) of an entry that runs more than
    /// once a minute is logged at `debug`, unless an operator asked for it: with `go --once` or a missing
    /// timestamp.
    fn level(&self, entry: &Entry, nothing: bool) -> Level {
        let asked = self.mode == Mode::Once || entry.latest_timestamp.is_none();
        if nothing && !asked && entry.every < OFTEN { Level::Debug } else { Level::Info }
    }

    /// Starts a run of the entry, which has the lease of its list: a full load, or an incremental sync if that is
    /// `due`. Logs the reason.
    pub(super) fn start(&mut self, entry: Entry, due: Due, lease: Arc<dyn Lease>) {
        log!(self.level(&entry, true), "{}", report::due(&entry, due));
        let since = if let Due::Incremental { since } = due { Some(since) } else { None };
        self.settle(entry.id.clone());
        let pipeline = match (self.open)(OpenRequest { entry: &entry, urgent: since.is_some() }) {
            Ok(pipeline) => pipeline,
            // Rare, since the entry could be opened when the file was read.
            Err(unfit) => {
                error!("list {:?}: {}", entry.id.list_id, unfit.text);
                self.failed = true;
                return self.slots.rest(entry.id, Instant::now(), None);
            }
        };
        if (since.is_some() || !pipeline.counts_rows()) && entry.start_offset > 0 {
            warn!("{}", report::offset_ignored(&entry, &pipeline));
        }
        let folders = self.file.folders();
        let store: Arc<dyn RunStore> = Arc::new(run_store(&entry, &pipeline, &folders));
        let siblings = siblings(&entry, &pipeline.delivery, self.file.all_read(), self.open.as_ref());
        let plan = Plan {
            list_id: entry.id.list_id.clone(),
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
        let (stop, id, list) = (self.stop.child_token(), entry.id.clone(), entry.list.clone());
        let (ended, lease_of_run) = (stop.clone(), Arc::clone(&lease));
        let (followed, destination) = (entry.clone(), Destination::of(&pipeline));
        let task = self.jobs.spawn(async move {
            let run = run::run(&pipeline, &plan, &ended);
            let ended = run_with_lease(lease_of_run.as_ref(), &ended, run).await;
            (entry, store, pipeline.retry, ended)
        });
        self.notices.run_began(&destination);
        self.slots.run(task.id(), id, list, lease);
        self.capacity.begin(task.id(), if since.is_some() { RunKind::Sync } else { RunKind::FullLoad });
        self.pauses.begin(task, stop, (&followed, destination), &self.file.snapshot().mentions);
    }

    /// Handles the end of a run. Its result, if it finished, goes to the saver.
    pub(super) fn ended(&mut self, ran: Result<(task::Id, Ran), JoinError>) {
        let task = ran.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
        self.capacity.end(task);
        let now = self.pauses.entry_of(task);
        if let Some((_, destination)) = &now {
            self.notices.run_ended(destination);
        }
        let pause = self.pauses.ended(task);
        match ran {
            Ok((_, (entry, store, _, Ok(Ended::Finished(outcome))))) => {
                self.save(task, (entry, now), store, outcome);
            }
            Ok((_, (entry, _, _, Ok(Ended::Stopped(counts))))) => {
                self.give_back(task, pause);
                info!("{}", report::stopped(&entry, &counts, pause));
            }
            Ok((_, (entry, _, _, Err(fault)))) if let Some(pause) = pause => {
                self.give_back(task, Some(pause));
                warn!("{}", report::failed_at_pause(&entry, pause, &fault));
            }
            Ok((_, (entry, _, retry, Err(fault)))) => {
                self.fail(task, &fault.to_string(), (!retry).then_some(entry.every));
            }
            // The panic hook has printed the cause. A run that was aborted after a stop is not a failure.
            Err(error) if error.is_panic() => {
                self.fail(task, "a bug in importer ended the run; please report the lines above", None);
            }
            Err(_) => {
                if let Some((id, pause)) = self.give_back(task, pause).zip(pause) {
                    warn!("{}", report::cut_at_pause(&id.list_id, pause));
                }
            }
        }
    }

    /// Frees the list of a run that did not finish. A paused entry may continue, with `go --once` too.
    fn give_back(&mut self, task: task::Id, pause: Option<Pause>) -> Option<EntryId> {
        let id = self.slots.free(task);
        if let Some(id) = id.as_ref().filter(|_| pause.is_some()) {
            self.slots.unsettle(id);
        }
        id
    }

    /// Logs a failed run and delays the entry's next run by `rest`, or, with `None`, by the growing delay.
    fn fail(&mut self, task: task::Id, why: &str, rest: Option<TimeDelta>) {
        self.failed = true;
        if let Some(id) = self.slots.free(task) {
            // With a fixed delay an entry may fail every few seconds: a repeated failure is logged at `debug`.
            let often = rest.is_some_and(|rest| rest < OFTEN);
            let level = if often && !self.turns.is_news(&id, why, self.clock.now()) {
                Level::Debug
            } else {
                Level::Error
            };
            log!(
                level,
                "list {:?} failed: {why}. Its entry is unchanged; the next run continues after the delivered records.",
                id.list_id
            );
            self.slots.rest(id, Instant::now(), rest.and_then(|rest| rest.to_std().ok()));
        }
    }

    /// Logs the outcome of a finished run and passes its result to the saver. The list stays taken until the
    /// result is written or overruled by an edit.
    ///
    /// `now` is the entry as last read, and the destination of the run. If the references of the entry now
    /// resolve to another delivery, the result is dropped.
    fn save(
        &mut self,
        task: task::Id,
        (entry, now): (Entry, Option<(EntryId, Destination)>),
        store: Arc<dyn RunStore>,
        outcome: plan::Outcome,
    ) {
        let opened = (self.open)(OpenRequest { entry: &entry, urgent: false });
        let is_elsewhere = |(_, run): &(EntryId, Destination)| {
            opened.as_ref().is_ok_and(|pipeline| pipeline.delivery != run.delivery)
        };
        if now.as_ref().is_some_and(is_elsewhere) {
            warn!("{}", report::redirected(&entry.id.list_id));
            self.slots.free(task);
            return;
        }
        let level = self.level(&entry, outcome.counts.brought_nothing());
        log!(level, "{}", report::finished(&entry, &outcome));
        let counts = &outcome.counts;
        let mut warnings: Vec<String> =
            outcome.unknown.iter().map(|unknown| report::unknown(&entry, unknown)).collect();
        warnings.extend(report::totals_wrong(&entry, counts));
        warnings.extend(report::clocks_apart(&entry, &outcome.noticed));
        warnings.extend(report::rows_after_end(&entry, &outcome.noticed));
        warnings.extend(report::rejected(&entry, &outcome, &store.dead_letter_location()));
        warnings.extend(report::nothing_left(&entry, counts));
        // An entry that runs more than once a minute logs unchanged warnings only every ten minutes.
        if entry.every >= OFTEN || self.turns.is_news(&entry.id, &warnings.join("\n"), self.clock.now()) {
            warnings.iter().for_each(|told| warn!("{told}"));
        }
        if let Some(told) = report::fields_left_out(&entry, counts) {
            log!(level, "{told}");
        }
        let stamp = RunStamp {
            latest_timestamp: outcome.until,
            elapsed_seconds: outcome.elapsed.as_secs_f64(),
            total_updates: outcome.counts.sent,
        };
        // If the list has several entries, the edit finds only an unchanged one, so it keeps the id of the run's entry.
        let id = now.filter(|_| entry.alone).map_or(entry.id, |(id, _)| id);
        let edit = Edit { entry: id, alone: entry.alone, was: entry.was, stamp };
        self.saver.add(Finished { task, edit, store, level });
    }

    /// Handles the end of a write of results. Those that could not be written are written by a later check.
    ///
    /// # Errors
    ///
    /// With [`Mode::Once`]: a result can't be written. It stays in the journal.
    pub(super) fn written(
        &mut self,
        results: Vec<Finished>,
        applied: Result<Box<Applied>, Fault>,
    ) -> Result<(), Fault> {
        let applied = match applied {
            Ok(applied) => applied,
            Err(fault) => return self.unwritten(results, fault),
        };
        let mut failed = Ok(());
        for (finished, outcome) in results.into_iter().zip(&applied.outcomes) {
            let list = &finished.edit.entry.list_id;
            match outcome {
                Outcome::Stamped => log!(finished.level, "{}", report::written(&finished.edit)),
                Outcome::Overruled(Overruled::ByHand) => warn!("{}", report::overruled_by_hand(list)),
                Outcome::Overruled(Overruled::NoSuchEntry) => warn!("{}", report::entry_gone(list)),
                Outcome::Overruled(Overruled::Redirected) => warn!("{}", report::redirected(list)),
                Outcome::Failed(finding) => {
                    let fault = finding.fault(self.file.path());
                    failed = failed.and(self.unwritten(vec![finished], fault));
                    continue;
                }
            }
            self.slots.free(finished.task);
            self.slots.recovered(&finished.edit.entry);
            let stamp = finished.edit.stamp.latest_timestamp;
            self.turns.ended(&finished.edit.entry, stamp, self.clock.now());
        }
        self.last_write = Some(Instant::now());
        self.file.written(*applied);
        failed
    }

    /// Keeps results that could not be written.
    fn unwritten(&mut self, results: Vec<Finished>, fault: Fault) -> Result<(), Fault> {
        let lists = results.iter().map(|finished| finished.edit.entry.list_id.as_str());
        error!("{}: {fault}", report::lists(lists));
        info!("{}", report::kept(results.len()));
        self.failed = true;
        results.into_iter().for_each(|finished| self.saver.keep(finished));
        if self.mode == Mode::Once { Err(fault) } else { Ok(()) }
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

/// Entries with a shorter `every` log only runs with changes.
const OFTEN: TimeDelta = TimeDelta::seconds(60);

/// Returns the files of the entry's checkpoint, and of the hold, the positions and the dead letters of its delivery.
pub fn run_store(entry: &Entry, pipeline: &Pipeline, folders: &Folders) -> FolderStore {
    FolderStore {
        checkpoint: folders.entry(&pipeline.delivery, &entry.folder),
        delivery: folders.delivery(&pipeline.delivery),
        dead_letters: folders.dead_letter(&pipeline.delivery),
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
    let usual = || if pipeline.reads_all() { Remember::by_default() } else { Remember::Off };
    match entry.unchanged.unwrap_or_else(usual) {
        Remember::Off => None,
        Remember::For(expire) => Some(expire),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use chrono::DateTime;
    use futures::future::BoxFuture;

    use super::*;
    use crate::{
        base::identity::ListId,
        engine::{
            clocks::Noticed,
            support_tests::{AsItIs, Feed, Scope, Scoped, Store, pipeline},
        },
        state::{schema, vocabulary::SAMPLE},
        store::{Leases, leases::ProcessLeases},
    };

    #[tokio::test(start_paused = true)]
    async fn the_cache_is_on_by_default_and_an_offset_is_ignored_by_what_a_source_reads() {
        let text = r#"[{"list_id": "a", "start_offset": 5}]"#;
        let entry = schema::read(text, &SAMPLE).unwrap().entries.remove(0);
        for (scope, on, ignored) in [
            (Scope::Full, true, "every run reads this source whole"),
            (Scope::Changes, false, "this source has no offsets"),
            (Scope::Positions, false, "this source has no offsets"),
        ] {
            let feed = Feed::new(&[], false);
            let clock = feed.list;
            let pipeline = pipeline(Scoped(feed, scope), AsItIs, Store::new(1, 0.0), clock);
            assert_eq!(remembers(&entry, &pipeline), on, "{scope:?}");
            let told = report::offset_ignored(&entry, &pipeline);
            assert!(told.contains("start_offset 5 is ignored") && told.contains(ignored), "{told}");
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

    #[test]
    fn rejected_records_are_replayed_or_loaded_again() {
        let entry = schema::read(r#"[{"list_id": "a"}]"#, &SAMPLE).unwrap().entries.remove(0);
        let mut outcome = plan::Outcome {
            until: DateTime::UNIX_EPOCH,
            elapsed: std::time::Duration::ZERO,
            counts: Counts::default(),
            unknown: vec![],
            noticed: Noticed::default(),
            replayable: true,
        };
        outcome.counts.rejected.insert("unfit".into(), 1);
        for (replayable, then) in [(true, "run `importer replay`"), (false, "load the list again")] {
            outcome.replayable = replayable;
            let told = report::rejected(&entry, &outcome, "letters").unwrap();
            assert!(told.contains(then) && told.contains("1 rejected record can't be sent"), "{told}");
        }
    }
}
