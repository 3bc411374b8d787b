//! The entries that share a delivery.

use std::collections::HashMap;

use super::{Open, OpenRequest};
use crate::{
    base::identity::DeliveryId,
    engine::plan::Pipeline,
    state::{Entry, Unfit},
};

/// A delivery, and the digests that identify its destination and the receiver of its notices with the keys of their
/// accounts.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    pub delivery: DeliveryId,
    pub digest: String,
    /// `None`: the entry has no receiver of notices.
    pub receiver: Option<String>,
}

impl Destination {
    pub fn of(pipeline: &Pipeline) -> Self {
        let receiver = pipeline.notify.as_ref().map(|receiver| receiver.spec.destination.reveal());
        Destination {
            delivery: pipeline.delivery.clone(),
            digest: pipeline.destination.clone(),
            receiver: receiver.map(|receiver| format!("{:x}", md5::compute(receiver))),
        }
    }

    /// Returns whether payloads go to the same place.
    pub fn is_same_sink(&self, other: &Self) -> bool {
        (&self.delivery, &self.digest) == (&other.delivery, &other.digest)
    }
}

/// The destinations of a state file, each with the line of the first entry that delivers there.
#[derive(Default)]
pub struct Destinations(HashMap<DeliveryId, (Destination, usize)>);

impl Destinations {
    /// Adds the destination of an entry, unless the entry is paused.
    ///
    /// # Errors
    ///
    /// An earlier enabled entry has the same delivery with another destination. Each run would clear the cache of
    /// the other entry, and compare its opt-ins with those of the other destination. Or it has another receiver of
    /// notices: they share one outbox.
    pub fn add(&mut self, entry: &Entry, destination: &Destination) -> Result<(), Unfit> {
        if !entry.enabled {
            return Ok(());
        }
        let (known, line) = self
            .0
            .entry(destination.delivery.clone())
            .or_insert_with(|| (destination.clone(), entry.place.line));
        if known == destination {
            return Ok(());
        }
        let text = if known.is_same_sink(destination) {
            format!(
                "`notify` is not that of the entry at line {line}, which delivers the same list to the same sink; set \
                 the same `notify` in both entries"
            )
        } else {
            format!(
                "`sink` sends to the same address as the entry at line {line}, but with other headers, \
                 another query or other credentials; set `account` in the sink of one of the two entries to \
                 keep their deliveries apart"
            )
        };
        // Other credentials may come from the environment, which may change without an edit.
        Err(Unfit { place: entry.place, text, environment: true })
    }
}

/// Returns the folder names of the entries that have the same delivery as `entry`, including `entry` itself; `None`
/// if another entry can't be read or opened, since its delivery is then unknown. `all` contains the entries of the
/// state file; it is `None` if one can't be read.
pub fn siblings(
    entry: &Entry,
    delivery: &DeliveryId,
    all: Option<&[Entry]>,
    open: &Open,
) -> Option<Vec<String>> {
    let of_list = all?.iter().filter(|other| other.list == entry.list);
    let is_same = |other: &Entry| -> Result<bool, Unfit> {
        Ok(other.id == entry.id || open(OpenRequest { entry: other, urgent: false })?.delivery == *delivery)
    };
    let named: Result<Vec<_>, Unfit> =
        of_list.map(|other| Ok(is_same(other)?.then(|| other.folder.clone()))).collect();
    Some(named.ok()?.into_iter().flatten().collect())
}
