//! Rows of a list that share an `id`, such as members without an address: importer distinguishes them, or
//! counts them as one record.

use http::Method;
use importer::{
    base::window::{Listing, Span, Window},
    controller::Verdict,
    net::Request,
    sandbox::people::Member,
    source::Paging,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::places::dead_letter;
use crate::{
    contract::{sandbox, sandbox_doors, source},
    support::{NOON, World, at, hours},
    twist::{Twist, each_member},
};

fn letters(world: &World, list_id: &str) -> Vec<Value> {
    let path = dead_letter(world.folder.path(), list_id);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Removes the addresses of some subscribers of the list, each at another time.
fn without_address(world: &World, list_id: &str, count: usize) -> Vec<Member> {
    let mut mailchimp = world.sandbox.mailchimp();
    let members: Vec<Member> =
        mailchimp.members(list_id).filter(|m| m.status == "subscribed").cloned().collect();
    let found: Vec<Member> = members.into_iter().step_by(31).take(count).collect();
    for member in &found {
        mailchimp.edit(list_id, member.number, member.last_changed, |member| member.email = String::new());
    }
    found
}

fn reads(request: &Request) -> bool {
    request.method() == Method::GET && request.uri().path().contains("/members")
}

#[tokio::test(start_paused = true)]
async fn members_without_an_address_are_distinguished_and_kept_one_by_one() {
    for (list, missing) in [("twi1", vec![]), ("twi2", vec!["contact_id"])] {
        let world = World::new().list(list, 350).with_state(&format!(r#"[{{"list_id": "{list}"}}]"#));
        let members = without_address(&world, list, 4);
        let world = world.through(|sandbox| {
            let missing = missing.clone();
            Twist(sandbox, move |request: &Request, response| {
                if !reads(request) {
                    return response;
                }
                each_member(response, |member| {
                    // The real service has another one for each address; the sandbox derives it from the
                    // address.
                    if member["email_address"] == "" && member.get("contact_id").is_some() {
                        let contact = member["contact_id"].as_str().unwrap().to_owned();
                        member["unique_email_id"] = contact[..10].into();
                    }
                    for field in &missing {
                        if let Some(member) = member.as_object_mut() {
                            member.remove(*field);
                        }
                    }
                })
            })
        });
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{list}");
        assert_ne!(world.field("latest_timestamp"), Value::Null, "{list}");
        assert_eq!(world.logged("4 rejected (4 invalid_email)"), 1, "{list}");
        assert_eq!(world.logged("repeat another row's id"), 0, "{list}");
        let found = letters(&world, list);
        let mut keys: Vec<&str> = found.iter().map(|letter| letter["key"].as_str().unwrap()).collect();
        keys.sort_unstable();
        let mut expected: Vec<String> = members.iter().map(|member| member.contact_id(list)).collect();
        if !missing.is_empty() {
            expected.iter_mut().for_each(|id| id.truncate(10));
        }
        expected.sort_unstable();
        assert_eq!(keys, expected, "{list}");
        assert_eq!(world.contacts(), world.expected(list).len(), "{list}");
        sleep(hours(3)).await;
        let pushes = world.pushes().len();
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{list}");
        assert_eq!((world.pushes().len(), letters(&world, list).len()), (pushes, 4), "{list}");
    }
}

/// All rows without an address are in one page and have no other id: they count as one contact.
#[tokio::test(start_paused = true)]
async fn indistinguishable_rows_are_one_record_and_the_run_ends() {
    let world = World::new().list("twi3", 350).with_state(r#"[{"list_id": "twi3"}]"#);
    without_address(&world, "twi3", 3);
    let world = world.through(|sandbox| {
        Twist(sandbox, |request: &Request, response| {
            if !reads(request) {
                return response;
            }
            each_member(response, |member| {
                if let Some(member) = member.as_object_mut() {
                    member.remove("contact_id");
                    member.remove("unique_email_id");
                }
            })
        })
    });
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_ne!(world.field("latest_timestamp"), Value::Null);
    assert_eq!(world.lines("repeat another row's id").len(), 1);
    assert!(world.lines("repeat another row's id")[0].starts_with("WARN list \"twi3\": 2 rows repeat"));
    // Each row counts, like versions of one record.
    assert_eq!(world.logged("3 rejected (3 invalid_email)"), 1);
    assert_eq!(letters(&world, "twi3").len(), 1);
    assert!(world.clock.now() - at(NOON) < chrono::TimeDelta::seconds(60), "nothing was waited for");
}

/// A second with more rows than an answer is read repeatedly until all of its rows were seen.
#[tokio::test(start_paused = true)]
async fn indistinguishable_rows_may_be_in_a_second_that_exceeds_a_response() {
    let world = World::new().list("twi4", 1500).with_state(r#"[{"list_id": "twi4"}]"#);
    let numbers: Vec<u64> = world.sandbox.mailchimp().members("twi4").map(|member| member.number).collect();
    for (index, number) in numbers.iter().enumerate() {
        world.sandbox.mailchimp().edit("twi4", *number, at("2026-11-01"), |member| {
            if member.status == "archived" {
                member.status = "subscribed";
            }
            if index == 700 || index == 702 {
                member.email = String::new();
            }
        });
    }
    let world = world.through(|sandbox| {
        Twist(sandbox, |request: &Request, response| without_other_ids(reads(request), response))
    });
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.lines("1 row repeats another row's id").len(), 1);
}

fn without_other_ids(reads: bool, response: importer::net::Response) -> importer::net::Response {
    if !reads {
        return response;
    }
    each_member(response, |member| {
        if let Some(member) = member.as_object_mut() {
            member.remove("contact_id");
            member.remove("unique_email_id");
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_member_is_known_by_its_id_unless_that_is_not_of_its_address() {
    let sandbox = sandbox(Default::default());
    let twist = |response, fields: &[(&str, Value)]| {
        each_member(response, |member| fields.iter().for_each(|(name, value)| member[*name] = value.clone()))
    };
    let md5 = |text: &str| format!("{:x}", md5::compute(text));
    let same = md5("ada@example.com");
    for (fields, expected) in [
        (vec![("email_address", json!("Ada@Example.com")), ("id", json!(same))], same.as_str()),
        (vec![("email_address", json!("")), ("id", json!(md5("")))], "c1"),
        (vec![("email_address", json!(" ")), ("id", json!(md5(" ")))], "c1"),
        (vec![("email_address", Value::Null), ("id", json!("x"))], "c1"),
        (vec![("email_address", json!("grace@example.com")), ("id", json!(same))], "c1"),
        (vec![("email_address", json!("")), ("id", json!("x")), ("contact_id", json!(""))], "u1"),
        (
            vec![
                ("email_address", json!("")),
                ("id", json!("x")),
                ("contact_id", json!(7)),
                ("unique_email_id", json!(" ")),
            ],
            "x",
        ),
        (vec![("email_address", json!("")), ("id", json!(""))], "c1"),
    ] {
        let mut all = vec![("contact_id", json!("c1")), ("unique_email_id", json!("u1"))];
        all.extend(fields.clone());
        let twisted = Twist(sandbox.clone(), move |_: &Request, response| twist(response, &all));
        let doors = importer::net::AccountClients::new(
            importer::net::Environment::new(|name| {
                crate::support::KEYS
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            }),
            std::sync::Arc::new(twisted),
            std::sync::Arc::new(crate::support::TokioClock::at(NOON)),
        );
        let source = source("mailchimp", "a", &doors);
        let Paging::Offset(rows) = source.paging() else { panic!("rows") };
        let window = Window { listing: Listing::Listed, since: None, until: Some(at(NOON)) };
        let page = rows.read(&window, Span { offset: 0, count: 1 }).await.unwrap();
        assert_eq!(page.records[0].key, expected, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_is_found_by_the_id_of_its_contact_as_well() {
    let sandbox = sandbox(Default::default());
    let member = sandbox.mailchimp().members("a").find(|m| m.status == "subscribed").unwrap().clone();
    let source = source("mailchimp", "a", &sandbox_doors(&sandbox));
    for key in [member.id(), member.contact_id("a")] {
        let found = source.lookup().unwrap().find(&key).await.unwrap().unwrap();
        assert_eq!((found.key, found.changed), (key.into(), Some(member.last_changed)));
    }
}

/// Without a contact id, a member has a key that no path accepts.
#[tokio::test(start_paused = true)]
async fn a_member_is_found_by_the_id_of_its_address_as_well() {
    let sandbox = sandbox(Default::default());
    let members: Vec<Member> =
        sandbox.mailchimp().members("a").filter(|m| m.status == "subscribed").cloned().collect();
    sandbox
        .mailchimp()
        .edit("a", members[0].number, members[0].last_changed, |member| member.email = String::new());
    let key = md5::compute("").0[..5].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let twisted = Twist(sandbox.clone(), |_: &Request, response| {
        each_member(response, |member| member["contact_id"] = "".into())
    });
    let environment = importer::net::Environment::new(|name| {
        crate::support::KEYS.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    });
    let clock = std::sync::Arc::new(crate::support::TokioClock::at(NOON));
    let doors = importer::net::AccountClients::new(environment, std::sync::Arc::new(twisted), clock);
    let source = source("mailchimp", "a", &doors);
    let found = source.lookup().unwrap().find(&key).await.unwrap().unwrap();
    assert_eq!((found.key, found.changed), (key.into(), Some(members[0].last_changed)));
    assert!(source.lookup().unwrap().find("0123456789").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_interrupted_still_knows_which_rows_repeat_another_one() {
    let world = World::new().list("twi5", 700).with_state(r#"[{"list_id": "twi5", "worker_count": 1}]"#);
    // On the page that is settled first.
    let members: Vec<Member> = {
        let mailchimp = world.sandbox.mailchimp();
        mailchimp
            .members("twi5")
            .rev()
            .filter(|member| member.status == "subscribed")
            .take(3)
            .cloned()
            .collect()
    };
    for member in members {
        let changed = member.last_changed;
        world.sandbox.mailchimp().edit("twi5", member.number, changed, |member| member.email = String::new());
    }
    let world = world.through(|sandbox| {
        Twist(sandbox, |request: &Request, response| without_other_ids(reads(request), response))
    });
    assert_eq!(world.go_for(std::time::Duration::from_millis(1300)).await.unwrap(), Verdict::Done);
    assert_eq!(
        (world.field("latest_timestamp"), world.lines("repeat another row's id").len()),
        (Value::Null, 0)
    );
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("resuming the interrupted run"), 1);
    assert_eq!(world.lines("WARN list \"twi5\": 2 rows repeat another row's id").len(), 1);
    assert_eq!(world.logged("reading the window again"), 0);
    assert_ne!(world.field("latest_timestamp"), Value::Null);
}

/// The changes are years apart, so that no page shows two of the rows; the list fits into one answer.
#[tokio::test(start_paused = true)]
async fn indistinguishable_rows_may_be_on_different_pages_of_a_list_that_fits_one_response() {
    let world = World::new().list("twi6", 350).with_state(r#"[{"list_id": "twi6"}]"#);
    let members: Vec<Member> = {
        let mailchimp = world.sandbox.mailchimp();
        mailchimp.members("twi6").filter(|member| member.status == "subscribed").cloned().collect()
    };
    for member in [&members[0], &members[members.len() / 2], &members[members.len() - 1]] {
        let changed = member.last_changed;
        world.sandbox.mailchimp().edit("twi6", member.number, changed, |member| member.email = String::new());
    }
    let world = world.through(|sandbox| {
        Twist(sandbox, |request: &Request, response| without_other_ids(reads(request), response))
    });
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.lines("WARN list \"twi6\": 2 rows repeat another row's id").len(), 1);
    assert_eq!((world.logged("reading the window again"), letters(&world, "twi6").len()), (0, 1));
    assert!(world.clock.now() - at(NOON) < chrono::TimeDelta::seconds(60), "nothing was waited for");
}
