//! `importer why LIST KEY`: what is known of one record, from files of ours alone. Nobody is asked.

use std::io::{Write, stdout};

use chrono::{DateTime, Utc};

use super::lists::Lists;
use crate::{
    app::wiring::Keys,
    base::{
        clock::{Clock, SystemClock},
        time::{lasting, spoken},
    },
    cli::{self, exit},
    controller::{
        schedule::due::{self, Due},
        unchanged,
    },
    state::{Entry, ends::FirstLoad},
    store::{
        cache::{Kept, look},
        dead_letter::{self, DeadLetter},
        ledger::{Ledger, Settled},
    },
};

/// Answers the exit code: whether something is known.
pub async fn run(options: &cli::Why) -> anyhow::Result<u8> {
    let lists = Lists::open(&options.state, Keys::None)?;
    let now = SystemClock.now();
    let mut known = false;
    for entry in lists.of(&options.list_id)? {
        let ends = lists.ends(entry)?;
        let key = ends.source.key(&options.record);
        let memory = unchanged(entry, &ends, &lists.folders);
        let remembers = memory.on().is_some();
        let found = Found {
            kept: if remembers { look(&memory, &key).await? } else { None },
            letter: letter(&lists, entry, &key).await?,
            held: lists.hold(entry, &ends).await?.map(|hold| hold.fault(&options.list_id).to_string()),
            ledger: Ledger::load(&lists.folders.list(entry)).await?,
        };
        known |= found.is_something(&key);
        let head = match entry.alone {
            true => format!("list {:?}, record {key}", options.list_id),
            false => format!("list {:?} (entry at {}), record {key}", options.list_id, entry.place),
        };
        writeln!(stdout(), "{head}\n{}", found.told(entry, &key, remembers, now))?;
    }
    Ok(if known { exit::DONE } else { exit::FAILED })
}

/// The letter that the entry's next replay would take.
async fn letter(lists: &Lists, entry: &Entry, key: &str) -> anyhow::Result<Option<DeadLetter>> {
    let (letters, _) = dead_letter::read(&lists.folders.dead_letter(entry)).await?;
    let (name, renamed) = (entry.folder.clone(), lists.past(entry).renamed());
    let is_its = |letter: &DeadLetter| dead_letter::name_of(letter, &renamed) == name;
    Ok(letters.into_iter().rfind(|letter| letter.key == key && is_its(letter)))
}

/// What there is about one record.
struct Found {
    kept: Option<Kept>,
    letter: Option<DeadLetter>,
    /// Why nothing is sent for the entry.
    held: Option<String>,
    ledger: Option<Ledger>,
}

impl Found {
    fn is_something(&self, key: &str) -> bool {
        self.kept.is_some() || self.letter.is_some() || self.settled(key).is_some()
    }

    fn settled(&self, key: &str) -> Option<Settled<'_>> {
        self.ledger.as_ref()?.settled(key)
    }

    fn told(&self, entry: &Entry, key: &str, remembers: bool, now: DateTime<Utc>) -> String {
        let mut lines: Vec<(&str, String)> = vec![];
        if let Some(kept) = &self.kept {
            let fate = if kept.fate.is_empty() { "read" } else { &kept.fate };
            lines.push((
                "last seen",
                format!("{} UTC, or up to ten minutes later: {fate}", spoken(kept.seen)),
            ));
            let request = match kept.request_id.as_str() {
                "" => String::new(),
                id => format!(", request {id}"),
            };
            let sent = kept.sent.map(|sent| format!("{} UTC{request}", spoken(sent)));
            lines.push(("last sent", sent.unwrap_or_else(|| "never, as far as is remembered".into())));
        }
        if let (Some(Settled { status, rejected }), Some(ledger)) = (self.settled(key), &self.ledger) {
            let until = spoken(ledger.summary.until);
            let fate = if rejected { "rejected" } else { "settled" };
            lines.push(("by our record", format!("{fate} as {status}; all up to {until} UTC are settled")));
        }
        if let Some(letter) = &self.letter {
            lines.push(("rejected", format!("{}, {}", letter.time, letter.reason)));
            if let Some(id) = &letter.request_id {
                lines.push(("request", id.clone()));
            }
        }
        if lines.is_empty() {
            lines.push(("nothing", "is known of this record: no run of this entry has read it".into()));
        }
        if !remembers {
            let hint = "set `unchanged` to \"embedded\" to have it remembered when each record is sent";
            lines.push(("not remembered", hint.into()));
        }
        lines.push(("next attempt", self.next(entry, now)));
        let line = |(name, text): (&str, String)| format!("  {name:<16} {text}\n");
        lines.into_iter().map(line).collect()
    }

    /// Whether the first load of the entry waits to be confirmed.
    fn waits(&self, entry: &Entry) -> bool {
        entry.first_load == FirstLoad::Ask && self.ledger.is_none()
    }

    fn next(&self, entry: &Entry, now: DateTime<Utc>) -> String {
        let every = lasting(entry.every);
        let run = match due::decide(entry.latest_timestamp, None, entry.every, now) {
            _ if self.held.is_some() => return format!("none: {}", self.held.as_deref().unwrap_or_default()),
            _ if !entry.enabled => return "none: the entry is paused (`enabled` is false)".into(),
            Due::Full if self.waits(entry) => {
                return "none: the first load waits until `first_load` is \"confirmed\"".into();
            }
            Due::Future { .. } => return "none: `latest_timestamp` is in the future".into(),
            Due::Full => "with the full load that is due".to_owned(),
            Due::Incremental { since } => {
                format!("with the sync that is due: the last one was {}, over {every} ago", spoken(since))
            }
            Due::UpToDate { since } => {
                format!("with the sync after {} UTC at the earliest", spoken(since + entry.every))
            }
        };
        match self.letter {
            Some(_) => format!(
                "{run}, if the record has changed by then; or `importer replay {:?}`",
                entry.id.list_id
            ),
            None => format!("{run}, if the record has changed by then"),
        }
    }
}
