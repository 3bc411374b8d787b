//! Mailchimp member to Ometria contact. Every doubt is decided so that a mistake costs a message not sent, never
//! one sent without consent: only `subscribed` opts in, and nothing ever forces an opt-in.
//!
//! The member: <https://mailchimp.com/developer/marketing/api/list-members/>.
//! The contact: <https://support.ometria.com/hc/en-gb/articles/360011617238-Push-API>.

use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::Mapping;
use crate::base::{
    consent::{Consent, Policy},
    record::{Mapped, Payload, Reason, Record},
    time,
};

/// The most bytes of a record: <https://docs.ometria.com/docs/ometria-data-api-introduction>.
const MAX_BYTES: usize = 60_000;

/// The mapping of one list.
pub struct OmetriaContact {
    collection: String,
    policy: Policy,
    identity: OnceLock<Identity>,
}

impl OmetriaContact {
    /// The collection is always `mailchimp_<list_id>`: contact ids are unique within one.
    pub fn new(list_id: &str, policy: Policy) -> Self {
        OmetriaContact { collection: format!("mailchimp_{list_id}"), policy, identity: OnceLock::new() }
    }

    /// The contact's id. Which field gives it is decided once, by the first member: were it decided for each, one
    /// person could become two contacts.
    fn id(&self, member: &Member) -> Option<String> {
        let first = Identity::ORDER.into_iter().find(|identity| identity.of(member).is_some())?;
        self.identity.get_or_init(|| first).of(member).map(str::to_owned)
    }

    fn contact(&self, member: &Member) -> Result<Contact<'_>, Refusal> {
        let consent = Said::of(member)?.within(self.policy)?;
        let id = self.id(member).ok_or(Refusal::Reject("no_id"))?;
        let email = member.email_address.as_deref().unwrap_or("").trim().to_lowercase();
        if !is_address(&email) {
            return Err(Refusal::Reject("invalid_email"));
        }
        let merge_fields = member.merge_fields.as_ref();
        Ok(Contact {
            kind: "contact",
            collection: &self.collection,
            merge: true,
            id,
            email,
            firstname: merge_fields.and_then(|fields| name(fields.first.as_deref())),
            lastname: merge_fields.and_then(|fields| name(fields.last.as_deref())),
            country_id: country(member),
            marketing_optin: consent.marketing_optin,
            timestamp_acquired: first_time([&member.timestamp_signup, &member.timestamp_opt]),
            timestamp_subscribed: consent.subscribed,
            timestamp_unsubscribed: consent.unsubscribed,
        })
    }
}

impl Mapping for OmetriaContact {
    fn fields(&self) -> &'static [&'static str] {
        // Two levels at most: deeper paths are not documented to work.
        &[
            "contact_id",
            "unique_email_id",
            "email_address",
            "status",
            "merge_fields",
            "timestamp_signup",
            "timestamp_opt",
            "last_changed",
            "location.country_code",
        ]
    }

    fn map(&self, record: &Record) -> Mapped {
        let Ok(member) = serde_json::from_str::<Member>(record.body.get()) else {
            return Mapped::Reject("unreadable");
        };
        match self.contact(&member).map(|contact| to_raw_value(&contact)) {
            Ok(Ok(body)) if body.get().len() > MAX_BYTES => Mapped::Reject("too_large"),
            Ok(Ok(body)) => Mapped::Send(Payload(body)),
            Ok(Err(_)) => Mapped::Reject("unwritable"),
            Err(Refusal::Skip(reason)) => Mapped::Skip(reason),
            Err(Refusal::Reject(reason)) => Mapped::Reject(reason),
        }
    }

    fn choice(&self) -> Option<String> {
        self.identity.get().map(|identity| identity.field().to_owned())
    }

    fn choose(&self, choice: Option<String>) {
        let known = |choice| Identity::ORDER.into_iter().find(|identity| identity.field() == choice);
        if let Some(identity) = choice.as_deref().and_then(known) {
            self.identity.get_or_init(|| identity);
        }
    }
}

enum Refusal {
    Skip(Reason),
    Reject(Reason),
}

/// Which field of a member is the contact's id. `contact_id` survives a change of address and holds no personal
/// data; `id`, the MD5 of the address, is the last resort.
#[derive(Clone, Copy)]
enum Identity {
    ContactId,
    UniqueEmailId,
    Id,
}

impl Identity {
    const ORDER: [Identity; 3] = [Identity::ContactId, Identity::UniqueEmailId, Identity::Id];

    fn field(self) -> &'static str {
        match self {
            Identity::ContactId => "contact_id",
            Identity::UniqueEmailId => "unique_email_id",
            Identity::Id => "id",
        }
    }

    fn of(self, member: &Member) -> Option<&str> {
        let field = match self {
            Identity::ContactId => &member.contact_id,
            Identity::UniqueEmailId => &member.unique_email_id,
            Identity::Id => &member.id,
        };
        field.as_deref().filter(|id| !id.is_empty())
    }
}

/// What a status says about mailing this person.
struct Said {
    marketing_optin: Option<&'static str>,
    subscribed: Option<String>,
    unsubscribed: Option<String>,
    archived: bool,
}

impl Said {
    const OPTED_IN: Option<&'static str> = Some("EXPLICITLY_OPTEDIN");
    const OPTED_OUT: Option<&'static str> = Some("EXPLICITLY_OPTEDOUT");

    fn of(member: &Member) -> Result<Self, Refusal> {
        let says =
            |marketing_optin| Said { marketing_optin, subscribed: None, unsubscribed: None, archived: false };
        Ok(match member.status.as_deref().unwrap_or("") {
            "subscribed" => Said {
                subscribed: first_time([&member.timestamp_opt, &member.timestamp_signup]),
                ..says(Self::OPTED_IN)
            },
            // The member does not tell when; the last change is the latest it can have been.
            "unsubscribed" => {
                Said { unsubscribed: first_time([&member.last_changed]), ..says(Self::OPTED_OUT) }
            }
            // The address bounces; nobody unsubscribed, so there is no time of it.
            "cleaned" => says(Self::OPTED_OUT),
            // Known, never asked: consent is left as it is.
            "transactional" => says(None),
            "pending" => return Err(Refusal::Skip("pending")),
            // They left the audience, and nobody may stay opted in at the other end. Their earlier status is hidden, and
            // nobody unsubscribed, so there is no time of it.
            "archived" => Said { archived: true, ..says(Self::OPTED_OUT) },
            _ => return Err(Refusal::Reject("unknown_status")),
        })
    }

    /// As much of it as may be passed on. Of the archived there is nothing else to say.
    fn within(self, policy: Policy) -> Result<Self, Refusal> {
        let silent = match policy.consent {
            Consent::Full => false,
            Consent::OptOutsOnly => self.marketing_optin == Self::OPTED_IN,
            Consent::None => true,
        };
        if self.archived && !policy.reads_archived() {
            return Err(Refusal::Skip("archived"));
        }
        // A time without its consent would move dates only.
        let said = Said { marketing_optin: None, subscribed: None, unsubscribed: None, archived: false };
        Ok(if silent { said } else { self })
    }
}

/// The fields that are read, each leniently: what has an unexpected type counts as absent. Unset strings and times
/// arrive as `""`, an unset address as `""` instead of an object.
#[derive(Deserialize)]
struct Member {
    #[serde(default, deserialize_with = "lenient")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    contact_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    unique_email_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    email_address: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    merge_fields: Option<MergeFields>,
    #[serde(default, deserialize_with = "lenient")]
    timestamp_signup: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    timestamp_opt: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    last_changed: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    location: Option<Location>,
}

#[derive(Deserialize)]
struct MergeFields {
    #[serde(default, deserialize_with = "lenient", rename = "FNAME")]
    first: Option<String>,
    #[serde(default, deserialize_with = "lenient", rename = "LNAME")]
    last: Option<String>,
    #[serde(default, deserialize_with = "lenient", rename = "ADDRESS")]
    address: Option<Address>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(default, deserialize_with = "lenient")]
    addr1: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    addr2: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    city: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    state: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    zip: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    country: Option<String>,
}

#[derive(Deserialize)]
struct Location {
    #[serde(default, deserialize_with = "lenient")]
    country_code: Option<String>,
}

fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    let raw = <&'de RawValue>::deserialize(from)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

#[derive(Serialize)]
struct Contact<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@collection")]
    collection: &'a str,
    #[serde(rename = "@merge")]
    merge: bool,
    id: String,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    firstname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lastname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    marketing_optin: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_acquired: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_subscribed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_unsubscribed: Option<String>,
}

/// Exactly one `@` with something on both sides, and nothing in it that a mail header would break at.
fn is_address(text: &str) -> bool {
    let breaks = |c: char| c.is_whitespace() || c.is_control();
    matches!(text.split('@').collect::<Vec<_>>()[..], [user, host] if !user.is_empty() && !host.is_empty())
        && !text.contains(breaks)
}

/// A name without control characters; an address that stands where a name should is none.
fn name(text: Option<&str>) -> Option<String> {
    let name: String = text?.chars().filter(|c| !c.is_control()).collect();
    let name = name.trim();
    (!name.is_empty() && !name.contains('@')).then(|| name.to_owned())
}

/// The address's country if there is more to the address (a lone country is mostly the list's default), else the
/// one that Mailchimp located. Unknown codes are left out.
fn country(member: &Member) -> Option<&'static str> {
    let address = member.merge_fields.as_ref().and_then(|fields| fields.address.as_ref());
    let filled = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
    let whole = |address: &&Address| {
        [&address.addr1, &address.addr2, &address.city, &address.state, &address.zip].into_iter().any(filled)
    };
    let stated = address.filter(whole).and_then(|address| country_code(address.country.as_deref()));
    let located = || country_code(member.location.as_ref()?.country_code.as_deref());
    stated.or_else(located)
}

/// A known ISO 3166-1 alpha-2 code; `UK` is what many write for `GB`.
fn country_code(text: Option<&str>) -> Option<&'static str> {
    let code = text?.trim().to_uppercase();
    let code = if code == "UK" { "GB" } else { &code };
    rust_iso3166::from_alpha2(code).map(|country| country.alpha2)
}

/// The first of these times that is set and can be read.
fn first_time<const N: usize>(texts: [&Option<String>; N]) -> Option<String> {
    texts.into_iter().flatten().find_map(|text| time::parse(text)).map(time::wire)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;
    use crate::base::consent::Archived;

    fn member(changes: Value) -> Value {
        let mut member = json!({
            "id": "2b9150605ac374d671a306b5fcee60a0",
            "contact_id": "c0ffee0123456789c0ffee0123456789",
            "unique_email_id": "0f1e2d3c4b",
            "email_address": "Ada.Lovelace@example.com",
            "status": "subscribed",
            "timestamp_signup": "",
            "timestamp_opt": "2026-06-09T15:12:24+00:00",
            "last_changed": "2026-07-02T18:19:54+00:00",
            "merge_fields": {"FNAME": "", "LNAME": "", "ADDRESS": ""},
            "location": {"country_code": ""},
        });
        let (fields, changes) = (member.as_object_mut().unwrap(), changes.as_object().unwrap());
        fields.extend(changes.clone());
        member
    }

    fn record(body: Box<RawValue>) -> Record {
        Record { key: "k".into(), changed: None, status: "subscribed".into(), body }
    }

    fn map_with(mapping: &OmetriaContact, member: &Value) -> Mapped {
        mapping.map(&record(to_raw_value(member).unwrap()))
    }

    fn map(changes: Value) -> Mapped {
        map_with(&OmetriaContact::new("a1b2", Policy::default()), &member(changes))
    }

    fn contact(changes: Value) -> Value {
        match map(changes) {
            Mapped::Send(payload) => serde_json::from_str(payload.0.get()).unwrap(),
            other => panic!("not sent: {other:?}"),
        }
    }

    fn check(changes: Value, expected: Expect) {
        let contact = contact(changes);
        let shown: Vec<String> = contact
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| !key.starts_with('@') && !["id", "email"].contains(&key.as_str()))
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
            .collect();
        expected.assert_eq(&shown.join(" "));
    }

    #[test]
    fn a_subscriber_is_opted_in_since_the_opt_in() {
        check(
            json!({}),
            expect![
                "marketing_optin=EXPLICITLY_OPTEDIN timestamp_acquired=2026-06-09T15:12:24Z timestamp_subscribed=2026-06-09T15:12:24Z"
            ],
        );
        check(
            json!({"timestamp_signup": "2026-06-01T00:00:00+02:00"}),
            expect![
                "marketing_optin=EXPLICITLY_OPTEDIN timestamp_acquired=2026-05-31T22:00:00Z timestamp_subscribed=2026-06-09T15:12:24Z"
            ],
        );
        check(json!({"timestamp_opt": ""}), expect!["marketing_optin=EXPLICITLY_OPTEDIN"]);
    }

    #[test]
    fn whoever_left_is_opted_out_at_the_latest_when_last_changed() {
        check(
            json!({"status": "unsubscribed", "timestamp_opt": ""}),
            expect!["marketing_optin=EXPLICITLY_OPTEDOUT timestamp_unsubscribed=2026-07-02T18:19:54Z"],
        );
    }

    #[test]
    fn a_bouncing_address_is_opted_out_without_a_time_of_unsubscribing() {
        check(
            json!({"status": "cleaned", "timestamp_opt": ""}),
            expect!["marketing_optin=EXPLICITLY_OPTEDOUT"],
        );
    }

    #[test]
    fn the_consent_of_whoever_was_never_asked_is_left_alone() {
        check(
            json!({"status": "transactional", "timestamp_opt": "", "merge_fields": {"ADDRESS": {"country": "US"}}}),
            expect![""],
        );
    }

    #[test]
    fn whoever_was_archived_is_opted_out_without_a_time_of_unsubscribing() {
        check(
            json!({"status": "archived", "timestamp_opt": ""}),
            expect!["marketing_optin=EXPLICITLY_OPTEDOUT"],
        );
    }

    #[test]
    fn what_is_said_of_consent_keeps_to_the_policy_of_the_entry() {
        let said = |status: &str, consent, archived| {
            let mapping = OmetriaContact::new("a1b2", Policy { consent, archived });
            match map_with(&mapping, &member(json!({"status": status}))) {
                Mapped::Send(Payload(contact)) => {
                    let contact: Value = serde_json::from_str(contact.get()).unwrap();
                    let times = ["timestamp_subscribed", "timestamp_unsubscribed"];
                    let optin = contact.get("marketing_optin").and_then(Value::as_str);
                    assert!(
                        optin.is_some() || times.iter().all(|time| contact.get(time).is_none()),
                        "{contact}"
                    );
                    assert!(contact.get("@force_optin").is_none(), "{contact}");
                    optin.unwrap_or("nothing").to_owned()
                }
                Mapped::Skip(reason) => reason.to_owned(),
                Mapped::Reject(reason) => panic!("{reason}"),
            }
        };
        use Consent::{Full, None, OptOutsOnly};
        let (opted_in, opted_out) = ("EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT");
        for (status, full, opt_outs_only, none) in [
            ("subscribed", opted_in, "nothing", "nothing"),
            ("unsubscribed", opted_out, opted_out, "nothing"),
            ("cleaned", opted_out, opted_out, "nothing"),
            ("transactional", "nothing", "nothing", "nothing"),
            ("pending", "pending", "pending", "pending"),
            ("archived", opted_out, opted_out, "archived"),
        ] {
            for (consent, expected) in [(Full, full), (OptOutsOnly, opt_outs_only), (None, none)] {
                assert_eq!(said(status, consent, Archived::OptOut), expected, "{status} {consent:?}");
                let skipped = if status == "archived" { "archived" } else { expected };
                assert_eq!(said(status, consent, Archived::Skip), skipped, "{status} {consent:?}");
            }
        }
    }

    #[test]
    fn a_record_that_ometria_would_refuse_for_its_size_is_rejected_here() {
        let named =
            |len: usize| map(json!({"merge_fields": {"FNAME": "a".repeat(len), "LNAME": "", "ADDRESS": ""}}));
        let Mapped::Send(Payload(whole)) = named(59_000) else { panic!("not sent") };
        let room = 60_000 - whole.get().len();
        assert!(matches!(named(59_000 + room), Mapped::Send(_)));
        assert!(matches!(named(59_000 + room + 1), Mapped::Reject("too_large")));
    }

    #[test]
    fn the_field_of_the_id_stays_what_an_earlier_run_has_chosen() {
        let first = OmetriaContact::new("a1b2", Policy::default());
        assert_eq!(first.choice(), None);
        map_with(&first, &member(json!({"contact_id": ""})));
        let choice = first.choice();
        assert_eq!(choice.as_deref(), Some("unique_email_id"));
        let later = OmetriaContact::new("a1b2", Policy::default());
        later.choose(choice);
        let Mapped::Send(payload) = map_with(&later, &member(json!({}))) else { panic!("not sent") };
        assert!(payload.0.get().contains(r#""id":"0f1e2d3c4b""#), "{}", payload.0.get());
        let unknown = OmetriaContact::new("a1b2", Policy::default());
        unknown.choose(Some("shoe_size".into()));
        assert_eq!(unknown.choice(), None);
    }

    #[test]
    fn unconfirmed_members_are_skipped_and_an_unknown_status_is_rejected() {
        assert!(matches!(map(json!({"status": "pending"})), Mapped::Skip("pending")));
        for status in
            [json!("Subscribed"), json!("vip"), json!(""), json!(null), json!(1), json!(["subscribed"])]
        {
            assert!(matches!(map(json!({"status": status})), Mapped::Reject("unknown_status")), "{status}");
        }
    }

    #[test]
    fn no_status_forces_an_opt_in() {
        for status in ["subscribed", "unsubscribed", "cleaned", "transactional"] {
            let contact = contact(json!({"status": status}));
            assert_eq!(contact.get("@force_optin"), None);
            let opted_in = contact.get("marketing_optin") == Some(&json!("EXPLICITLY_OPTEDIN"));
            assert_eq!(opted_in, status == "subscribed");
        }
    }

    #[test]
    fn the_record_names_its_type_collection_and_merge() {
        let contact = contact(json!({"email_address": " Ada.Lovelace@Example.com "}));
        assert_eq!(contact["@type"], "contact");
        assert_eq!(contact["@collection"], "mailchimp_a1b2");
        assert_eq!(contact["@merge"], true);
        assert_eq!(contact["id"], "c0ffee0123456789c0ffee0123456789");
        assert_eq!(contact["email"], "ada.lovelace@example.com");
    }

    #[test]
    fn the_field_that_gives_the_id_is_chosen_once_for_the_list() {
        let mapping = OmetriaContact::new("a1b2", Policy::default());
        let id = |member| match map_with(&mapping, &member) {
            Mapped::Send(payload) => serde_json::from_str::<Value>(payload.0.get()).unwrap()["id"].clone(),
            other => panic!("not sent: {other:?}"),
        };
        let old = member(json!({"contact_id": null}));
        assert_eq!(id(old), "0f1e2d3c4b");
        assert_eq!(id(member(json!({}))), "0f1e2d3c4b");
        let bare = member(json!({"contact_id": "", "unique_email_id": ""}));
        assert!(matches!(map_with(&mapping, &bare), Mapped::Reject("no_id")));
    }

    #[test]
    fn an_address_that_is_none_rejects_the_record() {
        for email in ["", "ada", "@example.com", "ada@", "a@b@c", "ada @example.com", "ada@exa\nmple.com"] {
            assert!(
                matches!(map(json!({"email_address": email})), Mapped::Reject("invalid_email")),
                "{email}"
            );
        }
        assert!(matches!(map(json!({"email_address": null})), Mapped::Reject("invalid_email")));
    }

    #[test]
    fn names_are_cleaned_and_an_address_is_no_name() {
        let names = |first, last| {
            let contact = contact(json!({"merge_fields": {"FNAME": first, "LNAME": last}}));
            (contact.get("firstname").cloned(), contact.get("lastname").cloned())
        };
        assert_eq!(
            names(json!(" A\u{7}da "), json!("Lovelace")),
            (Some(json!("Ada")), Some(json!("Lovelace")))
        );
        assert_eq!(names(json!("ada@example.com"), json!(" \t")), (None, None));
        assert_eq!(names(json!(33), json!(null)), (None, None));
        for merge_fields in [json!(null), json!({}), json!("")] {
            assert_eq!(contact(json!({"merge_fields": merge_fields})).get("firstname"), None);
        }
    }

    #[test]
    fn the_country_comes_from_a_whole_address_or_else_the_location() {
        let country = |address: Value, located: &str| {
            let member = json!({"merge_fields": {"ADDRESS": address}, "location": {"country_code": located}});
            contact(member).get("country_id").map(|code| code.as_str().unwrap().to_owned())
        };
        let city = |code: &str| json!({"addr1": "", "city": "London", "country": code});
        for (address, located, expected) in [
            (city("GB"), "FR", Some("GB")),
            (city("uk"), "FR", Some("GB")),
            (city("XX"), "fr", Some("FR")),
            (json!({"country": "US"}), "FR", Some("FR")),
            (json!({"country": "US", "city": " "}), "", None),
            (json!(""), "", None),
            (json!(null), "ZZ", None),
        ] {
            assert_eq!(country(address.clone(), located).as_deref(), expected, "{address} {located}");
        }
    }

    #[test]
    fn a_record_that_is_no_member_is_rejected_not_a_crash() {
        for body in ["[]", "1", "\"x\"", "null"] {
            let record = record(RawValue::from_string(body.into()).unwrap());
            assert!(
                matches!(OmetriaContact::new("a", Policy::default()).map(&record), Mapped::Reject(_)),
                "{body}"
            );
        }
    }
}
