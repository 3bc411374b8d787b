//! `importer preview LIST`: shows records as they are read, what would be sent for them, and what is left out
//! and why. It prints personal data, on stdout only.

use std::io::{Write, stdout};

use anyhow::Context;
use serde_json::Value;

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    base::{
        events::Events,
        fault::Fault,
        json::Json,
        record::{LeftOut, Mapped, Outgoing, Reason, Record, UNREADABLE},
        window::{Listing, Next, Span, Window},
    },
    cli::{self, exit},
    engine::{
        pending::{Preparation, prepare},
        plan::Pipeline,
    },
    sink::Deletions,
    source::{CursorPaging, Paging, ShardPaging},
    state::Entry,
    store::records,
};

/// Prints the records for each entry of the list and returns the exit code.
///
/// # Errors
///
/// The state file has no such list, the source can't be read, or it has no record with the given key.
pub async fn run(options: &cli::Preview, events: &Events) -> anyhow::Result<u8> {
    let lists = Lists::open(&options.state, Keys::SourceOnly, events)?;
    for entry in lists.of(&options.list_id)? {
        let pipeline = lists.trial(entry)?;
        let summary = records::summary(&lists.folders.delivery(&pipeline.delivery), &lists.events).await?;
        pipeline.mapping.choose(summary.and_then(|summary| summary.choice));
        let (records, warnings) = match options.record.as_ref().or(options.member.as_ref()) {
            // A single record may well lack what others have.
            Some(record) => (vec![one(&pipeline, record).await?], String::new()),
            None => {
                let records = latest(&pipeline, options.count).await?;
                let Findings { source, sink } = findings(&pipeline, &records);
                let lines = source.into_iter().chain(sink).map(|warning| format!("\nWarning: {warning}\n"));
                (records, lines.collect())
            }
        };
        let shown = records.iter().take(options.count as usize);
        let texts: Vec<String> = shown.map(|record| text(&pipeline, record)).collect();
        let text = match texts.is_empty() {
            true => "The list has no record to show.\n".to_owned(),
            false => texts.join("\n") + &warnings,
        };
        let statements: String =
            pipeline.sink.statements().iter().map(|statement| format!("{statement}\n\n")).collect();
        write!(stdout(), "{}{statements}{text}", head(entry))?;
    }
    Ok(exit::DONE)
}

/// Records of a list that is read from its end, before a field that none of them has is a finding. Of other lists, a
/// page is read.
const ENOUGH: usize = 10;

/// Warnings about names in the settings that were not found, and about other likely mistakes.
pub struct Findings {
    /// Of the source and the mapping.
    pub source: Vec<String>,
    pub sink: Vec<String>,
}

/// Returns the findings about an entry after these records were read.
pub fn findings(pipeline: &Pipeline, records: &[Record]) -> Findings {
    let payloads: Vec<Json> = records
        .iter()
        .filter(|record| !record.deleted && record.unreadable.is_none())
        .flat_map(|record| match pipeline.mapping.map(record) {
            Mapped::Send(outgoing) => outgoing.bodies,
            Mapped::Skip(_) | Mapped::Reject(_) => vec![],
        })
        .collect();
    let mut source = pipeline.source.warnings();
    source.extend(pipeline.source.unfound());
    if records.len() < ENOUGH && matches!(pipeline.source.paging(), Paging::Offset(_)) {
        return Findings { source, sink: vec![] };
    }
    source.extend(pipeline.mapping.unknown().into_iter().map(|unknown| {
        format!(
            "no record has {unknown}; check that the entry spells it as the source does, capitals included"
        )
    }));
    let unfilled = pipeline.sink.unfilled(&payloads).into_iter();
    Findings {
        source,
        sink: unfilled
            .map(|unfilled| {
                format!("no payload has {unfilled}; correct the mapping or the settings of the sink")
            })
            .collect(),
    }
}

/// Returns the heading of an entry, or nothing if the list has only one.
fn head(entry: &Entry) -> String {
    if entry.alone { String::new() } else { format!("\nEntry at {}\n\n", entry.place) }
}

/// Number of records among which a key is searched for if the source can't read single records.
const SEARCHED: u64 = 1000;

/// Reads the record with this key or email address. If the source can't read single records, searches for the key
/// among those that a preview without a key shows.
async fn one(pipeline: &Pipeline, member: &str) -> anyhow::Result<Record> {
    let key = pipeline.key(member);
    let Some(lookup) = pipeline.source.lookup() else {
        let found = latest(pipeline, SEARCHED).await?.into_iter().find(|record| *record.key == *key);
        let what = format!(
            "the source can't read single records, and none of the {SEARCHED} records that a preview reads has this key"
        );
        let hint = "use the key of a dead letter, or `--count` to see the keys of these records";
        return Ok(found.ok_or_else(|| Fault::list(what).hint(hint))?);
    };
    let hint = "use the key, or the email address as the source spells it";
    Ok(lookup.find(&key).await?.ok_or_else(|| Fault::list("the list has no such record").hint(hint))?)
}

/// Reads the `count` records that changed last, or the first ones of a source that can't list them by change, possibly
/// more of them.
pub async fn latest(pipeline: &Pipeline, count: u64) -> anyhow::Result<Vec<Record>> {
    let rows = match pipeline.source.paging() {
        Paging::Offset(rows) => rows,
        Paging::Cursor(chain) => return first(pipeline, chain, count as usize).await,
        Paging::Shards(shards) => return oldest(shards, count as usize).await,
    };
    let window = Window { listing: Listing::Listed, since: None, until: None };
    let total = rows.read(&window, Span { offset: 0, count: 1 }).await?.total;
    let offset = total.saturating_sub(count);
    let page = rows
        .read(&window, Span { offset, count: count as usize })
        .await
        .context("could not read the latest records")?;
    Ok(page.records)
}

/// Minimum page size, in records. A source may take a full page for one that was cut off, and read it in parts.
const PAGE: usize = 100;
/// Upper bound of the pages that are read: a source may return empty pages for ever.
const PAGES: usize = 1000;

/// Reads the pages with the first `count` records of a source that is read from its beginning.
async fn first(pipeline: &Pipeline, chain: &dyn CursorPaging, count: usize) -> anyhow::Result<Vec<Record>> {
    let window = Window { listing: Listing::Listed, since: None, until: Some(pipeline.source.now()) };
    let (mut next, mut records) = (None, vec![]);
    for _ in 0..PAGES {
        let link = chain.follow(&window, next.as_ref(), count.max(PAGE)).await?;
        records.extend(link.records);
        next = link.next;
        if records.len() >= count || next.is_none() {
            break;
        }
    }
    Ok(records)
}

/// Reads the pages with the first `count` records of a stream, one shard after the other.
async fn oldest(source: &dyn ShardPaging, count: usize) -> anyhow::Result<Vec<Record>> {
    let mut records = vec![];
    for shard in source.shards().await? {
        let mut after = None;
        for _ in 0..PAGES {
            if records.len() >= count {
                break;
            }
            let page = source.read(&shard.id, after.as_ref(), count.max(PAGE)).await?;
            records.extend(page.records);
            let Next::More(position) = page.next else { break };
            after = Some(position);
        }
    }
    Ok(records)
}

/// Status of archived records. They are opted out after a delivery of the list, but not sent by a first load.
const ARCHIVED: &str = "archived";

/// Reason of a field that the sink does not write.
const NO_COLUMN: Reason = "no_column";

/// Formats a record in three parts: as read, as sent, and what is left out.
fn text(pipeline: &Pipeline, record: &Record) -> String {
    let mut text = format!("Record {}\n{}\n\n", record.key, pretty(record.body.get()));
    if let Some(why) = &record.unreadable {
        return text + &format!("Would not be sent: rejected, {UNREADABLE}: {why}\n");
    }
    if record.deleted {
        return text
            + match pipeline.spec.deletions {
                Deletions::Sent => "Would be sent: a deletion\n",
                Deletions::Ignored => "Would not be sent: skipped, deleted\n",
            };
    }
    match pipeline.mapping.map(record) {
        Mapped::Skip(reason) => text += &format!("Would not be sent: skipped, {reason}\n"),
        Mapped::Reject(reason) => text += &format!("Would not be sent: rejected, {reason}\n"),
        Mapped::Send(Outgoing { bodies, left_out, .. }) => {
            let when =
                if record.status == ARCHIVED { " if archived after a delivery of the list" } else { "" };
            text += &match prepare(pipeline, record) {
                Preparation::Reject(rejected) => {
                    format!("Would not be sent: rejected, {}\n", rejected.rejection.reason)
                }
                _ => format!("Would be sent{when}\n"),
            };
            bodies.iter().for_each(|body| text += &format!("{}\n", pretty(body.get())));
            let ignored = bodies.iter().flat_map(|body| pipeline.sink.ignored(body));
            let ignored = ignored.map(|field| LeftOut { field: field.into(), reason: NO_COLUMN });
            let left_out: Vec<LeftOut> = left_out.into_iter().chain(ignored).collect();
            if !left_out.is_empty() {
                text += "\nLeft out\n";
            }
            for LeftOut { field, reason } in left_out {
                text += &format!("  {field:<32} {reason}\n");
            }
        }
    }
    text
}

/// Indents JSON text; returns it as it is if it can't be parsed.
fn pretty(json: &str) -> String {
    let value: Result<Value, _> = serde_json::from_str(json);
    value.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_else(|_| json.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::support_tests::{AsItIs, Feed, Store, pipeline, runtime};

    /// The source can't read single records.
    #[test]
    fn without_a_lookup_the_argument_is_the_key_of_one_of_the_first_records() {
        runtime().block_on(async {
            let (feed, sink) = (Feed::new(&[], false), Store::new(1, 0.0));
            let pipeline = pipeline(feed.clone(), AsItIs, sink, feed.list);
            assert_eq!(one(&pipeline, " 140 ").await.unwrap().key, "140");
            let error = one(&pipeline, "ada@example.org").await.unwrap_err().to_string();
            assert!(error.contains("none of the 1000 records that a preview reads has this key"), "{error}");
            assert!(error.contains("use the key of a dead letter") && !error.contains("ada"), "{error}");
        });
    }
}
