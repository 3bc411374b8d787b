//! The fates of the records of a pass: questions about them, and what a delivery changes.

use super::Intake;
use crate::{
    base::fate::{Effect, Fate},
    store::seen::Seen,
};

impl Intake<'_> {
    /// Returns the number of different records read from a listing.
    pub fn seen_of(&self, listing: usize) -> usize {
        self.seen[listing].records()
    }

    /// Returns the number of different records read from all listings.
    pub fn seen_in_all(&self) -> usize {
        self.seen.iter().map(Seen::records).sum()
    }

    /// Changes the fate of a record that the sink had already, or of whose deletion it had no row, unless a newer version
    /// has another effect.
    pub fn unchanged(&mut self, key: u128) {
        let mut was_deletion = false;
        for seen in &mut self.seen {
            let fate = seen.get(key).map(|known| known.fate);
            if let Some(Fate::Sent(effect @ (Effect::None | Effect::Deletion))) = fate {
                was_deletion |= effect == Effect::Deletion;
                seen.set_fate(key, Fate::Unchanged);
            }
        }
        self.counts.deletions -= u64::from(was_deletion);
    }

    /// Returns whether the sink takes none of the records that this pass has read.
    pub fn is_nothing_taken(&self) -> bool {
        let taken = |fate: Fate| fate.is_sent() || fate == Fate::Unchanged;
        !self.seen.iter().any(|seen| seen.fates().any(taken))
    }

    /// Returns whether a record was read, and accepted or skipped in its last version.
    pub fn settled_well(&self, key: u128) -> bool {
        let mut fates = self.fates(key).peekable();
        fates.peek().is_some() && fates.all(|fate| !fate.is_rejected())
    }

    /// Returns the fates of a record, one for each listing in which this pass has read it.
    pub(super) fn fates(&self, key: u128) -> impl Iterator<Item = Fate> {
        self.seen.iter().filter_map(move |seen| Some(seen.get(key)?.fate))
    }

    /// Returns whether a record was read in this pass.
    pub fn has_met(&self, key: u128) -> bool {
        self.untimed.contains(&key) || self.seen.iter().any(|seen| seen.get(key).is_some())
    }
}
