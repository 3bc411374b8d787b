//! Several accounts of one service: each has its own keys, limits, outages and cool-downs.

use std::time::Duration;

use importer::{
    controller::Verdict,
    net::{Request, Response, Transport, TransportError},
    sandbox::{SECOND_MAILCHIMP_KEY, SECOND_OMETRIA_KEY, Sandbox},
};
use tokio::time::Instant;

use crate::support::{World, at};

/// One list of each account, into the same service.
const LISTS: &str = r#"[
  {"list_id": "acc1"},
  {"list_id": "acc2", "source": {"type": "mailchimp", "account": "eu"}, "sink": {"type": "ometria", "account": "eu"}}
]"#;

/// Makes a world in which both accounts have a list and keys.
fn world(members: u64) -> World {
    let world = World::new()
        .set("MAILCHIMP_APIKEY_EU", SECOND_MAILCHIMP_KEY)
        .set("OMETRIA_APIKEY_EU", SECOND_OMETRIA_KEY)
        .list("acc1", members)
        .with_state(LISTS);
    world.sandbox.second_mailchimp().add_list("acc2", members, 1, at("2026-11-21T12:00:00"));
    world
}

/// Returns the number of contacts in the first and in the second account.
fn contacts(world: &World) -> (usize, usize) {
    (world.contacts(), world.sandbox.second_ometria().contacts().len())
}

#[tokio::test(start_paused = true)]
async fn each_account_is_read_and_written_with_its_own_keys() {
    let world = world(300);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("acc1");
    let collections = |contacts: Vec<(String, String)>| {
        let mut names: Vec<String> = contacts.into_iter().map(|(collection, _)| collection).collect();
        names.dedup();
        names
    };
    let first = world.sandbox.ometria().contacts().keys().cloned().collect();
    let second = world.sandbox.second_ometria().contacts().keys().cloned().collect();
    assert_eq!(
        (collections(first), collections(second)),
        (vec!["mailchimp_acc1".into()], vec!["mailchimp_acc2".into()])
    );
    let (first, second) = contacts(&world);
    assert!(first > 250 && second > 250, "{first} and {second}");
}

#[tokio::test(start_paused = true)]
async fn each_account_has_its_own_limits() {
    let slow = world(300).set("OMETRIA_RATE_EU", "0.5").set("OMETRIA_RATE", "0");
    slow.save(&LISTS.replace("\"sink\": {", "\"items_per_request\": 10, \"sink\": {"));
    let start = Instant::now();
    let first_done = async {
        while slow.logged("list \"acc1\" finished") == 0
            && slow.lines("\"acc1\": ").iter().all(|l| !l.contains("finished in"))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    };
    let (verdict, first) = tokio::join!(slow.once(), first_done);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    // Thirty batches, one every two seconds; the other account has no limit.
    assert!(start.elapsed() > Duration::from_secs(50) && first < Duration::from_secs(20), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_key_suspends_its_account_only_and_is_named() {
    let world = world(300).set("MAILCHIMP_APIKEY_EU", "0000-us2");
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    world.assert_delivered("acc1");
    let line = world.lines("mailchimp eu returned 401").join("\n");
    assert!(line.contains("check the key in `MAILCHIMP_APIKEY_EU`"), "{line}");
    assert_eq!(world.logged("`MAILCHIMP_APIKEY`"), 0);
}

/// Refuses connections to the data center of the second account.
struct Unreachable(std::sync::Arc<Sandbox>);

impl Transport for Unreachable {
    fn send(&self, request: Request) -> futures::future::BoxFuture<'_, Result<Response, TransportError>> {
        if request.uri().host().is_some_and(|host| host.starts_with("us2.")) {
            return Box::pin(async { Err(TransportError::Unreachable("connection refused".into())) });
        }
        self.0.send(request)
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_concerns_its_account_only_and_is_named() {
    let world = world(300).through(Unreachable);
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    world.assert_delivered("acc1");
    assert_eq!(contacts(&world).1, 0);
    let known = "no complete response from mailchimp eu at https://us2.api.mailchimp.com: connection refused (if this persists, \
                 check the network and `MAILCHIMP_URL_EU`); pausing all requests to mailchimp eu, attempt 2 of 6 in ";
    assert_eq!(
        world.lines("WARN").iter().filter(|line| line.contains(known)).count(),
        1,
        "{:?}",
        world.lines("WARN")
    );
}

/// The plain variable is the key of another account: to fall back to it would read or write the wrong account.
#[tokio::test(start_paused = true)]
async fn the_key_of_an_account_is_never_that_of_another() {
    let world = World::new().list("acc1", 30).with_state(
        r#"[{"list_id": "acc1", "source": {"type": "mailchimp", "account": "acme"}, "sink": "ndjson"}]"#,
    );
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(world.logged("`source`: `MAILCHIMP_APIKEY_ACME` is not set; set it in .env"), 1);
    assert_eq!(world.reads().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_account_is_a_problem_of_its_entry() {
    let named =
        "must be a lower-case name that begins with a letter and does not end in `file`, such as \"acme\"";
    for (entry, problem) in [
        (r#""source": {"type": "mailchimp", "account": "Acme"}"#, named),
        (r#""source": {"type": "mailchimp", "account": "my_file"}"#, named),
        (r#""source": {"type": "mailchimp", "account": {"env": "IMPORTER_VAR_A"}}"#, named),
        (r#""sink": {"type": "ometria", "account": 5}"#, named),
        (
            r#""sink": {"type": "ndjson", "account": "acme"}"#,
            "ndjson: `account` has no effect, since ndjson uses no account; remove it",
        ),
        (
            r#""mapping": {"type": "as_is", "account": "acme"}, "sink": "ndjson""#,
            "as_is: unknown setting `account`; this type has no settings",
        ),
    ] {
        let world = World::new().with_state(&format!(r#"[{{"list_id": "acc1", {entry}}}]"#));
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        assert_eq!(world.logged(problem), 1, "{problem}\n{}", world.log().join("\n"));
    }
}
