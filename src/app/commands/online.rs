//! `importer check --online`: asks the source and the sink of each entry whether they can be reached and accept
//! the credentials. Reads one record of each source, and sends nothing to a sink.

use std::{fmt, path::Path};

use serde_json::{Value, json};

use super::{lists::Lists, preview};
use crate::{
    app::wiring::Keys,
    base::adapter::Chosen,
    engine::plan::Pipeline,
    sink, source,
    state::{Entry, model::RawSetting},
};

/// Result of asking one service.
pub struct Asked {
    list_id: String,
    /// `source` or `sink`.
    part: &'static str,
    /// Type of the adapter.
    kind: String,
    /// Why it can't be used; `None` if it can.
    pub error: Option<String>,
}

impl Asked {
    pub fn json(&self) -> Value {
        let Asked { list_id, part, kind, error } = self;
        json!({"list_id": list_id, "part": part, "type": kind, "error": error})
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked { list_id, part, kind, error } = self;
        write!(f, "list {list_id:?}: {part} {kind}: {}", error.as_deref().unwrap_or("ok"))
    }
}

/// Asks the services of all enabled entries without a problem, one after the other.
///
/// # Errors
///
/// The state file can't be read.
pub async fn ask_all(folder: &Path) -> anyhow::Result<Vec<Asked>> {
    let lists = Lists::open(folder, Keys::Both)?;
    let mut asked = Vec::new();
    for entry in lists.entries.iter().filter(|entry| entry.enabled) {
        match lists.pipeline(entry) {
            Ok(pipeline) => asked.extend(ask(entry, &pipeline).await),
            Err(error) => asked.push(Asked {
                list_id: entry.id.list_id.clone(),
                part: "entry",
                kind: format!("at {}", entry.place),
                error: Some(error.to_string()),
            }),
        }
    }
    Ok(asked)
}

async fn ask(entry: &Entry, pipeline: &Pipeline) -> [Asked; 2] {
    let asked = |part, setting: &RawSetting, default, error| Asked {
        list_id: entry.id.list_id.clone(),
        part,
        kind: Chosen::of(&setting.value, default).kind,
        error,
    };
    let read = preview::latest(pipeline, 1).await;
    let source = read.err().map(|error| format!("{error:#}"));
    let sink = pipeline.sink.check().await.err().map(|fault| fault.to_string());
    [asked("source", &entry.source, source::DEFAULT, source), asked("sink", &entry.sink, sink::DEFAULT, sink)]
}
