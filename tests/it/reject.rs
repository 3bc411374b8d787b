//! Members that Ometria refuses become dead letters; all others are delivered.

use importer::{controller::Verdict, sandbox::people::Member};
use serde_json::Value;
use tokio::time::sleep;

use crate::places::dead_letter;
use crate::support::{World, at, hours};

fn subscribed(world: &World, list_id: &str) -> Vec<Member> {
    let mailchimp = world.sandbox.mailchimp();
    mailchimp.members(list_id).filter(|member| member.status == "subscribed").cloned().collect()
}

/// Returns the dead letters of a list.
fn letters(world: &World, list_id: &str) -> Vec<Value> {
    let path = dead_letter(world.folder.path(), list_id);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_refused_contact_is_found_and_kept_and_the_rest_of_its_batch_is_delivered() {
    let world = World::new().list("ref1", 450).with_state(r#"[{"list_id": "ref1"}]"#);
    let refused: Vec<Member> = subscribed(&world, "ref1").into_iter().step_by(100).take(3).collect();
    for member in &refused {
        world.sandbox.ometria().refuse(&member.contact_id("ref1"), true);
    }
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.contacts(), world.expected("ref1").len() - 3);
    assert!(refused.iter().all(|member| world.contact("ref1", member).is_none()));
    assert_eq!(world.logged("3 rejected (3 refused)"), 1);
    assert_eq!(world.field("total_updates"), world.contacts());
    let letters = letters(&world, "ref1");
    let mut keys: Vec<&str> = letters.iter().map(|letter| letter["key"].as_str().unwrap()).collect();
    let mut expected: Vec<String> = refused.iter().map(Member::id).collect();
    keys.sort_unstable();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    for letter in &letters {
        assert_eq!(letter["payload"]["@type"], "contact");
        assert!(letter["request_id"].as_str().unwrap().starts_with("sandbox-"), "{letter}");
        assert!(letter["reason"].as_str().unwrap().contains("rejected 1 of 1 contacts"), "{letter}");
        assert!(letter["time"].as_str().unwrap().starts_with("2026-11-21T12:0"), "{letter}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivered_member_is_removed_from_the_dead_letters() {
    let world = World::new().list("ref2", 100).with_state(r#"[{"list_id": "ref2"}]"#);
    let members = subscribed(&world, "ref2");
    for member in &members[..2] {
        world.sandbox.ometria().refuse(&member.contact_id("ref2"), true);
    }
    world.once().await.unwrap();
    assert_eq!(letters(&world, "ref2").len(), 2);
    world.sandbox.ometria().refuse(&members[0].contact_id("ref2"), false);
    sleep(hours(3)).await;
    for member in &members[..2] {
        let now = at("2026-11-21T14:30:00");
        world.sandbox.mailchimp().edit("ref2", member.number, now, |member| member.first = "Augusta".into());
    }
    world.once().await.unwrap();
    let left = letters(&world, "ref2");
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["key"], members[1].id());
    assert_eq!(left[0]["payload"]["firstname"], "Augusta");
}

#[tokio::test(start_paused = true)]
async fn members_that_cannot_be_mapped_are_kept_without_a_payload() {
    let world = World::new().list("ref3", 50).with_state(r#"[{"list_id": "ref3"}]"#);
    world.sandbox.mailchimp().edit("ref3", 3, at("2026-11-01T00:00:00"), |member| member.status = "vip");
    world.once().await.unwrap();
    let letters = letters(&world, "ref3");
    assert_eq!(
        (letters.len(), &letters[0]["reason"], &letters[0]["payload"]),
        (1, &"unknown_status".into(), &Value::Null)
    );
}

/// Gives neighboring members of this list invalid addresses.
fn broken(world: &World, list_id: &str, from: u64, count: u64) {
    let mut mailchimp = world.sandbox.mailchimp();
    let numbers: Vec<_> = mailchimp
        .members(list_id)
        .filter(|member| !["archived", "pending"].contains(&member.status))
        .map(|member| (member.number, member.last_changed))
        .collect();
    for (number, changed) in numbers.into_iter().rev().skip(from as usize).take(count as usize) {
        mailchimp.edit(list_id, number, changed, |member| member.email = format!("broken {number}"));
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_a_hundred_rejects_are_no_reason_to_stop_while_most_records_are_delivered() {
    // The latest changes are read first.
    for from in [0, 1500] {
        let world = World::new().list("ref5", 3000).with_state(r#"[{"list_id": "ref5"}]"#);
        broken(&world, "ref5", from, 400);
        // The catch-up pass reads a member that changes during the load.
        let change = async {
            sleep(std::time::Duration::from_secs(2)).await;
            let number = subscribed(&world, "ref5")[7].number;
            let now = world.clock.now();
            world.sandbox.mailchimp().edit("ref5", number, now, |member| member.first = "Augusta".into());
        };
        assert_eq!(tokio::join!(world.once(), change).0.unwrap(), Verdict::Done, "{from}");
        assert_eq!(world.logged("400 rejected (400 invalid_email)"), 1);
        assert_eq!(letters(&world, "ref5").len(), 400);
        assert!(world.field("latest_timestamp").is_string());
        // A member that unsubscribes later is opted out.
        sleep(hours(3)).await;
        let leaves =
            subscribed(&world, "ref5").into_iter().find(|member| member.email.contains('@')).unwrap();
        let now = world.clock.now() - chrono::TimeDelta::minutes(5);
        world.sandbox.mailchimp().edit("ref5", leaves.number, now, |member| member.status = "unsubscribed");
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_eq!(world.contact("ref5", &leaves).unwrap()["marketing_optin"], "EXPLICITLY_OPTEDOUT");
    }
}

#[tokio::test(start_paused = true)]
async fn rejects_are_compared_with_the_records_of_the_same_pass_also_after_an_interruption() {
    let world = World::new().list("ref6", 3000).with_state(r#"[{"list_id": "ref6"}]"#);
    broken(&world, "ref6", 0, 400);
    for _ in 0..30 {
        tokio::select! {
            _ = world.once() => {}
            () = sleep(std::time::Duration::from_millis(900)) => {}
        }
    }
    assert!(world.logged("resuming the interrupted run") > 2);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("records were rejected"), 0);
    assert!(world.field("latest_timestamp").is_string());
}

/// Makes the service refuse all members, or accept them again.
fn refuse(world: &World, list_id: &str, refuses: bool) -> usize {
    let members: Vec<Member> = world.sandbox.mailchimp().members(list_id).cloned().collect();
    members.iter().for_each(|member| world.sandbox.ometria().refuse(&member.contact_id(list_id), refuses));
    members.len()
}

#[tokio::test(start_paused = true)]
async fn when_most_are_refused_the_list_stops_says_what_looks_wrong_and_reads_all_again() {
    let world = World::new().list("ref4", 1000).with_state(r#"[{"list_id": "ref4"}]"#);
    refuse(&world, "ref4", true);
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    let left = letters(&world, "ref4").len();
    assert_eq!(world.logged(&format!(" records were rejected ({left} refused)")), 1);
    assert_eq!(world.logged("the mapping or the sink is probably wrong; check the dead letters"), 1);
    assert!(left < 800, "nothing more is kept then");
    assert_eq!(world.field("latest_timestamp"), Value::Null);
    refuse(&world, "ref4", false);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.contacts(), world.expected("ref4").len());
    assert_eq!(letters(&world, "ref4").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_load_of_which_every_record_is_refused_is_no_success_however_small() {
    let world = World::new().list("ref7", 5).with_state(r#"[{"list_id": "ref7"}]"#);
    refuse(&world, "ref7", true);
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    let left = letters(&world, "ref7").len();
    assert_eq!(world.logged(&format!("{left} of 5 records were rejected")), 1);
    assert_eq!(world.field("latest_timestamp"), Value::Null);
    refuse(&world, "ref7", false);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.contacts(), world.expected("ref7").len());
    assert_eq!(letters(&world, "ref7").len(), 0);
    // A sync that finds nothing but one record at fault goes on: the record is kept as a dead letter.
    sleep(hours(3)).await;
    let member = subscribed(&world, "ref7")[0].clone();
    let changed = world.clock.now() - chrono::TimeDelta::minutes(5);
    world.sandbox.mailchimp().edit("ref7", member.number, changed, |member| member.email = "broken".into());
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(letters(&world, "ref7").len(), 1);
}
