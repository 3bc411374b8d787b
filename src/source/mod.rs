//! Sources: where records come from. A source reads one page per call. It keeps no position, and neither
//! retries nor sleeps.

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
        window::{Cursor, CursorPage, Page, Span, Window},
    },
    net::{AccountClients, Caller, Unopened},
};

/// The types of sources.
pub const TYPES: [&str; 2] = [DEFAULT, when_i_work::SPEC.kind];
/// Default of an entry that names no source.
pub const DEFAULT: &str = "mailchimp";

pub const CATALOG: Catalog = Catalog {
    default: Some(DEFAULT),
    about: "",
    common: &[
        Setting { name: MIN_INTERVAL, default: None, pace: true },
        Setting { name: RETRY, default: Some("true"), pace: true },
    ],
    specs: &[&when_i_work::SPEC],
};

const MIN_INTERVAL: &str = "min_interval";
const RETRY: &str = "retry";

/// What a source may know of its entry.
pub struct SourceContext<'a> {
    pub list_id: &'a str,
    /// Top-level fields of a record that the mapping reads. `None` means all of them.
    pub fields: Option<Vec<String>>,
    /// Sender of the requests.
    pub caller: Caller,
}

/// A source, and the settings that the engine needs.
pub struct Opened {
    pub source: Box<dyn Source>,
    /// Whether a failed run is repeated before its next turn.
    pub retry: bool,
}

/// Opens the source that an entry chose. Sends no request.
///
/// # Errors
///
/// The type is unknown, a setting is invalid, or the environment has no valid settings for the account.
pub fn open(
    mut chosen: Chosen,
    mut wanted: SourceContext,
    accounts: &AccountClients,
) -> Result<Opened, Unopened> {
    if let Some(adapter::Span(distance)) = chosen.take(MIN_INTERVAL)? {
        wanted.caller.distance = distance.to_std().unwrap_or_default();
    }
    let retry = chosen.take(RETRY)?.unwrap_or(true);
    wanted.caller.no_retry = !retry;
    let source: Box<dyn Source> = match chosen.kind.as_str() {
        DEFAULT => Box::new(Mailchimp::open(&chosen, wanted, accounts)?),
        kind if kind == when_i_work::SPEC.kind => Box::new(WhenIWork::open(&chosen, wanted, accounts)?),
        _ => return Err(chosen.unknown(&TYPES).into()),
    };
    Ok(Opened { source, retry })
}

/// The records of one list.
///
/// A source has one of two kinds of paging, and [`pages`](Source::pages) returns the matching trait: [`OffsetPaging`]
/// for offset paging, where the engine requests the changes of a window of time in any order and in parallel,
/// and [`CursorPaging`] for cursor paging, where every run reads the whole list page by page. The engine plans the
/// pages, detects gaps between them, and stores the position of an interrupted run.
///
/// A source neither retries nor sleeps: [`Http`](crate::net::Http) repeats failed requests and keeps the
/// limits of the account. It may be used from several tasks at once.
///
/// A record that can't be read is no error. The source marks it as [`Record::unreadable`], and the engine
/// rejects it and reads on.
pub trait Source: Send + Sync {
    /// Returns the time by the source's clock, the one that stamps its records, as its last response reported
    /// it. Before the first response, returns our own time. Sends no request.
    ///
    /// A window ends at the earlier of this time and that of this machine.
    fn now(&self) -> DateTime<Utc>;

    /// Returns the kind of paging. Every call has to return the same kind.
    fn pages(&self) -> Paging<'_>;

    /// Returns the current version of a record, archived or not, or `None` if the list no longer contains it.
    ///
    /// Called by `importer replay` for each dead letter and by `importer preview`, never by a run.
    ///
    /// # Errors
    ///
    /// The record could not be read. If the list itself does not exist, that is an error too, not `None`.
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>>;

    /// Returns the key of a record that a person names, by email address or by key. Sends no request.
    ///
    /// Called for the arguments of commands such as `importer why`. The record may not exist.
    fn key(&self, name: &str) -> String;
}

/// The paging of a source.
#[derive(Clone, Copy)]
pub enum Paging<'a> {
    /// Offset paging: rows are requested by their position, several pages at once.
    Offset(&'a dyn OffsetPaging),
    /// Cursor paging: each page names the next one.
    Cursor(&'a dyn CursorPaging),
}

/// A source with offset paging: the service filters its list by the time of the last change, sorts it by that
/// time, and serves any range of rows.
pub trait OffsetPaging: Send + Sync {
    /// Reads the rows of `window` in the range `span`, oldest change first.
    ///
    /// Called for several ranges in parallel, in any order; ranges overlap, and a range may be read again.
    /// The page may contain fewer rows than `span.count`, never more. Its `total` is what the service
    /// reports; the engine verifies it. A window without an end is used for counts only. A row without a
    /// readable time of its last change is marked as [`Record::unreadable`].
    ///
    /// # Errors
    ///
    /// * [`Fault::TooLarge`]: the service did not finish so large a page in time. The engine requests smaller
    ///   pages, then splits the window by time.
    /// * [`Fault::List`]: the list can't be read at present. The run ends, and the next one continues it.
    fn read<'a>(&'a self, window: &'a Window, span: Span) -> BoxFuture<'a, Result<Page, Fault>>;

    /// Counts the records by status, including archived ones, whose last change is not after `until`.
    ///
    /// Called by `importer verify` only.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the records could not be counted, or the service's totals contradict its rows.
    fn census(&self, until: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<(String, u64)>, Fault>>;
}

/// A source with cursor paging. The service can't filter by change: every run reads the whole list, so that a
/// full load and an incremental sync differ only in whether unchanged records are sent.
pub trait CursorPaging: Send + Sync {
    /// Reads the page at `cursor`, or the first page without one.
    ///
    /// Called for one page after the other. `count` is the number of records to request; the page may contain
    /// fewer or more. `at` is the start of the run by the source's clock, the same for all of its pages. The
    /// engine stores the cursor of each settled page, so `cursor` may come from an earlier process and has to
    /// remain valid. The engine does not interpret it, but a cursor that repeats an earlier one ends the run
    /// with a fault.
    ///
    /// A record that the service reports as deleted has [`Record::deleted`] set. A record that disappears
    /// without a deletion mark counts as no longer listed; the sink keeps it.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the page can't be read at present. The run ends, and the next one continues at this
    /// page. An adapter divides a page that is too large itself; [`Fault::TooLarge`] has no special meaning
    /// here.
    fn follow<'a>(
        &'a self,
        at: DateTime<Utc>,
        cursor: Option<&'a Cursor>,
        count: usize,
    ) -> BoxFuture<'a, Result<CursorPage, Fault>>;
}
