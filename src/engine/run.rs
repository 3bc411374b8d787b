//! One run of one list, from its first window to its outcome: a pass, after a full load the passes that catch up with
//! what changed meanwhile, and what is remembered of them.

use std::time::Duration;

use log::{info, warn};
use tokio_util::sync::CancellationToken;

use super::{
    clocks::Noticed,
    guard::Brake,
    pass::Pass,
    plan::{Ended, Ends, Outcome, Plan},
    windows::{Done, a_second_has_passed, catch_up, first, leave_out, same_again},
};
use crate::{
    base::{fault::Fault, record::UNREADABLE},
    store::{
        checkpoint::{Checkpoint, Header, Line},
        dead_letter::{self, DeadLetter},
        hold,
        ledger::{self, Delivered, Ledger, Summary},
        migrate,
        seen::fingerprint,
    },
};

/// Passes after that of a full load, at most; one at least.
const CATCH_UPS: u32 = 3;

/// Runs one list. After `stop` no new page is asked for and pages under way are dropped. What a failed or stopped run has
/// settled is in its checkpoint, and the next run goes on from there.
pub async fn run(ends: &Ends, plan: &Plan, stop: &CancellationToken) -> Result<Ended, Fault> {
    let (entry, entries) = (plan.entry(), plan.past.names());
    let allowed = plan.allow_mass_change.then_some(entry.as_str());
    hold::check(&plan.list_folder, &ends.delivery, &plan.list_id, allowed, entries.as_deref()).await?;
    migrate::take_over(plan.place(), &plan.past).await?;
    plan.unchanged.begin().await?;
    let (mut checkpoint, left) = Checkpoint::open(&plan.folder, &plan.origin).await?;
    let known = Ledger::load(&plan.list_folder).await?;
    let summary = known.as_ref().map(|ledger| &ledger.summary);
    let (mut header, mut lines) = begin(ends, plan, summary, left);
    if !may_begin(ends, plan, summary, lines.is_empty(), stop).await {
        return Ok(Ended::Stopped(header.counts));
    }
    warn_beforehand(plan, summary);
    let choice = lines.last().and_then(|line| line.choice.clone()).or(header.choice.clone());
    ends.mapping.choose(choice.or(summary.and_then(|summary| summary.choice.clone())));
    if lines.is_empty() && plan.since.is_none() && plan.start_offset > 0 && !ends.rereads() {
        leave_out(ends, plan, &mut header).await?;
    }
    let mut unrecorded = known.is_none();
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
        compare(&mut pass, ends, plan, &header, known.as_ref());
        if !lines.is_empty() {
            log_resumed(plan, &pass);
        }
        let explained = match pass.read_all(stop).await? {
            Some(explained) => explained,
            None => return Ok(Ended::Stopped(pass.counts())),
        };
        let mut done = pass.done();
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
            // The next run opens a new window.
            Checkpoint::discard(&plan.folder).await?;
            return Err(fault);
        }
        let unlisted = record(ends, plan, header.pass, &pass, &done).await?;
        // Entries of one list may read different parts of it.
        done.counts.unlisted += if ends.rereads() && plan.alone { unlisted } else { 0 };
        // An interrupted chain has gone on with what there was to read when it began.
        let caught_up = match ends.rereads() {
            true => lines.is_empty(),
            false => plan.since.is_some() || (header.pass > 1 && !done.big),
        };
        if caught_up || header.pass > CATCH_UPS {
            let elapsed = Duration::try_from_secs_f64(done.seconds).unwrap_or_default();
            let unknown = ends.mapping.unknown();
            let Done { until, counts, .. } = done;
            warn_of_repeats(plan, counts.repeated);
            return Ok(Ended::Finished(Outcome { until, elapsed, counts, unknown, noticed }));
        }
        if !a_second_has_passed(ends, done.until, stop).await {
            return Ok(Ended::Stopped(done.counts));
        }
        (again, header, lines) = (false, catch_up(ends, plan, header, done), vec![]);
    }
}

/// Returns where an interrupted run goes on, or the windows of a new one, together with the earlier observations about the source.
fn begin(
    ends: &Ends,
    plan: &Plan,
    summary: Option<&Summary>,
    left: Option<(Header, Vec<Line>)>,
) -> (Header, Vec<Line>) {
    let (mut header, lines) = left.unwrap_or_else(|| {
        let recorded = summary.map(|summary| summary.archived_until);
        (first(ends, plan, recorded), vec![])
    });
    // How many records the source once gave in an answer tells a whole answer from one that is cut off only as long as it gives as
    // many. A full load, and any run after totals that were wrong, finds that out anew.
    let trusted = summary.filter(|summary| plan.since.is_some() && !summary.totals_wrong);
    header.server.proven = header.server.proven.max(trusted.map_or(0, |summary| summary.most_rows));
    header.server.doubts &= plan.since.is_none();
    // A source with wrong totals is expected to have them again, so only a full load checks them anew.
    header.totals_wrong |= plan.since.is_some() && summary.is_some_and(|summary| summary.totals_wrong);
    (header, lines)
}

/// Warns of mass changes that the run can't stop.
fn warn_beforehand(plan: &Plan, summary: Option<&Summary>) {
    let list = &plan.list_id;
    if plan.allow_mass_change {
        warn!(
            "list {list:?}: `allow_mass_change` is true, so any number of opt-outs and opt-ins may pass; remove it after this run."
        );
    } else if summary.is_none() && (plan.since.is_some() || plan.delivered_before) {
        warn!(
            "list {list:?}: there is no record of what was delivered, so a mass opt-in would not be noticed."
        );
    }
}

/// Gives a pass the baselines for its changes of consent.
fn compare<'a>(pass: &mut Pass<'a>, ends: &Ends, plan: &Plan, header: &Header, known: Option<&'a Ledger>) {
    if !plan.allow_mass_change {
        // A full load is compared with the last one, if there is one; of a pass over changes, every opt-out counts.
        let full = plan.since.is_none() && header.pass == 1;
        let last = known.and_then(|ledger| ledger.summary.opt_outs(&plan.audience));
        pass.brake = Some(Brake { expected: if full { last } else { Some(0) } });
        pass.known = known;
    }
    if ends.rereads() {
        // A chain reports no total, so the number of records in the ledger stands in for it.
        pass.listed = Some(known.map_or(0, |ledger| ledger.summary.len()));
        pass.holds_back |= header.pass > 1;
    }
}

/// Warns before a first load of what it can start at the sink, and waits until the load may begin. Returns false if a stop was
/// requested meanwhile. `new`: whether no interrupted run goes on.
async fn may_begin(
    ends: &Ends,
    plan: &Plan,
    summary: Option<&Summary>,
    new: bool,
    stop: &CancellationToken,
) -> bool {
    let nobody_yet = new && plan.since.is_none() && summary.is_none_or(Summary::is_empty);
    let Some(caution) = ends.sink.caution().filter(|_| nobody_yet) else { return true };
    warn!("list {:?} is loaded for the first time: {caution}.", plan.list_id);
    let Some(confirm) = &plan.confirm else { return true };
    tokio::select! {
        () = stop.cancelled() => false,
        () = confirm.ask(&plan.list_id) => true,
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
        totals_wrong: pass.totals_wrong(),
        most_rows: pass.server().proven,
    };
    let unlisted = ledger::add(&plan.list_folder, delivered).await?;
    let (letters, _) = dead_letter::read(&plan.dead_letter).await?;
    // A record that could not be read may be known by its text alone. When the text has changed, no later record matches the
    // letter, so a whole load drops it.
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

fn warn_of_repeats(plan: &Plan, rows: u64) {
    let repeat = match rows {
        0 => return,
        1 => "1 row repeats".to_owned(),
        rows => format!("{rows} rows repeat"),
    };
    warn!(
        "list {:?}: {repeat} another row's id, and nothing distinguishes them: rows with one id are delivered as one record.",
        plan.list_id
    );
}

fn log_resumed(plan: &Plan, pass: &Pass) {
    let settled: usize = pass.sweeps.iter().map(|sweep| sweep.seen.len()).sum();
    info!("list {:?}: the interrupted run goes on, {settled} records of this pass are done.", plan.list_id);
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
