//! What becomes of the rows of a page: those seen before are dropped, the others are mapped and queued, once each.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use log::debug;

use super::Pass;
use crate::{
    base::{
        fault::{Fault, Problem},
        record::{LeftOut, Mapped, Outgoing, Payload, Reason, Record, UNREADABLE},
        time,
        window::{Link, Page, Sweep, Window},
    },
    sink::Deletion,
    sync::{
        coverage::{DELETION, OPT_OUT, OPT_OUT_AGAIN, OUTDATED, REJECTED, SENT, SKIPPED, UNCHANGED, counted},
        dead_letter::DeadLetter,
        parcel::Parcel,
        seen::{Known, Seen, fingerprint, repeats},
        unchanged::Kept,
        walk::{Ask, Row, Rows},
    },
};

/// Rejected records that may be for what they are, whatever their share.
const MANY: u64 = 100;

impl Pass<'_> {
    pub(super) fn page(&mut self, index: usize, ask: Ask, page: Page) {
        debug!("list {:?}: {} records from {}.", self.plan.list_id, page.records.len(), ask.span.offset);
        let rows: Vec<Row> = page.records.iter().map(row).collect();
        let now = self.start.elapsed();
        if self.sweeps[index].answered(ask, rows, page.total, now) == Rows::Take {
            self.note_repeats(index, &page.records);
            page.records.iter().for_each(|record| self.record(index, record));
        }
        let sweep = &mut self.sweeps[index];
        let Window { since, until, .. } = sweep.window;
        let outside = |changed: &DateTime<Utc>| {
            until.is_some_and(|until| *changed > until) || since.is_some_and(|since| *changed <= since)
        };
        sweep.progress.outside +=
            page.records.iter().filter_map(|record| record.changed).filter(outside).count() as u64;
        for joined in sweep.joined() {
            let keys: Vec<u128> = joined.rows.iter().map(|row| row.key).collect();
            sweep.note(&joined.cut);
            self.watermark.joined(index, (joined, sweep.progress.clone()), keys.into_iter());
        }
        sweep.next_part();
    }

    /// Notes rows of one answer that share a key: what they show is one record, and none of them is missing.
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
        link.records.iter().for_each(|record| self.record(index, record));
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
        kept: Option<&Kept>,
    ) -> String {
        let Outgoing { body, opts_out, left_out } = outgoing;
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
        self.queue(Parcel { print: row.key, payload, opts_out, changed: record.changed });
        match (opts_out, again) {
            (true, true) => format!("{SENT} {OPT_OUT_AGAIN}"),
            (true, false) => format!("{SENT} {OPT_OUT}"),
            (false, _) => SENT.to_owned(),
        }
    }

    /// The record is gone at the source.
    fn delete(&mut self, row: Row, record: &Record, kept: Option<&Kept>) -> String {
        let payload = Payload { key: record.key.clone(), body: None };
        match self.ends.sink.deletion() {
            Deletion::Ignored => format!("{SKIPPED} deleted"),
            Deletion::Sent if self.is_held_back(row, &payload, kept) => UNCHANGED.to_owned(),
            Deletion::Sent => {
                self.counts.deletions += 1;
                self.queue(Parcel { print: row.key, payload, opts_out: false, changed: record.changed });
                format!("{SENT} {DELETION}")
            }
        }
    }

    /// Whether the sink holds just this already. What was remembered is from before this pass: of a record that it has sent already it
    /// says nothing.
    fn is_held_back(&self, row: Row, payload: &Payload, kept: Option<&Kept>) -> bool {
        let (Some(unchanged), Some(kept), true) = (self.plan.unchanged.on(), kept, self.holds_back) else {
            return false;
        };
        let now = self.ends.source.now();
        unchanged.holds(kept, unchanged.print(payload), now) && !self.sent.contains(&row.key)
    }

    /// What is accepted is noted then.
    fn note_fate(&mut self, print: u128, fate: &str, kept: Option<&Kept>) {
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
            self.newer.insert(parcel.print, parcel);
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

    /// A record that can't be read is kept as a dead letter. An archived one must not stay opted in, so its letter counts as an
    /// opt-out that is still to be seen to.
    fn reject_unreadable(&mut self, record: &Record, archived: bool) -> String {
        let fate = self.reject(record, UNREADABLE, None);
        if let Some((letter, _)) = self.rejects.last_mut() {
            letter.opts_out |= archived;
        }
        fate
    }

    /// Counts and keeps a record without a time, which no window holds. Returns whether it was met for the first time.
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

    /// Fails when so many are rejected that it can't be for what they are.
    pub(super) fn trust(&self) -> Result<(), Fault> {
        let rejected: u64 = self.counts.rejected.values().sum();
        // Both of the whole run: a pass that catches up reads few records.
        let seen = self.counts.seen + self.sweeps.iter().map(|sweep| sweep.seen.len() as u64).sum::<u64>();
        if rejected <= MANY || 2 * rejected <= seen {
            return Ok(());
        }
        let letters = self.plan.dead_letter.display();
        let hint = format!("the mapping or the sink looks wrong; look at the dead letters in {letters}");
        let what = format!("{rejected} of {seen} records were rejected ({})", counted(&self.counts.rejected));
        Err(Fault::list(what).hint(hint))
    }
}

fn row(record: &Record) -> Row {
    let second = record.changed.map_or(i64::MIN, |changed| changed.timestamp());
    Row { key: fingerprint(&record.key), second }
}

/// Whether this is another version than the known one, and not an older one.
fn newer(seen: &Seen, known: Known, row: Row, status: &str) -> bool {
    row.second > known.second || (row.second == known.second && seen.name(known.status) != status)
}
