//! The consent claim of a contact: what the member's status says about consent, as far as the entry's policy
//! lets it pass.

use serde::Deserialize;

use super::{Refusal, fields::first_time, member::Member};
use crate::base::{
    consent::{Consent, Policy},
    record::Reason,
};

const OPTED_IN: &str = "EXPLICITLY_OPTEDIN";
const OPTED_OUT: &str = "EXPLICITLY_OPTEDOUT";

/// Consent claim of a contact. An empty claim leaves the consent at Ometria unchanged.
#[derive(Default)]
pub struct Said {
    pub marketing_optin: Option<&'static str>,
    pub subscribed: Option<String>,
    pub unsubscribed: Option<String>,
    archived: bool,
}

impl Said {
    /// Reads the claim from a member's status. Unconfirmed members are skipped, an unknown status is
    /// rejected.
    pub fn of(member: &Member) -> Result<Self, Refusal> {
        let says = |optin| Said { marketing_optin: Some(optin), ..Said::default() };
        Ok(match member.status.text().as_deref().unwrap_or("") {
            "subscribed" => Said {
                subscribed: first_time(&[member.timestamp_opt, member.timestamp_signup]).unwrap_or_default(),
                ..says(OPTED_IN)
            },
            // Mailchimp does not report when. The last change is the latest possible time.
            "unsubscribed" => Said {
                unsubscribed: first_time(&[member.last_changed]).unwrap_or_default(),
                ..says(OPTED_OUT)
            },
            // The address bounces. The person did not unsubscribe, so there is no time of unsubscribing.
            "cleaned" => says(OPTED_OUT),
            // The person was never asked, so the consent at Ometria stays unchanged.
            "transactional" => Said::default(),
            "pending" => return Err(Refusal::Skip("pending")),
            // Archived people have left the audience and must not stay opted in at Ometria. Mailchimp hides
            // their earlier status. They did not unsubscribe, so there is no time of unsubscribing.
            "archived" => Said { archived: true, ..says(OPTED_OUT) },
            _ => return Err(Refusal::Reject("unknown_status")),
        })
    }

    /// Returns the part of the claim that the policy lets pass. Skips an archived member whose opt-out does
    /// not pass: the contact has nothing else to say.
    pub fn within(self, policy: Policy) -> Result<Self, Refusal> {
        let silent = match policy.consent {
            Consent::Full => false,
            Consent::OptOutsOnly => self.marketing_optin == Some(OPTED_IN),
            Consent::None => true,
        };
        if self.archived && !policy.reads_archived() {
            return Err(Refusal::Skip("archived"));
        }
        // Without the claim, its times would only change dates.
        Ok(if silent { Said::default() } else { self })
    }

    /// Makes an opt-in depend on the marketing permission with this id. A person who has not given the
    /// permission, or has withdrawn it, is opted out, without a time because Mailchimp reports none. A member
    /// without this permission on record gets an empty claim, and the reason is returned. Opt-outs need no
    /// permission.
    pub fn permitted(self, member: &Member, permission: Option<&str>) -> (Self, Option<Reason>) {
        #[derive(Deserialize)]
        struct Permission {
            marketing_permission_id: String,
            enabled: bool,
        }
        let Some(wanted) = permission.filter(|_| self.marketing_optin == Some(OPTED_IN)) else {
            return (self, None);
        };
        let all: Vec<Permission> = member.whole.field("marketing_permissions").get().unwrap_or_default();
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
