//! Dead letters under older names of entries, and commands for a list that is on hold.

use std::{fs, time::Duration};

use importer::{
    app::wiring::{Adapters, Keys},
    base::{clock::SystemClock, events::Events},
    net::{Environment, transport::Web},
};
use serde_json::Value;

use crate::places::{dead_letter, delivery};
use crate::{
    loopback::{Loopback, finish},
    support::entries,
};

fn letters(loopback: &Loopback) -> Vec<Value> {
    let path = dead_letter(loopback.folder.path(), "let1");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes letters again, each with another name of its entry.
fn rename(loopback: &Loopback, letters: &[(Value, &str)]) {
    let lines = letters.iter().map(|(letter, name)| {
        let mut letter = letter.clone();
        letter["entry"] = (*name).into();
        format!("{letter}\n")
    });
    fs::write(dead_letter(loopback.folder.path(), "let1"), lines.collect::<String>()).unwrap();
}

fn save(loopback: &Loopback, text: &str) {
    fs::write(loopback.folder.path().join("state.json"), text).unwrap();
}

/// Makes a list whose entries have all rejected the same member, which the sink would accept now.
async fn refused(state: &str) -> Loopback {
    let loopback = Loopback::start(Duration::ZERO, state).await.list("let1", 60);
    let id = {
        let mailchimp = loopback.sandbox.mailchimp();
        mailchimp.members("let1").find(|member| member.status == "subscribed").unwrap().contact_id("let1")
    };
    loopback.sandbox.ometria().refuse(&id, true);
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    loopback.sandbox.ometria().refuse(&id, false);
    loopback
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_delivered_leaves_the_letters_also_under_a_former_name_of_the_entry() {
    for former in ["let1", "let1-0123456789ab", "let1-01234567"] {
        let loopback = refused(r#"[{"list_id": "let1"}]"#).await;
        rename(&loopback, &[(letters(&loopback).remove(0), former)]);
        save(&loopback, r#"[{"list_id": "let1", "consent": "opt_outs_only", "x-note": 1}]"#);
        assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
        assert_eq!(letters(&loopback).len(), 0, "{former}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_on_hold_is_not_replayed_and_why_names_the_three_ways() {
    let loopback = refused(r#"[{"list_id": "let1"}]"#).await;
    let held = delivery(loopback.folder.path(), "let1").join("held.json");
    fs::write(
        &held,
        r#"{"origin": "", "what": "stopped when 700 of 2000 would be opted out", "why": "more"}"#,
    )
    .unwrap();
    let key = letters(&loopback)[0]["key"].as_str().unwrap().to_owned();
    let (code, told, _) = finish(loopback.command(&["replay", "let1"])).await;
    assert!(code == 1 && told.contains("is on hold: stopped when 700"), "{told}");
    assert_eq!(letters(&loopback).len(), 1);
    let (code, told, _) = finish(loopback.command(&["why", "let1", &key])).await;
    for way in ["`importer release let1`", "`--fresh`", "\"allow_mass_change\": true"] {
        assert!(code == 0 && told.contains(way), "{told}");
    }
    let (code, told, _) = finish(loopback.command(&["release", "let2"])).await;
    assert!(code == 1 && told.contains("no entry of the state file has this list"), "{told}");
    // A problem of another entry is no obstacle.
    save(&loopback, r#"[{"list_id": "let1"}, {"list_id": 5}]"#);
    let (code, told, _) = finish(loopback.command(&["release", "let1"])).await;
    assert!(code == 0 && told.contains("the hold is lifted, and no interrupted run was left"), "{told}");
    let (code, told, _) = finish(loopback.command(&["release", "let1"])).await;
    assert!(code == 1 && told.contains("is not on hold; nothing was changed"), "{told}");
    save(&loopback, r#"[{"list_id": "let1"}]"#);
    let (code, told, _) = finish(loopback.command(&["replay", "let1"])).await;
    assert!(code == 0 && told.contains("1 dead letter: 1 sent"), "{told}");
}

#[test]
fn the_name_of_a_delivery_holds_no_key() {
    let delivery = |key: &'static str, url: &'static str| {
        let get = move |name: &str| match name {
            "OMETRIA_APIKEY" => Some(key.to_owned()),
            "MAILCHIMP_APIKEY" => Some("0123456789abcdef0123456789abcdef-us1".to_owned()),
            "OMETRIA_URL" => Some(url.to_owned()),
            _ => None,
        };
        let (web, clock) = (std::sync::Arc::new(Web::new().unwrap()), std::sync::Arc::new(SystemClock));
        let adapters = Adapters::new(
            &Environment::new(get),
            Keys::Both,
            web,
            clock,
            std::path::Path::new("."),
            Events::default(),
        );
        let entry = entries(r#"[{"list_id": "a"}]"#).remove(0);
        adapters.open(&entry, false).ok().unwrap().delivery
    };
    let one = delivery("key-one", "https://host/v2");
    assert_eq!(one, delivery("key-two", "https://host/v2/"));
    assert_ne!(one, delivery("key-one", "https://other/v2"));
}
