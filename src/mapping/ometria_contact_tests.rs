//! Tests of the whole mapping, most of them as tables.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use serde_json::value::{RawValue, to_raw_value};

use super::settings::{Property, PropertyKind};
use super::*;
use crate::base::{
    consent::{Archived, Consent, Policy},
    json::Json,
};

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
    Record {
        key: "k".into(),
        changed: None,
        status: "subscribed".into(),
        deleted: false,
        unreadable: None,
        body: body.into(),
    }
}

fn map_with(mapping: &OmetriaContact, member: &Value) -> Mapped {
    mapping.map(&record(to_raw_value(member).unwrap()))
}

fn map(changes: Value) -> Mapped {
    map_with(&OmetriaContact::new("a1b2", ContactSettings::default()), &member(changes))
}

fn read(outgoing: &Outgoing) -> Value {
    serde_json::from_str(outgoing.bodies[0].get()).unwrap()
}

fn contact(changes: Value) -> Value {
    match map(changes) {
        Mapped::Send(outgoing) => read(&outgoing),
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
fn an_unsubscribed_member_is_opted_out_at_its_last_change() {
    check(
        json!({"status": "unsubscribed", "timestamp_opt": ""}),
        expect!["marketing_optin=EXPLICITLY_OPTEDOUT timestamp_unsubscribed=2026-07-02T18:19:54Z"],
    );
}

#[test]
fn a_bouncing_address_is_opted_out_without_a_time_of_unsubscribing() {
    check(json!({"status": "cleaned", "timestamp_opt": ""}), expect!["marketing_optin=EXPLICITLY_OPTEDOUT"]);
}

#[test]
fn the_consent_of_a_transactional_member_stays_unchanged() {
    check(
        json!({"status": "transactional", "timestamp_opt": "", "merge_fields": {"ADDRESS": {"country": "US"}}}),
        expect![""],
    );
}

#[test]
fn an_archived_member_is_opted_out_without_a_time_of_unsubscribing() {
    check(json!({"status": "archived", "timestamp_opt": ""}), expect!["marketing_optin=EXPLICITLY_OPTEDOUT"]);
}

#[test]
fn the_consent_claim_follows_the_policy_of_the_entry() {
    let said = |status: &str, consent, archived| {
        let mapping = OmetriaContact::new(
            "a1b2",
            ContactSettings { policy: Policy { consent, archived }, ..ContactSettings::default() },
        );
        match map_with(&mapping, &member(json!({"status": status}))) {
            Mapped::Send(outgoing) => {
                let contact = read(&outgoing);
                let times = ["timestamp_subscribed", "timestamp_unsubscribed"];
                let optin = contact.get("marketing_optin").and_then(Value::as_str);
                assert!(optin.is_some() || times.iter().all(|time| contact.get(time).is_none()), "{contact}");
                assert!(contact.get("@force_optin").is_none(), "{contact}");
                assert_eq!(outgoing.opts_out, optin == Some("EXPLICITLY_OPTEDOUT"));
                assert_eq!(outgoing.opts_in, optin == Some("EXPLICITLY_OPTEDIN"));
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
fn the_id_field_that_an_earlier_run_chose_is_kept() {
    let first = OmetriaContact::new("a1b2", ContactSettings::default());
    assert_eq!(first.choice(), None);
    map_with(&first, &member(json!({"contact_id": ""})));
    let choice = first.choice();
    assert_eq!(choice.as_deref(), Some("unique_email_id"));
    let later = OmetriaContact::new("a1b2", ContactSettings::default());
    later.choose(choice);
    let Mapped::Send(outgoing) = map_with(&later, &member(json!({}))) else { panic!("not sent") };
    assert_eq!(read(&outgoing)["id"], "0f1e2d3c4b");
    let unknown = OmetriaContact::new("a1b2", ContactSettings::default());
    unknown.choose(Some("shoe_size".into()));
    assert_eq!(unknown.choice(), None);
}

#[test]
fn unconfirmed_members_are_skipped_and_an_unknown_status_is_rejected() {
    assert!(matches!(map(json!({"status": "pending"})), Mapped::Skip("pending")));
    for status in [json!("Subscribed"), json!("vip"), json!(""), json!(null), json!(1), json!(["subscribed"])]
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
    let mapping = OmetriaContact::new("a1b2", ContactSettings::default());
    let id = |member| match map_with(&mapping, &member) {
        Mapped::Send(outgoing) => read(&outgoing)["id"].clone(),
        other => panic!("not sent: {other:?}"),
    };
    let old = member(json!({"contact_id": null}));
    assert_eq!(id(old), "0f1e2d3c4b");
    assert_eq!(id(member(json!({}))), "0f1e2d3c4b");
    let bare = member(json!({"contact_id": "", "unique_email_id": ""}));
    assert!(matches!(map_with(&mapping, &bare), Mapped::Reject("no_id")));
}

#[test]
fn an_invalid_address_rejects_the_record() {
    for email in ["", "ada", "@example.com", "ada@", "a@b@c", "ada @example.com", "ada@exa\nmple.com"] {
        assert!(matches!(map(json!({"email_address": email})), Mapped::Reject("invalid_email")), "{email}");
    }
    assert!(matches!(map(json!({"email_address": null})), Mapped::Reject("invalid_email")));
}

#[test]
fn names_are_cleaned_and_an_address_is_not_sent_as_a_name() {
    let names = |first, last| {
        let contact = contact(json!({"merge_fields": {"FNAME": first, "LNAME": last}}));
        (contact.get("firstname").cloned(), contact.get("lastname").cloned())
    };
    assert_eq!(names(json!(" A\u{7}da "), json!("Lovelace")), (Some(json!("Ada")), Some(json!("Lovelace"))));
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
    // If a name occurs twice, its last value counts: here, the country is alone.
    let twice = r#"{"merge_fields": {"ADDRESS": {"city": "Paris", "city": "", "country": "US"}}}"#;
    let member = Json::read(twice.to_owned()).unwrap();
    let address = Member::read(member.value()).unwrap().merge_fields.field("ADDRESS");
    assert_eq!(fields::country(address, Field(None)), Err("country_alone"));
}

#[test]
fn a_record_that_is_not_a_member_is_rejected_without_a_crash() {
    for body in ["[]", "1", "\"x\"", "null"] {
        let record = record(RawValue::from_string(body.into()).unwrap());
        assert!(
            matches!(OmetriaContact::new("a", ContactSettings::default()).map(&record), Mapped::Reject(_)),
            "{body}"
        );
    }
}

/// Returns the contact of a member with these merge fields, and the fields left out with their reasons.
fn merged(settings: &ContactSettings, merge_fields: Value) -> (Value, Vec<String>) {
    whole(settings, &member(json!({"merge_fields": merge_fields})))
}

fn whole(settings: &ContactSettings, member: &Value) -> (Value, Vec<String>) {
    let record = Record { changed: time("2026-07-02T18:19:54"), ..record(to_raw_value(member).unwrap()) };
    let Mapped::Send(outgoing) = OmetriaContact::new("a1b2", settings.clone()).map(&record) else {
        panic!("not sent")
    };
    let told = outgoing.left_out.iter().map(|LeftOut { field, reason }| format!("{field} {reason}"));
    (read(&outgoing), told.collect())
}

fn time(text: &str) -> Option<chrono::DateTime<chrono::Utc>> {
    crate::base::time::parse(text)
}

fn tagged(field: &str, tag: &str) -> ContactSettings {
    let fields = [(field.to_owned(), Some(tag.to_owned()))].into();
    ContactSettings { fields, ..ContactSettings::default() }
}

#[test]
fn a_field_is_sent_in_the_format_of_the_sink_or_left_out_with_a_reason() {
    let country =
        |code: &str| ContactSettings { default_country: Some(code.into()), ..ContactSettings::default() };
    let plain = ContactSettings::default();
    let born = tagged("date_of_birth", "DOB");
    let gender = tagged("gender", "SEX");
    let customer = tagged("customer_id", "SHOPID");
    let city = |code: &str| json!({"city": "London", "country": code});
    for (settings, tag, value, field, expected) in [
        (&plain, "FNAME", json!("Ada"), "firstname", Ok("Ada")),
        (&plain, "FNAME", json!("ada@example.com"), "firstname", Err("is_an_address")),
        (&plain, "LNAME", json!(33), "lastname", Err("not_text")),
        (&country("GB"), "PHONE", json!("020 7946 0018"), "phone_number", Ok("+442079460018")),
        (&country("GB"), "PHONE", json!("+49 30 1234567"), "phone_number", Ok("+49301234567")),
        (&plain, "PHONE", json!("+44 20 7946 0018"), "phone_number", Ok("+442079460018")),
        (&plain, "PHONE", json!("020 7946 0018"), "phone_number", Err("no_country_code")),
        (&country("GB"), "PHONE", json!("020 7946 0018 x12"), "phone_number", Err("has_an_extension")),
        (&country("US"), "PHONE", json!("(555) 123-4567"), "phone_number", Err("not_a_number")),
        // Valid in Germany, but too long for E.164.
        (&country("DE"), "PHONE", json!("32450805655619"), "phone_number", Err("not_a_number")),
        (&country("GB"), "PHONE", json!("call me"), "phone_number", Err("not_a_number")),
        (&plain, "ADDRESS", city("XX"), "country_id", Err("unknown_country")),
        (&plain, "ADDRESS", json!({"country": "US"}), "country_id", Err("country_alone")),
        (&plain, "ADDRESS", json!("London"), "country_id", Err("unknown_country")),
        (&plain, "ADDRESS", json!(7), "country_id", Err("not_text")),
        (&plain, "ADDRESS", json!("gb"), "country_id", Ok("GB")),
        (&plain, "ADDRESS", city("UK"), "country_id", Ok("GB")),
        (&born, "DOB", json!("1990-05-15"), "date_of_birth", Ok("1990-05-15")),
        (&born, "DOB", json!("15.05.1990"), "date_of_birth", Err("not_a_date")),
        (&born, "DOB", json!("1899-12-31"), "date_of_birth", Err("not_a_birth_date")),
        (&born, "DOB", json!("2026-07-02"), "date_of_birth", Ok("2026-07-02")),
        (&born, "DOB", json!("2026-07-03"), "date_of_birth", Err("not_a_birth_date")),
        (&gender, "SEX", json!("Female"), "gender", Ok("f")),
        (&gender, "SEX", json!("m"), "gender", Ok("m")),
        (&gender, "SEX", json!("?"), "gender", Err("unknown_gender")),
        (&customer, "SHOPID", json!("C-17"), "customer_id", Ok("C-17")),
    ] {
        let (contact, left_out) = merged(settings, json!({tag: value}));
        match expected {
            Ok(expected) => {
                assert_eq!(contact[field], expected, "{tag} {value}");
                assert_eq!(left_out, Vec::<String>::new(), "{tag} {value}");
            }
            Err(reason) => {
                assert_eq!(contact.get(field), None, "{tag} {value}");
                assert_eq!(left_out, [format!("{field} {reason}")], "{tag} {value}");
            }
        }
    }
}

#[test]
fn unset_fields_are_left_out_without_a_reason() {
    let unset = json!({"FNAME": "", "LNAME": " ", "ADDRESS": "", "PHONE": null, "BIRTHDAY": "", "COMPANY": "",
        "HOME": {}});
    let settings = ContactSettings {
        properties: vec![property("b", "merge_fields.BIRTHDAY")],
        ..tagged("gender", "SEX")
    };
    let (contact, left_out) = merged(&settings, unset);
    assert_eq!(left_out, Vec::<String>::new());
    let fields: Vec<&String> = contact.as_object().unwrap().keys().collect();
    let sent = [
        "@collection",
        "@merge",
        "@type",
        "email",
        "id",
        "marketing_optin",
        "timestamp_acquired",
        "timestamp_subscribed",
    ];
    assert_eq!(fields, sent);
}

#[test]
fn an_unmapped_merge_field_is_reported_and_a_field_can_be_turned_off() {
    let (_, left_out) = merged(&ContactSettings::default(), json!({"COMPANY": "Acme", "POINTS": 0}));
    assert_eq!(left_out, ["merge_fields.COMPANY not_mapped", "merge_fields.POINTS not_mapped"]);
    let fields =
        [("phone_number".to_owned(), None), ("firstname".to_owned(), Some("VORNAME".to_owned()))].into();
    let settings = ContactSettings { fields, ..ContactSettings::default() };
    let (contact, left_out) =
        merged(&settings, json!({"PHONE": "+44 20 7946 0018", "VORNAME": "Ada", "FNAME": "x"}));
    assert_eq!((contact.get("phone_number"), &contact["firstname"]), (None, &json!("Ada")));
    assert_eq!(left_out, ["merge_fields.FNAME not_mapped"], "a field that is turned off is not reported");
}

#[test]
fn a_name_in_the_settings_that_no_member_has_is_reported_after_the_first_member() {
    let fields = [("firstname".to_owned(), Some("VORNAME".to_owned())), ("lastname".to_owned(), None)].into();
    let properties = vec![
        property("a", "merge_fields.NOSUCH"),
        property("b", "merge_fields.ADDRESS.city"),
        property("c", "interests.1f"),
        property("d", "interests.2f"),
        property("e", "vip"),
    ];
    let marketing_permission = Some("0a1b".to_owned());
    let mapping = OmetriaContact::new(
        "a1b2",
        ContactSettings { fields, properties, marketing_permission, ..ContactSettings::default() },
    );
    assert_eq!(mapping.unknown(), Vec::<String>::new());
    map_with(&mapping, &member(json!({"interests": {"1f": false}, "merge_fields": {"ADDRESS": ""}})));
    let told = mapping.unknown().join("; ");
    for expected in [
        "the merge field \"VORNAME\", which `fields.firstname` names; ",
        "the merge field \"NOSUCH\", which `properties.a` names; ",
        "the interest \"2f\", which `properties.d` names; ",
        "the marketing permission \"0a1b\", which `marketing_permission` names",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(mapping.unknown().len(), 4, "{told}");
    let permissions = json!([{"marketing_permission_id": "0a1b", "text": "Email", "enabled": false}]);
    let whole = json!({"interests": {"2f": true}, "marketing_permissions": permissions,
        "merge_fields": {"VORNAME": "", "NOSUCH": 1}});
    map_with(&mapping, &member(whole));
    assert_eq!(mapping.unknown(), Vec::<String>::new());
}

#[test]
fn an_invalid_time_is_replaced_by_another_one_or_left_out() {
    let acquired = |signup: &str, opt: &str| {
        let member = member(json!({"timestamp_signup": signup, "timestamp_opt": opt}));
        let (contact, left_out) = whole(&ContactSettings::default(), &member);
        (contact.get("timestamp_acquired").cloned(), left_out)
    };
    assert_eq!(acquired("soon", "2026-06-01T00:00:00+00:00"), (Some(json!("2026-06-01T00:00:00Z")), vec![]));
    assert_eq!(acquired("soon", ""), (None, vec!["timestamp_acquired not_a_time".to_owned()]));
    assert_eq!(acquired("", ""), (None, vec![]));
}

#[test]
fn a_time_zone_is_one_of_the_database_in_its_spelling() {
    let zone = |name: &str| {
        let (contact, left_out) =
            whole(&ContactSettings::default(), &member(json!({"location": {"timezone": name}})));
        (contact.get("timezone").cloned(), left_out)
    };
    assert_eq!(zone("America/New_york"), (Some(json!("America/New_York")), vec![]));
    assert_eq!(zone("GMT+25"), (None, vec!["timezone unknown_timezone".to_owned()]));
    assert_eq!(zone(""), (None, vec![]));
}

#[test]
fn an_entry_can_name_its_collection() {
    let settings = ContactSettings { collection: Some("newsletter".into()), ..ContactSettings::default() };
    assert_eq!(merged(&settings, json!({})).0["@collection"], "newsletter");
}

#[test]
fn with_a_marketing_permission_only_those_who_gave_it_are_opted_in_and_opt_outs_need_none() {
    let settings =
        ContactSettings { marketing_permission: Some("0a1b".into()), ..ContactSettings::default() };
    let permission =
        |enabled: bool| json!([{"marketing_permission_id": "0a1b", "text": "Email", "enabled": enabled}]);
    for (status, permissions, optin, told) in [
        ("subscribed", permission(true), Some("EXPLICITLY_OPTEDIN"), None),
        ("subscribed", permission(false), Some("EXPLICITLY_OPTEDOUT"), None),
        ("subscribed", json!([]), None, Some("marketing_optin unknown_permission")),
        ("subscribed", json!(null), None, Some("marketing_optin unknown_permission")),
        ("unsubscribed", permission(false), Some("EXPLICITLY_OPTEDOUT"), None),
        ("archived", json!([]), Some("EXPLICITLY_OPTEDOUT"), None),
    ] {
        let member = member(json!({"status": status, "marketing_permissions": permissions}));
        let (contact, left_out) = whole(&settings, &member);
        assert_eq!(contact.get("marketing_optin").and_then(Value::as_str), optin, "{status} {permissions}");
        assert_eq!(contact.get("timestamp_subscribed").is_some(), optin == Some("EXPLICITLY_OPTEDIN"));
        assert_eq!(left_out, told.into_iter().collect::<Vec<_>>(), "{status} {permissions}");
    }
    assert!(
        OmetriaContact::new("a", settings).fields().unwrap().contains(&"marketing_permissions".to_owned())
    );
}

fn property(id: &str, from: &str) -> Property {
    let from: PropertySource = from.parse().unwrap();
    Property { id: id.to_owned(), kind: from.kind(), from }
}

fn with_properties(properties: Vec<Property>, changes: Value) -> (Value, Vec<String>) {
    let settings = ContactSettings { properties, ..ContactSettings::default() };
    let (contact, left_out) = whole(&settings, &member(changes));
    (contact.get("properties").cloned().unwrap_or_default(), left_out)
}

#[test]
fn only_the_configured_properties_are_sent() {
    let wanted = [
        ("mc_language", "language"),
        ("mc_vip", "vip"),
        ("mc_tags", "tags"),
        ("mc_source", "source"),
        ("mc_status", "status"),
        ("mc_hats", "interests.aa11"),
        ("mc_birthday", "merge_fields.BIRTHDAY"),
        ("mc_points", "merge_fields.POINTS"),
        ("mc_city", "merge_fields.ADDRESS.city"),
        ("mc_absent", "merge_fields.SHOE"),
    ];
    let wanted: Vec<Property> = wanted.iter().map(|(id, from)| property(id, from)).collect();
    let member = json!({"language": "en", "vip": false, "source": "Import", "interests": {"aa11": true, "bb22": true},
        "tags_count": 2, "tags": [{"id": 2, "name": "b"}, {"id": 1, "name": "a"}],
        "merge_fields": {"BIRTHDAY": "05/15", "POINTS": 33, "ADDRESS": {"city": "London", "country": "GB"}}});
    let (properties, left_out) = with_properties(wanted.clone(), member);
    assert_eq!(
        properties,
        json!({"mc_language": "en", "mc_vip": false, "mc_tags": "a|b", "mc_source": "Import",
            "mc_status": "subscribed", "mc_hats": true, "mc_birthday": "05-15", "mc_points": 33, "mc_city": "London"})
    );
    assert_eq!(left_out, Vec::<String>::new());
    let settings = ContactSettings { properties: wanted, ..ContactSettings::default() };
    let fields = OmetriaContact::new("a", settings).fields().unwrap();
    for field in ["language", "vip", "tags", "tags_count", "source", "status", "interests", "merge_fields"] {
        assert!(fields.contains(&field.to_owned()), "{field} is not requested");
    }
}

#[test]
fn a_property_of_a_type_is_converted_or_left_out_and_the_contact_is_sent() {
    use PropertyKind::*;
    for (kind, value, expected) in [
        (Any, json!("33"), Ok(json!("33"))),
        (Any, json!(33.5), Ok(json!(33.5))),
        (Any, json!({"city": "London"}), Err("not_a_value")),
        (Text, json!(33), Ok(json!("33"))),
        (Number, json!(" 33 "), Ok(json!(33))),
        (Number, json!("33 points"), Err("not_a_number")),
        (Flag, json!("Yes"), Ok(json!(true))),
        (Flag, json!(0), Ok(json!(false))),
        (Flag, json!("perhaps"), Err("not_a_flag")),
        (Date, json!("2026-05-15T10:00:00+00:00"), Ok(json!("2026-05-15"))),
        (Date, json!("05/15/2026"), Err("not_a_date")),
        (Date, json!("2026-05-15 or later"), Err("not_a_date")),
        (MonthDay, json!("5/15"), Ok(json!("05-15"))),
        (MonthDay, json!("02/29"), Ok(json!("02-29"))),
        (MonthDay, json!("15/05"), Err("not_a_birthday")),
        (DayMonth, json!("15/05"), Ok(json!("05-15"))),
    ] {
        let from = PropertySource::Merge { tag: "X".into() };
        let wanted = vec![Property { id: "p".into(), from, kind }];
        let (properties, left_out) = with_properties(wanted, json!({"merge_fields": {"X": value}}));
        match expected {
            Ok(expected) => assert_eq!((&properties["p"], left_out), (&expected, vec![]), "{kind:?} {value}"),
            Err(reason) => {
                assert_eq!(
                    (properties, left_out),
                    (json!(null), vec![format!("properties.p {reason}")]),
                    "{value}"
                );
            }
        }
    }
}

#[test]
fn properties_stay_within_the_limit_by_dropping_tags_first_then_the_last_ones() {
    let tags = |count: usize| {
        let tags: Vec<Value> =
            (0..count).map(|id| json!({"id": id, "name": format!("{id:03}-{}", "x".repeat(16))})).collect();
        json!(tags)
    };
    let wanted =
        vec![property("a", "merge_fields.A"), property("tags", "tags"), property("b", "merge_fields.B")];
    let sent = |changes: Value| {
        let (properties, left_out) = with_properties(wanted.clone(), changes);
        assert!(properties.to_string().len() < 1000, "{} bytes", properties.to_string().len());
        (properties, left_out)
    };
    let (properties, left_out) =
        sent(json!({"tags": tags(50), "tags_count": 50, "merge_fields": {"A": "a", "B": "b"}}));
    assert_eq!((&properties["a"], &properties["b"]), (&json!("a"), &json!("b")));
    assert!(properties["tags"].as_str().unwrap().starts_with("000-"));
    assert_eq!(left_out, ["properties.tags no_room"]);
    // One more tag would exceed the limit.
    let longer = format!("{}|{:03}-{}", properties["tags"].as_str().unwrap(), 99, "x".repeat(16));
    assert!(json!({"a": "a", "b": "b", "tags": longer}).to_string().len() >= 1000);
    let (properties, left_out) =
        sent(json!({"tags": tags(3), "merge_fields": {"A": "é".repeat(240), "B": "b".repeat(600)}}));
    assert_eq!((properties.get("tags"), properties.get("b")), (None, None));
    assert_eq!(properties["a"], "é".repeat(240));
    assert_eq!(left_out, ["properties.tags no_room", "properties.b no_room"]);
}

#[test]
fn tags_missing_from_the_response_are_reported() {
    let (properties, left_out) = with_properties(
        vec![property("tags", "tags")],
        json!({"tags": [{"id": 1, "name": "a"}], "tags_count": 51}),
    );
    assert_eq!(properties, json!({"tags": "a"}));
    assert_eq!(left_out, ["properties.tags not_all_tags"]);
}
