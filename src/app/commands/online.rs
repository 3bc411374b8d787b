//! `importer check --online`: checks whether the source, the sink and the receiver of notices of each entry can be reached
//! and accept the credentials. Reads one record of each source, and delivers nothing to a sink.

use std::{fmt, path::Path};

use serde_json::{Value, json};

use super::{lists::Lists, preview};
use crate::{
    app::wiring::Keys,
    base::{adapter::Chosen, events::Events},
    engine::plan::Pipeline,
    sink, source,
    state::{Entry, model::RawSetting},
};

/// Result of checking the source, the sink or the receiver of notices of an entry.
pub struct OnlineCheck {
    list_id: String,
    /// `source`, `sink` or `notify`; `entry` if the entry could not be opened.
    part: &'static str,
    /// Type of the adapter, or the place of the entry.
    kind: String,
    /// What was found there, a line for each thing.
    found: Vec<String>,
    /// Reason for which it can't be used; `None` if it can.
    pub error: Option<String>,
}

impl OnlineCheck {
    pub fn json(&self) -> Value {
        let OnlineCheck { list_id, part, kind, found, error } = self;
        json!({"list_id": list_id, "part": part, "type": kind, "found": found, "error": error})
    }
}

impl fmt::Display for OnlineCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OnlineCheck { list_id, part, kind, found, error } = self;
        write!(f, "list {list_id:?}: {part} {kind}: {}", error.as_deref().unwrap_or("ok"))?;
        found.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Checks the sources, sinks and receivers of notices of all enabled entries without a problem, one after the other.
///
/// # Errors
///
/// The state file can't be read.
pub async fn check_all(folder: &Path, events: &Events) -> anyhow::Result<Vec<OnlineCheck>> {
    let lists = Lists::open(folder, Keys::Both, events)?;
    let mut checks = Vec::new();
    for entry in lists.entries().iter().filter(|entry| entry.enabled) {
        match lists.pipeline(entry) {
            Ok(pipeline) => checks.extend(check(entry, &pipeline).await),
            Err(error) => checks.push(OnlineCheck {
                list_id: entry.id.list_id.clone(),
                part: "entry",
                kind: format!("at {}", entry.place),
                found: vec![],
                error: Some(error.to_string()),
            }),
        }
    }
    Ok(checks)
}

async fn check(entry: &Entry, pipeline: &Pipeline) -> Vec<OnlineCheck> {
    let result = |part, setting: &RawSetting, default, checked: Result<Vec<String>, String>| {
        let (found, error) = match checked {
            Ok(found) => (found, None),
            Err(error) => (vec![], Some(error)),
        };
        let kind = Chosen::of(&setting.value, default).kind;
        OnlineCheck { list_id: entry.id.list_id.clone(), part, kind, found, error }
    };
    let read = preview::latest(pipeline, 1).await;
    let source = read.map(|_| vec![]).map_err(|error| format!("{error:#}"));
    let sink = pipeline.sink.check().await.map_err(|fault| fault.to_string());
    let mut checks = vec![
        result("source", &entry.source, source::DEFAULT, source),
        result("sink", &entry.sink, sink::DEFAULT, sink),
    ];
    if let Some(receiver) = &pipeline.notify {
        let receiver = receiver.sink.check().await.map_err(|fault| fault.to_string());
        checks.push(result("notify", &entry.notify, "", receiver));
    }
    checks
}
