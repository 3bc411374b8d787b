//! Settings of an entry that decide what is passed on of people's consent.

use serde::{Deserialize, Serialize};

/// What a payload says of consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Opt-ins and opt-outs.
    #[default]
    Full,
    /// Opt-outs only. People who are subscribed are sent without any statement on their consent.
    OptOutsOnly,
    /// No statement on consent.
    None,
}

/// What happens to people who were archived after their record was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Archived {
    /// They are opted out at the sink.
    #[default]
    OptOut,
    /// They stay at the sink as they are.
    Skip,
}

/// The two settings of consent together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policy {
    pub consent: Consent,
    pub archived: Archived,
}

impl Policy {
    /// Whether the listing of archived records has to be read, because archived people are opted out.
    pub fn reads_archived(self) -> bool {
        self.archived == Archived::OptOut && self.consent != Consent::None
    }
}
