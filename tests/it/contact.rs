//! The sink accepts every contact that the mapping makes.

use importer::{
    base::record::{Mapped, Record},
    mapping::{
        Mapping,
        ometria_contact::{
            OmetriaContact,
            settings::{ContactSettings, Property, PropertySource},
        },
    },
    sink::ometria::rules::examine,
};
use proptest::prelude::*;
use serde_json::{Value, json, value::to_raw_value};

fn property(from: &str) -> Property {
    let source: PropertySource = from.parse().unwrap();
    Property { id: from.to_owned(), kind: source.kind(), from: source }
}

/// Arbitrary values of merge fields: people write anything into them.
fn arbitrary() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[+0-9 ().x-]{0,20}",
        "[A-Za-z@ \\PC]{0,30}",
        Just("GB".to_owned()),
        Just("2026-02-30".to_owned()),
        Just("\u{0}\u{7f}".to_owned()),
    ];
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,7}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    /// A single field must not prevent the delivery of a contact, above all not of an opt-out.
    #[test]
    fn whatever_people_write_the_contact_is_one_that_ometria_takes(
        values in prop::collection::vec(arbitrary(), 6),
        country in prop::sample::select(vec!["GB", "DE", "US", "FJ"]),
        status in prop::sample::select(vec!["subscribed", "unsubscribed", "archived"]),
    ) {
        let settings = ContactSettings {
            default_country: Some(country.into()),
            fields: [("date_of_birth", "A"), ("gender", "B"), ("customer_id", "C")]
                .map(|(field, tag)| (field.to_owned(), Some(tag.to_owned())))
                .into(),
            properties: ["merge_fields.X", "merge_fields.BIRTHDAY", "tags", "merge_fields.A"].map(property).into(),
            ..ContactSettings::default()
        };
        let merge_fields = json!({"FNAME": values[0], "PHONE": values[1], "ADDRESS": values[2], "A": values[3], "B": values[4],
            "C": values[5], "X": values[0], "BIRTHDAY": values[3]});
        let member = json!({"id": "2b91", "contact_id": "c0ffee", "email_address": "ada@example.com", "status": status,
            "timestamp_opt": "2026-06-09T15:12:24+00:00", "last_changed": "2026-07-02T18:19:54+00:00",
            "merge_fields": merge_fields, "tags": values[4],
            "location": {"timezone": values[5], "country_code": values[2]}});
        let body = to_raw_value(&member).unwrap();
        let record = Record { key: "2b91".into(), changed: None, status: status.into(), deleted: false, unreadable: None, body: body.into() };
        let Mapped::Send(outgoing) = OmetriaContact::new("a1b2", settings).map(&record) else {
            panic!("not sent")
        };
        prop_assert_eq!(examine(outgoing.bodies[0].value()).refusal, None);
    }
}
