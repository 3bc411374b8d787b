//! Rejected records do not count as delivered: `importer verify` and `go --once --strict` report them.

use std::{fs, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures::future::BoxFuture;
use importer::{
    app::wiring::{Adapters, Keys},
    base::{clock::Clock, events::Events},
    net::{Environment, Transport, transport::TransportError},
    sandbox::Sandbox,
};
use serde_json::Value;

use crate::places::dead_letter;
use crate::{
    ledger,
    loopback::{Loopback, finish},
    support::{KEYS, World, at, entries},
};

const TEXT: &str = r#"[{"list_id": "rej1"}]"#;

/// Makes a loaded list of 400 members. Ometria refuses those with this status.
async fn loaded(text: &str, status: &str) -> (Loopback, usize) {
    let loopback = Loopback::start(Duration::ZERO, text).await.list("rej1", 400);
    let refused = refuse(&loopback, status, true);
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    (loopback, refused)
}

/// Makes Ometria refuse the members with this status, or accept them again. Returns their number.
fn refuse(loopback: &Loopback, status: &str, refused: bool) -> usize {
    let mailchimp = loopback.sandbox.mailchimp();
    let ids: Vec<String> = mailchimp
        .members("rej1")
        .filter(|member| member.status == status)
        .map(|member| member.contact_id("rej1"))
        .collect();
    ids.iter().for_each(|id| loopback.sandbox.ometria().refuse(id, refused));
    ids.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_records_have_a_column_of_their_own_and_an_exit_code_until_a_replay_delivers_them() {
    let (loopback, refused) = loaded(TEXT, "cleaned").await;
    assert!(refused > 0);
    let (code, told, _) = finish(loopback.command(&["verify", "rej1"])).await;
    assert_eq!(code, 3, "{told}");
    let row = format!("  cleaned {refused:>21} {:>14} {refused:>14}\n", 0);
    assert!(told.contains(&row), "{row}{told}");
    let end = format!("Nothing is missing, but {refused} records are rejected: ");
    assert!(told.contains(&end) && told.contains("dead-letter/rej1.mailchimp--ometria."), "{told}");
    let (code, told, log) = finish(loopback.command(&["why", "rej1", &key(&loopback)])).await;
    assert!(code == 0 && told.contains("last outcome     rejected with the status cleaned"), "{told}{log}");
    // Deleting the letters delivers no record.
    let file = dead_letter(loopback.folder.path(), "rej1");
    let letters = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(finish(loopback.command(&["verify", "rej1"])).await.0, 3);
    fs::write(&file, letters).unwrap();
    refuse(&loopback, "cleaned", false);
    let (code, told, log) = finish(loopback.command(&["replay", "rej1"])).await;
    assert_eq!(code, 0, "{told}{log}");
    let (code, told, _) = finish(loopback.command(&["verify", "rej1"])).await;
    assert!(code == 0 && told.ends_with("Nothing is missing, as far as the counts can tell.\n"), "{told}");
}

/// Returns the key of a rejected record.
fn key(loopback: &Loopback) -> String {
    let text = fs::read_to_string(dead_letter(loopback.folder.path(), "rej1")).unwrap();
    let letter: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    letter["key"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_records_are_reported_first_even_if_others_are_rejected() {
    let (loopback, _) = loaded(TEXT, "cleaned").await;
    let long_ago = importer::base::clock::SystemClock.now() - TimeDelta::days(3);
    loopback.sandbox.mailchimp().insert("rej1", long_ago);
    let (code, told, _) = finish(loopback.command(&["verify", "rej1"])).await;
    assert!(code == 1 && told.contains("1 are missing: "), "{told}");
    assert!(told.contains(" are rejected: "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_single_pass_exits_with_3_while_rejected_records_wait_and_names_the_files() {
    let text = r#"[{"list_id": "rej1"}, {"list_id": "fine1", "enabled": false}]"#;
    let (loopback, refused) = loaded(text, "cleaned").await;
    let (code, _, log) = finish(loopback.command(&["go", "--once", "--strict"])).await;
    assert_eq!(code, 3, "{log}");
    let told = format!("list \"rej1\": {refused} rejected records wait in ");
    assert!(log.contains(&told) && log.contains("dead-letter/rej1.mailchimp--ometria."), "{log}");
    assert!(!log.contains("list \"fine1\": 0"), "{log}");
    assert_eq!(finish(loopback.command(&["go", "--once"])).await.0, 0);
    // The loop has no end at which to report them.
    assert_eq!(finish(loopback.command(&["go", "--strict"])).await.0, 2);
    fs::remove_file(dead_letter(loopback.folder.path(), "rej1")).unwrap();
    assert_eq!(finish(loopback.command(&["go", "--once", "--strict"])).await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_run_has_found_the_totals_wrong_verify_can_not_tell() {
    let (loopback, _) = loaded(TEXT, "none").await;
    ledger::edit(loopback.folder.path(), "rej1", |summary| summary["totals_wrong"] = true.into());
    let (code, told, _) = finish(loopback.command(&["verify", "rej1"])).await;
    assert!(code == 1 && told.contains("verify can't check whether records are missing"), "{told}");
    assert!(!told.contains("Nothing is missing") && !told.contains("permanently deleted"), "{told}");
}

/// Changes the pages of members on their way.
struct Changed<F> {
    sandbox: Arc<Sandbox>,
    change: F,
}

impl<F: Fn(usize, &mut Value) + Send + Sync> Transport for Changed<F> {
    fn send(
        &self,
        request: importer::net::Request,
    ) -> BoxFuture<'_, Result<importer::net::Response, TransportError>> {
        Box::pin(async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let count = query.split('&').find_map(|part| part.strip_prefix("count=")?.parse().ok());
            let response = self.sandbox.send(request).await?;
            let Ok(mut page) = serde_json::from_slice::<Value>(response.body()) else { return Ok(response) };
            if page.get("total_items").is_some() {
                (self.change)(count.unwrap_or(10), &mut page);
            }
            let (parts, _) = response.into_parts();
            Ok(http::Response::from_parts(parts, page.to_string().into()))
        })
    }
}

type Lie = Box<dyn Fn(usize, &mut Value) + Send + Sync>;

async fn census(change: impl Fn(usize, &mut Value) + Send + Sync + 'static) -> Result<u64, String> {
    let world = World::new().list("lie1", 300).with_state(r#"[{"list_id": "lie1"}]"#);
    let transport = Arc::new(Changed { sandbox: world.sandbox.clone(), change });
    let settings = |name: &str| {
        KEYS.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    };
    let adapters = Adapters::new(
        &Environment::new(settings),
        Keys::SourceOnly,
        transport,
        world.clock.clone(),
        world.folder.path(),
        Events::default(),
    );
    let ends = adapters.open(&entries(&world.state())[0], true).map_err(|closed| closed.unfit.text)?;
    let counted = ends.source.census().unwrap().census(at("2026-11-21T11:59:00")).await;
    counted.map(|counts| counts.iter().map(|(_, count)| count).sum()).map_err(|fault| fault.to_string())
}

#[tokio::test(start_paused = true)]
async fn counts_that_contradict_the_rows_are_no_counts() {
    let total = |page: &Value| page["total_items"].as_u64().unwrap();
    assert_eq!(census(|_, _| {}).await, Ok(300));
    let lies: [(&str, Lie); 5] = [
        ("fewer than the page holds", Box::new(|_, page| page["total_items"] = 0.into())),
        (
            "as many as the page holds",
            Box::new(|_, page| page["total_items"] = page["members"].as_array().unwrap().len().into()),
        ),
        ("as many as asked for", Box::new(|count, page| page["total_items"] = count.into())),
        ("one too few", Box::new(move |_, page| page["total_items"] = total(page).saturating_sub(1).into())),
        ("one too many", Box::new(move |_, page| page["total_items"] = (total(page) + 1).into())),
    ];
    for (lie, change) in lies {
        let found = census(change).await;
        assert!(
            found.as_ref().is_err_and(|why| why.contains("its totals are inconsistent")),
            "{lie}: {found:?}"
        );
    }
}
