//! What a member's status says about mailing this person, as far as it may be passed on.

use serde::Deserialize;

use super::{Refusal, fields::first_time, member::Member};
use crate::base::{
    consent::{Consent, Policy},
    record::Reason,
};

const OPTED_IN: &str = "EXPLICITLY_OPTEDIN";
const OPTED_OUT: &str = "EXPLICITLY_OPTEDOUT";

#[derive(Default)]
pub struct Said {
    pub marketing_optin: Option<&'static str>,
    pub subscribed: Option<String>,
    pub unsubscribed: Option<String>,
    archived: bool,
}

impl Said {
    pub fn of(member: &Member) -> Result<Self, Refusal> {
        let says = |optin| Said { marketing_optin: Some(optin), ..Said::default() };
        Ok(match member.text("status").as_deref().unwrap_or("") {
            "subscribed" => Said {
                subscribed: first_time(member, &["timestamp_opt", "timestamp_signup"]).unwrap_or_default(),
                ..says(OPTED_IN)
            },
            // The member does not tell when; the last change is the latest it can have been.
            "unsubscribed" => Said {
                unsubscribed: first_time(member, &["last_changed"]).unwrap_or_default(),
                ..says(OPTED_OUT)
            },
            // The address bounces; nobody unsubscribed, so there is no time of it.
            "cleaned" => says(OPTED_OUT),
            // Known, never asked: consent is left as it is.
            "transactional" => Said::default(),
            "pending" => return Err(Refusal::Skip("pending")),
            // They left the audience, and nobody may stay opted in at the other end. Their earlier status is hidden, and
            // nobody unsubscribed, so there is no time of it.
            "archived" => Said { archived: true, ..says(OPTED_OUT) },
            _ => return Err(Refusal::Reject("unknown_status")),
        })
    }

    /// As much of it as may be passed on. Of the archived there is nothing else to say.
    pub fn within(self, policy: Policy) -> Result<Self, Refusal> {
        let silent = match policy.consent {
            Consent::Full => false,
            Consent::OptOutsOnly => self.marketing_optin == Some(OPTED_IN),
            Consent::None => true,
        };
        if self.archived && !policy.reads_archived() {
            return Err(Refusal::Skip("archived"));
        }
        // A time without its consent would move dates only.
        Ok(if silent { Said::default() } else { self })
    }

    /// Without the marketing permission of this id nobody is opted in: who has not given it, or has taken it back, is opted
    /// out; nobody knows when. Opt-outs need none.
    pub fn permitted(self, member: &Member, permission: Option<&str>) -> (Self, Option<Reason>) {
        #[derive(Deserialize)]
        struct Permission {
            marketing_permission_id: String,
            enabled: bool,
        }
        let Some(wanted) = permission.filter(|_| self.marketing_optin == Some(OPTED_IN)) else {
            return (self, None);
        };
        let all: Vec<Permission> = member.get("marketing_permissions").unwrap_or_default();
        match all.iter().find(|permission| permission.marketing_permission_id == wanted) {
            Some(Permission { enabled: true, .. }) => (self, None),
            Some(_) => (Said { marketing_optin: Some(OPTED_OUT), ..Said::default() }, None),
            None => (Said::default(), Some("unknown_permission")),
        }
    }

    pub fn opts_in(&self) -> bool {
        self.marketing_optin == Some(OPTED_IN)
    }

    pub fn opts_out(&self) -> bool {
        self.marketing_optin == Some(OPTED_OUT)
    }
}
