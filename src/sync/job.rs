//! One run of one list, from its first window to its outcome: a pass, after a full load the passes that catch up with
//! what changed meanwhile, and what is remembered of them.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use log::{info, warn};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    brake::Brake,
    checkpoint::{Checkpoint, Header},
    clocks::{Clocks, Noticed, continuing},
    coverage::Counts,
    dead_letter, held,
    ledger::{self, Delivered, Ledger, Summary},
    pass::Pass,
    seen::fingerprint,
    unchanged::Unchanged,
};
use crate::{
    base::{
        clock::Clock,
        fault::Fault,
        window::{Span, Sweep, Window},
    },
    mapping::Mapping,
    sink::Sink,
    source::{Pages, Rows, Source},
};

/// Passes after that of a full load, at most; one at least.
const CATCH_UPS: u32 = 3;

/// The longest wait for the next window of a run, whatever the clocks say: usually it is less than two seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The third parties of one list.
pub struct Ends {
    pub source: Box<dyn Source>,
    pub mapping: Box<dyn Mapping>,
    pub sink: Arc<dyn Sink>,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// Whether a run that has failed is tried again before its next turn.
    pub retry: bool,
    /// A digest of what tells the sink and its account from others.
    pub held_by: String,
}

impl Ends {
    /// The rows of a source that is read by rows.
    pub fn rows(&self) -> Result<&dyn Rows, Fault> {
        match self.source.pages() {
            Pages::Rows(rows) => Ok(rows),
            Pages::Chain(_) => Err(Fault::list("this source can't be asked for single rows")),
        }
    }

    /// The time by the source's clock and by ours.
    pub fn clocks(&self) -> Clocks {
        Clocks { source: self.source.now(), ours: self.clock.now() }
    }

    /// Whether every run reads all that there is to read.
    pub fn rereads(&self) -> bool {
        matches!(self.source.pages(), Pages::Chain(_))
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For the log.
    pub list_id: String,
    /// Nothing: a full load. Else what changed after this time.
    pub since: Option<DateTime<Utc>>,
    /// How much of the last window is read again, beyond its last second.
    pub overlap: TimeDelta,
    /// Rows left out of a full load, counted from the oldest change.
    pub start_offset: u64,
    /// Rows a page, and the most payloads a batch; at least 1.
    pub items_per_request: usize,
    /// Pages read at once; at least 1.
    pub worker_count: usize,
    /// Where the checkpoint of this entry is kept.
    pub folder: PathBuf,
    /// Where the ledger of the list is kept, which its entries share: they run one after the other.
    pub list_folder: PathBuf,
    /// The file that keeps the list's rejected records.
    pub dead_letter: PathBuf,
    /// What the result depends on, as text: an interrupted run of another origin does not go on.
    pub origin: String,
    /// Whether members were delivered before, even if we have no record of it.
    pub delivered_before: bool,
    /// Whether the listing of the archived is read at all.
    pub reads_archived: bool,
    /// What the opt-outs of a full load are to be compared by, as text: the entry, and what it says of consent.
    pub audience: String,
    /// Whether any number of opt-outs and opt-ins may pass.
    pub allow_mass_change: bool,
    /// What the sink has accepted of each record, if that is remembered.
    pub unchanged: Unchanged,
    /// Whether what the sink holds already is not sent again.
    pub holds_back: bool,
    /// Set when the sink has taken something.
    pub taken: Arc<AtomicBool>,
}

impl Plan {
    /// What tells the entry from others of its list.
    pub fn entry(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// How a run ended when nothing failed.
#[derive(Debug)]
pub enum Ended {
    /// Everything in the windows is delivered or counted.
    Finished(Outcome),
    /// A stop was asked for; what was read is delivered.
    Stopped(Counts),
}

#[derive(Debug)]
pub struct Outcome {
    /// The end of the last window: everything visible then is delivered.
    pub until: DateTime<Utc>,
    /// Interrupted parts of the run included, but not the time in between.
    pub elapsed: Duration,
    pub counts: Counts,
    /// What the settings name and no record has had.
    pub unknown: Vec<String>,
    pub noticed: Noticed,
}

/// Runs one list. After `stop` no new page is asked for and pages under way are dropped. What a failed or stopped run has
/// settled is in its checkpoint, and the next run goes on from there.
pub async fn run(ends: &Ends, plan: &Plan, stop: &CancellationToken) -> Result<Ended, Fault> {
    held::check(&plan.folder, &plan.origin, plan.allow_mass_change).await?;
    plan.unchanged.begin().await?;
    let (mut checkpoint, left) = Checkpoint::open(&plan.folder, &plan.origin).await?;
    let known = Ledger::load(&plan.list_folder).await?;
    let summary = known.as_ref().map(|ledger| ledger.summary.clone());
    // Only the brake asks for it.
    let known = known.filter(|_| !plan.allow_mass_change);
    let mut unrecorded = summary.is_none();
    let (mut header, mut lines) = left.unwrap_or_else(|| {
        let recorded = summary.as_ref().map(|summary| summary.archived_until);
        (first(ends, plan, recorded), vec![])
    });
    let nobody_yet = summary.as_ref().is_none_or(|summary| summary.is_empty()) && lines.is_empty();
    if let Some(caution) = ends.sink.caution().filter(|_| nobody_yet && plan.since.is_none()) {
        warn!("list {:?} is loaded for the first time: {caution}.", plan.list_id);
    }
    if plan.allow_mass_change {
        warn!(
            "list {:?}: `allow_mass_change` is true, so any number of opt-outs and opt-ins may pass; take it out after this run.",
            plan.list_id
        );
    }
    if summary.is_none() && !plan.allow_mass_change && (plan.since.is_some() || plan.delivered_before) {
        let list = &plan.list_id;
        warn!(
            "list {list:?}: there is no record of what was delivered, so a mass opt-in would not be noticed."
        );
    }
    let delivered = summary.as_ref().map_or(0, Summary::len);
    let opt_outs = summary.as_ref().and_then(|summary| summary.opt_outs.get(&plan.audience)).copied();
    let choice = lines.last().and_then(|line| line.choice.clone()).or(header.choice.clone());
    ends.mapping.choose(choice.or(summary.and_then(|summary| summary.choice)));
    if lines.is_empty() && plan.since.is_none() && plan.start_offset > 0 && !ends.rereads() {
        leave_out(ends, plan, &mut header).await?;
    }
    let (mut again, mut noticed) = (false, Noticed::default());
    loop {
        if lines.is_empty() {
            checkpoint.begin(header.clone());
        }
        let Some(mut pass) = Pass::new(ends, plan, &mut checkpoint, &header, &lines) else {
            let hint = "drop it with `importer go --fresh`";
            return Err(Fault::list("the checkpoint of the list can't be read").hint(hint));
        };
        pass.unrecorded = std::mem::take(&mut unrecorded);
        pass.noticed.add(noticed);
        // A full load is held against the last one, if there is one; what changed, against nothing.
        let full = plan.since.is_none() && header.pass == 1;
        pass.brake =
            (!plan.allow_mass_change).then_some(Brake { expected: if full { opt_outs } else { Some(0) } });
        pass.known = known.as_ref();
        if ends.rereads() {
            // A chain does not tell how many it holds; then it is as many as at the last time.
            pass.listed = Some(delivered);
            pass.holds_back |= header.pass > 1;
        }
        if !lines.is_empty() {
            told_resumed(plan, &pass);
        }
        let explained = match pass.read_all(stop).await? {
            Some(explained) => explained,
            None => return Ok(Ended::Stopped(pass.counts())),
        };
        let mut done = Done::of(&pass);
        noticed = pass.noticed.clone();
        if let Err(why) = explained {
            Checkpoint::discard(&plan.folder).await?;
            if again {
                let hint = "nothing is recorded as delivered; the list runs again from its start";
                return Err(Fault::list(format!("{why}. {}", done.counts)).hint(hint));
            }
            warn!("list {:?}: {why}. The window is read again.", plan.list_id);
            (again, header, lines) = (true, same_again(ends, plan, header, done), vec![]);
            continue;
        }
        if let Err(fault) = ends.clocks().holds(done.until, noticed.newest) {
            // The next run opens another window.
            Checkpoint::discard(&plan.folder).await?;
            return Err(fault);
        }
        let unlisted = record(ends, plan, header.pass, &pass, &done).await?;
        // Entries of one list may read different parts of it.
        let alone = plan.folder == plan.list_folder;
        done.counts.unlisted += if ends.rereads() && alone { unlisted } else { 0 };
        // An interrupted chain has gone on with what there was to read when it began.
        let caught_up = match ends.rereads() {
            true => lines.is_empty(),
            false => plan.since.is_some() || (header.pass > 1 && !done.big),
        };
        if caught_up || header.pass > CATCH_UPS {
            let elapsed = Duration::try_from_secs_f64(done.seconds).unwrap_or_default();
            let unknown = ends.mapping.unknown();
            let Done { until, counts, .. } = done;
            return Ok(Ended::Finished(Outcome { until, elapsed, counts, unknown, noticed }));
        }
        if !a_second_has_passed(ends, done.until, stop).await {
            return Ok(Ended::Stopped(done.counts));
        }
        (again, header, lines) = (false, catch_up(ends, plan, header, done), vec![]);
    }
}

/// Notes in the ledger who was delivered; who was a dead letter and is delivered now is none any more. Answers how many records were
/// there before and were not read.
async fn record(ends: &Ends, plan: &Plan, number: u32, pass: &Pass<'_>, done: &Done) -> Result<u64, Fault> {
    let full = plan.since.is_none() && number == 1;
    let whole = full || ends.rereads();
    let delivered = Delivered {
        seen: pass.sweeps.iter().map(|sweep| &sweep.seen).collect(),
        whole,
        left_out: done.counts.left_out,
        opt_outs: (full && done.counts.left_out == 0).then(|| (plan.audience.clone(), pass.opt_outs())),
        until: done.until,
        archived: plan.reads_archived,
        choice: ends.mapping.choice(),
    };
    let unlisted = ledger::add(&plan.list_folder, delivered).await?;
    let (letters, _) = dead_letter::read(&plan.dead_letter).await?;
    let prints = letters.iter().map(|letter| fingerprint(&letter.key));
    dead_letter::tidy(
        &plan.dead_letter,
        &plan.entry(),
        prints.filter(|print| pass.settled_well(*print)).collect(),
    )
    .await?;
    if let Some(unchanged) = plan.unchanged.on() {
        unchanged.tidy(ends.source.now()).await?;
    }
    Ok(unlisted)
}

/// Has a full load begin at the row that `start_offset` counts up to, or rather at the second of its last change: rows move
/// while they are counted, seconds do not. Members of the same second are loaded, too.
async fn leave_out(ends: &Ends, plan: &Plan, header: &mut Header) -> Result<(), Fault> {
    let span = Span { offset: plan.start_offset, count: 1 };
    let mut page = ends.rows()?.read(&header.windows[0], span).await?;
    let until = ends.clocks().end();
    if header.windows[0].until > Some(until) {
        // Our clock is ahead; by now the source's is known.
        header.end_at(until);
        page = ends.rows()?.read(&header.windows[0], span).await?;
    }
    header.counts.left_out = page.total.min(plan.start_offset);
    header.windows[0].since = match page.records.first() {
        None => header.windows[0].until,
        Some(first) => {
            let changed = first.changed.ok_or_else(|| {
                Fault::list("the record at `start_offset` has no time of its last change")
                    .hint("load without `start_offset`")
            })?;
            Some(changed - TimeDelta::seconds(1))
        }
    };
    Ok(())
}

/// What a pass came to, together with those before.
struct Done {
    until: DateTime<Utc>,
    counts: Counts,
    seconds: f64,
    /// It was more than a page.
    big: bool,
    newest: Option<DateTime<Utc>>,
}

impl Done {
    fn of(pass: &Pass) -> Self {
        let newest = pass.noticed.newest;
        Done {
            until: pass.until(),
            counts: pass.counts(),
            seconds: pass.seconds(),
            big: pass.is_big(),
            newest,
        }
    }
}

/// The windows of a new run. The archived are not in the plain listing, and those who are archived after they were delivered
/// must not stay opted in at the other end: their listing is read from where we last did. Where we have no record of that,
/// all of them are read, but on a true first load none: nobody was delivered.
fn first(ends: &Ends, plan: &Plan, recorded: Option<DateTime<Utc>>) -> Header {
    let until = Some(ends.clocks().end());
    let since = plan.since.map(|since| continuing(since, plan.overlap));
    let mut windows = vec![Window { sweep: Sweep::Listed, since, until }];
    if !plan.reads_archived {
        return Header::new(&plan.origin, windows);
    }
    let since = recorded.map(|recorded| plan.since.map_or(recorded, |since| since.min(recorded)));
    if since.is_some() || plan.since.is_some() || plan.delivered_before {
        if since.is_none() {
            warn!(
                "list {:?}: there is no record of who was delivered, so all archived records are read and passed on as archived.",
                plan.list_id
            );
        }
        let since = since.map(|since| continuing(since, plan.overlap));
        windows.push(Window { sweep: Sweep::Archived, since, until });
    }
    Header::new(&plan.origin, windows)
}

/// What has changed since a pass began, and so left its windows.
fn catch_up(ends: &Ends, plan: &Plan, header: Header, done: Done) -> Header {
    let since = Some(continuing(done.until, plan.overlap));
    let until = Some(ends.clocks().end());
    let sweeps = [Sweep::Listed, Sweep::Archived].into_iter().take(if plan.reads_archived { 2 } else { 1 });
    let windows = sweeps.map(|sweep| Window { sweep, since, until }).collect();
    let (pass, choice) = (header.pass + 1, ends.mapping.choice());
    let (before, Done { counts, seconds, newest, .. }) = (Some(done.until), done);
    Header { pass, windows, choice, counts, seconds, before, newest, ..header }
}

/// The same pass once more, up to now.
fn same_again(ends: &Ends, plan: &Plan, header: Header, done: Done) -> Header {
    let until = Some(ends.clocks().end());
    let mut windows = header.windows;
    if windows.len() == 1 && plan.reads_archived {
        // Somebody has been delivered by now, and may have been archived since.
        windows.push(Window {
            sweep: Sweep::Archived,
            since: Some(continuing(done.until, plan.overlap)),
            until: None,
        });
    }
    windows.iter_mut().for_each(|window| window.until = until);
    let Counts { window, left_out, seen, left, .. } = header.counts;
    let counts = Counts { window, left_out, seen, left, ..done.counts };
    let Done { seconds, newest, .. } = done;
    Header { windows, counts, seconds, newest, choice: ends.mapping.choice(), ..header }
}

/// Waits until the next window reaches beyond the last one, so that a full load holds the second in which it began: then a list
/// that was filled a moment ago is loaded whole. A clock that was set back does not lengthen the wait; the next window shows
/// it. False: a stop was asked for.
async fn a_second_has_passed(ends: &Ends, until: DateTime<Utc>, stop: &CancellationToken) -> bool {
    let left = until + TimeDelta::seconds(2) - ends.clocks().earlier();
    let left = left.to_std().unwrap_or_default().min(LONGEST_WAIT);
    tokio::select! {
        () = stop.cancelled() => false,
        () = sleep(left) => !stop.is_cancelled(),
    }
}

fn told_resumed(plan: &Plan, pass: &Pass) {
    let settled: usize = pass.sweeps.iter().map(|sweep| sweep.seen.len()).sum();
    info!("list {:?}: the interrupted run goes on, {settled} records of this pass are done.", plan.list_id);
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
