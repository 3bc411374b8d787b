//! Everything that outlives a run: checkpoints, positions, dead letters, holds, and the records of each delivery
//! (its ledger and its delivery cache). Knows no adapter and no state file; callers pass the folders of the files.
//!
//! The engine and the controller know four traits, behind which a store may be of any kind: [`RunStore`],
//! [`DeliveryCache`], [`Outbox`] and [`Leases`]. By default they are files, a redb database for each
//! delivery, and the memory of this process.

pub mod checkpoint;
#[cfg(test)]
mod contract_tests;
pub mod dead_letter;
pub mod files;
mod folder;
pub mod format;
pub mod former;
pub mod hold;
pub mod leases;
pub mod migrate;
pub mod position;
pub mod progress;
pub mod records;
pub mod runs;
pub mod seen;
#[cfg(test)]
pub mod support_tests;

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

pub use self::folder::FolderStore;
use self::{
    checkpoint::{Checkpoint, Header, Line},
    dead_letter::DeadLetter,
    hold::HoldReason,
    position::{Positions, StoredPositions},
    records::{AcceptedDelivery, CacheRules, Delivered, KnownRecords, NewNotice, OutboxStatus, Summary},
    runs::{LastRuns, RunRecord},
};
use crate::base::{
    fate::Fate,
    fault::Fault,
    identity::ListId,
    notice::{Notice, NoticeKind},
};

/// What the runs of one entry leave to later runs, apart from the records of the delivery.
///
/// The checkpoint belongs to the entry. The hold, the positions and the dead letters belong to its delivery: all
/// entries with this delivery share them.
///
/// A store may rely on this: no two runs of a list take place at the same time ([`Leases`]), and a run awaits
/// each write before it begins the next one. A person may lift a hold, and read what is stored, at any time.
///
/// A write is durable when its future returns `Ok`, even after a loss of power, unless its method says otherwise.
/// A write is atomic: after an `Err`, a crash or a dropped future, it took effect completely or not at all.
/// Exceptions: a method that appends may have appended a prefix, and a write whose future was dropped may still
/// complete shortly afterwards.
///
/// # Errors
///
/// Every method returns [`Fault::List`] if the store can't be read or written; it returns `Ok` only after the
/// operation has succeeded. After a fault the run fails, and the controller starts it again later. The fault
/// names the part of the store that failed, and contains no payload.
pub trait RunStore: Debug + Send + Sync {
    /// Returns the hold of the delivery; `None` if it is not on hold. A hold that can't be understood still counts: the
    /// store then returns a reason that says so.
    fn hold(&self) -> BoxFuture<'_, Result<Option<HoldReason>, Fault>>;

    /// Stores a hold, which replaces an earlier one. From then on [`hold`](Self::hold) returns it to all entries with
    /// this delivery, until it is lifted.
    fn keep_hold<'a>(&'a self, hold: &'a HoldReason) -> BoxFuture<'a, Result<(), Fault>>;

    /// Removes the hold, if there is one.
    fn lift_hold(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// Opens the entry's checkpoint. Returns it with what an interrupted run has left: the header of its pass and the
    /// settled pages, in the order in which they were added.
    ///
    /// Only a run with the same `run_fingerprint` can resume. The store removes a checkpoint with another one
    /// and one that can't be understood. It reports both, since the list then starts again; neither is an
    /// error. It returns the pages before the first damaged or incomplete one, and the new pages of the run
    /// follow after them.
    fn open_checkpoint<'a>(
        &'a self,
        run_fingerprint: &'a str,
    ) -> BoxFuture<'a, Result<OpenedCheckpoint, Fault>>;

    /// Removes the entry's checkpoint, if there is one, so that the next run starts over.
    fn discard_checkpoint(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// Removes the checkpoints of all entries of the delivery that are not among `entries`, the names of the
    /// current ones. Returns a name for each removed checkpoint, for messages: with files, its path.
    fn discard_orphans<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<Vec<String>, Fault>>;

    /// Returns the positions of the delivery in the shards of a stream; `None` if no run has stored any.
    ///
    /// Positions that can't be understood are an error: without them, a run would deliver the whole stream again.
    fn positions(&self) -> BoxFuture<'_, Result<Option<StoredPositions>, Fault>>;

    /// Replaces the positions of the delivery, all at once, by those that a run has reached. `entry` is the name of
    /// the run's entry.
    fn keep_positions<'a>(&'a self, entry: &'a str, positions: Positions)
    -> BoxFuture<'a, Result<(), Fault>>;

    /// Adds dead letters to those of the delivery. They contain personal data, so only the user who runs importer may
    /// read them.
    fn append_dead_letters(&self, letters: Vec<DeadLetter>) -> BoxFuture<'_, Result<(), Fault>>;

    /// Returns all dead letters of the delivery, of every entry, in the order in which they were added. Also returns
    /// the number of those that can't be understood.
    fn dead_letters(&self) -> BoxFuture<'_, Result<(Vec<DeadLetter>, usize), Fault>>;

    /// Keeps only the latest dead letter of each record and entry, and removes those of `entry` whose records are
    /// `settled`, by their keys ([`fingerprint`](crate::base::key::key_digest)).
    fn tidy_dead_letters<'a>(
        &'a self,
        entry: &'a str,
        settled: HashSet<u128>,
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Replaces each dead letter of an entry that is not among `entries`, the current ones, with a copy for each
    /// of `entries`. Not atomic: after a failure, another call moves the rest.
    fn adopt_dead_letters<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<(), Fault>>;

    /// Adds a run of an entry of the delivery to its history. May be lost in a loss of power.
    fn record_run(&self, run: RunRecord) -> BoxFuture<'_, Result<(), Fault>>;

    /// Returns the last runs of an entry of the delivery. A run without changes does not hide the last one with changes.
    fn last_runs<'a>(&'a self, entry: &'a str) -> BoxFuture<'a, Result<LastRuns, Fault>>;

    /// Returns where a person finds the dead letters, for messages: with files, a path.
    fn dead_letter_location(&self) -> String;
}

/// A checkpoint, and the header and the settled pages of the interrupted run that left it, if there is one.
pub type OpenedCheckpoint = (Checkpoint, Option<(Header, Vec<Line>)>);

/// The log of a [`Checkpoint`]: the settled pages of a run. Part of a [`RunStore`].
pub trait CheckpointLog: Send + Sync {
    /// Replaces the header and all pages by those of a new pass. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the log could not be written. It then has either the previous pages or those of the new
    /// pass.
    fn begin<'a>(&'a mut self, header: &'a Header, lines: &'a [Line]) -> BoxFuture<'a, Result<(), Fault>>;

    /// Appends pages. Once this has returned, a crash of the program loses none of them. A loss of power may lose
    /// pages that were appended without a later `sync`; [`RunStore::open_checkpoint`] then returns a prefix of
    /// the pages.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the log could not be written. It may contain a prefix of `lines`.
    fn append<'a>(&'a mut self, lines: &'a [Line], sync: bool) -> BoxFuture<'a, Result<(), Fault>>;
}

/// The records of a delivery: which were delivered with which status (the ledger), and what the sink has accepted
/// of each (the delivery cache). Entries with the same delivery share them.
///
/// A value is the view of one run or replay of an entry. It is opened with the [`rules`](Self::rules) of the
/// entry and with a digest of the settings that identify the sink and its account. At most one run of a list
/// takes place at a time ([`Leases`]), but a run calls the methods concurrently: it looks pages up while others
/// are delivered. Each call sees everything that earlier calls have stored, even if it is not durable yet.
///
/// A loss of data may cause a repeated delivery, but never a missed one. A run therefore calls, in this order:
///
/// 1. [`forget`](Self::forget) before it sends a batch, so that no older version counts as the one that the sink
///    has;
/// 2. [`accepted`](Self::accepted) after the sink has confirmed the batch; the write need not be durable;
/// 3. [`sync`](Self::sync) whenever it syncs the checkpoint, and [`add`](Self::add) at the end of each pass.
///
/// The store also takes the notices of the delivery, for its [`Outbox`]. A loss of data may repeat a notice, but never
/// lose that of a settled record. A run whose entry has a receiver of notices therefore also calls:
///
/// 1. [`forget_noticed`](Self::forget_noticed) before it sends a batch;
/// 2. [`accepted`](Self::accepted) with the notices of the batch, even if there is no cache, and
///    [`notice`](Self::notice) after it has written dead letters;
/// 3. [`sync_notices`](Self::sync_notices) before it adds a settled page to the checkpoint or removes a dead letter.
///
/// The engine calls each method for a page, a batch or a pass, never for a single record.
///
/// # Errors
///
/// Every method returns [`Fault::List`] if the records can't be read or written. After a fault the run fails, and
/// the controller starts it again later. The fault names the part of the store that failed, and contains no key
/// of a record.
pub trait DeliveryCache: Debug + Send + Sync {
    /// Returns the rules of the entry: whether there is a cache, and when payloads are equal. No I/O.
    fn rules(&self) -> &CacheRules;

    /// Begins a run. Returns the summary of the ledger; `None` if there is none. A damaged store counts as empty,
    /// and is reported.
    ///
    /// Drops the cached deliveries if the entry has no cache, since its runs do not update them, and those that
    /// belong to another destination, since another account may have the same address.
    fn begin(&self) -> BoxFuture<'_, Result<Option<Summary>, Fault>>;

    /// Returns the summary of the ledger without beginning a run. Works while another process runs the list.
    fn summary(&self) -> BoxFuture<'_, Result<Option<Summary>, Fault>>;

    /// Removes all cached deliveries. Durable when this returns.
    fn clear(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// Returns what is known of these records: their statuses before this run, without those that its passes have
    /// added since [`begin`](Self::begin), and, if there is a cache, their current cached deliveries. Leaves out
    /// unknown records. If the run began without a ledger, the statuses are unspecified and must not be used.
    fn recall(&self, keys: Vec<u128>) -> BoxFuture<'_, Result<KnownRecords, Fault>>;

    /// Forgets which payloads the sink has of these records, since other versions are about to be sent. Durable when
    /// this returns: after `Err`, the records must not be sent.
    fn forget(&self, keys: Vec<u128>) -> BoxFuture<'_, Result<(), Fault>>;

    /// Remembers what the sink has accepted of these records, at the time `now`, if there is a cache, and takes their
    /// notices in any case. Durable after the next [`sync`](Self::sync) or [`add`](Self::add); a crash before that may
    /// lose the deliveries. A crash that loses a notice also loses the accepted delivery.
    fn accepted(
        &self,
        accepted: Vec<AcceptedDelivery>,
        now: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<(), Fault>>;

    /// Remembers the fates of records that were not sent, at the time `now`. Their accepted payloads stay. May be lost
    /// until the next [`add`](Self::add).
    fn note(&self, fates: Vec<(u128, Fate)>, now: DateTime<Utc>) -> BoxFuture<'_, Result<(), Fault>>;

    /// Forgets that these records were noticed as opted out or deleted, unless a payload with the same effect is about
    /// to be sent: the next opt-out or deletion is then news again. `effects` are those of the payloads, by the keys
    /// of their records. Durable when this returns: after `Err`, the records must not be sent.
    fn forget_noticed(&self, effects: HashMap<u128, Option<NoticeKind>>) -> BoxFuture<'_, Result<(), Fault>>;

    /// Adds notices to the outbox, after those that were added before. Durable after the next
    /// [`sync_notices`](Self::sync_notices), [`sync`](Self::sync) or [`add`](Self::add). After an `Err` of these, the
    /// notices still wait, and the next write adds them.
    fn notice(&self, notices: Vec<NewNotice>) -> BoxFuture<'_, Result<(), Fault>>;

    /// Makes all notices so far durable.
    fn sync_notices(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// Makes all that the sink has accepted so far durable, and all notices.
    fn sync(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// Creates the ledger before the first delivery of a list without one. It stores the time from which the archived
    /// listing has to be read, even if the run never finishes. Durable when this returns.
    fn begin_ledger(&self, from: DateTime<Utc>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { self.add(Delivered::beginning(from)).await.map(drop) })
    }

    /// Adds what a pass has delivered to the ledger, all at once. Durable when this returns, with all earlier
    /// changes. Returns the number of records that were at the source before and that a pass over the whole list
    /// did not read. Adding the same pass twice changes nothing.
    fn add<'a>(&'a self, delivered: Delivered<'a>) -> BoxFuture<'a, Result<u64, Fault>>;

    /// Removes cached deliveries of records that were neither read nor sent since [`CacheRules::expires_before`];
    /// at most once a day, since it may read all records.
    fn tidy(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<(), Fault>>;
}

impl dyn DeliveryCache + '_ {
    /// Returns the records, unless the entry has no delivery cache.
    pub fn cache(&self) -> Option<&Self> {
        self.rules().expire.map(|_| self)
    }
}

/// The notices of a delivery that wait for their receiver. Runs add notices with [`DeliveryCache`]; one reader at a time
/// delivers them, in their order, and removes them.
///
/// The outbox is bounded: it drops the oldest notices beyond 1,000,000, and those that are older than 30 days. It also
/// drops notices that this version can't read, since a later version wrote them. It counts what it drops.
///
/// # Errors
///
/// Every method returns [`Fault::List`] if the outbox can't be read or written. The fault contains no key of a record.
pub trait Outbox: Debug + Send + Sync {
    /// Returns the oldest durable notices, at most `most`, in the order in which they were added, each with its number.
    /// Drops those that are too old at the time `now`, or can't be read.
    fn oldest(&self, most: usize, now: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<(u64, Notice)>, Fault>>;

    /// Removes the notices with these numbers, of which the receiver has refused `refused`. Durable when this returns;
    /// after an `Err` or a crash, they may be returned again.
    fn remove(&self, numbers: Vec<u64>, refused: u64) -> BoxFuture<'_, Result<(), Fault>>;

    /// Returns the size of the outbox, and what it has lost.
    fn status(&self) -> BoxFuture<'_, Result<OutboxStatus, Fault>>;
}

/// The leases of lists. Only a run with the lease of its list may read the list, deliver its records, and write
/// to its stores; so at most one run of a list takes place at a time. A replay takes no lease: it has the lock of
/// the state folder, which excludes all runs.
///
/// The scheduler takes a lease at once, without I/O, so that it never waits for another machine.
/// [`Lease::confirm`] does what requires other processes; the run awaits it before it begins.
pub trait Leases: Debug + Send + Sync {
    /// Returns whether the lease of this list is taken, as far as this process knows. Neither waits nor does I/O.
    fn is_taken(&self, list: &ListId) -> bool;

    /// Takes the lease of a list; `None` if it is taken. If several callers in this process take the lease at the
    /// same time, one of them gets it. Neither waits nor does I/O.
    fn take(&self, list: &ListId) -> Option<Arc<dyn Lease>>;
}

/// The lease of a list. The run and the controller share it: the run until it ends, the controller until the
/// result is in the state file or dropped. The list is free again when both have dropped it, or when the process
/// ends.
pub trait Lease: Debug + Send + Sync {
    /// Waits until no other process has the lease. There is no time limit; a caller that stops waiting drops the
    /// future and the lease.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the store can't tell whether another process has the lease, or refuses it. The run must
    /// not begin; the controller starts it again later.
    fn confirm(&self) -> BoxFuture<'_, Result<(), Fault>>;
}
