//! How much of what people have agreed to is passed on, as an entry sets it.

use serde::{Deserialize, Serialize};

/// What is said of consent at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Opt-ins and opt-outs.
    #[default]
    Full,
    /// Opt-outs; who is subscribed is sent without a word on consent.
    OptOutsOnly,
    /// Nothing.
    None,
}

/// What becomes of those who were archived after they were delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Archived {
    /// They are opted out at the other end.
    #[default]
    OptOut,
    /// They stay there as they were.
    Skip,
}

/// Both settings of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policy {
    pub consent: Consent,
    pub archived: Archived,
}

impl Policy {
    /// Whether the listing of the archived has to be read: there is something to say of them.
    pub fn reads_archived(self) -> bool {
        self.archived == Archived::OptOut && self.consent != Consent::None
    }
}
