//! The requests of a pass to the source, each a future that returns the index of its listing.

use chrono::{DateTime, SubsecRound, Utc};
use futures::{future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::{
    base::{
        fault::Fault,
        record::Record,
        window::{CursorPage, Listing, Next, Page, ShardPage, Span, Window},
    },
    engine::{
        paging::{listing::NextRead, offset::PageRequest, second::Seconds},
        plan::Plan,
        received::{Reading, Received, in_task},
    },
    source::Paging,
    store::records::KnownRecords,
};

/// Requests in flight, each with the index and the generation of its listing.
pub(super) type Reads<'a> = FuturesUnordered<BoxFuture<'a, (usize, u32, Answer)>>;

/// An answer of the source.
pub(super) enum Answer {
    Page(PageRequest, Result<(ReceivedPage, KnownRecords), Fault>),
    Following(Result<(Following, KnownRecords), Fault>),
    /// Time at which to split a window, and the number of rows up to then. `None` if the window can't be
    /// split.
    Cut(Result<Option<(DateTime<Utc>, u64)>, Fault>),
    /// Number of records in the plain listing.
    Count(Result<u64, Fault>),
    /// Rows of a group of boundary seconds, perhaps not all; `None` if the answer would be too large.
    Second(Seconds, Result<Option<(Page, KnownRecords)>, Fault>),
    Sizes(Result<Sizes, Fault>),
}

/// Two counts of the plain listing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// All records.
    pub all: u64,
    /// Records with a time of their last change.
    pub timed: u64,
}

/// A page of offset paging.
pub(super) struct ReceivedPage {
    pub records: Vec<Received>,
    pub total: u64,
    pub at: DateTime<Utc>,
}

/// A page that names what follows it: of cursor paging, or of a shard.
pub(super) struct Following {
    pub records: Vec<Received>,
    pub next: Next,
    pub total: Option<u64>,
    pub at: DateTime<Utc>,
}

/// Reads the next page of a listing, and what is known of its records.
pub(super) async fn read(
    context: Context<'_>,
    window: Window,
    want: NextRead,
    stop: CancellationToken,
) -> Answer {
    let (reading, count) = (Reading::of(context.pipeline), context.plan.items_per_request);
    match want {
        NextRead::Rows(ask) => {
            let read = async {
                let page = in_task(stop, rows(reading, window, ask)).await?;
                let memory = recall(context, page.records.iter().map(|received| &received.record)).await?;
                Ok((page, memory))
            };
            Answer::Page(ask, read.await)
        }
        NextRead::CursorPage(_) | NextRead::ShardPage(..) => {
            let read = async {
                let page = in_task(stop, following(reading, window, want, count)).await?;
                let memory = recall(context, page.records.iter().map(|received| &received.record)).await?;
                Ok((page, memory))
            };
            Answer::Following(read.await)
        }
    }
}

/// Reads a page of offset paging. During the search for the highest page, records are not mapped yet: most of these
/// pages are read again, and the choice of a mapping has to be made by the first record of the walk.
async fn rows(reading: Reading, window: Window, ask: PageRequest) -> Result<ReceivedPage, Fault> {
    let Paging::Offset(rows) = reading.source.paging() else { return Err(changed_paging()) };
    let Page { records, total, at } = rows.read(&window, ask.span).await?;
    let records = match ask.is_search() {
        true => records.into_iter().map(Received::from).collect(),
        false => reading.map(records).await,
    };
    Ok(ReceivedPage { records, total, at })
}

/// Reads a page of cursor paging, or of a shard.
async fn following(
    reading: Reading,
    window: Window,
    want: NextRead,
    count: usize,
) -> Result<Following, Fault> {
    match (want, reading.source.paging()) {
        (NextRead::CursorPage(cursor), Paging::Cursor(chain)) => {
            let CursorPage { records, next, total, at } =
                chain.follow(&window, cursor.as_ref(), count).await?;
            let next = next.map_or(Next::Closed, Next::More);
            Ok(Following { records: reading.map(records).await, next, total, at })
        }
        (NextRead::ShardPage(shard, after), Paging::Shards(shards)) => {
            let ShardPage { records, next, at } = shards.read(&shard, after.as_ref(), count).await?;
            Ok(Following { records: reading.map(records).await, next, total: None, at })
        }
        _ => Err(changed_paging()),
    }
}

fn changed_paging() -> Fault {
    Fault::list("the source changed its kind of paging")
}

/// Reads what is known of these records: their status before the run, and their cached deliveries.
pub(super) async fn recall(
    context: Context<'_>,
    records: impl Iterator<Item = &Record>,
) -> Result<KnownRecords, Fault> {
    let Plan { records: known, allow_mass_change, .. } = context.plan;
    // Without the brake, nothing is compared with the status before the run.
    if known.cache().is_none() && *allow_mass_change {
        return Ok(KnownRecords::default());
    }
    known.recall(records.map(|record| record.key.digest()).collect()).await
}

/// Requests the size of the plain listing. It is one of the reads, since a separate request would wait for
/// permits that the reads hold.
pub(super) fn size_of_list(context: Context<'_>) -> BoxFuture<'_, (usize, u32, Answer)> {
    Box::pin(async move {
        let all = Window { listing: Listing::Listed, since: None, until: None };
        let one = Span { offset: 0, count: 1 };
        let count = async { Ok(context.pipeline.rows()?.read(&all, one).await?.total) };
        (0, 0, Answer::Count(count.await))
    })
}

/// Requests both counts of the plain listing, `timed` last: a record that is added in between raises only `timed`, and
/// the check looks only for an `all` above `timed`.
pub(super) fn sizes(context: Context<'_>) -> BoxFuture<'_, Result<Sizes, Fault>> {
    Box::pin(async move {
        let all = Window { listing: Listing::Listed, since: None, until: None };
        let timed = Window { since: Some(DateTime::UNIX_EPOCH), ..all };
        let one = Span { offset: 0, count: 1 };
        let rows = context.pipeline.rows()?;
        let all = rows.read(&all, one).await?.total;
        Ok(Sizes { all, timed: rows.read(&timed, one).await?.total })
    })
}

/// Requests up to `count` rows of boundary seconds, and recalls what is known of them. Returns `None` if the answer
/// would be too large.
pub(super) async fn seconds(
    context: Context<'_>,
    window: Window,
    count: usize,
) -> Result<Option<(Page, KnownRecords)>, Fault> {
    match context.pipeline.rows()?.read(&window, Span { offset: 0, count }).await {
        Err(Fault::TooLarge(_)) => Ok(None),
        page => {
            let page = page?;
            let known = recall(context, page.records.iter()).await?;
            Ok(Some((page, known)))
        }
    }
}

/// Finds the time at which to split a window, halfway between its oldest row and its end, and the number of
/// rows up to then.
pub(super) fn cut(
    context: Context<'_>,
    window: Window,
    index: usize,
    generation: u32,
) -> BoxFuture<'_, (usize, u32, Answer)> {
    Box::pin(async move {
        let find = async {
            let source = context.pipeline.rows()?;
            let first = source.read(&window, Span { offset: 0, count: 1 }).await?;
            let oldest = first.records.first().and_then(|record| record.changed);
            let (Some(oldest), Some(until)) = (oldest, window.until) else { return Ok(None) };
            let middle = (oldest + (until - oldest) / 2).trunc_subsecs(0);
            if middle >= until || window.since.is_some_and(|since| middle <= since) {
                return Ok(None);
            }
            let older = Window { until: Some(middle), ..window };
            Ok(Some((middle, source.read(&older, Span { offset: 0, count: 1 }).await?.total)))
        };
        (index, generation, Answer::Cut(find.await))
    })
}
