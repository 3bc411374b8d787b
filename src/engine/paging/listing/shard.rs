//! A listing that is a shard of a stream: its parents, and the positions at which runs begin and end in it.

use super::{ListingProgress, Way};
use crate::{
    base::window::Next,
    engine::paging::cursor::CursorWalk,
    store::{
        position::{Position, ShardPosition},
        progress::Row,
    },
};

impl ListingProgress {
    /// Turns the listing into that of a shard.
    pub fn of_shard(self, shard: ShardPosition, parents: Vec<usize>) -> Self {
        let walk = match &shard.position {
            None => CursorWalk::default(),
            Some(Position::After(position)) => CursorWalk::after(Some(position.clone())),
            Some(Position::Closed) => CursorWalk::closed(),
        };
        ListingProgress { way: Way::Chain(walk), shard: Some((shard, parents)), ..self }
    }

    /// Ends a shard for this run at a record that was added after the run began. Otherwise, a run over a stream
    /// that grows faster than it is read would never end.
    pub(super) fn within_run(&self, rows: &[Row], next: Next) -> Next {
        let until = self.window.until.filter(|_| self.shard.is_some());
        match next {
            Next::More(position)
                if until.is_some_and(|until| rows.iter().any(|row| row.second > until.timestamp())) =>
            {
                Next::Tip(position)
            }
            next => next,
        }
    }

    /// Returns the indices of the shard's parents in the listings.
    pub fn parents(&self) -> &[usize] {
        self.shard.as_ref().map_or(&[], |(_, parents)| parents)
    }

    /// Returns whether the shard was read to its end, after which nothing will follow.
    pub fn is_closed(&self) -> bool {
        matches!(&self.way, Way::Chain(chain) if chain.is_closed())
    }

    /// Leaves the shard to the next run.
    pub fn postpone(&mut self) {
        if let Way::Chain(chain) = &mut self.way {
            chain.postpone();
        }
    }

    /// Returns the shard with the position at which the next run continues. A shard that was not read keeps
    /// its position.
    pub fn shard_position(&self) -> Option<ShardPosition> {
        let ((shard, _), Way::Chain(chain)) = (self.shard.as_ref()?, &self.way) else { return None };
        let position = match chain.tip() {
            Some(position) => Some(Position::After(position.clone())),
            None if chain.is_closed() => Some(Position::Closed),
            None => shard.position.clone(),
        };
        Some(ShardPosition { position, ..shard.clone() })
    }
}
