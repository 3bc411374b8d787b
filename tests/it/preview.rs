//! `importer preview`: shows the payload of a member, and what is left out.

use std::time::Duration;

use importer::base::clock::{Clock, SystemClock};

use crate::loopback::{Loopback, output};

const TEXT: &str = r#"[{"list_id": "pre1", "default_country": "GB", "properties": {"mc_vip": "vip"}}]"#;

async fn previewed(loopback: &Loopback, arguments: &[&str]) -> (i32, String, String) {
    let mut command = loopback.command(&[&["preview"], arguments].concat());
    command.env_remove("OMETRIA_APIKEY");
    output(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_shown_with_its_contact_and_what_was_left_out_of_it() {
    let loopback = Loopback::start(Duration::ZERO, TEXT).await.list("pre1", 400);
    let (email, id) = {
        let mailchimp = loopback.sandbox.mailchimp();
        let told = |member: &&importer::sandbox::people::Member| {
            let json = member.json("pre1");
            member.status == "subscribed"
                && json["merge_fields"]["PHONE"] == "ask the office"
                && json["merge_fields"]["COMPANY"] != ""
        };
        let member = mailchimp.members("pre1").find(told).unwrap();
        (member.email.clone(), member.id())
    };
    let (code, told, log) = previewed(&loopback, &["pre1", "--member", &email.to_uppercase()]).await;
    assert_eq!(code, 0, "{log}");
    assert_eq!(previewed(&loopback, &["pre1", "--member", &id]).await.1, told, "by its key");
    let (record, contact) = told.split_once("\n\nWould be sent\n").unwrap();
    let (contact, left_out) = contact.split_once("\n\nLeft out\n").unwrap();
    assert!(
        record.starts_with(&format!("Record {id}\n{{")) && record.contains("\"PHONE\": \"ask the office\"")
    );
    let contact: serde_json::Value = serde_json::from_str(contact).unwrap();
    assert_eq!(
        (&contact["email"], &contact["marketing_optin"]),
        (&email.into(), &"EXPLICITLY_OPTEDIN".into())
    );
    assert!(contact["properties"]["mc_vip"].is_boolean(), "{contact}");
    let left_out: Vec<Vec<&str>> = left_out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(left_out.contains(&vec!["phone_number", "not_a_number"]), "{left_out:?}");
    assert!(left_out.contains(&vec!["merge_fields.COMPANY", "not_mapped"]), "{left_out:?}");
    assert_eq!(loopback.sandbox.seen().pushes.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_latest_members_are_shown_and_the_unsent_with_the_reason() {
    let loopback = Loopback::start(Duration::ZERO, TEXT).await.list("pre1", 50);
    let listed: Vec<u64> = {
        let mailchimp = loopback.sandbox.mailchimp();
        mailchimp.members("pre1").filter(|m| m.status != "archived").map(|m| m.number).collect()
    };
    for (number, status) in [(listed[0], "pending"), (listed[1], "vip")] {
        loopback.sandbox.mailchimp().edit("pre1", number, SystemClock.now(), |member| member.status = status);
    }
    let (code, told, _) = previewed(&loopback, &["pre1", "--count", "3"]).await;
    assert!(code == 0 && told.matches("Record ").count() == 3, "{told}");
    assert!(told.contains("Would not be sent: skipped, pending\n"), "{told}");
    assert!(told.contains("Would not be sent: rejected, unknown_status\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_member_and_an_unknown_list_are_distinguished() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "pre1"}, {"list_id": "gone"}]"#).await;
    let loopback = loopback.list("pre1", 5);
    let (code, _, log) = previewed(&loopback, &["pre1", "--member", "nobody@example.org"]).await;
    assert!(code == 1 && log.contains("the list has no such record"), "{log}");
    let (code, _, log) = previewed(&loopback, &["gone", "--member", "nobody@example.org"]).await;
    assert!(code == 1 && log.contains("check that `list_id` is a list of this account"), "{log}");
    assert!(!log.contains("nobody@example.org"));
    let (code, _, log) = previewed(&loopback, &["other"]).await;
    assert!(code == 2 && log.contains("no entry of the state file has the list \"other\""), "{log}");
}
