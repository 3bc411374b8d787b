//! What becomes of the rows of a page: those seen before are dropped, the others are mapped and queued, once each.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use log::{debug, info};

use super::Pass;
use crate::{
    base::{
        counts::{
            DELETION, OPT_IN, OPT_OUT, OPT_OUT_AGAIN, OUTDATED, REJECTED, SENT, SKIPPED, UNCHANGED, counted,
        },
        fault::{Fault, Problem},
        record::{LeftOut, Mapped, Outgoing, Payload, Reason, Record, UNREADABLE},
        time,
        window::{Link, Page, Sweep, Window},
    },
    engine::{
        deliver::Parcel,
        paging::{
            listing::Sweeping,
            offset::{Ask, Rows},
        },
    },
    sink::Deletion,
    store::{
        cache::{self, Memory},
        dead_letter::DeadLetter,
        progress::{Row, UNTIMED},
        seen::{Known, Seen, fingerprint, repeats},
    },
};

/// A page that was read during the search for the end of its listing.
pub(super) struct Kept {
    index: usize,
    offset: u64,
    records: Vec<Record>,
    memory: Memory,
}

impl Kept {
    /// Whether it belongs to this listing.
    pub fn is_of(&self, index: usize) -> bool {
        self.index == index
    }
}

/// Rejected records that may be for what they are, whatever their share.
const MANY: u64 = 100;

impl Pass<'_> {
    pub(super) fn page(&mut self, index: usize, ask: Ask, page: Page, memory: Memory) {
        debug!("list {:?}: {} records from {}.", self.plan.list_id, page.records.len(), ask.span.offset);
        let rows: Vec<Row> = page.records.iter().map(row).collect();
        let now = self.start.elapsed();
        let rows = self.sweeps[index].answered(ask, rows, page.total, now);
        self.look_at_the_source(index);
        let kept = Kept { index, offset: ask.span.offset, records: page.records, memory };
        match rows {
            Rows::Take => self.take_page(kept),
            Rows::Keep => self.kept.push(kept),
            Rows::TakeKept(offset) => {
                let found = self.kept.iter().rposition(|kept| (kept.index, kept.offset) == (index, offset));
                if let Some(found) = found {
                    let kept = self.kept.swap_remove(found);
                    self.take_page(kept);
                }
            }
        }
        if rows != Rows::Keep {
            self.kept.retain(|kept| !kept.is_of(index));
        }
        let sweep = &mut self.sweeps[index];
        for joined in sweep.joined() {
            let keys: Vec<u128> = joined.rows.iter().map(|row| row.key).collect();
            sweep.note(&joined.cut);
            self.watermark.joined(index, (joined, sweep.progress.clone()), keys.into_iter());
        }
        sweep.next_part();
    }

    /// Takes in the records of a page that is part of the walk.
    pub(super) fn take_page(&mut self, page: Kept) {
        let Kept { index, records, memory, .. } = page;
        self.memory = memory;
        self.note_repeats(index, &records);
        self.records(index, &records);
        let sweep = &mut self.sweeps[index];
        let Window { since, until, .. } = sweep.window;
        let outside = |changed: &DateTime<Utc>| {
            until.is_some_and(|until| *changed > until) || since.is_some_and(|since| *changed <= since)
        };
        sweep.progress.outside +=
            records.iter().filter_map(|record| record.changed).filter(outside).count() as u64;
    }

    fn records(&mut self, index: usize, records: &[Record]) {
        let known = self.sweeps[index].seen.len();
        records.iter().for_each(|record| self.record(index, record));
        self.sweeps[index].brought(records.len(), known);
        self.look_at_the_source(index);
    }

    /// Logs a new cap on the source's answers, and ends the pass if the listing can't be read on.
    fn look_at_the_source(&mut self, index: usize) {
        let (list, server) = (&self.plan.list_id, self.server.and(self.sweeps[index].server()));
        if server.cap < self.server.cap {
            let cap = server.cap;
            info!(
                "list {list:?}: the source gives at most {cap} records in one answer; reading smaller pages."
            );
        }
        self.server = server;
        if let Some(why) = self.sweeps[index].failed().filter(|_| self.fault.is_none()) {
            let hint = "the records that were read are delivered, but no timestamp is written; check the service, and any proxy \
                        in front of it";
            self.fault = Some(Fault::list(format!("the source {why}")).hint(hint));
        }
    }

    /// Notes rows of one answer that share a key. They count as one record, and none of them as missing.
    pub(super) fn note_repeats(&mut self, index: usize, records: &[Record]) {
        for (key, rows) in repeats(records.iter().map(|record| fingerprint(&record.key))) {
            let known = self.repeats.entry((index, key)).or_default();
            *known = rows.max(*known);
        }
    }

    /// A page of a chain has joined the one before it by being named there.
    pub(super) fn link(&mut self, index: usize, link: Link) -> Result<(), Fault> {
        debug!("list {:?}: {} records.", self.plan.list_id, link.records.len());
        let rows: Vec<Row> = link.records.iter().map(row).collect();
        self.records(index, &link.records);
        let keys: HashSet<u128> = rows.iter().map(|row| row.key).collect();
        let sweep = &mut self.sweeps[index];
        let joined = sweep.linked(rows, link.next)?;
        self.watermark.joined(index, (joined, sweep.progress.clone()), keys.into_iter());
        Ok(())
    }

    /// Maps a record that was not seen before, or not in this version.
    pub(super) fn record(&mut self, index: usize, record: &Record) {
        let row = row(record);
        let known = self.sweeps[index].seen.get(row.key);
        if known.is_some_and(|known| !newer(&self.sweeps[index].seen, known, row, &record.status)) {
            self.counts.read_twice += 1;
            return;
        }
        self.counts.again += u64::from(known.is_some());
        if let Some(changed) = record.changed.filter(|_| !self.ends.rereads()) {
            self.noticed.row(changed, self.sweeps[index].window.until);
        }
        let other = self.sweeps.iter().enumerate().filter(|(other, _)| *other != index);
        let outdated = other.filter_map(|(other, sweep)| Some((other, sweep.seen.get(row.key)?))).any(
            // Who was archived in the very second counts as archived.
            |(other, known)| (known.second, other) > (row.second, index),
        );
        let kept = self.memory.remove(&row.key);
        let fate = if outdated {
            OUTDATED.to_owned()
        } else if record.unreadable.is_some() {
            self.reject_unreadable(record, self.sweeps[index].window.sweep == Sweep::Archived)
        } else if record.deleted {
            self.delete(row, record, kept.as_ref())
        } else {
            match self.ends.mapping.map(record) {
                Mapped::Send(outgoing) => self.send_or_reject(row, record, outgoing, kept.as_ref()),
                Mapped::Skip(reason) => format!("{SKIPPED} {reason}"),
                Mapped::Reject(reason) => self.reject(record, reason, None),
            }
        };
        self.note_fate(row.key, &fate, kept.as_ref());
        // What is sent counts when it is accepted.
        if !fate.starts_with(SENT) {
            self.counts.count(&fate);
        }
        self.sweeps[index].seen.insert(row, &record.status, &fate);
    }

    /// What the sink would refuse in any case is not sent.
    fn send_or_reject(
        &mut self,
        row: Row,
        record: &Record,
        outgoing: Outgoing,
        kept: Option<&cache::Kept>,
    ) -> String {
        let Outgoing { body, opts_out, opts_in, left_out } = outgoing;
        let payload = Payload { key: record.key.clone(), body: Some(body) };
        let opts_out = opts_out || self.ends.sink.opts_out(&payload);
        if let Some(reason) = self.ends.sink.refusal(&payload) {
            return self.reject(record, reason, Some((payload, opts_out)));
        }
        if self.is_held_back(row, &payload, kept) {
            return UNCHANGED.to_owned();
        }
        for LeftOut { field, reason } in left_out {
            *self.counts.fields.entry(format!("{field} {reason}")).or_default() += 1;
        }
        self.counts.opt_outs += u64::from(opts_out);
        let again = opts_out && kept.is_some_and(|kept| kept.opted_out);
        self.counts.known_opt_outs += u64::from(again);
        let opts_in = self.opts_in_known(record, row, opts_in, &payload, kept);
        // Another version of the record may have been counted already.
        self.counts.opt_ins += u64::from(opts_in && !self.was_opted_in(row));
        self.queue(Parcel { print: row.key, payload, opts_out, opts_in, changed: record.changed });
        match (opts_out, again) {
            (true, true) => format!("{SENT} {OPT_OUT_AGAIN}"),
            (true, false) => format!("{SENT} {OPT_OUT}"),
            _ if opts_in => format!("{SENT} {OPT_IN}"),
            _ => SENT.to_owned(),
        }
    }

    /// Whether this payload opts in a record that was known with another status before the run, or whose opt-out was the last that
    /// the sink accepted of it. A payload that the sink is known to have already does not count.
    fn opts_in_known(
        &self,
        record: &Record,
        row: Row,
        told: bool,
        payload: &Payload,
        kept: Option<&cache::Kept>,
    ) -> bool {
        let before =
            self.known.and_then(|ledger| ledger.settled_by_print(row.key)).map(|settled| settled.status);
        let other = before.is_some_and(|status| status != record.status);
        let withdrawn = self.known.is_some() && kept.is_some_and(|kept| kept.opted_out);
        (other || withdrawn) && (told || self.ends.sink.opts_in(payload)) && !self.is_held(payload, kept)
    }

    /// Whether another version of the record was counted as opted in.
    fn was_opted_in(&self, row: Row) -> bool {
        let mut seen =
            self.sweeps.iter().filter_map(|sweep| Some(sweep.seen.name(sweep.seen.get(row.key)?.fate)));
        seen.any(|fate| fate.split_once(' ') == Some((SENT, OPT_IN)))
    }

    /// The record is gone at the source.
    fn delete(&mut self, row: Row, record: &Record, kept: Option<&cache::Kept>) -> String {
        let payload = Payload { key: record.key.clone(), body: None };
        match self.ends.sink.deletion() {
            Deletion::Ignored => format!("{SKIPPED} deleted"),
            Deletion::Sent if self.is_held_back(row, &payload, kept) => UNCHANGED.to_owned(),
            Deletion::Sent => {
                self.counts.deletions += 1;
                let (print, changed) = (row.key, record.changed);
                self.queue(Parcel { print, payload, opts_out: false, opts_in: false, changed });
                format!("{SENT} {DELETION}")
            }
        }
    }

    /// Whether the sink holds just this already. What was remembered is from before this pass: of a record that it has sent already it
    /// says nothing.
    fn is_held_back(&self, row: Row, payload: &Payload, kept: Option<&cache::Kept>) -> bool {
        self.holds_back && self.is_held(payload, kept) && !self.sent.contains(&row.key)
    }

    /// Whether the sink has accepted exactly this payload, according to the cache.
    fn is_held(&self, payload: &Payload, kept: Option<&cache::Kept>) -> bool {
        let (Some(unchanged), Some(kept)) = (self.plan.unchanged.on(), kept) else { return false };
        unchanged.holds(kept, unchanged.print(payload), self.ends.source.now())
    }

    /// What is accepted is noted then.
    fn note_fate(&mut self, print: u128, fate: &str, kept: Option<&cache::Kept>) {
        let Some(unchanged) = self.plan.unchanged.on() else { return };
        if !fate.starts_with(SENT) && unchanged.is_news(kept, fate, self.ends.source.now()) {
            self.notes.push((print, fate.to_owned()));
        }
    }

    /// An older version of a record never overtakes a newer one: while it is on its way, the newer one waits.
    fn queue(&mut self, parcel: Parcel) {
        if self.plan.unchanged.on().is_some() {
            self.sent.insert(parcel.print);
        }
        if self.watermark.is_pending(parcel.print) {
            let superseded = self.newer.insert(parcel.print, parcel);
            self.counts.superseded += u64::from(superseded.is_some());
        } else {
            self.watermark.sent(parcel.print);
            self.batcher.push(parcel);
        }
    }

    /// The sink has refused a record by itself.
    pub(super) fn refused(&mut self, parcel: Parcel, problem: Problem) {
        let fate = format!("{REJECTED} refused");
        self.counts.count(&fate);
        self.sweeps.iter_mut().for_each(|sweep| sweep.seen.set_fate(parcel.print, &fate));
        self.note_fate(parcel.print, &fate, None);
        // Its pages wait until the letter is kept; a newer version then goes its own way.
        let time = time::wire(self.ends.source.now());
        let Parcel { payload: Payload { key, body: payload }, changed, opts_out, .. } = parcel;
        let (reason, request_id) = (problem.to_string(), problem.request_id.map(String::from));
        let (entry, deleted) = (self.plan.entry(), payload.is_none());
        let letter = DeadLetter { key, entry, reason, request_id, time, changed, opts_out, deleted, payload };
        self.rejects.push((letter, true));
    }

    /// The record can't be sent. Answers its fate.
    fn reject(&mut self, record: &Record, reason: Reason, payload: Option<(Payload, bool)>) -> String {
        let print = fingerprint(&record.key);
        // An older version that is on its way settles the pages.
        let waits = !self.watermark.is_pending(print);
        if waits {
            self.watermark.sent(print);
        }
        let time = time::wire(self.ends.source.now());
        let letter = DeadLetter {
            key: record.key.clone(),
            entry: self.plan.entry(),
            reason: match &record.unreadable {
                Some(why) => format!("{reason}: {why}"),
                None => reason.to_owned(),
            },
            request_id: None,
            time,
            changed: record.changed,
            opts_out: payload.as_ref().is_some_and(|(_, opts_out)| *opts_out),
            deleted: record.deleted,
            payload: payload.and_then(|(payload, _)| payload.body),
        };
        self.rejects.push((letter, waits));
        format!("{REJECTED} {reason}")
    }

    /// Keeps a record that can't be read as a dead letter. An archived record must not stay opted in, so its letter counts as an
    /// opt-out that is still pending.
    fn reject_unreadable(&mut self, record: &Record, archived: bool) -> String {
        let fate = self.reject(record, UNREADABLE, None);
        if let Some((letter, _)) = self.rejects.last_mut() {
            letter.opts_out |= archived;
        }
        fate
    }

    /// Rejects and counts a record without a time, which no window contains. Returns whether it is new in this pass.
    pub(super) fn record_untimed(&mut self, index: usize, record: &Record) -> bool {
        let print = fingerprint(&record.key);
        let new = self.sweeps[index].seen.get(print).is_none() && self.untimed.insert(print);
        if new {
            let fate = self.reject_unreadable(record, false);
            self.note_fate(print, &fate, None);
            self.counts.count(&fate);
            self.counts.window += 1;
            self.counts.seen += 1;
        }
        new
    }

    /// Returns an error if this pass rejected more than 100 records and more than half of those that it is to read: the records
    /// are then unlikely to be the cause.
    pub(super) fn trust(&self) -> Result<(), Fault> {
        let before = |reason: &String| self.rejected_before.get(reason).copied().unwrap_or(0);
        let mut reasons = self.counts.rejected.clone();
        reasons.iter_mut().for_each(|(reason, count)| *count -= before(reason));
        reasons.retain(|_, count| *count > 0);
        let rejected: u64 = reasons.values().sum();
        let of_sweep = |sweep: &Sweeping| sweep.rows().window.max(sweep.seen.len() as u64);
        let records: u64 = self.sweeps.iter().map(of_sweep).sum();
        // A source that is read whole reports no total, so the number of records in the ledger stands in for it.
        let records = records.max(self.listed.filter(|_| self.ends.rereads()).unwrap_or(0));
        if rejected <= MANY || 2 * rejected <= records {
            return Ok(());
        }
        let letters = self.plan.dead_letter.display();
        let hint = format!("the mapping or the sink looks wrong; look at the dead letters in {letters}");
        let what = format!("{rejected} of {records} records were rejected ({})", counted(&reasons));
        Err(Fault::list(what).hint(hint))
    }
}

fn row(record: &Record) -> Row {
    let second = record.changed.map_or(UNTIMED, |changed| changed.timestamp());
    Row { key: fingerprint(&record.key), second }
}

/// Whether this is another version than the known one, and not an older one.
fn newer(seen: &Seen, known: Known, row: Row, status: &str) -> bool {
    row.second > known.second || (row.second == known.second && seen.name(known.status) != status)
}
