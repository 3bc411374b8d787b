//! Everything that outlives a run: checkpoints, positions, dead letters, holds, and the records of each delivery
//! (its ledger and its delivery cache). Knows no adapter and no state file; callers pass the folders of the files.
//!
//! The engine and the controller know three traits, behind which a store may be of any kind: [`RunStore`],
//! [`DeliveryCache`] and [`Leases`]. By default they are files, a redb database and the memory of this process.

pub mod checkpoint;
#[cfg(test)]
mod contract_tests;
pub mod dead_letter;
pub mod files;
mod folder;
pub mod format;
pub mod former;
pub mod hold;

pub mod migrate;
pub mod position;
pub mod progress;
pub mod records;
pub mod seen;
#[cfg(test)]
pub mod support_tests;

use std::{collections::HashSet, fmt::Debug};

use futures::future::BoxFuture;

pub use self::folder::Folder;
use self::{
    checkpoint::{Checkpoint, Header, Line},
    dead_letter::DeadLetter,
    hold::HoldReason,
    position::{Positions, StoredPositions},
};
use crate::base::fault::Fault;

/// What the runs of one entry leave to later runs, apart from the records of the delivery.
///
/// The checkpoint belongs to the entry. The hold, the positions and the dead letters belong to its delivery: the
/// stores of all entries with this delivery have the same ones.
///
/// A store may rely on this: no two runs of a list take place at the same time ([`Leases`]), and a run awaits each
/// write before it begins the next one. A person may lift a hold, and read what is stored, at any time.
///
/// A write is durable when its future returns `Ok`, even after a loss of power, unless its method says otherwise.
/// After `Err`, after a crash, and after the future was dropped, a write has either happened as a whole or not at
/// all; only one that adds something may have added the first part of it. The next read shows which it is.
///
/// # Errors
///
/// Every method returns [`Fault::List`] if the store can't be read or written. The run then fails and is repeated
/// later: no method may return before it knows that it has succeeded. The fault names the part of the store at fault,
/// and contains no payload.
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
    /// Only a run with the same `run_fingerprint` can resume. The store removes a checkpoint with another one, and
    /// discards a checkpoint that can't be understood; both with a warning, since the list then starts again, and
    /// neither is an error. It returns the pages before the first damaged or incomplete one, and the new pages of the
    /// run follow after them.
    fn open_checkpoint<'a>(&'a self, run_fingerprint: &'a str) -> BoxFuture<'a, Result<Opened, Fault>>;

    /// Removes the entry's checkpoint, if there is one, so that the next run starts over.
    fn discard_checkpoint(&self) -> BoxFuture<'_, Result<(), Fault>>;

    /// Removes the checkpoints of all entries of the delivery that are not among `entries`, the names of the current
    /// ones. Returns what to call each removed checkpoint in a message.
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
    /// `settled`, by their keys ([`record_key`](seen::record_key)).
    fn tidy_dead_letters<'a>(
        &'a self,
        entry: &'a str,
        settled: HashSet<u128>,
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Gives the dead letters of entries that are not among `entries`, the current ones, to each of the current
    /// entries. Not atomic: after a failure, a repetition gives what is left.
    fn adopt_dead_letters<'a>(&'a self, entries: &'a [String]) -> BoxFuture<'a, Result<(), Fault>>;

    /// Returns where a person finds the dead letters, for messages: with files, a path.
    fn dead_letter_place(&self) -> String;
}

/// A checkpoint, and the header and the settled pages of the interrupted run that left it, if there is one.
pub type Opened = (Checkpoint, Option<(Header, Vec<Line>)>);

/// The place to which a [`Checkpoint`] writes the settled pages of a run, part of a [`RunStore`].
pub trait CheckpointLog: Send + Sync {
    /// Replaces the header and all pages by those of a new pass. Durable when this returns.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the log could not be written. It then has either the pages of before or those of the new pass.
    fn begin<'a>(&'a mut self, header: &'a Header, lines: &'a [Line]) -> BoxFuture<'a, Result<(), Fault>>;

    /// Adds pages. A crash of the program loses none of them once this has returned. Only with `sync` are these and all
    /// earlier ones safe from a loss of power, after which [`RunStore::open_checkpoint`] returns any number of the
    /// first ones.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the log could not be written. It may have the first ones of the pages.
    fn append<'a>(&'a mut self, lines: &'a [Line], sync: bool) -> BoxFuture<'a, Result<(), Fault>>;
}
