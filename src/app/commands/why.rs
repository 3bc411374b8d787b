//! `importer why LIST KEY`: explains one record from importer's own files alone. The command sends no
//! request.

use std::io::{Write, stdout};

use chrono::{DateTime, Utc};

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    base::{
        clock::{Clock, SystemClock},
        events::Events,
        remedy::Remedy,
        time::{humanize, log_format},
    },
    cli::{self, exit},
    controller::{
        remembers,
        schedule::due::{self, Due},
    },
    engine::plan::Pipeline,
    state::{Entry, model::FirstLoad},
    store::{
        dead_letter::{self, DeadLetter},
        records::{self, CachedDelivery, KnownRecord, Settled, Summary},
    },
};

/// Prints what the entries of the list know about a record. Returns [`exit::DONE`] if any of them knows it,
/// otherwise [`exit::FAILED`].
///
/// # Errors
///
/// The state file has no such list, or importer's own files can't be read.
pub async fn run(options: &cli::Why, events: &Events) -> anyhow::Result<u8> {
    let lists = Lists::open(&options.state, Keys::None, events)?;
    let now = SystemClock.now();
    let mut known = false;
    for entry in lists.of(&options.list_id)? {
        let pipeline = lists.pipeline(entry)?;
        let key = pipeline.key(&options.record);
        let folder = lists.folders.delivery(&pipeline.delivery);
        let remembers = remembers(entry, &pipeline);
        let KnownRecord { cached, settled } = records::look(&folder, &key, &lists.events).await?;
        let found = Found {
            kept: cached.filter(|_| remembers),
            settled,
            letter: letter(&lists, entry, &pipeline, &key).await?,
            held: lists.hold(&pipeline).await?.map(|hold| hold.fault(&options.list_id).to_string()),
            ledger: records::summary(&folder, &lists.events).await?,
            remedy: pipeline.remedy(),
        };
        known |= found.is_something();
        let head = match entry.alone {
            true => format!("list {:?}, record {key}", options.list_id),
            false => format!("list {:?} (entry at {}), record {key}", options.list_id, entry.place),
        };
        writeln!(stdout(), "{head}\n{}", found.text(entry, remembers, now))?;
    }
    Ok(if known { exit::DONE } else { exit::FAILED })
}

/// Returns the dead letter of the record that a replay of the entry would use: the last one with its key.
async fn letter(
    lists: &Lists,
    entry: &Entry,
    pipeline: &Pipeline,
    key: &str,
) -> anyhow::Result<Option<DeadLetter>> {
    let (letters, _) = dead_letter::read(&lists.folders.dead_letter(&pipeline.delivery)).await?;
    let is_its = |letter: &DeadLetter| letter.entry == entry.folder;
    Ok(letters.into_iter().rfind(|letter| letter.key == key && is_its(letter)))
}

/// What importer's files say about one record of an entry.
struct Found {
    kept: Option<CachedDelivery>,
    /// The status with which the record was last settled.
    settled: Option<Settled>,
    letter: Option<DeadLetter>,
    /// The reason for which the entry is on hold.
    held: Option<String>,
    ledger: Option<Summary>,
    /// How rejected records are delivered again.
    remedy: Remedy,
}

impl Found {
    fn is_something(&self) -> bool {
        self.kept.is_some() || self.letter.is_some() || self.settled.is_some()
    }

    /// Formats the findings as indented lines, each with a label.
    fn text(&self, entry: &Entry, remembers: bool, now: DateTime<Utc>) -> String {
        let mut lines: Vec<(&str, String)> = vec![];
        if let Some(kept) = &self.kept {
            lines.push((
                "last seen",
                format!("{} UTC, to within ten minutes: {}", log_format(kept.seen), kept.fate),
            ));
            let sent = kept.sent.as_ref().map(|sent| {
                let request = match &*sent.request_id {
                    "" => String::new(),
                    id => format!(", request {id}"),
                };
                format!("{} UTC{request}", log_format(sent.at))
            });
            lines.push((
                "last sent",
                sent.unwrap_or_else(|| "never, or before `unchanged` was turned on".into()),
            ));
        }
        if let (Some(Settled { status, rejected }), Some(ledger)) = (&self.settled, &self.ledger) {
            let until = log_format(ledger.until);
            let fate = if *rejected { "rejected" } else { "delivered or skipped" };
            let rest = format!("every change up to {until} UTC is delivered, skipped or rejected");
            lines.push(("last outcome", format!("{fate} with the status {status}; {rest}")));
        }
        if let Some(letter) = &self.letter {
            lines.push(("rejected", format!("{}, {}", letter.time, letter.reason)));
            if let Some(id) = &letter.request_id {
                lines.push(("request", id.clone()));
            }
        }
        if lines.is_empty() {
            lines.push((
                "unknown",
                "no run of this entry has recorded this key; check it with `importer preview`".into(),
            ));
        }
        if !remembers {
            let hint = "the times at which records are sent, since `unchanged` is off; set it to \"embedded\" to record them";
            lines.push(("not recorded", hint.into()));
        }
        lines.push(("next attempt", self.next(entry, now)));
        let line = |(name, text): (&str, String)| format!("  {name:<16} {text}\n");
        lines.into_iter().map(line).collect()
    }

    /// Returns whether the first load of the entry waits for a confirmation.
    fn waits(&self, entry: &Entry) -> bool {
        entry.first_load == FirstLoad::Ask && self.ledger.is_none()
    }

    /// Says when importer reads the record next, or why it does not.
    fn next(&self, entry: &Entry, now: DateTime<Utc>) -> String {
        let every = humanize(entry.every);
        let run = match due::decide(entry.latest_timestamp, None, entry.every, now) {
            _ if self.held.is_some() => return format!("none: {}", self.held.as_deref().unwrap_or_default()),
            _ if !entry.enabled => return "none: the entry is paused (`enabled` is false)".into(),
            Due::Full if self.waits(entry) => {
                return "none: the first load waits for a confirmation; set `first_load` to \"confirmed\""
                    .into();
            }
            Due::Future { .. } => return "none: `latest_timestamp` is in the future; correct it".into(),
            Due::Full => "with the full load that is due".to_owned(),
            Due::Incremental { since } => {
                format!("with the sync that is due: the last one was {}, over {every} ago", log_format(since))
            }
            Due::UpToDate { since } => {
                format!("with the sync after {} UTC at the earliest", log_format(since + entry.every))
            }
        };
        match self.letter {
            Some(_) if self.remedy == Remedy::Replay => format!(
                "{run}, if the record has changed by then; or `importer replay {:?}`",
                entry.id.list_id
            ),
            _ => format!("{run}, if the record has changed by then"),
        }
    }
}
