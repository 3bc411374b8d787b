//! What is known of a record: its cached delivery, and its status in the ledger. Pure.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::mark::NewNotice;
use crate::base::{
    fate::{Effect, Fate},
    key::KeyMap,
};

/// Minimum time before the same fate of the same record is written again: an unchanged record may be read
/// every few seconds.
pub(super) const NOTED: TimeDelta = TimeDelta::minutes(10);

/// What the sink has accepted of one record, and when the record was last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedDelivery {
    /// The last accepted payloads; `None` if the sink never accepted any, as far as is known.
    pub sent: Option<Sent>,
    /// Time at which the record was last read, to within ten minutes.
    pub seen: DateTime<Utc>,
    /// Fate of the record at that time.
    pub fate: Fate,
}

/// The last payloads of a record that the sink has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Digest of the payloads that the sink has, if that is known for certain.
    pub(in crate::store) digest: Option<u128>,
    /// Whether they withdrew somebody's consent.
    pub opted_out: bool,
    pub at: DateTime<Utc>,
    pub request_id: Arc<str>,
}

impl CachedDelivery {
    /// Returns whether the last accepted payload withdrew somebody's consent.
    pub fn opted_out(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.opted_out)
    }

    /// Returns whether it is known for certain which payload the sink has.
    pub fn has_digest(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.digest.is_some())
    }

    /// Forgets which payload the sink has.
    fn forget(&mut self) {
        if let Some(sent) = &mut self.sent {
            sent.digest = None;
        }
    }
}

/// Version of a record that a sink has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedDelivery {
    /// Key of the record.
    pub key: u128,
    /// Digest of its payloads; see [`CacheRules::digest`](super::CacheRules::digest).
    pub digest: u128,
    /// Whether the payloads withdrew a person's consent.
    pub opted_out: bool,
    /// The service's identifier of the request with the record's last payload.
    pub request_id: Option<Arc<str>>,
    /// The notice that the delivery causes.
    pub notice: Option<Box<NewNotice>>,
}

/// The last known version of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Its status at the source.
    pub status: Arc<str>,
    /// Whether it was rejected.
    pub rejected: bool,
}

/// What is known of a record before a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownRecord {
    /// The status with which the record was last delivered or rejected; `None` if it never was.
    pub settled: Option<Settled>,
    /// `None` if the cache is off or has nothing of the record.
    pub cached: Option<CachedDelivery>,
}

/// The known ones of the records of a page, by their keys.
pub type KnownRecords = KeyMap<u128, KnownRecord>;

/// A change of a cached delivery that is not in the database yet.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// The payloads that were accepted, or of which the digest was forgotten; `None`: those in the database
    /// remain.
    pub sent: Option<Sent>,
    pub seen: DateTime<Utc>,
    pub fate: Fate,
}

impl Change {
    pub fn accepted(accepted: AcceptedDelivery, now: DateTime<Utc>) -> (u128, Self) {
        let AcceptedDelivery { key, digest, opted_out, request_id, notice: _ } = accepted;
        let request_id = request_id.unwrap_or_else(|| "".into());
        let sent = Some(Sent { digest: Some(digest), opted_out, at: now, request_id });
        (key, Change { sent, seen: now, fate: Fate::Sent(Effect::None) })
    }

    /// Returns the change after which the cache has no digest of this delivery.
    pub fn forgetting(cached: &CachedDelivery) -> Self {
        let mut cached = cached.clone();
        cached.forget();
        Change { sent: cached.sent, seen: cached.seen, fate: cached.fate }
    }

    /// Forgets the digest of the accepted payloads.
    pub fn forget(&mut self) {
        if let Some(sent) = &mut self.sent {
            sent.digest = None;
        }
    }

    /// Returns the cached delivery after this change.
    pub fn over(&self, before: Option<&CachedDelivery>) -> CachedDelivery {
        let sent = self.sent.clone().or_else(|| before.and_then(|before| before.sent.clone()));
        CachedDelivery { sent, seen: self.seen, fate: self.fate }
    }
}
