//! Receives the records of a page: drops those seen before, maps the others, and passes each version to the
//! outbox once.

use std::collections::{HashMap, HashSet};

use super::{Context, outbox::Outbox};
use crate::{
    base::{
        counts::{
            Counts, DELETION, OPT_IN, OPT_OUT, OPT_OUT_AGAIN, OUTDATED, REJECTED, SENT, SKIPPED, UNCHANGED,
        },
        fault::{Fault, Problem},
        record::{LeftOut, Payload, Reason, Record, UNREADABLE},
        window::{Listing, Window},
    },
    engine::{
        clocks::Noticed,
        coverage::Rows,
        deliver::{self, PendingRecord, Prepared, prepare},
        paging::listing::ListingProgress,
    },
    sink::Deletion,
    store::{
        cache::{CachedDeliveries, CachedDelivery},
        ledger::Ledger,
        progress::{Row, UNTIMED},
        seen::{Known, Seen, record_key, repeats},
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
    repeats: HashMap<(usize, u128), u64>,
    /// Records without a time, which no window contains; they were read from the listing without bounds.
    untimed: HashSet<u128>,
    /// Cached deliveries of the records of the current page.
    memory: CachedDeliveries,
    /// Fates of records that were not sent, for the cache.
    notes: Vec<(u128, String)>,
    /// Whether to skip payloads that the sink already has.
    holds_back: bool,
    /// Records that this pass has sent, if there is a cache.
    sent: HashSet<u128>,
    /// The ledger before the run; see [`super::Baseline`].
    known: Option<&'a Ledger>,
    pub noticed: Noticed,
}

impl<'a> Intake<'a> {
    pub fn new(
        context: Context<'a>,
        seen: Vec<Seen>,
        counts: Counts,
        known: Option<&'a Ledger>,
        holds_back: bool,
    ) -> Self {
        Intake {
            context,
            seen,
            counts,
            repeats: HashMap::new(),
            untimed: HashSet::new(),
            memory: CachedDeliveries::new(),
            notes: Vec::new(),
            holds_back,
            sent: HashSet::new(),
            known,
            noticed: Noticed::default(),
        }
    }

    /// Returns the number of different records read from a listing.
    pub fn seen_of(&self, listing: usize) -> usize {
        self.seen[listing].records()
    }

    /// Returns the number of different records read from all listings.
    pub fn seen_in_all(&self) -> usize {
        self.seen.iter().map(Seen::records).sum()
    }

    /// Returns the rows of a listing, as the source counted them and as they were read.
    pub fn rows(&self, index: usize, listing: &ListingProgress) -> Rows {
        let repeats = self.repeats.iter().filter(|((of, _), _)| *of == index);
        Rows { repeated: repeats.map(|(_, rows)| rows).sum(), ..listing.rows(self.seen_of(index)) }
    }

    /// Sets the cached deliveries of the records that follow.
    pub fn recalled(&mut self, memory: CachedDeliveries) {
        self.memory = memory;
    }

    /// Processes the records of an answer. Returns how many of them are new in this pass.
    pub fn records(
        &mut self,
        index: usize,
        window: Window,
        records: &[Record],
        outbox: &mut Outbox<'_>,
    ) -> usize {
        let known = self.seen_of(index);
        records.iter().for_each(|record| self.record(index, window, record, outbox));
        self.seen_of(index) - known
    }

    /// Records rows of one answer that share a key. They count as one record, and none of them as missing.
    pub fn note_repeats(&mut self, index: usize, keys: impl Iterator<Item = u128>) {
        for (key, rows) in repeats(keys) {
            let known = self.repeats.entry((index, key)).or_default();
            *known = rows.max(*known);
        }
    }

    /// Maps a record that was not seen before, or not in this version.
    fn record(&mut self, index: usize, window: Window, record: &Record, outbox: &mut Outbox<'_>) {
        let row = row(record);
        let known = self.seen[index].get(row.key);
        if known.is_some_and(|known| !is_newer(&self.seen[index], known, row, &record.status)) {
            self.counts.read_twice += 1;
            return;
        }
        self.counts.again += u64::from(known.is_some());
        if let Some(changed) = record.changed.filter(|_| self.context.pipeline.reads_changes()) {
            // With cursor paging, a source may be unable to bound a window.
            self.noticed.row(changed, window.until.filter(|_| self.context.pipeline.counts_rows()));
        }
        let kept = self.memory.remove(&row.key);
        let fate = self.fate(index, window, record, kept.as_ref(), outbox);
        self.note_fate(row.key, &fate, kept.as_ref());
        // A sent record is counted when it is accepted.
        if !fate.starts_with(SENT) {
            self.counts.count(&fate);
        }
        self.seen[index].insert(row, &record.status, &fate);
    }

    fn fate(
        &mut self,
        index: usize,
        window: Window,
        record: &Record,
        kept: Option<&CachedDelivery>,
        outbox: &mut Outbox<'_>,
    ) -> String {
        if self.is_outdated(index, row(record)) {
            return OUTDATED.to_owned();
        }
        if record.unreadable.is_some() {
            return self.reject_unreadable(record, window.listing == Listing::Archived, outbox);
        }
        if record.deleted {
            return self.delete(record, kept, outbox);
        }
        match prepare(self.context.pipeline, record) {
            Prepared::Send(pending, left_out) => self.send(record, pending, left_out, kept, outbox),
            Prepared::Skip(reason) => format!("{SKIPPED} {reason}"),
            Prepared::Reject(reason, None) => {
                self.reject(record, reason, outbox);
                format!("{REJECTED} {reason}")
            }
            Prepared::Reject(reason, Some(pending)) => {
                let (entry, now) = (self.context.plan.entry(), self.context.pipeline.source.now());
                outbox.reject(pending.dead_letter(entry, reason.to_owned(), now));
                format!("{REJECTED} {reason}")
            }
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
        kept: Option<&CachedDelivery>,
        outbox: &mut Outbox<'_>,
    ) -> String {
        if self.is_held_back(&pending, kept) {
            return UNCHANGED.to_owned();
        }
        for LeftOut { field, reason } in left_out {
            *self.counts.fields.entry(format!("{field} {reason}")).or_default() += 1;
        }
        let opts_out = pending.opts_out;
        self.counts.opt_outs += u64::from(opts_out);
        let again = opts_out && kept.is_some_and(|kept| kept.opted_out);
        self.counts.known_opt_outs += u64::from(again);
        pending.opts_in = self.opts_in_known(record, &pending, kept);
        let opts_in = pending.opts_in;
        // Another version of the record may have been counted already.
        self.counts.opt_ins += u64::from(opts_in && !self.was_opted_in(pending.key));
        self.queue(pending, outbox);
        match (opts_out, again) {
            (true, true) => format!("{SENT} {OPT_OUT_AGAIN}"),
            (true, false) => format!("{SENT} {OPT_OUT}"),
            _ if opts_in => format!("{SENT} {OPT_IN}"),
            _ => SENT.to_owned(),
        }
    }

    /// Returns whether this payload opts in a record that was known with another status before the run, or
    /// whose last accepted payload was an opt-out. A payload that the sink is known to have does not count.
    fn opts_in_known(&self, record: &Record, pending: &PendingRecord, kept: Option<&CachedDelivery>) -> bool {
        let before = self.known.and_then(|ledger| ledger.settled_by_print(pending.key));
        let other = before.is_some_and(|settled| settled.status != record.status);
        let withdrawn = self.known.is_some() && kept.is_some_and(|kept| kept.opted_out);
        (other || withdrawn)
            && (pending.opts_in || self.context.pipeline.sink.opts_in(&pending.payload))
            && !self.is_held(&pending.payload, kept)
    }

    /// Returns whether another version of the record was counted as an opt-in.
    fn was_opted_in(&self, key: u128) -> bool {
        let mut fates = self.seen.iter().filter_map(|seen| Some(seen.name(seen.get(key)?.fate)));
        fates.any(|fate| fate.split_once(' ') == Some((SENT, OPT_IN)))
    }

    /// Queues the deletion of a record that is gone at the source, if the sink accepts deletions.
    fn delete(&mut self, record: &Record, kept: Option<&CachedDelivery>, outbox: &mut Outbox<'_>) -> String {
        let pending = PendingRecord::deletion(record.key.clone(), record.changed);
        match self.context.pipeline.sink.deletion() {
            Deletion::Ignored => format!("{SKIPPED} deleted"),
            Deletion::Sent if self.is_held_back(&pending, kept) => UNCHANGED.to_owned(),
            Deletion::Sent => {
                self.counts.deletions += 1;
                self.queue(pending, outbox);
                format!("{SENT} {DELETION}")
            }
        }
    }

    /// Returns whether to skip the payload because the sink already has it. The cache is older than this
    /// pass, so it is not valid for a record that this pass has sent.
    fn is_held_back(&self, pending: &PendingRecord, kept: Option<&CachedDelivery>) -> bool {
        self.holds_back && self.is_held(&pending.payload, kept) && !self.sent.contains(&pending.key)
    }

    /// Returns whether the sink has accepted exactly this payload, according to the cache.
    fn is_held(&self, payload: &Payload, kept: Option<&CachedDelivery>) -> bool {
        let Context { pipeline, plan } = self.context;
        let (Some(unchanged), Some(kept)) = (plan.unchanged.on(), kept) else { return false };
        unchanged.holds(kept, unchanged.digest(payload), pipeline.source.now())
    }

    /// Notes a fate for the cache, if the record is not sent. The fate of a sent record is noted when it is
    /// accepted.
    fn note_fate(&mut self, key: u128, fate: &str, kept: Option<&CachedDelivery>) {
        let Context { pipeline, plan } = self.context;
        let Some(unchanged) = plan.unchanged.on() else { return };
        if !fate.starts_with(SENT) && unchanged.is_news(kept, fate, pipeline.source.now()) {
            self.notes.push((key, fate.to_owned()));
        }
    }

    fn queue(&mut self, pending: PendingRecord, outbox: &mut Outbox<'_>) {
        if self.context.plan.unchanged.on().is_some() {
            self.sent.insert(pending.key);
        }
        self.counts.superseded += u64::from(outbox.queue(pending));
    }

    /// Counts a record that the sink has refused, and passes its dead letter to the outbox.
    pub fn refused(&mut self, pending: PendingRecord, problem: Problem, outbox: &mut Outbox<'_>) {
        let (key, fate) = (pending.key, format!("{REJECTED} refused"));
        self.counts.count(&fate);
        self.seen.iter_mut().for_each(|seen| seen.set_fate(key, &fate));
        self.note_fate(key, &fate, None);
        let Context { pipeline, plan } = self.context;
        outbox.refuse(pending.refused(plan.entry(), problem, pipeline.source.now()));
    }

    fn reject(&self, record: &Record, reason: Reason, outbox: &mut Outbox<'_>) {
        let Context { pipeline, plan } = self.context;
        outbox.reject(deliver::dead_letter(record, plan.entry(), reason, pipeline.source.now()));
    }

    /// Rejects a record that can't be read. An archived record must not stay opted in, so its dead letter
    /// counts as an opt-out that is still pending.
    fn reject_unreadable(&self, record: &Record, archived: bool, outbox: &mut Outbox<'_>) -> String {
        let Context { pipeline, plan } = self.context;
        let mut letter = deliver::dead_letter(record, plan.entry(), UNREADABLE, pipeline.source.now());
        letter.opts_out |= archived;
        outbox.reject(letter);
        format!("{REJECTED} {UNREADABLE}")
    }

    /// Rejects and counts a record without a time, which no window contains, if it is new in this pass.
    pub fn untimed(&mut self, index: usize, record: &Record, outbox: &mut Outbox<'_>) {
        let key = record_key(&record.key);
        if self.seen[index].get(key).is_none() && self.untimed.insert(key) {
            let fate = self.reject_unreadable(record, false, outbox);
            self.note_fate(key, &fate, None);
            self.counts.count(&fate);
            self.counts.window += 1;
            self.counts.seen += 1;
        }
    }

    /// Writes the fates of records that were not sent to the cache, once there are 1,000 or at the `end`.
    pub async fn write_notes(&mut self, end: bool) -> Result<(), Fault> {
        let Context { pipeline, plan } = self.context;
        let Some(unchanged) = plan.unchanged.on() else { return Ok(()) };
        if self.notes.len() < NOTES && !end {
            return Ok(());
        }
        unchanged.note(std::mem::take(&mut self.notes), pipeline.source.now()).await
    }

    /// Returns whether a record was read, and accepted or skipped in its last version.
    pub fn settled_well(&self, key: u128) -> bool {
        let mut fates = self.seen.iter().filter_map(|seen| Some(seen.name(seen.get(key)?.fate))).peekable();
        fates.peek().is_some() && fates.all(|fate| !fate.starts_with(REJECTED))
    }

    /// Returns whether a record was read in this pass.
    pub fn has_met(&self, key: u128) -> bool {
        self.untimed.contains(&key) || self.seen.iter().any(|seen| seen.get(key).is_some())
    }
}

/// Returns the row of a record.
pub(super) fn row(record: &Record) -> Row {
    let second = record.changed.map_or(UNTIMED, |changed| changed.timestamp());
    Row { key: record_key(&record.key), second }
}

/// Returns whether this row is another version than the known one, and not an older one.
fn is_newer(seen: &Seen, known: Known, row: Row, status: &str) -> bool {
    row.second > known.second || (row.second == known.second && seen.name(known.status) != status)
}
