//! Sources: where records come from. A source reads one page per call. It stores no position, and neither
//! retries nor sleeps.

pub mod mailchimp;
pub mod rest;
pub mod when_i_work;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use self::{mailchimp::Mailchimp, rest::Rest, when_i_work::WhenIWork};
use crate::{
    base::{
        adapter::{self, Chosen},
        fault::Fault,
        record::Record,
        spec::{ACCOUNT_SETTING, Catalog, Setting, ValueKind},
        time,
        window::{Cursor, CursorPage, Page, Shard, ShardPage, Span, Window},
    },
    net::{AccountClients, Caller, Unopened},
};

/// Default of an entry that names no source.
pub const DEFAULT: &str = mailchimp::SPEC.kind;

/// The types of sources.
pub const CATALOG: Catalog = Catalog {
    default: Some(DEFAULT),
    about: "",
    common: &[
        ACCOUNT_SETTING,
        Setting::new(
            MIN_INTERVAL,
            ValueKind::Pattern(time::SPAN),
            "Minimum time between a request of this entry and any other request of the account, before or after it.",
        )
        .pace(),
        Setting::new(
            RETRY,
            ValueKind::Flag,
            "Whether a failed request is retried. If not, the run fails, and its entry waits for its next regular run.",
        )
        .default("true")
        .pace(),
    ],
    specs: &[&mailchimp::SPEC, &when_i_work::SPEC, &rest::SPEC],
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
    pub source: Arc<dyn Source>,
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
    let source: Arc<dyn Source> = match chosen.kind.as_str() {
        kind if kind == mailchimp::SPEC.kind => Arc::new(Mailchimp::open(&chosen, wanted, accounts)?),
        kind if kind == when_i_work::SPEC.kind => Arc::new(WhenIWork::open(&chosen, wanted, accounts)?),
        kind if kind == rest::SPEC.kind => Arc::new(Rest::open(&chosen, wanted, accounts)?),
        kind => return Err(CATALOG.unknown(kind).into()),
    };
    Ok(Opened { source, retry })
}

/// The records of one list.
///
/// Two independent properties decide how the engine reads a source. [`paging`](Source::paging) is how the
/// source divides its records into pages: [`OffsetPaging`], [`CursorPaging`] or [`ShardPaging`].
/// [`scope`](Source::scope) is what a run has to read. Further abilities are optional: [`Lookup`] and
/// [`Census`]. The engine plans the pages, detects missing records, and stores the position of an interrupted
/// run.
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
    fn paging(&self) -> Paging<'_>;

    /// Returns what a run has to read. Every call has to return the same scope, one that
    /// [`Paging::can_read`].
    fn scope(&self) -> Scope;

    /// Returns whether the source lists archived records separately, as [`Listing::Archived`]. Only a source
    /// with [`Scope::Changes`] may do so.
    ///
    /// [`Listing::Archived`]: crate::base::window::Listing::Archived
    fn archives(&self) -> bool {
        false
    }

    /// Returns the ability to read single records, if the source has it. Without it, `importer replay` is not
    /// possible, and other commands take a name as the key of a record.
    fn lookup(&self) -> Option<&dyn Lookup> {
        None
    }

    /// Returns the ability to count records, if the source has it. Without it, `importer verify` is not
    /// possible.
    fn census(&self) -> Option<&dyn Census> {
        None
    }

    /// Says how a person can find out whether records are missing, for a source that does not count them.
    fn instead_of_census(&self) -> Option<&'static str> {
        None
    }

    /// Returns what may be a mistake in the settings or in the environment, such as a credential without effect. Sends no
    /// request.
    fn warnings(&self) -> Vec<String> {
        vec![]
    }

    /// Returns the settings whose paths led to nothing in what was read so far. Empty before the first response. Each
    /// text is a warning such as "no record has `gone_at` (`deleted`)".
    fn unfound(&self) -> Vec<String> {
        vec![]
    }
}

/// Records that a run has to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The changes since the last run: the source can filter its records by the time of their last change. A
    /// full load reads all records, and then the changes that were made meanwhile.
    Changes,
    /// All records in every run, since the source can't filter by change. A full load and an incremental sync
    /// differ only in whether unchanged records are sent.
    Full,
    /// The records of a stream after the position at which the last run stopped; a full load begins at the
    /// start. Each record is an event of its own: it never changes, so importer stores no fate of it.
    Positions,
}

/// The paging of a source.
#[derive(Clone, Copy)]
pub enum Paging<'a> {
    /// Offset paging: rows are requested by their position, several pages at once.
    Offset(&'a dyn OffsetPaging),
    /// Cursor paging: each page names the next one.
    Cursor(&'a dyn CursorPaging),
    /// A stream of shards, each of which is read after a position.
    Shards(&'a dyn ShardPaging),
}

impl Paging<'_> {
    /// Returns whether the engine can read a source with this paging and this scope. The walk through offsets
    /// needs rows that are sorted by the time of their last change.
    pub fn can_read(self, scope: Scope) -> bool {
        match self {
            Paging::Offset(_) => scope == Scope::Changes,
            Paging::Cursor(_) => matches!(scope, Scope::Changes | Scope::Full),
            Paging::Shards(_) => scope == Scope::Positions,
        }
    }
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
}

/// A source with cursor paging: each page names the next one.
pub trait CursorPaging: Send + Sync {
    /// Reads the page of `window` at `cursor`, or the first page without one.
    ///
    /// Called for one page after the other. `count` is the number of records to request; the page may contain
    /// fewer or more. The window is the same for all pages of a listing, and has an end: the time by the
    /// source's clock at which the listing was begun.
    ///
    /// * With [`Scope::Changes`], the source lists the records that last changed in the window. It may list
    ///   records that changed after its end as well, if the service can't bound it; a record that changes
    ///   during the run may then be listed again, or not at all, since the next window begins before this one
    ///   ends. A record needs a time of its last change, or [`Record::unreadable`].
    /// * With [`Scope::Full`], the source lists all of its records, and `window.since` has no meaning.
    ///
    /// The engine stores the cursor of each settled page, so `cursor` may come from an earlier process and has
    /// to remain valid. The engine does not interpret it, but a cursor that repeats an earlier one ends the
    /// run with a fault. A listing ends with a page that names no next one. If pages report a total, at least
    /// as many records have to be listed as the smallest of these totals; otherwise records are missing, and
    /// the engine reads the listing once more before the run fails.
    ///
    /// A record that the service reports as deleted has [`Record::deleted`] set. With [`Scope::Full`], a
    /// record that disappears without a deletion mark counts as no longer listed; the sink keeps it.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the page can't be read at present. The run ends, and the next one continues at this
    /// page. An adapter divides a page that is too large itself; [`Fault::TooLarge`] has no special meaning
    /// here.
    fn follow<'a>(
        &'a self,
        window: &'a Window,
        cursor: Option<&'a Cursor>,
        count: usize,
    ) -> BoxFuture<'a, Result<CursorPage, Fault>>;
}

/// A stream of shards. The engine reads several shards at once, each of them page by page, and delivers its
/// records in order. It reads a shard only when all of its listed parents are [`Next::Closed`], and reads
/// shards that appear during a run in the next run.
///
/// [`Next::Closed`]: crate::base::window::Next::Closed
pub trait ShardPaging: Send + Sync {
    /// Lists the shards, including closed ones whose records can still be read.
    ///
    /// Called once, at the beginning of a run.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the shards can't be listed at present.
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, Fault>>;

    /// Reads the page of a shard after the position `after`, or its first page without one.
    ///
    /// `count` is the number of records to request; the page may contain fewer or more. `after` may come from
    /// an earlier process and has to remain valid. A page with [`Next::More`] has to move the position, even
    /// if it has no records: a position that repeats an earlier one ends the run with a fault. A position at
    /// the tip may repeat.
    ///
    /// `changed` is the time at which the record was added, if it is known: a shard ends for this run at a
    /// page with a record that was added after the run began. Without it, a stream that grows faster than it
    /// is read keeps one run busy until the process ends; the checkpoint has its positions.
    ///
    /// The key of a record identifies this one event, for example by shard and sequence number.
    ///
    /// [`Next::More`]: crate::base::window::Next::More
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the page can't be read at present, or the shard no longer has records at the position.
    /// The run ends, and the next one continues at this page.
    fn read<'a>(
        &'a self,
        shard: &'a str,
        after: Option<&'a Cursor>,
        count: usize,
    ) -> BoxFuture<'a, Result<ShardPage, Fault>>;
}

/// The ability to read single records. Used by commands, never by a run.
pub trait Lookup: Send + Sync {
    /// Returns the current version of a record, archived or not, or `None` if the list no longer contains it.
    ///
    /// Called by `importer replay` for each dead letter and by `importer preview`.
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

/// The ability to count records. Used by `importer verify` only.
pub trait Census: Send + Sync {
    /// Counts the records by status, including archived ones, whose last change is not after `until`.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the records could not be counted, or the service's totals contradict its rows.
    fn census(&self, until: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<(String, u64)>, Fault>>;

    /// Counts the records, including archived ones, whose last change is after `since`.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the records could not be counted.
    fn changed_since(&self, since: DateTime<Utc>) -> BoxFuture<'_, Result<u64, Fault>>;
}
