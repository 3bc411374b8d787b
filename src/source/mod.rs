//! Where records come from. A source answers one question, "these rows, please"; it holds no position, never
//! retries and never waits: the engine does.

pub mod mailchimp;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use crate::base::{
    fault::Fault,
    record::Record,
    window::{Page, Span, Window},
};

/// A list whose rows can be asked for by offset.
pub trait Source: Send + Sync {
    /// The time by the source's own clock, which sets the time stamps of its records, as far as its answers have told
    /// it; until the first one, our own time. Asks nobody.
    fn now(&self) -> DateTime<Utc>;

    /// Reads the rows of `span`, oldest change first. The source may answer with fewer, never with more.
    /// [`Fault::TooLarge`]: it could not make so large a page in time.
    fn read<'a>(&'a self, window: &'a Window, span: Span) -> BoxFuture<'a, Result<Page, Fault>>;

    /// The record with this key as it is now, archived or not; nothing if there is none any more.
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>>;

    /// The key of the record that people know by this name: by its address, or by the key itself.
    fn key(&self, name: &str) -> String;

    /// The number of records of each status among those last changed up to `until`, the archived ones too.
    fn census(&self, until: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<(String, u64)>, Fault>>;
}
