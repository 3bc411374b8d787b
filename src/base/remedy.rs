//! What makes rejected records reach the sink once the cause is corrected.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The way in which an entry delivers its rejected records again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// `importer replay` reads single records.
    #[default]
    Replay,
    /// Every run reads the whole list.
    NextRun,
    /// Only a full load reads them.
    FullLoad,
}

impl Remedy {
    /// Returns what a person has to do, as the end of a sentence. `list` is what `importer replay` needs.
    pub fn advice(self, list: impl fmt::Display) -> String {
        match self {
            Remedy::Replay => format!("correct the cause, then run `importer replay {list}`"),
            Remedy::NextRun => "correct the cause; the next run reads them again".into(),
            Remedy::FullLoad => {
                "correct the cause, then set `latest_timestamp` to null, so that a full load reads them \
                                 again (the source can't read single records)"
                    .into()
            }
        }
    }
}
