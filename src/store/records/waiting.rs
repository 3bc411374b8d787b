//! The changes of a database that are not in its file yet.

use chrono::{DateTime, Utc};

use super::{
    delivery::{AcceptedDelivery, CachedDelivery, Change},
    mark::NewNotice,
};
use crate::base::{fate::Fate, key::KeyMap};

/// Maximum number of changes that wait in memory, some 4 MB.
const WAITING: usize = 1 << 15;

/// Changes that the next commit writes.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Changes of cached deliveries. They are lost if they can't be written.
    changes: KeyMap<u128, Change>,
    /// Digest of the destination to which the changes belong.
    destination: String,
    /// Whether one of them is an accepted delivery, and not just a fate.
    has_accepted: bool,
    /// Notices, in their order. They wait until a commit has succeeded.
    notices: Vec<NewNotice>,
}

/// What a commit writes.
pub(super) struct Taken {
    pub changes: KeyMap<u128, Change>,
    pub destination: String,
    pub notices: Vec<NewNotice>,
}

impl Waiting {
    /// Adds what the sink has accepted, and the notices about it.
    pub fn accepted(&mut self, mut accepted: Vec<AcceptedDelivery>, destination: &str, now: DateTime<Utc>) {
        let notices = accepted.iter_mut().filter_map(|accepted| accepted.notice.take());
        self.notices.extend(notices.map(|notice| *notice));
        destination.clone_into(&mut self.destination);
        self.has_accepted = true;
        self.changes.extend(accepted.into_iter().map(|accepted| Change::accepted(accepted, now)));
    }

    /// Adds only the notices about what the sink has accepted: there is no cache.
    pub fn notices_of(&mut self, accepted: Vec<AcceptedDelivery>) {
        self.notices
            .extend(accepted.into_iter().filter_map(|accepted| accepted.notice.map(|notice| *notice)));
    }

    /// Adds notices.
    pub fn notice(&mut self, notices: Vec<NewNotice>) {
        self.notices.extend(notices);
    }

    /// Returns whether a notice about one of these records waits.
    pub fn has_notice_of(&self, is_one: impl Fn(u128) -> bool) -> bool {
        self.notices.iter().filter_map(|notice| notice.record).any(is_one)
    }

    /// Adds the fates of records that were not sent.
    pub fn note(&mut self, fates: Vec<(u128, Fate)>, destination: &str, now: DateTime<Utc>) {
        destination.clone_into(&mut self.destination);
        for (key, fate) in fates {
            let change = self.changes.entry(key).or_insert(Change { sent: None, seen: now, fate });
            (change.seen, change.fate) = (now, fate);
        }
    }

    /// Forgets the accepted payloads of these records. `known` are those in the file, which belongs to `destination`.
    pub fn forget(&mut self, keys: &[u128], known: &[(u128, CachedDelivery)], destination: &str) {
        if !known.is_empty() {
            destination.clone_into(&mut self.destination);
        }
        for key in keys {
            if let Some(change) = self.changes.get_mut(key) {
                change.forget();
            }
        }
        for (key, cached) in known {
            let change = self.changes.entry(*key).or_insert_with(|| Change::forgetting(cached));
            // A fate alone would leave the digest in the file.
            if change.sent.is_none() {
                change.sent = Change::forgetting(cached).sent;
            }
        }
    }

    /// Returns the change of a record, if one waits.
    pub fn change_of(&self, key: u128) -> Option<&Change> {
        self.changes.get(&key)
    }

    /// Takes what a commit writes. The notices stay until it has succeeded.
    pub fn take(&mut self) -> Taken {
        self.has_accepted = false;
        Taken {
            changes: std::mem::take(&mut self.changes),
            destination: self.destination.clone(),
            notices: self.notices.clone(),
        }
    }

    /// Removes the first notices, which a commit has written.
    pub fn written(&mut self, notices: usize) {
        self.notices.drain(..notices);
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.notices.is_empty()
    }

    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Returns whether a loss of the changes would repeat a delivery.
    pub fn has_accepted(&self) -> bool {
        self.has_accepted || self.has_notices()
    }

    /// Returns whether the changes have to be written before more are added.
    pub fn is_full(&self) -> bool {
        self.changes.len() + self.notices.len() >= WAITING
    }

    pub fn is_of(&self, destination: &str) -> bool {
        self.destination == destination
    }

    /// Drops the changes of cached deliveries.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.has_accepted = false;
    }
}
