//! Replays rejected records: reads each from the source again by its key, and maps it again. A stored payload
//! is never sent, since people may have withdrawn their consent in the meantime.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    deliver::{Unclosed, close, deliver},
    in_flight::Delivered,
    pending::{PendingRecord, Preparation, RejectedRecord, prepare, prepare_deletion},
    plan::Pipeline,
};
use crate::{
    base::{
        counts::{Counts, write_reasons},
        events::RunEvents,
        fate::{Effect, Fate},
        fault::Fault,
        key::key_digest,
        record::{Record, UNREADABLE, is_nameless},
    },
    sink::{Deletions, Settles},
    store::{
        DeliveryCache, RunStore,
        dead_letter::DeadLetter,
        progress::{Row, UNTIMED},
        records::{Delivered as Settled, NewNotice, Summary},
        seen::Seen,
    },
};

/// Records requested from the source at the same time.
const AT_ONCE: usize = 8;

/// The dead letters to replay.
pub struct Letters {
    /// The dead letters of the delivery.
    pub store: Arc<dyn RunStore>,
    /// The entry whose dead letters are replayed, and all entries with its delivery.
    pub entry: String,
    pub entries: Vec<String>,
    /// The ledger of the delivery, and the cache of what the sink has accepted, if the entry uses one.
    pub records: Arc<dyn DeliveryCache>,
    /// Where the replay reports what it does.
    pub events: RunEvents,
    /// Whether to send nothing and write nothing.
    pub dry_run: bool,
}

/// Results of a replay.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Number of different records.
    pub letters: usize,
    /// Counts of the records that are still at the source, by their fates. In a dry run, `sent` are those that
    /// would be sent.
    pub counts: Counts,
    /// Number of records that are no longer at the source.
    pub gone: usize,
    /// Number of lines that are no dead letters; they stay in the file.
    pub unreadable: usize,
    /// Rejected records without a readable key, which a replay can't request.
    pub nameless: usize,
    /// Whether nothing was sent.
    pub dry_run: bool,
}

/// Replays the rejected records of one entry. Removes the dead letters of delivered, skipped and deleted
/// records; keeps opt-outs that could not be delivered.
///
/// # Errors
///
/// [`Fault::List`] if the source can't read single records; otherwise the fault of the source, of the sink or of
/// the store. The dead letters of records whose fate is unknown then stay in the file.
pub async fn run(pipeline: &Pipeline, letters: &Letters) -> Result<Replayed, Fault> {
    pipeline.lookup()?;
    let summary = match letters.dry_run {
        true => letters.records.summary().await?,
        false => letters.records.begin().await?,
    };
    if !letters.dry_run {
        letters.store.adopt_dead_letters(&letters.entries).await?;
    }
    let (read, unreadable) = letters.store.dead_letters().await?;
    let wanted = wanted(read, letters);
    let mut replayed =
        Replayed { letters: wanted.len(), unreadable, dry_run: letters.dry_run, ..Replayed::default() };
    pipeline.mapping.choose(summary.as_ref().and_then(|summary| summary.choice.clone()));
    let (nameless, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(key, _)| is_nameless(key));
    if !nameless.is_empty() {
        replayed.nameless = nameless.len();
        replayed.counts.rejected.insert(UNREADABLE.to_owned(), nameless.len() as u64);
    }
    let sent = send_all(pipeline, letters, &wanted, summary.as_ref(), &mut replayed).await;
    let synced = letters.records.sync().await;
    sent.and(synced).map(|()| replayed)
}

/// Reads the records of dead letters again, in batches, and sends them.
async fn send_all(
    pipeline: &Pipeline,
    letters: &Letters,
    wanted: &[(String, ReplayTarget)],
    summary: Option<&Summary>,
    replayed: &mut Replayed,
) -> Result<(), Fault> {
    let lookup = pipeline.lookup()?;
    for wanted in wanted.chunks(pipeline.spec.limits.records) {
        let found: Vec<Option<Record>> =
            stream::iter(wanted).map(|(key, _)| lookup.find(key)).buffered(AT_ONCE).try_collect().await?;
        let mut fates = Fates::new(&letters.entry);
        let (found, gone) = fates.found(wanted, found, pipeline.spec.deletions == Deletions::Sent);
        fates.send(pipeline, &found, gone, letters).await?;
        fates.keep_opt_outs(wanted);
        fates.count(replayed);
        if !letters.dry_run {
            if let Some(summary) = summary {
                fates.record(&found, letters.records.as_ref(), summary.until).await?;
            }
            fates.keep(letters.store.as_ref(), letters.records.as_ref()).await?;
        }
    }
    Ok(())
}

/// The combined dead letters of one record.
#[derive(Debug, Clone, Copy, Default)]
struct ReplayTarget {
    /// Time of the record's last change: an older version than this is a stale snapshot.
    changed: Option<DateTime<Utc>>,
    opts_out: bool,
    /// Whether a deletion of the record was refused.
    deleted: bool,
}

/// Combines an entry's dead letters by record. The dead letters of entries that no longer exist belong to
/// every entry.
fn wanted(read: Vec<DeadLetter>, letters: &Letters) -> BTreeMap<String, ReplayTarget> {
    let mut wanted: BTreeMap<String, ReplayTarget> = BTreeMap::new();
    for letter in read {
        let entry = &letter.entry;
        if *entry == letters.entry || !letters.entries.contains(entry) {
            let known = wanted.entry(letter.key).or_default();
            known.changed = known.changed.max(letter.changed);
            known.opts_out |= letter.opts_out;
            known.deleted |= letter.deleted;
        }
    }
    wanted
}

/// The fates of some records.
struct Fates {
    entry: String,
    /// The fate of each record, by its key; `None` for a record that is gone at the source.
    known: BTreeMap<String, Option<Fate>>,
    /// New dead letters of the records that were rejected again.
    letters: Vec<DeadLetter>,
    /// Notices about them.
    notices: Vec<NewNotice>,
}

impl Fates {
    fn new(entry: &str) -> Self {
        Fates { entry: entry.to_owned(), known: BTreeMap::new(), letters: vec![], notices: vec![] }
    }

    /// Notes which records are gone and which are stale. Returns the others, and the keys of the records
    /// whose deletion has to be sent.
    fn found(
        &mut self,
        wanted: &[(String, ReplayTarget)],
        found: Vec<Option<Record>>,
        deletes: bool,
    ) -> (Vec<Record>, Vec<String>) {
        let (mut records, mut gone) = (vec![], vec![]);
        for ((key, wanted), record) in wanted.iter().zip(found) {
            match record {
                None if wanted.deleted && deletes => gone.push(key.clone()),
                None => self.note(key, None),
                Some(record) if record.changed < wanted.changed => {
                    self.note(key, Some(Fate::rejected("older_picture")));
                }
                Some(record) => records.push(record),
            }
        }
        (records, gone)
    }

    /// Keeps the opt-outs of records that are now gone or skipped: a person has to handle them.
    fn keep_opt_outs(&mut self, wanted: &[(String, ReplayTarget)]) {
        for (key, _) in wanted.iter().filter(|(_, wanted)| wanted.opts_out) {
            if matches!(self.known.get(key), Some(None | Some(Fate::Skipped(_)))) {
                self.note(key, Some(Fate::rejected("opt_out_undelivered")));
            }
        }
    }

    /// Sends records as the entry maps them now.
    async fn send(
        &mut self,
        pipeline: &Pipeline,
        records: &[Record],
        gone: Vec<String>,
        letters: &Letters,
    ) -> Result<(), Fault> {
        let mut batch: Vec<PendingRecord> = vec![];
        let now = pipeline.source.now();
        for key in gone {
            match prepare_deletion(pipeline, &key.into(), None) {
                Ok(pending) => batch.push(pending),
                Err(rejected) => self.reject(pipeline, *rejected, now),
            }
        }
        for record in records {
            match prepare(pipeline, record) {
                Preparation::Send(pending, _) => batch.push(pending),
                Preparation::Skip(reason) => self.note(&record.key, Some(Fate::skipped(reason))),
                Preparation::Reject(rejected) => self.reject(pipeline, rejected, now),
            }
        }
        batch.iter().for_each(|pending| self.note(&pending.id, Some(Fate::Sent(Effect::None))));
        if letters.dry_run || batch.is_empty() {
            return Ok(());
        }
        let records = letters.records.as_ref();
        let keys = batch.iter().map(|pending| pending.key).collect();
        let Delivered { accepted, rejected, .. } = deliver(pipeline, records, batch, &letters.events).await?;
        let at_close = pipeline.spec.settles == Settles::AtClose;
        let unclosed = Unclosed { keys, accepted, older: vec![] };
        close(pipeline, records, if at_close { unclosed } else { Unclosed::default() }).await?;
        rejected.into_iter().for_each(|rejected| self.reject(pipeline, rejected, pipeline.source.now()));
        Ok(())
    }

    /// Notes a rejected record. Without a payload, its dead letter would be the same as before.
    fn reject(&mut self, pipeline: &Pipeline, rejected: RejectedRecord, now: DateTime<Utc>) {
        self.note(&rejected.id, Some(Fate::rejected(rejected.rejection.reason)));
        if rejected.has_payload() {
            self.notices.extend(rejected.notice(pipeline));
            self.letters.push(rejected.dead_letter(self.entry.clone(), now));
        }
    }

    fn note(&mut self, key: &str, fate: Option<Fate>) {
        self.known.insert(key.to_owned(), fate);
    }

    fn count(&self, replayed: &mut Replayed) {
        for fate in self.known.values() {
            match fate {
                Some(fate) => replayed.counts.count(*fate),
                None => replayed.gone += 1,
            }
        }
    }

    /// Stores in the ledger the status with which the records are now delivered. Records that changed after
    /// the last run are left to the next one.
    async fn record(
        &self,
        records: &[Record],
        ledger: &dyn DeliveryCache,
        until: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let mut seen = Seen::default();
        for record in records.iter().filter(|record| record.changed.is_some_and(|changed| changed <= until)) {
            if matches!(self.known[record.key.as_str()], Some(Fate::Sent(_) | Fate::Skipped(_))) {
                let second = record.changed.map_or(UNTIMED, |changed| changed.timestamp());
                seen.insert(
                    Row { key: record.key.digest(), second },
                    &record.status,
                    Fate::Sent(Effect::None),
                );
            }
        }
        let delivered = Settled {
            seen: vec![&seen],
            whole: false,
            left_out: 0,
            opt_outs: None,
            until,
            archived: false,
            choice: None,
            totals_wrong: false,
            most_rows: 0,
        };
        ledger.add(delivered).await.map(|_| ())
    }

    /// Updates the dead letters of the records that are still rejected, and removes the others. The notices about
    /// them are on disk before.
    async fn keep(self, store: &dyn RunStore, records: &dyn DeliveryCache) -> Result<(), Fault> {
        let settled = self.known.iter().filter(|(_, fate)| !fate.is_some_and(Fate::is_rejected));
        let settled: HashSet<u128> = settled.map(|(key, _)| key_digest(key)).collect();
        store.append_dead_letters(self.letters).await?;
        if !self.notices.is_empty() {
            records.notice(self.notices).await?;
        }
        records.sync_notices().await?;
        store.tidy_dead_letters(&self.entry, settled).await
    }
}

/// `3 dead letters: 1 sent, 1 skipped (1 pending), 0 rejected, 1 gone`
impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Replayed { letters, counts, gone, unreadable, nameless, dry_run } = self;
        let Counts { sent, skipped, rejected, .. } = counts;
        let would = if *dry_run { "would be sent" } else { "sent" };
        write!(f, "{letters} dead {}: {sent} {would}", if *letters == 1 { "letter" } else { "letters" })?;
        write_reasons(f, "skipped", skipped)?;
        write_reasons(f, "rejected", rejected)?;
        write!(f, ", {gone} gone")?;
        match nameless {
            0 => {}
            1 => write!(
                f,
                "; 1 has no readable key, so a replay can't request it; a full load reads it again"
            )?,
            many => {
                write!(
                    f,
                    "; {many} have no readable key, so a replay can't request them; \
                     a full load reads them again"
                )?;
            }
        }
        match unreadable {
            0 => Ok(()),
            1 => write!(f, "; 1 line of the file can't be read and stays"),
            lines => write!(f, "; {lines} lines of the file can't be read and stay"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_that_was_refused_is_sent_again_only_to_a_sink_that_accepts_deletions() {
        let wanted = |deleted| ("a".to_owned(), ReplayTarget { deleted, ..ReplayTarget::default() });
        for (deleted, deletes, gone, fate) in
            [(true, true, 1, None), (true, false, 0, Some(None)), (false, true, 0, Some(None))]
        {
            let mut fates = Fates::new("e");
            let (records, told) = fates.found(&[wanted(deleted)], vec![None], deletes);
            assert_eq!((records.len(), told.len(), fates.known.get("a").copied()), (0, gone, fate));
        }
    }
}
