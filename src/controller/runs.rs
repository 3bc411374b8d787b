//! Starts the due entries and handles the results of their runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use log::{Level, error, info, log, warn};
use tokio::{
    task::{self, JoinError},
    time::Instant,
};

use super::{
    Controller, Mode, OpenRequest, Poll, Ran, fingerprint,
    pauses::{Named, Pause},
    report,
    schedule::{
        due::{self, Due},
        slots::Slot,
        turns::Turns,
    },
};
use crate::{
    base::fault::Fault,
    engine::{
        plan::{Ended, Outcome, Pipeline, Plan},
        run,
    },
    state::{
        Edit, Entry, RunStamp,
        document::Overruled,
        folders::Folders,
        identity::EntryId,
        model::{FirstLoad, FullLoad, Remember},
    },
    store::{
        checkpoint::Checkpoint,
        former,
        records::{self, Databases, Records},
    },
};

impl Controller {
    /// Checks all entries and starts those that are due and free.
    pub(super) fn consider(&mut self, look: Poll) {
        if self.stop.is_cancelled() {
            return;
        }
        self.end_paused();
        let now = Instant::now();
        (self.considered, self.looked) = (now, self.clock.now());
        for entry in self.file.entries() {
            let list = &entry.id.list_id;
            match self.slots.of(&entry.id, now) {
                Slot::Free if entry.enabled && self.has_turn(&entry) => self.decide(entry, look),
                Slot::Free if look == Poll::Regular => {
                    info!("list {list:?} is paused (`enabled` is false).")
                }
                Slot::Running if look == Poll::Regular => info!("list {list:?} is running."),
                Slot::Waiting if look == Poll::Regular && entry.alone => {
                    info!(
                        "list {list:?} is running with its previous settings; the change applies from the next run."
                    );
                }
                Slot::Waiting if look == Poll::Regular => {
                    info!(
                        "list {list:?} (entry at {}) waits until the run of another entry of the list has ended.",
                        entry.place
                    );
                }
                Slot::Resting { left } if look == Poll::Regular => {
                    let seconds = left.as_secs_f64().ceil();
                    info!("list {list:?}: the last run failed; the next attempt starts in {seconds} s.");
                }
                _ => {}
            }
        }
    }

    /// Stops the runs whose entries are paused or removed in the state file as last read.
    fn end_paused(&mut self) {
        for (list, pause) in self.pauses.follow(self.file.mentions(), Instant::now()) {
            info!("{}", report::pausing(&list, pause));
        }
    }

    /// Returns whether the entry may start: with `go --once`, only lists that were enabled at its start may.
    pub(super) fn has_turn(&self, entry: &Entry) -> bool {
        self.mode == Mode::Loop || self.once.is_empty() || self.once.contains(&entry.id.list_id)
    }

    /// Returns when the next of the free entries is due, or `None` if none is or the mode is [`Mode::Once`].
    pub(super) fn next_turn(&self) -> Option<Instant> {
        if self.mode == Mode::Once {
            return None;
        }
        let (now, instant) = (self.clock.now(), Instant::now());
        let free = |entry: &&Entry| entry.enabled && self.slots.of(&entry.id, instant) == Slot::Free;
        let entries = self.file.entries();
        let due = entries.iter().filter(free).filter_map(|entry| self.turns.due_at(entry, now));
        Turns::next(due, self.looked, now).map(|left| instant + left)
    }

    /// Returns the log level for a run. A run without changes (`nothing`) of an entry that runs more than
    /// once a minute is logged at `debug`, unless an operator asked for it: with `go --once` or a missing
    /// timestamp.
    fn level(&self, entry: &Entry, nothing: bool) -> Level {
        let asked = self.mode == Mode::Once || entry.latest_timestamp.is_none();
        if nothing && !asked && entry.every < OFTEN { Level::Debug } else { Level::Info }
    }

    /// Starts the entry if it is due, and logs why it runs or does not run.
    fn decide(&mut self, entry: Entry, look: Poll) {
        let from = self.turns.since(&entry, self.clock.now());
        let due = due::decide(entry.latest_timestamp, from, entry.every, self.clock.now());
        let told = report::due(&entry, due);
        match due {
            Due::UpToDate { .. } if look == Poll::Regular => info!("{told}"),
            Due::UpToDate { .. } => {}
            Due::Future { .. } if look == Poll::After => {}
            Due::Future { .. } => {
                error!("{}: {told}", self.file.path().display());
                self.failed = true;
                self.settle(entry.id);
            }
            Due::Full if self.waits_for_a_person(&entry) => {
                if look == Poll::Regular || self.mode == Mode::Once {
                    warn!("{}", report::first_load_waits(&entry));
                }
                if self.mode == Mode::Once {
                    self.failed = true;
                    self.settle(entry.id);
                }
            }
            Due::Full => self.start(entry, None, &told),
            Due::Incremental { since } => self.start(entry, Some(since), &told),
        }
    }

    /// Returns whether the first load of the entry waits until a person confirms it. A load is a first load
    /// if the delivery has no ledger, which a run writes before its first delivery, and the entry has no
    /// checkpoint.
    fn waits_for_a_person(&self, entry: &Entry) -> bool {
        let folders = self.file.folders();
        if entry.first_load != FirstLoad::Ask || Checkpoint::path(&folders.entry(entry)).exists() {
            return false;
        }
        let pipeline = (self.open)(OpenRequest { entry, urgent: false });
        pipeline.is_ok_and(|pipeline| {
            let is_former = former::exists(&folders.list(entry));
            !is_former && !records::exists(&records_folder(entry, &pipeline, &folders))
        })
    }

    /// With `go --once`, lets the entry not run again.
    fn settle(&mut self, id: EntryId) {
        if self.mode == Mode::Once {
            self.slots.settle(id);
        }
    }

    /// Starts a run of the entry: a full load if `since` is `None`. Logs `told`, the reason of the run.
    fn start(&mut self, entry: Entry, since: Option<DateTime<Utc>>, told: &str) {
        log!(self.level(&entry, true), "{told}");
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
        let plan = Plan {
            list_id: entry.id.list_id.clone(),
            since,
            overlap: entry.overlap,
            start_offset: entry.start_offset,
            items_per_request: entry.items_per_request,
            worker_count: entry.worker_count,
            folder: folders.entry(&entry),
            list_folder: folders.list(&entry),
            dead_letter: folders.dead_letter(&entry),
            run_fingerprint: fingerprint::run_fingerprint(&entry),
            delivered_before: entry.delivered_before,
            reads_archived: entry.policy.reads_archived() && pipeline.source.archives(),
            alone: entry.alone,
            past: fingerprint::past(&entry, self.file.all_read(), &folders),
            consent_scope: fingerprint::consent_scope(&entry, &pipeline),
            allow_mass_change: entry.allow_mass_change,
            records: records(&entry, &pipeline, &folders, &self.databases),
            holds_back: since.is_some() || entry.full_load == FullLoad::ChangedOnly,
            taken: self.late.begins(&pipeline),
            confirm: self.confirm.clone().filter(|_| entry.first_load != FirstLoad::Confirmed),
        };
        let (stop, id) = (self.stop.child_token(), entry.id.clone());
        let (ended, named) = (stop.clone(), Named::of(&entry));
        let task = self.jobs.spawn(async move {
            let ended = run::run(&pipeline, &plan, &ended).await;
            (entry, pipeline.retry, ended)
        });
        self.slots.run(task.id(), id);
        self.pauses.begin(task, stop, named, self.file.mentions());
    }

    /// Handles the end of a run, then starts the entries that waited for it.
    ///
    /// # Errors
    ///
    /// With [`Mode::Once`]: the result can't be written to the state file.
    pub(super) async fn ended(&mut self, ran: Result<(task::Id, Ran), JoinError>) -> Result<(), Fault> {
        let task = ran.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
        let pause = self.pauses.ended(task);
        match ran {
            Ok((_, (entry, _, Ok(Ended::Finished(outcome))))) => self.save(task, entry, outcome).await?,
            Ok((_, (entry, _, Ok(Ended::Stopped(counts))))) => {
                self.give_back(task, pause);
                info!("{}", report::stopped(&entry, &counts, pause));
            }
            Ok((_, (entry, _, Err(fault)))) if let Some(pause) = pause => {
                self.give_back(task, Some(pause));
                warn!("{}", report::failed_at_pause(&entry, pause, &fault));
            }
            Ok((_, (entry, retry, Err(fault)))) => {
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
        self.consider(Poll::After);
        Ok(())
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

    /// Logs the outcome of a finished run, puts its result into the journal and writes it to the state file.
    async fn save(&mut self, task: task::Id, entry: Entry, outcome: Outcome) -> Result<(), Fault> {
        let level = self.level(&entry, outcome.counts.brought_nothing());
        log!(level, "{}", report::finished(&entry, &outcome));
        let (counts, dead_letter) = (&outcome.counts, self.file.folders().dead_letter(&entry));
        let mut warnings: Vec<String> =
            outcome.unknown.iter().map(|unknown| report::unknown(&entry, unknown)).collect();
        warnings.extend(report::totals_wrong(&entry, counts));
        warnings.extend(report::clocks_apart(&entry, &outcome.noticed));
        warnings.extend(report::rows_after_end(&entry, &outcome.noticed));
        warnings.extend(report::rejected(&entry, &outcome, &dead_letter));
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
        let folder = self.file.folders().entry(&entry);
        let edit = Edit { entry: entry.id, alone: entry.alone, was: entry.was, stamp };
        // The checkpoint is needed until the journal has the result: a crash before that would lose the run.
        match self.file.wish(&edit).await {
            Ok(()) => drop_checkpoint(&folder).await,
            Err(fault) => warn!("list {:?}: {fault}", edit.entry.list_id),
        }
        let held = self.file.unwritten.len();
        self.write(task, edit, level).await?;
        if self.file.unwritten.len() == held {
            // The state file has the result now, also if the write to the journal failed.
            drop_checkpoint(&folder).await;
        }
        Ok(())
    }

    /// Writes the result of a run to the state file. The list stays taken until the result is written or
    /// overruled by an edit; if the write fails, a later check repeats it.
    ///
    /// # Errors
    ///
    /// With [`Mode::Once`]: the state file can't be written. The result stays in the journal.
    pub(super) async fn write(&mut self, task: task::Id, edit: Edit, level: Level) -> Result<(), Fault> {
        let list = &edit.entry.list_id;
        match self.file.write(&edit).await {
            Ok(overruled) => {
                match overruled {
                    None => log!(level, "{}", report::written(&edit)),
                    Some(Overruled::ByHand) => warn!("{}", report::overruled_by_hand(list)),
                    Some(Overruled::NoSuchEntry) => warn!("{}", report::entry_gone(list)),
                }
                self.slots.free(task);
                self.slots.recovered(&edit.entry);
                self.turns.ended(&edit.entry, edit.stamp.latest_timestamp, self.clock.now());
                self.written = Some(Instant::now());
            }
            Err(fault) => {
                error!("list {list:?}: {fault}");
                info!(
                    "the result of the run is kept; importer writes it as soon as the state file is usable."
                );
                self.failed = true;
                self.file.unwritten.push((task, edit));
                if self.mode == Mode::Once {
                    return Err(fault);
                }
            }
        }
        Ok(())
    }
}

/// Entries with a shorter `every` log only runs with changes.
const OFTEN: TimeDelta = TimeDelta::seconds(60);

/// Returns the records of the entry's delivery: its ledger, and its delivery cache, which is on by default for
/// sources that are read whole in every run. The entries of a list that use the same sink share them.
pub fn records(entry: &Entry, pipeline: &Pipeline, folders: &Folders, databases: &Arc<Databases>) -> Records {
    let folder = records_folder(entry, pipeline, folders);
    let (version, expire) = (pipeline.mapping.version(), expire(entry, pipeline));
    Records::new(databases, &folder, &pipeline.held_by, version, expire)
}

/// Returns the folder of the records of the entry's delivery.
pub fn records_folder(entry: &Entry, pipeline: &Pipeline, folders: &Folders) -> PathBuf {
    folders.list(entry).join(&pipeline.delivery)
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

/// Removes the checkpoint of a run whose result is saved. Logs a warning if that fails.
async fn drop_checkpoint(folder: &Path) {
    if let Err(fault) = Checkpoint::discard(folder).await {
        warn!("{fault}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::counts::Counts,
        engine::{
            clocks::Noticed,
            support_tests::{AsItIs, Feed, Scope, Scoped, Store, pipeline},
        },
        state::{schema, vocabulary::SAMPLE},
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

    #[test]
    fn rejected_records_are_replayed_or_loaded_again() {
        let entry = schema::read(r#"[{"list_id": "a"}]"#, &SAMPLE).unwrap().entries.remove(0);
        let mut outcome = Outcome {
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
            let told = report::rejected(&entry, &outcome, Path::new("letters")).unwrap();
            assert!(told.contains(then) && told.contains("1 rejected record can't be sent"), "{told}");
        }
    }
}
