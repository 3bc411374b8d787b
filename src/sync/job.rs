//! One run of one list, from its first window to its outcome: a pass, after a full load the passes that catch up with
//! what changed meanwhile, and what is remembered of them.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use log::{info, warn};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    brake::Brake,
    checkpoint::{Checkpoint, Header},
    coverage::Counts,
    dead_letter::{self, DeadLetter},
    held,
    ledger::{self, Delivered, Summary},
    pass::Pass,
    seen::fingerprint,
    unchanged::Unchanged,
    walk::LAG,
};
use crate::{
    base::{
        fault::Fault,
        record::UNREADABLE,
        window::{Span, Sweep, Window},
    },
    mapping::Mapping,
    sink::Sink,
    source::{Pages, Rows, Source},
};

/// Passes after that of a full load, at most; one at least.
const CATCH_UPS: u32 = 3;

/// The third parties of one list.
pub struct Ends {
    pub source: Box<dyn Source>,
    pub mapping: Box<dyn Mapping>,
    pub sink: Arc<dyn Sink>,
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
    /// Whether any number of opt-outs may pass.
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
    /// The end of the last window, by the source's clock: everything visible then is delivered.
    pub until: DateTime<Utc>,
    /// Interrupted parts of the run included, but not the time in between.
    pub elapsed: Duration,
    pub counts: Counts,
    /// What the settings name and no record has had.
    pub unknown: Vec<String>,
}

/// Runs one list. After `stop` no new page is asked for and pages under way are dropped. What a failed or stopped run has
/// settled is in its checkpoint, and the next run goes on from there.
pub async fn run(ends: &Ends, plan: &Plan, stop: &CancellationToken) -> Result<Ended, Fault> {
    held::check(&plan.folder, &plan.origin, plan.allow_mass_change).await?;
    plan.unchanged.begin().await?;
    let (mut checkpoint, left) = Checkpoint::open(&plan.folder, &plan.origin).await?;
    let summary = ledger::summary(&plan.list_folder).await?;
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
            "list {:?}: `allow_mass_change` is true, so any number of opt-outs may pass; take it out after this run.",
            plan.list_id
        );
    }
    let delivered = summary.as_ref().map_or(0, Summary::len);
    let opt_outs = summary.as_ref().and_then(|summary| summary.opt_outs.get(&plan.audience)).copied();
    let choice = lines.last().and_then(|line| line.choice.clone()).or(header.choice.clone());
    ends.mapping.choose(choice.or(summary.and_then(|summary| summary.choice)));
    if lines.is_empty() && plan.since.is_none() && plan.start_offset > 0 && !ends.rereads() {
        leave_out(ends, plan, &mut header).await?;
    }
    let mut again = false;
    loop {
        if lines.is_empty() {
            checkpoint.begin(header.clone());
        }
        let Some(mut pass) = Pass::new(ends, plan, &mut checkpoint, &header, &lines) else {
            let hint = "drop it with `importer go --fresh`";
            return Err(Fault::list("the checkpoint of the list can't be read").hint(hint));
        };
        pass.unrecorded = std::mem::take(&mut unrecorded);
        pass.brake = brake(plan, &header, opt_outs);
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
            warn_of_repeats(plan, done.counts.repeated);
            return Ok(Ended::Finished(Outcome { until: done.until, elapsed, counts: done.counts, unknown }));
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
    // A record that could not be read may be known by its text alone: when that has changed, nothing else tells.
    let unreadable = format!("{UNREADABLE}: ");
    let everything = whole && done.counts.left_out == 0;
    let over = |letter: &DeadLetter| {
        let print = fingerprint(&letter.key);
        let unmet = everything && !letter.opts_out && letter.reason.starts_with(&unreadable);
        pass.settled_well(print) || (unmet && !pass.has_met(print))
    };
    let over = letters.iter().filter(|letter| over(letter)).map(|letter| fingerprint(&letter.key)).collect();
    dead_letter::tidy(&plan.dead_letter, &plan.entry(), over).await?;
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
    let until = end(ends);
    if header.windows[0].until > Some(until) {
        // Our clock was ahead; by now the source's is known.
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
}

impl Done {
    fn of(pass: &Pass) -> Self {
        Done { until: pass.until(), counts: pass.counts(), seconds: pass.seconds(), big: pass.is_big() }
    }
}

/// A full load is held against the last one, if there is one; what changed, against nothing.
fn brake(plan: &Plan, header: &Header, last_full: Option<u64>) -> Option<Brake> {
    let full = plan.since.is_none() && header.pass == 1;
    let expected = if full { last_full } else { Some(0) };
    expected.filter(|_| !plan.allow_mass_change).map(|expected| Brake { expected })
}

/// Where a window ends that is opened now: the current second is still filling.
fn end(ends: &Ends) -> DateTime<Utc> {
    ends.source.now().trunc_subsecs(0) - TimeDelta::seconds(1)
}

/// Where a window begins that continues one which ended at `until`: a change may become visible some time after its time
/// stamp.
fn continuing(until: DateTime<Utc>) -> DateTime<Utc> {
    until - TimeDelta::seconds(1 + LAG.as_secs() as i64)
}

/// The windows of a new run. The archived are not in the plain listing, and those who are archived after they were delivered
/// must not stay opted in at the other end: their listing is read from where we last did. Where we have no record of that,
/// all of them are read, but on a true first load none: nobody was delivered.
fn first(ends: &Ends, plan: &Plan, recorded: Option<DateTime<Utc>>) -> Header {
    let until = Some(end(ends));
    let mut windows = vec![Window { sweep: Sweep::Listed, since: plan.since.map(continuing), until }];
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
        windows.push(Window { sweep: Sweep::Archived, since: since.map(continuing), until });
    }
    Header::new(&plan.origin, windows)
}

/// What has changed since a pass began, and so left its windows.
fn catch_up(ends: &Ends, plan: &Plan, header: Header, done: Done) -> Header {
    let since = Some(continuing(done.until));
    let until = Some(end(ends));
    let sweeps = [Sweep::Listed, Sweep::Archived].into_iter().take(if plan.reads_archived { 2 } else { 1 });
    let windows = sweeps.map(|sweep| Window { sweep, since, until }).collect();
    let (pass, choice) = (header.pass + 1, ends.mapping.choice());
    Header { pass, windows, choice, counts: done.counts, seconds: done.seconds, ..header }
}

/// The same pass once more, up to now.
fn same_again(ends: &Ends, plan: &Plan, header: Header, done: Done) -> Header {
    let until = Some(end(ends));
    let mut windows = header.windows;
    if windows.len() == 1 && plan.reads_archived {
        // Somebody has been delivered by now, and may have been archived since.
        windows.push(Window { sweep: Sweep::Archived, since: Some(continuing(done.until)), until: None });
    }
    windows.iter_mut().for_each(|window| window.until = until);
    let Counts { window, left_out, seen, left, repeated, .. } = header.counts;
    let counts = Counts { window, left_out, seen, left, repeated, ..done.counts };
    Header { windows, counts, seconds: done.seconds, choice: ends.mapping.choice(), ..header }
}

/// Waits until the next window reaches beyond the last one, so that a full load holds the second in which it began: then a list
/// that was filled a moment ago is loaded whole. False: a stop was asked for.
async fn a_second_has_passed(ends: &Ends, until: DateTime<Utc>, stop: &CancellationToken) -> bool {
    let left = (until + TimeDelta::seconds(2) - ends.source.now()).to_std().unwrap_or_default();
    tokio::select! {
        () = stop.cancelled() => false,
        () = sleep(left) => !stop.is_cancelled(),
    }
}

fn warn_of_repeats(plan: &Plan, rows: u64) {
    let repeat = match rows {
        0 => return,
        1 => "1 row repeats".to_owned(),
        rows => format!("{rows} rows repeat"),
    };
    warn!(
        "list {:?}: {repeat} another row's id, and nothing tells them apart: rows with one id are delivered as one record.",
        plan.list_id
    );
}

fn told_resumed(plan: &Plan, pass: &Pass) {
    let settled: usize = pass.sweeps.iter().map(|sweep| sweep.seen.len()).sum();
    info!("list {:?}: the interrupted run goes on, {settled} records of this pass are done.", plan.list_id);
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
