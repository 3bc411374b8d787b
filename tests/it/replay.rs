//! `importer replay`: delivers rejected members as they are now.

use std::{fs, time::Duration};

use importer::{
    base::clock::{Clock, SystemClock},
    sandbox::people::Member,
    state::lock,
};
use serde_json::{Map, Value};

use crate::{
    ledger,
    loopback::{Loopback, finish},
    places::{dead_letter, delivery},
};

const TEXT: &str = r#"[{"list_id": "rep1"}]"#;

async fn replayed(loopback: &Loopback, arguments: &[&str]) -> (i32, String) {
    let (code, told, log) = finish(loopback.command(&[&["replay"], arguments].concat())).await;
    (code, told + &log)
}

fn letters(loopback: &Loopback) -> Vec<Value> {
    let path = dead_letter(loopback.folder.path(), "rep1");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn contact(loopback: &Loopback, member: &Member) -> Option<Map<String, Value>> {
    let key = ("mailchimp_rep1".to_owned(), member.contact_id("rep1"));
    loopback.sandbox.ometria().contacts().get(&key).cloned()
}

/// Makes a loaded list with some subscribers that Ometria refused and would accept now.
async fn with_refused(count: usize) -> (Loopback, Vec<Member>) {
    let loopback = Loopback::start(Duration::ZERO, TEXT).await.list("rep1", 200);
    let (code, told) = replayed(&loopback, &[]).await;
    assert_eq!((code, told.as_str()), (0, "There are no dead letters of the lists in the state file.\n"));
    let refused: Vec<Member> = {
        let mailchimp = loopback.sandbox.mailchimp();
        mailchimp
            .members("rep1")
            .filter(|member| member.status == "subscribed")
            .take(count)
            .cloned()
            .collect()
    };
    refuse(&loopback, &refused, true);
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    refuse(&loopback, &refused, false);
    assert_eq!(letters(&loopback).len(), count);
    (loopback, refused)
}

fn refuse(loopback: &Loopback, members: &[Member], refuse: bool) {
    for member in members {
        loopback.sandbox.ometria().refuse(&member.contact_id("rep1"), refuse);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_members_are_sent_as_they_are_now_and_never_as_they_were() {
    let (loopback, members) = with_refused(7).await;
    let change = |index: usize, status: &'static str| {
        let number = members[index].number;
        loopback.sandbox.mailchimp().edit("rep1", number, SystemClock.now(), |member| member.status = status);
    };
    change(1, "unsubscribed");
    change(2, "archived");
    change(3, "pending");
    change(4, "vip");
    loopback.sandbox.mailchimp().delete("rep1", members[5].number, SystemClock.now());
    refuse(&loopback, &members[6..], true);
    let letter =
        |key: String| letters(&loopback).into_iter().find(|letter| letter["key"] == key.as_str()).unwrap();
    let first = letter(members[6].id());
    let before = loopback.sandbox.ometria().contacts().len();
    let told = "list \"rep1\": 7 dead letters: 4 would be sent, 1 skipped (1 pending), 1 rejected (1 unknown_status), 1 \
                gone.\n";
    assert_eq!(replayed(&loopback, &["rep1", "--dry-run"]).await, (1, told.to_owned()));
    assert_eq!((loopback.sandbox.ometria().contacts().len(), letters(&loopback).len()), (before, 7));

    let (code, told) = replayed(&loopback, &["rep1"]).await;
    let expected = "7 dead letters: 3 sent, 1 skipped (1 pending), 2 rejected (1 refused, 1 unknown_status), 1 gone; the rejected \
                    records stay in ";
    assert!(code == 1 && told.contains(expected), "{told}");
    let optin = |index: usize| {
        contact(&loopback, &members[index])
            .map(|contact| contact["marketing_optin"].as_str().unwrap().to_owned())
    };
    assert_eq!(optin(0).as_deref(), Some("EXPLICITLY_OPTEDIN"));
    assert_eq!(optin(1).as_deref(), Some("EXPLICITLY_OPTEDOUT"));
    assert_eq!(optin(2).as_deref(), Some("EXPLICITLY_OPTEDOUT"));
    assert!((3..7).all(|index| optin(index).is_none()));
    let mut left: Vec<String> =
        letters(&loopback).iter().map(|letter| letter["key"].as_str().unwrap().to_owned()).collect();
    left.sort();
    let mut expected = vec![members[4].id(), members[6].id()];
    expected.sort();
    assert_eq!(left, expected);
    let again =
        letters(&loopback).into_iter().find(|letter| letter["key"] == members[6].id().as_str()).unwrap();
    assert_ne!(again["request_id"], first["request_id"], "the letter is of the last try");
    refuse(&loopback, &members[6..], false);
    change(4, "unsubscribed");
    let (code, told) = replayed(&loopback, &[]).await;
    assert!(code == 0 && told.contains("2 dead letters: 2 sent, 0 skipped, 0 rejected, 0 gone."), "{told}");
    assert!(!dead_letter(loopback.folder.path(), "rep1").exists());
    assert!(loopback.sandbox.ometria().errors().is_empty());
}

/// Makes a list in whose two entries Ometria refused one subscriber that it would accept now.
async fn refused_in_both() -> (Loopback, Member) {
    let text = r#"[{"list_id": "rep1"}, {"list_id": "rep1", "collection": "other", "properties": {"mc_vip": "vip"}}]"#;
    let loopback = Loopback::start(Duration::ZERO, text).await.list("rep1", 200);
    let member = {
        let mailchimp = loopback.sandbox.mailchimp();
        mailchimp.members("rep1").find(|member| member.status == "subscribed").unwrap().clone()
    };
    refuse(&loopback, std::slice::from_ref(&member), true);
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    refuse(&loopback, std::slice::from_ref(&member), false);
    assert_eq!(letters(&loopback).len(), 2);
    (loopback, member)
}

fn in_other(loopback: &Loopback, member: &Member) -> Option<Map<String, Value>> {
    let key = ("other".to_owned(), member.contact_id("rep1"));
    loopback.sandbox.ometria().contacts().get(&key).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_entry_of_a_list_replays_its_own_letters_as_it_maps_them() {
    let (loopback, member) = refused_in_both().await;
    let (code, told) = replayed(&loopback, &["rep1"]).await;
    assert!(code == 0 && told.matches("1 dead letter: 1 sent").count() == 2, "{told}");
    assert!(contact(&loopback, &member).is_some());
    assert!(in_other(&loopback, &member).unwrap()["properties"]["mc_vip"].is_boolean());
    assert_eq!(letters(&loopback).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_letters_of_a_paused_entry_stay_whatever_the_other_entry_does() {
    let (loopback, member) = refused_in_both().await;
    let path = loopback.folder.path().join("state.json");
    let mut state: Value = serde_json::from_str(&loopback.state()).unwrap();
    state[1]["enabled"] = false.into();
    // A full load of the other entry delivers the member there.
    state[0]["latest_timestamp"] = Value::Null;
    fs::write(&path, state.to_string()).unwrap();
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    assert!(contact(&loopback, &member).is_some());
    let (code, told) = replayed(&loopback, &["rep1"]).await;
    assert!(code == 1 && told.contains("0 dead letters: 0 sent") && told.contains("is paused"), "{told}");
    assert_eq!(letters(&loopback).len(), 1);
    // An entry with a mistake does not count as removed.
    state[1]["enabled"] = "yes".into();
    fs::write(&path, state.to_string()).unwrap();
    let (code, told) = replayed(&loopback, &["rep1"]).await;
    assert!(code == 2 && told.contains("an entry of the state file has a problem"), "{told}");
    state[1]["enabled"] = true.into();
    fs::write(&path, state.to_string()).unwrap();
    assert_eq!(replayed(&loopback, &["rep1"]).await.0, 0);
    assert!(in_other(&loopback, &member).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_that_cannot_be_delivered_and_an_older_picture_stay() {
    let (loopback, members) = with_refused(3).await;
    for member in &members {
        let now = SystemClock.now();
        loopback
            .sandbox
            .mailchimp()
            .edit("rep1", member.number, now, |member| member.status = "unsubscribed");
    }
    refuse(&loopback, &members, true);
    assert_eq!(replayed(&loopback, &[]).await.0, 1);
    refuse(&loopback, &members, false);
    loopback.sandbox.mailchimp().delete("rep1", members[0].number, SystemClock.now());
    let long_ago = SystemClock.now() - chrono::TimeDelta::days(1);
    loopback
        .sandbox
        .mailchimp()
        .edit("rep1", members[1].number, long_ago, |member| member.status = "subscribed");
    let (code, told) = replayed(&loopback, &[]).await;
    let expected =
        "3 dead letters: 1 sent, 0 skipped, 2 rejected (1 older_picture, 1 opt_out_undelivered), 0 gone";
    assert!(code == 1 && told.contains(expected), "{told}");
    assert_eq!(contact(&loopback, &members[2]).unwrap()["marketing_optin"], "EXPLICITLY_OPTEDOUT");
    assert!(contact(&loopback, &members[1]).is_none());
    assert_eq!(letters(&loopback).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_replay_cannot_read_are_reported_and_stay() {
    let (loopback, _) = with_refused(1).await;
    let file = dead_letter(loopback.folder.path(), "rep1");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}no letter\n")).unwrap();
    fs::write(file.with_file_name("removed.ndjson"), text).unwrap();
    let (code, told) = replayed(&loopback, &[]).await;
    assert!(
        code == 0 && told.contains("1 sent, 0 skipped, 0 rejected, 0 gone; 1 line of the file can't be read"),
        "{told}"
    );
    assert!(told.contains("removed.ndjson: no entry of the state file has this delivery"), "{told}");
    assert_eq!(fs::read_to_string(file).unwrap(), "no letter\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_list_does_not_make_its_members_missing() {
    let (loopback, _) = with_refused(2).await;
    loopback.sandbox.mailchimp().remove_list("rep1");
    let (code, told) = replayed(&loopback, &["rep1"]).await;
    assert!(code == 1 && told.contains("404") && told.contains("check that `list_id`"), "{told}");
    assert_eq!(letters(&loopback).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_replayed_beside_a_running_importer_into_a_pause_or_over_an_unfinished_run() {
    let (loopback, _) = with_refused(1).await;
    let lock = lock::take(loopback.folder.path(), SystemClock.now()).unwrap();
    let (code, told) = replayed(&loopback, &["rep1"]).await;
    assert!(code == 75 && told.contains("another importer"), "{told}");
    drop(lock);
    let (code, told) = replayed(&loopback, &["rep2"]).await;
    assert!(code == 2 && told.contains("no entry of the state file has the list \"rep2\""), "{told}");
    let checkpoint = delivery(loopback.folder.path(), "rep1").join("rep1-99914b932bd3/checkpoint.ndjson");
    fs::create_dir_all(checkpoint.parent().unwrap()).unwrap();
    fs::write(&checkpoint, "{}\n").unwrap();
    let (code, told) = replayed(&loopback, &["rep1"]).await;
    assert!(code == 1 && told.contains("its last run is not finished"), "{told}");
    fs::remove_file(checkpoint).unwrap();
    fs::write(loopback.folder.path().join("state.json"), r#"[{"list_id": "rep1", "enabled": false}]"#)
        .unwrap();
    let (code, told) = replayed(&loopback, &["rep1"]).await;
    assert!(code == 1 && told.contains("paused"), "{told}");
    assert_eq!(letters(&loopback).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_members_keep_the_id_that_the_list_has_chosen() {
    let (loopback, members) = with_refused(1).await;
    ledger::edit(loopback.folder.path(), "rep1", |summary| {
        assert_eq!(summary["choice"], "contact_id");
        summary["choice"] = "unique_email_id".into();
    });
    assert_eq!(replayed(&loopback, &[]).await.0, 0);
    let key = ("mailchimp_rep1".to_owned(), members[0].id()[..10].to_owned());
    assert!(loopback.sandbox.ometria().contacts().contains_key(&key));
}
