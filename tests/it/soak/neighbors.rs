//! Other entries in the world of a seed: the same list into a second sink, and a list with the same id in a second
//! account. What happens to one of them must not matter to another.

use std::collections::HashMap;

use fastrand::Rng;
use importer::sandbox::{SECOND_MAILCHIMP_KEY, SECOND_OMETRIA_KEY, people::Member};
use serde_json::{Map, Value};

use super::life::LIST;
use crate::support::World;

/// The entries. All members of a list may leave at once, so any number of opt-outs is allowed.
pub const ENTRIES: &str = r#"{"list_id": "soak1", "sink": "ndjson", "allow_mass_change": true},
    {"list_id": "soak1", "source": {"type": "mailchimp", "account": "eu"},
        "sink": {"type": "ometria", "account": "eu"}, "allow_mass_change": true}"#;

type Contact = Map<String, Value>;

/// Returns whether the world of this seed has neighbors: half of them do, of both parities.
pub fn has(seed: u64) -> bool {
    matches!(seed % 4, 1 | 2)
}

/// Sets the keys of the second account.
pub fn with_keys(world: World) -> World {
    world.set("MAILCHIMP_APIKEY_EU", SECOND_MAILCHIMP_KEY).set("OMETRIA_APIKEY_EU", SECOND_OMETRIA_KEY)
}

/// Adds the list of the second account.
pub fn add_list(world: &World, random: &mut Rng, seed: u64) {
    world.sandbox.second_mailchimp().add_list(LIST, random.u64(40..150), seed ^ 1, world.clock.now());
}

/// Checks that the file and the second account have every member as it is now.
pub fn assert_delivered(world: &World) {
    let mut lines: HashMap<String, Contact> = HashMap::new();
    for line in world.out(&format!("{LIST}.ndjson")) {
        lines.insert(line["id"].as_str().unwrap().to_owned(), line.as_object().unwrap().clone());
    }
    let members: Vec<Member> = world.sandbox.mailchimp().members(LIST).cloned().collect();
    assert_current("the file", &members, &world.expected(LIST), &lines);

    let members: Vec<Member> = world.sandbox.second_mailchimp().members(LIST).cloned().collect();
    let sent = |member: &&Member| !["archived", "pending"].contains(&member.status);
    let expected: Vec<Member> = members.iter().filter(sent).cloned().collect();
    let contacts = world.sandbox.second_ometria().contacts().clone();
    let contacts = contacts.into_iter().map(|((_, id), contact)| (id, contact)).collect();
    assert_current("the second account", &members, &expected, &contacts);
}

fn assert_current(sink: &str, members: &[Member], expected: &[Member], contacts: &HashMap<String, Contact>) {
    let text = |contact: &Contact, field: &str| contact.get(field).and_then(Value::as_str).map(str::to_owned);
    for member in members.iter().filter(|member| member.status == "archived") {
        let consent = contacts.get(&member.contact_id(LIST)).map(|contact| text(contact, "marketing_optin"));
        let opted_out = consent.is_none_or(|consent| consent.as_deref() == Some("EXPLICITLY_OPTEDOUT"));
        assert!(opted_out, "{sink}: {} is archived and not opted out", member.number);
    }
    for member in expected {
        let contact = contacts.get(&member.contact_id(LIST));
        let contact = contact.unwrap_or_else(|| panic!("{sink}: {} is missing", member.number));
        let consent = match member.status {
            "subscribed" => Some("EXPLICITLY_OPTEDIN"),
            "unsubscribed" | "cleaned" => Some("EXPLICITLY_OPTEDOUT"),
            _ => None,
        };
        let (found, email) = (text(contact, "marketing_optin"), text(contact, "email"));
        assert_eq!(
            (found.as_deref(), email.as_deref()),
            (consent, Some(&*member.email)),
            "{sink}: {}",
            member.number
        );
        let first = text(contact, "firstname");
        assert!(
            member.first.is_empty() || first.as_ref() == Some(&member.first),
            "{sink}: {}",
            member.number
        );
    }
}

#[test]
fn half_of_the_worlds_of_either_parity_have_neighbors() {
    for parity in [0, 1] {
        assert_eq!((1..=400).filter(|seed| seed % 2 == parity && has(*seed)).count(), 100);
    }
}
