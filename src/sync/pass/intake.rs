//! What becomes of the rows of a page: those seen before are dropped, the others are mapped and queued, once each.

use chrono::{DateTime, Utc};
use log::debug;

use super::Pass;
use crate::{
    base::{
        fault::{Fault, Problem},
        record::{LeftOut, Mapped, Outgoing, Payload, Reason, Record},
        time,
        window::{Page, Window},
    },
    sync::{
        coverage::{OPT_OUT, OUTDATED, REJECTED, SENT, SKIPPED, counted},
        dead_letter::DeadLetter,
        parcel::Parcel,
        seen::{Known, Seen, fingerprint},
        walk::{Ask, Row, Rows},
    },
};

/// Rejected records that may be for what they are, whatever their share.
const MANY: u64 = 100;

impl Pass<'_> {
    pub(super) fn page(&mut self, index: usize, ask: Ask, page: Page) {
        debug!("list {:?}: {} members from {}.", self.plan.list_id, page.records.len(), ask.span.offset);
        let rows: Vec<Row> = page.records.iter().map(row).collect();
        let now = self.start.elapsed();
        if self.sweeps[index].answered(ask, rows, page.total, now) == Rows::Take {
            page.records.iter().for_each(|record| self.record(index, record));
        }
        let sweep = &mut self.sweeps[index];
        let Window { since, until, .. } = sweep.window;
        let outside = |changed: &DateTime<Utc>| {
            until.is_some_and(|until| *changed > until) || since.is_some_and(|since| *changed <= since)
        };
        sweep.progress.outside +=
            page.records.iter().filter_map(|record| record.changed).filter(outside).count() as u64;
        for joined in sweep.walk.joined() {
            let keys: Vec<u128> = joined.rows.iter().map(|row| row.key).collect();
            sweep.note(&joined.cut);
            self.watermark.joined(index, (joined, sweep.progress.clone()), keys.into_iter());
        }
        sweep.next_part();
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
        let fate = if outdated {
            OUTDATED.to_owned()
        } else {
            match self.ends.mapping.map(record) {
                Mapped::Send(outgoing) => self.send_or_reject(row, record, outgoing),
                Mapped::Skip(reason) => format!("{SKIPPED} {reason}"),
                Mapped::Reject(reason) => self.reject(record, reason, None),
            }
        };
        // What is sent counts when it is accepted.
        if !fate.starts_with(SENT) {
            self.counts.count(&fate);
        }
        self.sweeps[index].seen.insert(row, &record.status, &fate);
    }

    /// What the sink would refuse in any case is not sent.
    fn send_or_reject(&mut self, row: Row, record: &Record, outgoing: Outgoing) -> String {
        let Outgoing { payload, opts_out, left_out } = outgoing;
        if let Some(reason) = self.ends.sink.refusal(&payload) {
            return self.reject(record, reason, Some((payload, opts_out)));
        }
        for LeftOut { field, reason } in left_out {
            *self.counts.fields.entry(format!("{field} {reason}")).or_default() += 1;
        }
        self.counts.opt_outs += u64::from(opts_out);
        self.queue(Parcel {
            print: row.key,
            key: record.key.clone(),
            payload,
            opts_out,
            changed: record.changed,
        });
        if opts_out { format!("{SENT} {OPT_OUT}") } else { SENT.to_owned() }
    }

    /// An older version of a record never overtakes a newer one: while it is on its way, the newer one waits.
    fn queue(&mut self, parcel: Parcel) {
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
        // Its pages wait until the letter is kept; a newer version then goes its own way.
        let time = time::wire(self.ends.source.now());
        let Parcel { key, payload: Payload(payload), changed, opts_out, .. } = parcel;
        let (reason, request_id) = (problem.to_string(), problem.request_id.map(String::from));
        let (entry, payload) = (self.plan.entry(), Some(payload));
        let letter = DeadLetter { key, entry, reason, request_id, time, changed, opts_out, payload };
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
            reason: reason.to_owned(),
            request_id: None,
            time,
            changed: record.changed,
            opts_out: payload.as_ref().is_some_and(|(_, opts_out)| *opts_out),
            payload: payload.map(|(Payload(body), _)| body),
        };
        self.rejects.push((letter, waits));
        format!("{REJECTED} {reason}")
    }

    /// Fails when so many are rejected that it can't be for what they are.
    pub(super) fn trust(&self) -> Result<(), Fault> {
        let rejected: u64 = self.counts.rejected.values().sum();
        let seen: u64 = self.sweeps.iter().map(|sweep| sweep.seen.len() as u64).sum();
        if rejected <= MANY || 2 * rejected <= seen {
            return Ok(());
        }
        let letters = self.plan.dead_letter.display();
        let hint = format!("the mapping or the sink looks wrong; look at the dead letters in {letters}");
        let what = format!("{rejected} of {seen} members were rejected ({})", counted(&self.counts.rejected));
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
