//! `importer check --online`: checks whether the source, the sink and the receiver of notices of each entry can be reached
//! and accept the credentials. Reads one record of each source, and delivers nothing to a sink.

use std::{fmt, path::Path};

use serde_json::{Value, json};

use super::{
    lists::Lists,
    preview::{self, Findings},
};
use crate::{
    app::wiring::Keys,
    base::{adapter::Chosen, events::Events},
    engine::plan::Pipeline,
    sink::{self, Checked},
    source,
    state::{Entry, finding::Place, model::RawSetting},
};

/// Result of checking the source, the sink or the receiver of notices of an entry.
pub struct OnlineCheck {
    list_id: String,
    /// Place of the entry in the state file.
    pub place: Place,
    /// `source`, `sink` or `notify`; `entry` if the entry could not be opened.
    part: &'static str,
    /// Type of the adapter, or the place of the entry.
    kind: String,
    /// What was found there, a line for each thing.
    found: Vec<String>,
    /// What may be a mistake.
    pub warnings: Vec<String>,
    /// Reason for which it can't be used; `None` if it can.
    pub error: Option<String>,
}

impl OnlineCheck {
    pub fn json(&self) -> Value {
        let OnlineCheck { list_id, part, kind, found, warnings, error, .. } = self;
        json!({
            "list_id": list_id, "part": part, "type": kind, "found": found, "warnings": warnings, "error": error
        })
    }
}

impl fmt::Display for OnlineCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OnlineCheck { list_id, part, kind, found, warnings, error, .. } = self;
        write!(f, "list {list_id:?}: {part} {kind}: {}", error.as_deref().unwrap_or("ok"))?;
        found.iter().try_for_each(|line| write!(f, "\n  {line}"))?;
        warnings.iter().try_for_each(|warning| write!(f, "\n  warning: {warning}"))
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
        match lists.trial(entry) {
            Ok(pipeline) => checks.extend(check(entry, &pipeline).await),
            Err(error) => checks.push(OnlineCheck {
                list_id: entry.id.list_id.clone(),
                place: entry.place,
                part: "entry",
                kind: format!("at {}", entry.place),
                found: vec![],
                warnings: vec![],
                error: Some(error.to_string()),
            }),
        }
    }
    Ok(checks)
}

async fn check(entry: &Entry, pipeline: &Pipeline) -> Vec<OnlineCheck> {
    let result = |part, setting: &RawSetting, default, checked: Result<Checked, String>| {
        let (Checked { found, warnings }, error) = match checked {
            Ok(checked) => (checked, None),
            Err(error) => (Checked::default(), Some(error)),
        };
        let kind = Chosen::of(&setting.value, default).kind;
        let (list_id, place) = (entry.id.list_id.clone(), entry.place);
        OnlineCheck { list_id, place, part, kind, found, warnings, error }
    };
    let read = preview::latest(pipeline, 1).await.map(|records| preview::findings(pipeline, &records));
    let (source, unfilled) = match read {
        Ok(Findings { source, sink }) => (Ok(Checked { found: vec![], warnings: source }), sink),
        Err(error) => (Err(format!("{error:#}")), vec![]),
    };
    let sink = pipeline.sink.check().await.map_err(|fault| fault.to_string());
    let sink = sink.map(|Checked { found, mut warnings }| {
        warnings.extend(unfilled);
        Checked { found, warnings }
    });
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
