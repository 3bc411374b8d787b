//! Where records come from. A source answers one question, "this page, please"; it holds no position, never
//! retries and never waits: the engine does.

pub mod mailchimp;
pub mod when_i_work;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use self::{mailchimp::Mailchimp, when_i_work::WhenIWork};
use crate::{
    base::{
        adapter::{self, Chosen},
        fault::Fault,
        record::Record,
        spec::{Catalog, Setting},
        window::{Cursor, Link, Page, Span, Window},
    },
    net::{Caller, Doors, Unopened},
};

/// The types of sources.
pub const TYPES: [&str; 2] = [USUAL, when_i_work::SPEC.kind];
/// That of an entry which names none.
pub const USUAL: &str = "mailchimp";

pub const CATALOG: Catalog = Catalog {
    default: Some(USUAL),
    about: "",
    common: &[
        Setting { name: MIN_INTERVAL, default: None, pace: true },
        Setting { name: RETRY, default: Some("true"), pace: true },
    ],
    specs: &[&when_i_work::SPEC],
};

const MIN_INTERVAL: &str = "min_interval";
const RETRY: &str = "retry";

/// What is to be read.
pub struct Wanted<'a> {
    pub list_id: &'a str,
    /// The top-level fields of a record that the mapping reads; nothing: all of them.
    pub fields: Option<Vec<String>>,
    pub caller: Caller,
}

/// A source, and how it wants to be treated.
pub struct Opened {
    pub source: Box<dyn Source>,
    /// Whether a run that has failed is tried again before its next turn.
    pub retry: bool,
}

/// Opens what an entry says of its source. Asks nobody.
pub fn open(mut chosen: Chosen, mut wanted: Wanted, doors: &Doors) -> Result<Opened, Unopened> {
    if let Some(adapter::Span(distance)) = chosen.take(MIN_INTERVAL)? {
        wanted.caller.distance = distance.to_std().unwrap_or_default();
    }
    let retry = chosen.take(RETRY)?.unwrap_or(true);
    wanted.caller.once = !retry;
    let source: Box<dyn Source> = match chosen.kind.as_str() {
        USUAL => Box::new(Mailchimp::open(&chosen, wanted, doors)?),
        kind if kind == when_i_work::SPEC.kind => Box::new(WhenIWork::open(&chosen, wanted, doors)?),
        _ => return Err(chosen.unknown(&TYPES).into()),
    };
    Ok(Opened { source, retry })
}

/// The records of one list.
pub trait Source: Send + Sync {
    /// The time by the source's own clock, which sets the time stamps of its records, as far as its answers have told
    /// it; until the first one, our own time. Asks nobody.
    fn now(&self) -> DateTime<Utc>;

    /// How its records are read.
    fn pages(&self) -> Pages<'_>;

    /// The record with this key as it is now, archived or not; nothing if there is none any more.
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>>;

    /// The key of the record that people know by this name: by its address, or by the key itself.
    fn key(&self, name: &str) -> String;
}

/// How the records of a source are laid out.
#[derive(Clone, Copy)]
pub enum Pages<'a> {
    /// Rows that can be asked for by their place, in several pages at once.
    Rows(&'a dyn Rows),
    /// Each page names the next one.
    Chain(&'a dyn Chain),
}

/// A list whose rows are in the order of their last change and can be asked for by offset.
pub trait Rows: Send + Sync {
    /// Reads the rows of `span`, oldest change first. The source may answer with fewer, never with more.
    /// A row without a readable time of its last change is marked as [`Record::unreadable`].
    /// [`Fault::TooLarge`]: it could not make so large a page in time.
    fn read<'a>(&'a self, window: &'a Window, span: Span) -> BoxFuture<'a, Result<Page, Fault>>;

    /// Returns the number of records of each status, archived ones included, that last changed up to `until`.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: also if the source's totals contradict the rows that it lists.
    fn census(&self, until: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<(String, u64)>, Fault>>;
}

/// A source that is read from its beginning to its end. It can't be asked for what has changed: every run reads all that there is
/// to read, so that a full load and a sync differ only in what is held back as unchanged.
pub trait Chain: Send + Sync {
    /// Reads the page at `cursor`, the first one without; about `count` records. `at`: when the run began, by the source's clock.
    fn follow<'a>(
        &'a self,
        at: DateTime<Utc>,
        cursor: Option<&'a Cursor>,
        count: usize,
    ) -> BoxFuture<'a, Result<Link, Fault>>;
}
