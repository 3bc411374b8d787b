//! A source with offset paging, read in other ways.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use importer::{
    base::{
        fault::Fault,
        record::Record,
        window::{Cursor, CursorPage, Listing, Next, Shard, ShardPage, Span, Window},
    },
    source::{
        Census, CursorPaging, Lookup, OffsetPaging, Paging, Scope, ShardPaging, Source, mailchimp::MAX_COUNT,
    },
};

/// Age at which a change is visible in every answer: the emulator shows it after 30 s at most, in snapshots that are 5 s old at
/// most.
const SETTLED: TimeDelta = TimeDelta::seconds(60);

/// A list read by cursor over changes, as from an API with keyset paging: the cursor is the second up to which all rows were
/// listed. A row that changes meanwhile leaves the window upward.
///
/// It believes the totals, so it needs a server without caps and with right totals.
pub struct ByCursor(pub Arc<dyn Source>);

/// A list read as a stream of its changes. A shard has the rows of some of the keys, from both listings: were each listing a
/// shard, a member's archiving could overtake its last change. A position is the second up to which all rows were read.
///
/// Rows have to be at least a minute old, so it needs answers with the right time, and right totals as above.
pub struct ByShard {
    pub source: Arc<dyn Source>,
    pub shards: usize,
}

/// The rows of a window from its start, up to a second at which the answer ends.
struct Head {
    /// Oldest change first.
    records: Vec<Record>,
    /// The second of the first row that is left out; `None` if there is none.
    end: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
}

/// Reads about `count` rows of a window, and only whole seconds: of the last one, the page may have only some rows.
async fn head(source: &dyn OffsetPaging, window: &Window, mut count: usize) -> Result<Head, Fault> {
    loop {
        let page = match source.read(window, Span { offset: 0, count }).await {
            Err(Fault::TooLarge(_)) if count > 1 => {
                count = count.div_ceil(2);
                continue;
            }
            page => page?,
        };
        let (mut records, at) = (page.records, page.at);
        if records.len() as u64 >= page.total {
            return Ok(Head { records, end: None, at });
        }
        let end = records.iter().rev().find_map(|record| record.changed);
        let whole = records.iter().position(|record| record.changed == end).unwrap_or_default();
        // A row without a time is in its place, and shows no second.
        if end.is_some() && records[..whole].iter().any(|record| record.changed.is_some()) {
            records.truncate(whole);
            return Ok(Head { records, end, at });
        }
        if count == MAX_COUNT {
            return Err(Fault::list("a second has more rows than an answer"));
        }
        count = (2 * count).min(MAX_COUNT);
    }
}

fn rows(source: &dyn Source) -> Result<&dyn OffsetPaging, Fault> {
    match source.paging() {
        Paging::Offset(rows) => Ok(rows),
        _ => Err(Fault::list("the decorated source has no offsets")),
    }
}

fn second(Cursor(cursor): &Cursor) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(cursor.parse().ok()?, 0)
}

/// Returns the cursor up to this time.
fn until(time: DateTime<Utc>) -> Cursor {
    Cursor(time.timestamp().to_string())
}

/// Returns the cursor up to the second before this time.
fn before(time: DateTime<Utc>) -> Cursor {
    until(time - TimeDelta::seconds(1))
}

impl Source for ByCursor {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Cursor(self)
    }

    fn scope(&self) -> Scope {
        Scope::Changes
    }

    fn archives(&self) -> bool {
        self.0.archives()
    }

    fn lookup(&self) -> Option<&dyn Lookup> {
        self.0.lookup()
    }

    fn census(&self) -> Option<&dyn Census> {
        self.0.census()
    }
}

impl CursorPaging for ByCursor {
    fn follow<'a>(
        &'a self,
        window: &'a Window,
        cursor: Option<&'a Cursor>,
        count: usize,
    ) -> BoxFuture<'a, Result<CursorPage, Fault>> {
        Box::pin(async move {
            let window = Window { since: cursor.map_or(window.since, second), ..*window };
            let Head { records, end, at } = head(rows(&*self.0)?, &window, count).await?;
            // Rows leave the window during the walk, so that no total would hold at its end.
            Ok(CursorPage { records, next: end.map(before), total: None, at })
        })
    }
}

impl Source for ByShard {
    fn now(&self) -> DateTime<Utc> {
        self.source.now()
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Shards(self)
    }

    fn scope(&self) -> Scope {
        Scope::Positions
    }
}

impl ShardPaging for ByShard {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, Fault>> {
        let shard = |number: usize| Shard { id: number.to_string(), parents: vec![] };
        Box::pin(async move { Ok((0..self.shards).map(shard).collect()) })
    }

    fn read<'a>(
        &'a self,
        shard: &'a str,
        after: Option<&'a Cursor>,
        count: usize,
    ) -> BoxFuture<'a, Result<ShardPage, Fault>> {
        Box::pin(async move {
            let (rows, since) = (rows(&*self.source)?, after.and_then(second));
            let listed = Window { listing: Listing::Listed, since, until: None };
            let at = rows.read(&listed, Span { offset: 0, count: 1 }).await?.at;
            let tip = since.map_or(at - SETTLED, |since| since.max(at - SETTLED));
            let window = Window { until: Some(tip), ..listed };
            let listed = head(rows, &window, count).await?;
            let archived = head(rows, &Window { listing: Listing::Archived, ..window }, count).await?;
            let end = listed.end.into_iter().chain(archived.end).min();
            let mut records: Vec<Record> =
                [listed, archived].into_iter().flat_map(|head| head.records_before(end)).collect();
            records.retain(|record| self.is_in(record, shard));
            records.sort_by_key(|record| record.changed);
            records.iter_mut().for_each(|record| record.key = event(record).into());
            let next = end.map_or(Next::Tip(until(tip)), |end| Next::More(before(end)));
            Ok(ShardPage { records, next, at })
        })
    }
}

impl Head {
    fn records_before(self, end: Option<DateTime<Utc>>) -> impl Iterator<Item = Record> {
        let before =
            move |record: &Record| end.is_none_or(|end| record.changed.is_none_or(|changed| changed < end));
        self.records.into_iter().take_while(before)
    }
}

impl ByShard {
    /// Returns whether this shard has the events of the record.
    fn is_in(&self, record: &Record, shard: &str) -> bool {
        let number = record.key.bytes().map(usize::from).sum::<usize>() % self.shards;
        number.to_string() == shard
    }
}

/// Returns the key of the record's last change.
fn event(record: &Record) -> String {
    format!("{}@{}", record.key, record.changed.map_or(0, |changed| changed.timestamp()))
}
