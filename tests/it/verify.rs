//! `importer verify`: compares the source's counts with the delivered records.

use std::time::Duration;

use chrono::TimeDelta;
use importer::base::clock::{Clock, SystemClock};

use crate::loopback::{Loopback, finish};

const TEXT: &str = r#"[{"list_id": "sum1"}]"#;

async fn verified(loopback: &Loopback) -> (i32, String) {
    let (code, told, log) = finish(loopback.command(&["verify", "sum1"])).await;
    assert!(log.is_empty() || code == 2, "{log}");
    (code, told + &log)
}

async fn loaded() -> Loopback {
    let loopback = Loopback::start(Duration::ZERO, TEXT).await.list("sum1", 400);
    let (code, told) = verified(&loopback).await;
    assert!(code == 1 && told.contains("no run of the list into this sink is on record"), "{told}");
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    loopback
}

fn numbers(loopback: &Loopback, status: &str) -> Vec<u64> {
    let mailchimp = loopback.sandbox.mailchimp();
    mailchimp.members("sum1").filter(|member| member.status == status).map(|member| member.number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_loaded_is_found_whole_also_when_members_have_changed_since() {
    let loopback = loaded().await;
    let (code, told) = verified(&loopback).await;
    assert_eq!(code, 0, "{told}");
    let subscribed = numbers(&loopback, "subscribed").len();
    assert!(told.contains(&format!("  subscribed {subscribed:>18} {subscribed:>14}")), "{told}");
    assert!(told.ends_with("Nothing is missing, as far as the counts can tell.\n"), "{told}");
    for number in numbers(&loopback, "subscribed").into_iter().take(3) {
        loopback
            .sandbox
            .mailchimp()
            .edit("sum1", number, SystemClock.now(), |member| member.status = "unsubscribed");
    }
    let (code, told) = verified(&loopback).await;
    assert!(code == 0 && told.contains("3 have changed since then; the next sync"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_never_delivered_are_reported_with_what_to_do() {
    let loopback = loaded().await;
    // Two members that the load seems to have skipped, at positions that it must have read.
    for _ in 0..2 {
        let long_ago = SystemClock.now() - TimeDelta::days(3);
        loopback.sandbox.mailchimp().insert("sum1", long_ago);
    }
    let (code, told) = verified(&loopback).await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("2 are missing: ") && told.contains("set latest_timestamp to null"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn permanently_deleted_members_are_reported_but_not_as_missing() {
    let loopback = loaded().await;
    for number in numbers(&loopback, "subscribed").into_iter().take(2) {
        loopback.sandbox.mailchimp().delete("sum1", number, SystemClock.now());
    }
    let (code, told) = verified(&loopback).await;
    assert!(
        code == 0 && told.contains("At least 2 are no longer at the source: they were permanently deleted"),
        "{told}"
    );
    assert!(told.ends_with("Nothing is missing, as far as the counts can tell.\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_without_a_full_load_accounts_for_no_record() {
    let text = r#"[{"list_id": "sum1", "latest_timestamp": "2026-01-01T00:00:00"}]"#;
    let loopback = Loopback::start(Duration::ZERO, text).await.list("sum1", 400);
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    let (code, told) = verified(&loopback).await;
    assert!(code == 1 && told.contains("does not begin with a full load"), "{told}");
    let (code, _, log) = finish(loopback.command(&["verify", "sum2"])).await;
    assert!(code == 2 && log.contains("has the list \"sum2\""), "{log}");
}
