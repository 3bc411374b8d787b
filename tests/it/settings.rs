//! Settings of the adapters in the state file: how they are read, and which of them name the folder of an entry.

use expect_test::{Expect, expect};
use importer::mapping::ometria_contact::settings::ContactSettings;

use crate::support::{entries, read};

fn check(text: &str, expected: Expect) {
    let problems = read(text).problems;
    let told = problems.iter().map(|finding| format!("{}: {}", finding.place, finding.text));
    expected.assert_eq(&told.collect::<Vec<_>>().join("\n"));
}

fn folder(entry: &str) -> String {
    entries(&format!("[{entry}]")).remove(0).folder
}

#[test]
fn what_contacts_look_like_is_read_in_the_order_of_the_file() {
    let text = r#"[{"list_id": "a", "collection": "news", "default_country": "GB", "fields": {"phone_number": null},
            "properties": {"z": "vip", "a": {"from": "merge_fields.POINTS", "type": "number"},
                "b": "merge_fields.BIRTHDAY"}}]"#;
    let entry = entries(text).remove(0);
    let contact = ContactSettings::read(entry.policy, &entry.declared);
    assert_eq!((contact.tag("phone_number"), contact.tag("firstname")), (None, Some("FNAME")));
    assert_eq!(
        (contact.collection.as_deref(), contact.default_country.as_deref()),
        (Some("news"), Some("GB"))
    );
    let told: Vec<String> = contact.properties.iter().map(|p| format!("{} {:?}", p.id, p.kind)).collect();
    assert_eq!(told, ["z Any", "a Number", "b MonthDay"]);
}

#[test]
fn a_bad_setting_of_the_contacts_is_named_with_what_was_expected() {
    check(
        r#"[
  {"list_id": "a", "default_country": "UK", "fields": {"first_name": "X", "gender": 1}},
  {"list_id": "b", "properties": {"a": "email_address", "a": "vip"}, "collection": ""},
  {"list_id": "c", "properties": {"a": {"from": "tags", "type": "number"}, "b": {"from": "vip", "typ": "flag"}}}
]"#,
        expect![[r#"
                line 2 column 39: `default_country` must be a country's ISO 3166-1 alpha-2 code, such as "GB"; found "UK"
                line 2 column 56: unknown field `first_name` in `fields`, expected one of firstname, lastname, country_id, phone_number, date_of_birth, gender, customer_id
                line 2 column 85: `fields.gender` must be a merge tag without `merge_fields.`, such as "FNAME", or null to leave the field out; found 1
                line 3 column 40: `properties.a` must be read from one of language, vip, tags, source, status, interests.ID, merge_fields.TAG, or merge_fields.TAG.PART with one of the parts addr1, addr2, city, state, zip, country; found "email_address"
                line 3 column 57: duplicate key `a`; remove one
                line 3 column 84: `collection` must be a name without spaces; found ""
                line 4 column 65: `properties.a` must be of a type that its source allows (text); found "number"
                line 4 column 81: `properties.b` must be an object with `from`, optionally `type`, and nothing else; found {"from": "vip", "typ": "flag"}"#]],
    );
}

#[test]
fn an_edit_that_changes_nothing_of_what_is_delivered_keeps_the_name() {
    for (entry, same) in [
        (
            r#"{"list_id": "a"}"#,
            r#"{"list_id": "a", "source": "mailchimp", "sink": {"type": "ometria", "x-": 1}}"#,
        ),
        (r#"{"list_id": "a"}"#, r#"{"list_id": "a", "mapping": {"type": "ometria_contact", "_why": "so"}}"#),
        (
            r#"{"list_id": "a"}"#,
            r#"{"list_id": "a", "consent": "full", "archived": "opt_out", "start_offset": 0}"#,
        ),
        (
            r#"{"list_id": "a"}"#,
            r#"{"list_id": "a", "collection": "mailchimp_a", "fields": {"firstname": "FNAME", "gender": null}}"#,
        ),
        (
            r#"{"list_id": "a"}"#,
            r#"{"list_id": "a", "x-note": 1, "_": 2, "note": {}, "enabled": false, "every": "5m"}"#,
        ),
        (
            r#"{"list_id": "a"}"#,
            r#"{"list_id": "a", "source": {"min_interval": "5s", "type": "mailchimp", "retry": false}}"#,
        ),
        (
            r#"{"list_id": "a"}"#,
            r#"{"list_id": "a", "latest_timestamp": null, "total_updates": 5, "properties": {}}"#,
        ),
        (
            r#"{"list_id": "a", "consent": "none", "properties": {"b": "vip", "c": "merge_fields.BIRTHDAY"}}"#,
            r#"{"properties": {"c": {"type": "month_day", "from": "merge_fields.BIRTHDAY"}, "b": {"from": "vip"}}, "list_id": "a", "consent": "none"}"#,
        ),
        (
            r#"{"list_id": "a", "source": "when_i_work", "sink": "stdout"}"#,
            r#"{"list_id": "a", "source": {"type": "when_i_work", "days_ahead": 1, "time_zone": "UTC"}, "mapping": "as_is", "sink": {"type": "stdout"}}"#,
        ),
    ] {
        assert_eq!(folder(entry), folder(same), "{same}");
    }
}

#[test]
fn an_edit_that_changes_what_is_delivered_changes_the_name() {
    let entries = [
        r#"{"list_id": "a"}"#,
        r#"{"list_id": "b"}"#,
        r#"{"list_id": "a", "start_offset": 6}"#,
        r#"{"list_id": "a", "consent": "none"}"#,
        r#"{"list_id": "a", "archived": "skip"}"#,
        r#"{"list_id": "a", "marketing_permission": "p"}"#,
        r#"{"list_id": "a", "collection": "mailchimp_b"}"#,
        r#"{"list_id": "a", "fields": {"firstname": null}}"#,
        r#"{"list_id": "a", "fields": {"gender": "GENDER"}}"#,
        r#"{"list_id": "a", "properties": {"b": "vip"}}"#,
        r#"{"list_id": "a", "properties": {"b": {"from": "vip", "type": "text"}}}"#,
        r#"{"list_id": "a", "sink": "stdout"}"#,
        r#"{"list_id": "a", "sink": {"type": "ndjson", "path": "out/a"}}"#,
        r#"{"list_id": "a", "mapping": "as_is", "sink": "stdout"}"#,
        r#"{"list_id": "a", "mapping": {"type": "fields", "fields": {"_id": "id"}}, "sink": "stdout"}"#,
        r#"{"list_id": "a", "mapping": {"type": "fields", "fields": {"x-id": "id"}}, "sink": "stdout"}"#,
        r#"{"list_id": "a", "source": "when_i_work", "sink": "stdout"}"#,
        r#"{"list_id": "a", "source": "when_i_work", "mapping": "ometria_contact", "sink": "stdout"}"#,
        r#"{"list_id": "a", "source": {"type": "when_i_work", "days_ahead": 2}, "sink": "stdout"}"#,
    ];
    let mut names: Vec<String> = entries.iter().map(|entry| folder(entry)).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), entries.len());
}
