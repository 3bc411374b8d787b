//! Names of an entry on disk. A change of a name loses checkpoints, so this test freezes the texts.

use std::{fmt::Write, fs, time::Duration};

use expect_test::expect;
use importer::{controller, state::Entry};
use tokio::time::timeout;

use crate::{
    ledger,
    places::checkpoints,
    support::{World, entries},
};

/// Entries that together use every setting that changes what is delivered, in several spellings.
const ENTRIES: [&str; 22] = [
    r#"{"list_id": "a"}"#,
    r#"{"list_id": "a/b", "every": "5m", "enabled": false, "x-note": 1}"#,
    r#"{"list_id": "a", "start_offset": 6, "latest_timestamp": null}"#,
    r#"{"list_id": "a", "consent": "opt_outs_only", "archived": "skip"}"#,
    r#"{"list_id": "a", "consent": "full", "marketing_permission": "p1", "default_country": "GB"}"#,
    r#"{"list_id": "a", "collection": "mailchimp_a"}"#,
    r#"{"list_id": "a", "collection": "mailchimp_b"}"#,
    r#"{"list_id": "a", "fields": {"firstname": "FNAME", "gender": null, "date_of_birth": null}}"#,
    r#"{"list_id": "a", "fields": {"phone_number": null, "gender": "SEX", "firstname": "VORNAME"}}"#,
    r#"{"list_id": "a", "properties": {"z": "vip", "b": {"from": "merge_fields.POINTS", "type": "number"}}}"#,
    r#"{"list_id": "a", "properties": {"c": {"type": "month_day", "from": "merge_fields.BIRTHDAY"}, "a": "tags"}}"#,
    r#"{"list_id": "a", "properties": {"c": {"from": "merge_fields.BIRTHDAY"}, "d": "interests.1f", "e": "merge_fields.HOME.city"}}"#,
    r#"{"list_id": "a", "properties": {}, "fields": {}}"#,
    r#"{"list_id": "a", "source": {"type": "mailchimp", "min_interval": "5s", "retry": false}, "mapping": "ometria_contact"}"#,
    r#"{"list_id": "a", "mapping": {"type": "as_is", "x-": 1}, "sink": "stdout"}"#,
    r#"{"list_id": "a", "mapping": {"type": "fields", "fields": {"x-id": "id"}}, "sink": {"type": "stdout"}}"#,
    r#"{"list_id": "shifts", "source": "when_i_work", "sink": {"type": "ndjson", "path": "out/a", "rotate_mb": 5}}"#,
    r#"{"list_id": "shifts", "source": {"type": "when_i_work", "days_ahead": 1, "days_prior": 0, "time_zone": "UTC", "retry": true}, "mapping": "as_is", "sink": {"type": "ndjson"}}"#,
    r#"{"list_id": "shifts", "source": {"type": "when_i_work", "days_ahead": 2, "open_shifts": true, "unpublished": false}, "sink": "ndjson"}"#,
    r#"{"list_id": "shifts", "source": "when_i_work", "mapping": {"type": "ometria_contact"}, "unchanged": "off", "sink": "stdout"}"#,
    r#"{"list_id": "a", "full_load": "changed_only", "overlap": "2h", "unknown": [1.50, {"b": 1, "a": 2}]}"#,
    r#"{"list_id": "7", "source": {"type": "when_i_work", "time_zone": "Europe/London"}, "sink": "stdout", "total_updates": 4}"#,
];

fn entry(text: &str) -> Entry {
    entries(&format!("[{text}]")).remove(0)
}

#[test]
fn no_release_changes_the_folders_of_an_entry() {
    let mut told = String::new();
    for text in ENTRIES {
        let entry = entry(text);
        writeln!(told, "{} {:?}", entry.folder, entry.id.former_folders()).unwrap();
    }
    expect![[r#"
        a-99914b932bd3 ["a-5252af21", "a"]
        a7e86136543b019d72468ceebf71fb8e-99914b932bd3 ["a7e86136543b019d72468ceebf71fb8e-48ec5d70", "a7e86136543b019d72468ceebf71fb8e"]
        a-3daec3608390 ["a-784c7347", "a"]
        a-67806a1bf990 ["a-9f52c938", "a"]
        a-e065a63e0d09 ["a-6efc8ed1", "a"]
        a-99914b932bd3 ["a-db544ce9", "a"]
        a-3de5292c006c ["a-2f588d44", "a"]
        a-99914b932bd3 ["a-d9934d78", "a"]
        a-a7bb03f14525 ["a-38a75bdd", "a"]
        a-f7b85d633753 ["a-e1f036b8", "a"]
        a-f4d9177759dd ["a-c2dc6e1c", "a"]
        a-fcc4fd9b668c ["a-64a0d4bb", "a"]
        a-99914b932bd3 ["a-7b7e0dbe", "a"]
        a-99914b932bd3 ["a-4ebb8679", "a"]
        a-cfcc18506451 ["a-bacaf74a", "a"]
        a-fd9e3bae3de4 ["a-096f65f6", "a"]
        shifts-ca78a8570e97 ["shifts-6873653b", "shifts"]
        shifts-7dec67c83815 ["shifts-798e03ac", "shifts"]
        shifts-b0c3ac093414 ["shifts-a604aed5", "shifts"]
        shifts-5139835122ad ["shifts-5ef5c2f8", "shifts"]
        a-99914b932bd3 ["a-cf8d6970", "a"]
        7-64d42db71479 ["7-2507c306", "7"]
    "#]].assert_eq(&told);
}

/// Checkpoints of older versions begin with this text.
#[test]
fn no_release_changes_the_origin_that_older_versions_wrote() {
    let mut told = String::new();
    for text in ENTRIES {
        let run_fingerprint = controller::former_fingerprints(&entry(text))[1].clone();
        let (run_fingerprint, _) = run_fingerprint.rsplit_once(" importer ").unwrap();
        writeln!(told, "{run_fingerprint}").unwrap();
    }
    expect![[r#"
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[null,null,null]]
        [{"Null":{"start_offset":6}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"opt_outs_only","archived":"skip"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":"GB","marketing_permission":"p1","fields":{},"properties":[]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":"mailchimp_a","default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":"mailchimp_b","default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{"date_of_birth":null,"firstname":"FNAME","gender":null},"properties":[]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{"firstname":"VORNAME","gender":"SEX","phone_number":null},"properties":[]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[{"id":"z","from":{"Plain":"vip"},"kind":"any"},{"id":"b","from":{"Merge":{"tag":"POINTS"}},"kind":"number"}]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[{"id":"c","from":{"Merge":{"tag":"BIRTHDAY"}},"kind":"month_day"},{"id":"a","from":{"Plain":"tags"},"kind":"any"}]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[{"id":"c","from":{"Merge":{"tag":"BIRTHDAY"}},"kind":"month_day"},{"id":"d","from":{"Interest":"1f"},"kind":"any"},{"id":"e","from":{"Part":{"tag":"HOME","part":"city"}},"kind":"any"}]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[{"min_interval":"5s","retry":false,"type":"mailchimp"},"ometria_contact",null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[null,{"type":"as_is","x-":1},"stdout"]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[null,{"fields":{"x-id":"id"},"type":"fields"},{"type":"stdout"}]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},["when_i_work",null,{"path":"out/a","rotate_mb":5,"type":"ndjson"}]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[{"days_ahead":1,"days_prior":0,"retry":true,"time_zone":"UTC","type":"when_i_work"},"as_is",{"type":"ndjson"}]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[{"days_ahead":2,"open_shifts":true,"type":"when_i_work","unpublished":false},null,"ndjson"]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},["when_i_work",{"type":"ometria_contact"},"stdout"]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[null,null,null]]
        [{"Absent":{"start_offset":0}},{"policy":{"consent":"full","archived":"opt_out"},"collection":null,"default_country":null,"marketing_permission":null,"fields":{},"properties":[]},[{"time_zone":"Europe/London","type":"when_i_work"},null,"stdout"]]
    "#]].assert_eq(&told);
}

#[tokio::test(start_paused = true)]
async fn no_release_changes_the_names_of_a_run_and_of_its_consent_settings() {
    let text = r#"[{"list_id": "name1", "items_per_request": 20, "worker_count": 1, "archived": "skip", "default_country": "GB",
        "marketing_permission": "p1", "collection": "mailchimp_name1", "fields": {"gender": "SEX", "firstname": "FNAME"},
        "properties": {"z": "vip", "a": {"from": "tags"}, "m": "merge_fields.BIRTHDAY"}}]"#;
    let world = World::new().list("name1", 1500).with_state(text);
    assert!(timeout(Duration::from_secs(12), world.once()).await.is_err());
    let checkpoint = checkpoints(world.folder.path()).remove(0);
    let head = fs::read_to_string(checkpoint).unwrap();
    let head: serde_json::Value = serde_json::from_str(head.lines().next().unwrap()).unwrap();
    let (run_fingerprint, _) = head["origin"].as_str().unwrap().rsplit_once(" importer ").unwrap();
    expect![[r#"[{"Absent":{"start_offset":0}},{"archived":"skip","default_country":"GB","fields":{"gender":"SEX"},"marketing_permission":"p1","properties":{"a":{"from":"tags"},"m":{"from":"merge_fields.BIRTHDAY"},"z":{"from":"vip"}}},["z","a","m"]]"#]].assert_eq(run_fingerprint);
    world.once().await.unwrap();
    let head = ledger::read(&ledger::of(world.folder.path(), "name1")).unwrap().summary;
    let audiences = head["opt_outs"].as_object().unwrap().keys();
    let consents: Vec<_> = audiences.map(|name| name.split_once(' ').unwrap().1.to_owned()).collect();
    expect![[r#"[{"consent":"full","archived":"skip"},"p1"]"#]].assert_eq(&consents.join("\n"));
}
