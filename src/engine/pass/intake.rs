//! Receives the mapped records of a page: drops those seen before, and passes each version to the dispatch once.

mod fates;

use super::{Context, dispatch::Dispatch, unclosed::Settled};
use crate::{
    base::{
        counts::Counts,
        fate::{Effect, Fate},
        fault::Fault,
        key::{KeyMap, KeySet},
        record::{LeftOut, Mapped, Record},
        window::{Listing, Window},
    },
    engine::{
        clocks::Noticed,
        coverage::Rows,
        paging::listing::ListingProgress,
        pending::{PendingRecord, Preparation, RejectedRecord, prepare_deletion, prepare_mapped},
        received::Received,
    },
    sink::Deletions,
    store::{
        progress::{Row, UNTIMED},
        records::{CachedDelivery, KnownRecord, KnownRecords},
        seen::{Known, Seen, repeats},
    },
};

/// Number of fates that are written to the cache together.
const NOTES: usize = 1000;

pub(super) struct Intake<'a> {
    context: Context<'a>,
    /// The records of this pass and their fates, by listing.
    pub seen: Vec<Seen>,
    /// Counts of the whole run, without the rows of this pass.
    pub counts: Counts,
    /// Number of rows that repeat the key of another row of the same answer, by listing and key.
    repeats: KeyMap<(usize, u128), u64>,
    /// Records without a time, which no window contains; they were read from the listing without bounds.
    untimed: KeySet<u128>,
    /// What is known of the records of the current page.
    memory: KnownRecords,
    /// Fates of records that were not sent, for the cache.
    notes: Vec<(u128, Fate)>,
    /// Whether to skip payloads that the sink already has.
    holds_back: bool,
    /// Records that this pass has sent, if there is a cache.
    sent: KeySet<u128>,
    /// Whether statuses are compared with those before the run; see [`super::Baseline`].
    compares: bool,
    pub noticed: Noticed,
    /// Buffer for the name and the reason of a field that was left out, so that counting one allocates nothing.
    field: String,
}

impl<'a> Intake<'a> {
    pub fn new(
        context: Context<'a>,
        seen: Vec<Seen>,
        counts: Counts,
        compares: bool,
        holds_back: bool,
    ) -> Self {
        Intake {
            context,
            seen,
            counts,
            repeats: KeyMap::default(),
            untimed: KeySet::default(),
            memory: KnownRecords::default(),
            notes: Vec::new(),
            holds_back,
            sent: KeySet::default(),
            compares,
            noticed: Noticed::default(),
            field: String::new(),
        }
    }

    /// Returns the rows of a listing, as the source counted them and as they were read.
    pub fn rows(&self, index: usize, listing: &ListingProgress) -> Rows {
        let repeats = self.repeats.iter().filter(|((of, _), _)| *of == index);
        Rows { repeated: repeats.map(|(_, rows)| rows).sum(), ..listing.rows(self.seen_of(index)) }
    }

    /// Sets what is known of the records that follow.
    pub fn recalled(&mut self, memory: KnownRecords) {
        self.memory = memory;
    }

    /// Processes the records of an answer. Returns how many of them are new in this pass.
    pub fn records(
        &mut self,
        index: usize,
        window: Window,
        records: impl Iterator<Item = Received>,
        dispatch: &mut Dispatch<'_>,
    ) -> usize {
        let known = self.seen_of(index);
        records.for_each(|received| self.record(index, window, received, dispatch));
        self.seen_of(index) - known
    }

    /// Records rows of one answer that share a key. They count as one record, and none of them as missing.
    pub fn note_repeats(&mut self, index: usize, keys: impl Iterator<Item = u128>) {
        for (key, rows) in repeats(keys) {
            let known = self.repeats.entry((index, key)).or_default();
            *known = rows.max(*known);
        }
    }

    /// Processes a record that was not seen before, or not in this version.
    fn record(&mut self, index: usize, window: Window, received: Received, dispatch: &mut Dispatch<'_>) {
        let Received { record, mapped } = received;
        let row = row(&record);
        let known = self.seen[index].get(row.key);
        if known.is_some_and(|known| !is_newer(&self.seen[index], known, row, &record)) {
            self.counts.read_twice += 1;
            return;
        }
        self.counts.again += u64::from(known.is_some());
        if let Some(changed) = record.changed.filter(|_| self.context.pipeline.reads_changes()) {
            // With cursor paging, a source may be unable to bound a window.
            self.noticed.row(changed, window.until.filter(|_| self.context.pipeline.counts_rows()));
        }
        let known = self.memory.get_mut(&row.key);
        // What the cache has is older than the pass, so it counts for the first version only.
        let known =
            known.map(|known| KnownRecord { cached: known.cached.take(), settled: known.settled.clone() });
        let known = known.unwrap_or_default();
        let fate = self.fate(index, window, (&record, mapped), &known, dispatch);
        self.note_fate(row.key, fate, known.cached.as_ref());
        // A sent record is counted when it is accepted.
        if !fate.is_sent() {
            self.counts.count(fate);
        }
        self.seen[index].insert(row, &record.status, fate);
    }

    fn fate(
        &mut self,
        index: usize,
        window: Window,
        (record, mapped): (&Record, Option<Mapped>),
        known: &KnownRecord,
        dispatch: &mut Dispatch<'_>,
    ) -> Fate {
        if self.is_outdated(index, row(record)) {
            return Fate::Outdated;
        }
        if record.unreadable.is_some() {
            return self.reject(unreadable(record, window.listing == Listing::Archived), dispatch);
        }
        if record.deleted {
            return self.delete(record, known.cached.as_ref(), dispatch);
        }
        let pipeline = self.context.pipeline;
        let mapped = mapped.unwrap_or_else(|| pipeline.mapping.map(record));
        match prepare_mapped(pipeline, record, mapped) {
            Preparation::Send(pending, left_out) => self.send(record, pending, left_out, known, dispatch),
            Preparation::Skip(reason) => Fate::skipped(reason),
            Preparation::Reject(rejected) => self.reject(rejected, dispatch),
        }
    }

    /// Returns whether another listing has shown a newer version. Of two versions of the same second, the
    /// archived one counts.
    fn is_outdated(&self, index: usize, row: Row) -> bool {
        let others = self.seen.iter().enumerate().filter(|(other, _)| *other != index);
        others
            .filter_map(|(other, seen)| Some((other, seen.get(row.key)?)))
            .any(|(other, known)| (known.second, other) > (row.second, index))
    }

    fn send(
        &mut self,
        record: &Record,
        mut pending: PendingRecord,
        left_out: Vec<LeftOut>,
        known: &KnownRecord,
        dispatch: &mut Dispatch<'_>,
    ) -> Fate {
        let kept = known.cached.as_ref();
        if self.is_held_back(&pending, kept) {
            return Fate::Unchanged;
        }
        left_out.iter().for_each(|left_out| self.note_left_out(left_out));
        let opts_out = pending.opts_out;
        self.counts.opt_outs += u64::from(opts_out);
        let again = opts_out && kept.is_some_and(CachedDelivery::opted_out);
        self.counts.known_opt_outs += u64::from(again);
        if again && kept.is_some_and(CachedDelivery::has_digest) {
            // The sink is known to have the record as opted out.
            pending.notice = None;
        }
        pending.opts_in = self.opts_in_known(record, &pending, known);
        let opts_in = pending.opts_in;
        // Another version of the record may have been counted already.
        self.counts.opt_ins += u64::from(opts_in && !self.was_opted_in(pending.key));
        self.queue(pending, dispatch);
        Fate::Sent(match (opts_out, again) {
            (true, true) => Effect::OptOutAgain,
            (true, false) => Effect::OptOut,
            _ if opts_in => Effect::OptIn,
            _ => Effect::None,
        })
    }

    /// Counts a field that was left out of a payload.
    fn note_left_out(&mut self, LeftOut { field, reason }: &LeftOut) {
        self.field.clear();
        [field, " ", reason].into_iter().for_each(|part| self.field.push_str(part));
        match self.counts.fields.get_mut(&self.field) {
            Some(count) => *count += 1,
            None => _ = self.counts.fields.insert(self.field.clone(), 1),
        }
    }

    /// Returns whether this payload opts in a record that was known with another status before the run, or
    /// whose last accepted payload was an opt-out. A payload that the sink is known to have does not count.
    fn opts_in_known(&self, record: &Record, pending: &PendingRecord, known: &KnownRecord) -> bool {
        if !self.compares || !pending.opts_in {
            return false;
        }
        let KnownRecord { settled, cached } = known;
        let other = settled.as_ref().is_some_and(|settled| *settled.status != *record.status);
        let withdrawn = cached.as_ref().is_some_and(CachedDelivery::opted_out);
        (other || withdrawn) && !self.is_held(pending, cached.as_ref())
    }

    /// Returns whether another version of the record was counted as an opt-in.
    fn was_opted_in(&self, key: u128) -> bool {
        self.fates(key).any(|fate| fate == Fate::Sent(Effect::OptIn))
    }

    /// Queues the deletion of a record that is gone at the source, if the sink accepts deletions.
    fn delete(
        &mut self,
        record: &Record,
        kept: Option<&CachedDelivery>,
        dispatch: &mut Dispatch<'_>,
    ) -> Fate {
        let pipeline = self.context.pipeline;
        if pipeline.spec.deletions == Deletions::Ignored {
            return Fate::skipped("deleted");
        }
        match prepare_deletion(pipeline, &record.key, record.changed) {
            Err(rejected) => self.reject(*rejected, dispatch),
            Ok(pending) if self.is_held_back(&pending, kept) => Fate::Unchanged,
            Ok(pending) => {
                self.counts.deletions += 1;
                self.queue(pending, dispatch);
                Fate::Sent(Effect::Deletion)
            }
        }
    }

    /// Returns whether to skip the payloads because the sink already has them. The cache is older than this
    /// pass, so it is not valid for a record that this pass has sent.
    fn is_held_back(&self, pending: &PendingRecord, kept: Option<&CachedDelivery>) -> bool {
        self.holds_back && self.is_held(pending, kept) && !self.sent.contains(&pending.key)
    }

    /// Returns whether the sink has accepted exactly these payloads, according to the cache.
    fn is_held(&self, pending: &PendingRecord, kept: Option<&CachedDelivery>) -> bool {
        let Context { pipeline, plan } = self.context;
        let (Some(cache), Some(kept)) = (plan.records.cache(), kept) else { return false };
        cache.rules().is_current(kept, pending.digest(cache.rules()), pipeline.source.now())
    }

    /// Notes a fate for the cache, if the record is not sent. The fate of a sent record is noted when it is
    /// accepted.
    fn note_fate(&mut self, key: u128, fate: Fate, kept: Option<&CachedDelivery>) {
        let Context { pipeline, plan } = self.context;
        let Some(cache) = plan.records.cache() else { return };
        if !fate.is_sent() && cache.rules().should_store_fate(kept, fate, pipeline.source.now()) {
            self.notes.push((key, fate));
        }
    }

    fn queue(&mut self, pending: PendingRecord, dispatch: &mut Dispatch<'_>) {
        if self.context.plan.records.cache().is_some() {
            self.sent.insert(pending.key);
        }
        self.counts.superseded += u64::from(dispatch.queue(pending));
    }

    /// Counts deliveries that the sink has accepted.
    pub fn count(&mut self, Settled { accepted, unchanged }: Settled) {
        self.counts.sent += accepted - unchanged;
        self.counts.unchanged += unchanged;
    }

    /// Counts a record that the sink has refused, and passes its dead letter to the dispatch.
    pub fn refused(&mut self, rejected: RejectedRecord, dispatch: &mut Dispatch<'_>) {
        let (key, fate) = (rejected.key, Fate::rejected(rejected.rejection.reason));
        self.counts.count(fate);
        self.seen.iter_mut().for_each(|seen| seen.set_fate(key, fate));
        self.note_fate(key, fate, None);
        let Context { pipeline, plan } = self.context;
        let notice = rejected.notice(pipeline);
        dispatch.refuse((rejected.dead_letter(plan.entry.clone(), pipeline.source.now()), notice));
    }

    /// Passes the dead letter of a record that is not sent to the dispatch.
    fn reject(&self, rejected: RejectedRecord, dispatch: &mut Dispatch<'_>) -> Fate {
        let Context { pipeline, plan } = self.context;
        let fate = Fate::rejected(rejected.rejection.reason);
        let notice = rejected.notice(pipeline);
        dispatch.reject((rejected.dead_letter(plan.entry.clone(), pipeline.source.now()), notice));
        fate
    }

    /// Rejects and counts a record without a time, which no window contains, if it is new in this pass.
    pub fn untimed(&mut self, index: usize, record: &Record, dispatch: &mut Dispatch<'_>) {
        let key = record.key.digest();
        if self.seen[index].get(key).is_none() && self.untimed.insert(key) {
            let fate = self.reject(unreadable(record, false), dispatch);
            self.note_fate(key, fate, None);
            self.counts.count(fate);
            self.counts.window += 1;
            self.counts.seen += 1;
        }
    }

    /// Writes the fates of records that were not sent to the cache, once there are 1,000 or at the `end`.
    pub async fn write_notes(&mut self, end: bool) -> Result<(), Fault> {
        let Context { pipeline, plan } = self.context;
        let Some(cache) = plan.records.cache() else { return Ok(()) };
        if self.notes.len() < NOTES && !end {
            return Ok(());
        }
        cache.note(std::mem::take(&mut self.notes), pipeline.source.now()).await
    }
}

/// Rejects a record that can't be read. An archived record must not stay opted in, so its dead letter counts as
/// an opt-out that is still pending.
fn unreadable(record: &Record, archived: bool) -> RejectedRecord {
    let mut rejected = RejectedRecord::unreadable(record);
    rejected.rejection.opts_out |= archived;
    rejected
}

/// Returns the row of a record.
pub(super) fn row(record: &Record) -> Row {
    let second = record.changed.map_or(UNTIMED, |changed| changed.timestamp());
    Row { key: record.key.digest(), second }
}

/// Returns whether this row is another version than the known one, and not an older one. A deletion without a time is
/// newer than any version of the record that was not deleted.
fn is_newer(seen: &Seen, known: Known, row: Row, record: &Record) -> bool {
    let may_be_newer = row.second == known.second || (record.deleted && row.second == UNTIMED);
    row.second > known.second || (may_be_newer && seen.status(known.status) != record.status)
}
