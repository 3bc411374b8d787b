//! Where records come from. A source answers one question, "these rows, please"; it holds no position, never
//! retries and never waits: the engine does.

pub mod mailchimp;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use crate::base::{
    fault::Fault,
    window::{Page, Span, Window},
};

/// A list whose rows can be asked for by offset.
pub trait Source: Send + Sync {
    /// The time by the source's own clock, which sets the time stamps of its records. Windows are cut by it.
    fn time(&self) -> BoxFuture<'_, Result<DateTime<Utc>, Fault>>;

    /// Reads the rows of `span`, oldest change first. The source may answer with fewer, never with more.
    fn read<'a>(&'a self, window: &'a Window, span: Span) -> BoxFuture<'a, Result<Page, Fault>>;
}
