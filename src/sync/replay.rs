//! Rejected records once more: each is read from the source again by its key and mapped afresh. What was kept of it is never
//! sent, since people may have withdrawn their consent meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    coverage::SENT,
    dead_letter::{self, DeadLetter},
    job::Ends,
    ledger::{self, Delivered},
    parcel::{Parcel, deliver},
    seen::{Seen, fingerprint},
    walk::Row,
};
use crate::base::{
    fault::Fault,
    record::{Mapped, Outgoing, Payload, Record},
    time,
};

/// Records that are asked for at once.
const AT_ONCE: usize = 8;

/// What to replay.
pub struct Letters {
    pub file: PathBuf,
    /// Where the ledger of the list is kept.
    pub list_folder: PathBuf,
    /// Nothing is sent and nothing is written.
    pub dry_run: bool,
}

/// What became of the records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Different records.
    pub letters: usize,
    /// Accepted, or with a dry run what would be sent.
    pub sent: usize,
    pub skipped: BTreeMap<String, usize>,
    pub rejected: BTreeMap<String, usize>,
    /// They are no longer at the source.
    pub gone: usize,
    /// Lines that are no letters; they stay.
    pub unreadable: usize,
    /// Nothing was sent.
    pub dry_run: bool,
}

/// Replays the rejected records of one list, for each of its entries. Whoever is delivered, held back by a rule, or gone, is no
/// dead letter any more. Records whose fate is not known when this fails stay.
pub async fn run(entries: &[Ends], letters: &Letters) -> Result<Replayed, Fault> {
    let (read, unreadable) = dead_letter::read(&letters.file).await?;
    let keys: BTreeSet<String> = read.into_iter().map(|letter| letter.key).collect();
    let dry_run = letters.dry_run;
    let mut replayed = Replayed { letters: keys.len(), unreadable, dry_run, ..Replayed::default() };
    let Some(first) = entries.first() else { return Ok(replayed) };
    let summary = ledger::summary(&letters.list_folder).await?;
    let choice = summary.as_ref().and_then(|summary| summary.choice.clone());
    entries.iter().for_each(|ends| ends.mapping.choose(choice.clone()));
    let keys: Vec<String> = keys.into_iter().collect();
    for keys in keys.chunks(first.sink.limits().records) {
        let found: Vec<Option<Record>> =
            stream::iter(keys).map(|key| first.source.find(key)).buffered(AT_ONCE).try_collect().await?;
        let mut fates =
            Fates { known: keys.iter().map(|key| (key.clone(), Fate::Gone)).collect(), letters: vec![] };
        let found: Vec<Record> = found.into_iter().flatten().collect();
        for ends in entries {
            fates.send(ends, &found, letters.dry_run).await?;
        }
        fates.count(&mut replayed);
        if !letters.dry_run {
            if let Some(summary) = &summary {
                fates.record(&found, &letters.list_folder, summary.until).await?;
            }
            fates.keep(&letters.file).await?;
        }
    }
    Ok(replayed)
}

/// What becomes of a record. Where entries disagree, the later one here counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Gone,
    Skipped(String),
    Sent,
    Rejected(String),
}

/// What becomes of some records, by their keys.
struct Fates {
    known: BTreeMap<String, Fate>,
    /// Of those that are rejected once more.
    letters: Vec<DeadLetter>,
}

impl Fates {
    /// Sends records as one entry maps them.
    async fn send(&mut self, ends: &Ends, records: &[Record], dry_run: bool) -> Result<(), Fault> {
        let mut batch = vec![];
        for record in records {
            match ends.mapping.map(record) {
                Mapped::Send(Outgoing { payload, opts_out, .. }) => match ends.sink.refusal(&payload) {
                    Some(reason) => self.reject(ends, &record.key, reason.to_owned(), None, Some(payload)),
                    None => batch.push(Parcel {
                        print: fingerprint(&record.key),
                        key: record.key.clone(),
                        payload,
                        opts_out,
                    }),
                },
                Mapped::Skip(reason) => self.note(&record.key, Fate::Skipped(reason.to_owned())),
                Mapped::Reject(reason) => self.reject(ends, &record.key, reason.to_owned(), None, None),
            }
        }
        batch.iter().for_each(|parcel| self.note(&parcel.key, Fate::Sent));
        if dry_run || batch.is_empty() {
            return Ok(());
        }
        for (Parcel { key, payload, .. }, problem) in deliver(ends.sink.as_ref(), batch).await?.refused {
            let request_id = problem.request_id.as_deref().map(str::to_owned);
            self.reject(ends, &key, problem.to_string(), request_id, Some(payload));
            self.known.insert(key, Fate::Rejected("refused".into()));
        }
        Ok(())
    }

    fn note(&mut self, key: &str, fate: Fate) {
        let known = self.known.entry(key.to_owned()).or_insert(Fate::Gone);
        *known = fate.max(known.clone());
    }

    fn reject(
        &mut self,
        ends: &Ends,
        key: &str,
        reason: String,
        request_id: Option<String>,
        payload: Option<Payload>,
    ) {
        self.note(key, Fate::Rejected(reason.clone()));
        let (key, time) = (key.to_owned(), time::wire(ends.source.now()));
        let payload = payload.map(|Payload(body)| body);
        self.letters.push(DeadLetter { key, reason, request_id, time, payload });
    }

    fn count(&self, replayed: &mut Replayed) {
        for fate in self.known.values() {
            match fate {
                Fate::Gone => replayed.gone += 1,
                Fate::Sent => replayed.sent += 1,
                Fate::Skipped(reason) => *replayed.skipped.entry(reason.clone()).or_default() += 1,
                Fate::Rejected(reason) => *replayed.rejected.entry(reason.clone()).or_default() += 1,
            }
        }
    }

    /// Notes in the ledger as what the records are delivered now. Those that have changed since the last run are left to the next.
    async fn record(&self, records: &[Record], folder: &Path, until: DateTime<Utc>) -> Result<(), Fault> {
        let mut seen = Seen::default();
        for record in records.iter().filter(|record| record.changed.is_some_and(|changed| changed <= until)) {
            if matches!(self.known[&record.key], Fate::Sent | Fate::Skipped(_)) {
                let second = record.changed.map_or(i64::MIN, |changed| changed.timestamp());
                seen.insert(Row { key: fingerprint(&record.key), second }, &record.status, SENT);
            }
        }
        let delivered = Delivered {
            seen: vec![&seen],
            whole: false,
            left_out: 0,
            opt_outs: 0,
            until,
            archived: false,
            choice: None,
        };
        ledger::add(folder, delivered).await
    }

    /// Keeps the letters of those who are rejected still, as they are now, and drops the others.
    async fn keep(self, file: &Path) -> Result<(), Fault> {
        let settled = self.known.iter().filter(|(_, fate)| !matches!(fate, Fate::Rejected(_)));
        let settled: HashSet<u128> = settled.map(|(key, _)| fingerprint(key)).collect();
        dead_letter::append(file, self.letters).await?;
        dead_letter::tidy(file, settled).await
    }
}

/// `3 dead letters: 1 sent, 1 skipped (1 pending), 0 rejected, 1 gone`
impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Replayed { letters, sent, skipped, rejected, gone, unreadable, dry_run } = self;
        let would = if *dry_run { "would be sent" } else { "sent" };
        write!(f, "{letters} dead {}: {sent} {would}", if *letters == 1 { "letter" } else { "letters" })?;
        for (word, reasons) in [("skipped", skipped), ("rejected", rejected)] {
            write!(f, ", {} {word}", reasons.values().sum::<usize>())?;
            let told: Vec<String> =
                reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            if !told.is_empty() {
                write!(f, " ({})", told.join(", "))?;
            }
        }
        write!(f, ", {gone} gone")?;
        match unreadable {
            0 => Ok(()),
            1 => write!(f, "; 1 line of the file can't be read and stays"),
            lines => write!(f, "; {lines} lines of the file can't be read and stay"),
        }
    }
}
