//! The rules of an entry's delivery cache: when two payloads are equal, and how long a cached delivery counts. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::delivery::{CachedDelivery, NOTED, Sent};
use crate::base::fate::Fate;

/// The rules of the delivery cache of one entry. They hold for every [`DeliveryCache`](crate::store::DeliveryCache),
/// wherever it stores the cached deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheRules {
    /// Version of the mapping.
    pub version: u32,
    /// Age from which a record counts as never sent; `None`: there is no cache.
    pub expire: Option<TimeDelta>,
}

impl CacheRules {
    /// Returns the digest that decides whether the payloads of two versions of a record are equal. Each
    /// payload is a JSON text, or `None` for a deletion.
    pub fn digest<'a>(&self, payloads: impl Iterator<Item = Option<&'a str>>) -> u128 {
        let mut digest = md5::Context::new();
        digest.consume(self.version.to_string());
        for payload in payloads {
            digest.consume(" ");
            digest.consume(payload.unwrap_or("gone"));
        }
        u128::from_be_bytes(digest.finalize().0)
    }

    /// Returns whether the sink accepted exactly this payload less than [`expire`](Self::expire) ago.
    pub fn is_current(&self, cached: &CachedDelivery, digest: u128, now: DateTime<Utc>) -> bool {
        // The difference is negative if the source's clock was set back.
        let fresh = |sent: &Sent| self.expire.is_some_and(|expire| (now - sent.at).abs() < expire);
        cached.sent.as_ref().is_some_and(|sent| sent.digest == Some(digest) && fresh(sent))
    }

    /// Returns whether to store the fate of a record that was not sent: the fate has changed, or the stored one
    /// is at least ten minutes old (`NOTED`).
    pub fn should_store_fate(&self, cached: Option<&CachedDelivery>, fate: Fate, now: DateTime<Utc>) -> bool {
        cached.is_none_or(|cached| cached.fate != fate || now - cached.seen >= NOTED)
    }

    /// Returns the time before which a cached delivery is removed if its record was neither read nor sent since.
    pub fn expires_before(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - self.expire.unwrap_or(NOTED).max(NOTED)
    }
}
