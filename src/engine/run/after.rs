//! The end of a pass: updates the ledger, and removes the dead letters of records that are delivered.

use crate::{
    base::{event::RunEvent, fault::Fault, key::key_digest, record::UNREADABLE},
    engine::{
        pass::Pass,
        plan::{Pipeline, Plan},
        windows::Done,
    },
    store::{dead_letter::DeadLetter, records::Delivered},
};

/// Records the delivered records in the ledger, and removes their dead letters. Returns the number of records
/// that were in the ledger before and were not read.
///
/// # Errors
///
/// The store could not be read or written.
pub(super) async fn record(
    pipeline: &Pipeline,
    plan: &Plan,
    number: u32,
    pass: &Pass<'_>,
    done: &Done,
) -> Result<u64, Fault> {
    let full = plan.since.is_none() && number == 1;
    let whole = full || pipeline.reads_all();
    let delivered = Delivered {
        // Events are unique: the ledger would grow with each of them, and nothing would ever be compared.
        seen: if pipeline.keeps_positions() { vec![] } else { pass.seen().iter().collect() },
        whole,
        left_out: done.counts.left_out,
        opt_outs: (full && done.counts.left_out == 0).then(|| (plan.consent_scope.clone(), pass.opt_outs())),
        until: done.until,
        archived: plan.reads_archived,
        choice: pipeline.mapping.choice(),
        totals_wrong: pass.totals_wrong(),
        most_rows: pass.server().proven,
    };
    let unlisted = plan.records.add(delivered).await?;
    let (letters, _) = plan.store.dead_letters().await?;
    // An unreadable record may be identified by its text alone. Once the text has changed, no later record
    // matches its dead letter, so a load of the whole list removes it. A stream no longer has old records.
    let unreadable = format!("{UNREADABLE}: ");
    let everything = whole && done.counts.left_out == 0 && !pipeline.keeps_positions();
    let over = |letter: &DeadLetter| {
        let print = key_digest(&letter.key);
        let unmet = everything && !letter.opts_out && letter.reason.starts_with(&unreadable);
        pass.settled_well(print) || (unmet && !pass.has_met(print))
    };
    let over = letters.iter().filter(|letter| over(letter)).map(|letter| key_digest(&letter.key)).collect();
    plan.store.tidy_dead_letters(&plan.entry, over).await?;
    plan.records.tidy(pipeline.source.now()).await?;
    Ok(unlisted)
}

/// Warns of rows that share an id and can't be distinguished.
pub(super) fn warn_of_repeats(plan: &Plan, rows: u64) {
    if rows > 0 {
        plan.events.emit(RunEvent::IdsRepeat { rows });
    }
}
