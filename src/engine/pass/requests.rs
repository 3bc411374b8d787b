//! The requests of a pass to the source, each a future that returns the index of its listing.

use chrono::{DateTime, SubsecRound, Utc};
use futures::{future::BoxFuture, stream::FuturesUnordered};

use super::Context;
use crate::{
    base::{
        fault::Fault,
        record::Record,
        window::{CursorPage, Listing, Next, Page, ShardPage, Span, Window},
    },
    engine::{
        paging::{listing::NextRead, offset::PageRequest},
        plan::Plan,
    },
    source::Paging,
    store::{records::KnownRecords, seen::record_key},
};

/// Requests in flight, each with the index and the generation of its listing.
pub(super) type Reads<'a> = FuturesUnordered<BoxFuture<'a, (usize, u32, Answer)>>;

/// An answer of the source.
pub(super) enum Answer {
    Page(PageRequest, Result<(Page, KnownRecords), Fault>),
    Following(Result<(Following, KnownRecords), Fault>),
    /// Time at which to split a window, and the number of rows up to then. `None` if the window can't be
    /// split.
    Cut(Result<Option<(DateTime<Utc>, u64)>, Fault>),
    /// Number of records in the plain listing.
    Count(Result<u64, Fault>),
}

/// A page that names what follows it: of cursor paging, or of a shard.
pub(super) struct Following {
    pub records: Vec<Record>,
    pub next: Next,
    pub total: Option<u64>,
    pub at: DateTime<Utc>,
}

impl From<CursorPage> for Following {
    fn from(CursorPage { records, next, total, at }: CursorPage) -> Self {
        Following { records, next: next.map_or(Next::Closed, Next::More), total, at }
    }
}

impl From<ShardPage> for Following {
    fn from(ShardPage { records, next, at }: ShardPage) -> Self {
        Following { records, next, total: None, at }
    }
}

/// Reads the next page of a listing, and what is known of its records.
pub(super) async fn read(context: Context<'_>, window: Window, want: NextRead) -> Answer {
    let Context { pipeline, plan } = context;
    match (want, pipeline.source.paging()) {
        (NextRead::Rows(ask), Paging::Offset(rows)) => {
            let read = async {
                let page = rows.read(&window, ask.span).await?;
                let memory = recall(context, &page.records).await?;
                Ok((page, memory))
            };
            Answer::Page(ask, read.await)
        }
        (NextRead::CursorPage(cursor), Paging::Cursor(chain)) => {
            let read = async {
                let page = chain.follow(&window, cursor.as_ref(), plan.items_per_request).await?;
                let memory = recall(context, &page.records).await?;
                Ok((page.into(), memory))
            };
            Answer::Following(read.await)
        }
        (NextRead::ShardPage(shard, after), Paging::Shards(shards)) => {
            let read = async {
                let page = shards.read(&shard, after.as_ref(), plan.items_per_request).await?;
                let memory = recall(context, &page.records).await?;
                Ok((page.into(), memory))
            };
            Answer::Following(read.await)
        }
        _ => Answer::Following(Err(Fault::list("the source changed its kind of paging"))),
    }
}

/// Reads what is known of these records: their status before the run, and their cached deliveries.
pub(super) async fn recall(context: Context<'_>, records: &[Record]) -> Result<KnownRecords, Fault> {
    let Plan { records: known, allow_mass_change, .. } = context.plan;
    // Without the brake, nothing is compared with the status before the run.
    if known.cache().is_none() && *allow_mass_change {
        return Ok(KnownRecords::new());
    }
    known.recall(records.iter().map(|record| record_key(&record.key)).collect()).await
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
