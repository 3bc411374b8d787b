//! The delivery cache, and when it must not be used; clocks, cool-downs and the brake for a source that is
//! read whole in every run.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta};
use futures::future::BoxFuture;
use importer::{
    controller::Verdict,
    net::{Request, Response, Transport, TransportError},
    sandbox::{Sandbox, Service, Trouble},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    ledger,
    places::dead_letter,
    support::{World, at, minutes},
};

const FILE: &str = "shifts.ndjson";

/// Returns the last version of a shift in the file.
fn last(world: &World, id: u64) -> Value {
    let of = |line: &Value| line["id"] == json!(id) || line["key"] == json!(id.to_string());
    world.out(FILE).into_iter().rfind(of).unwrap()
}

/// Returns the id of a shift that is read.
fn some_id(world: &World) -> u64 {
    let (from, to) = (at("2026-11-21"), at("2026-11-23"));
    let account = world.sandbox.when_i_work();
    let read = |shift: &&importer::sandbox::when_i_work::Shift| {
        shift.published && shift.user_id != 0 && shift.start >= from && shift.start < to
    };
    account.shifts().find(read).unwrap().id
}

fn edit(world: &World, id: u64, notes: &str) {
    world.sandbox.when_i_work().edit(id, at("2026-11-21T11:00:00"), |shift| shift.notes = notes.to_owned());
}

/// Returns an entry that is due, with more settings.
fn due(more: &str) -> String {
    format!(
        r#"{{"list_id": "shifts", "source": "when_i_work", {more}, "latest_timestamp": "2026-11-21T00:00:00"}}"#
    )
}

/// The sink receives other versions in between, without a trace in the cache that is used later.
#[tokio::test(start_paused = true)]
async fn a_memory_that_was_set_aside_counts_for_nothing_afterwards() {
    let plain = due(r#""sink": "ndjson""#);
    let b = due(r#""sink": {"type": "ndjson", "path": "out/b.ndjson"}"#);
    let picked =
        r#""sink": "ndjson", "mapping": {"type": "fields", "fields": {"id": "id", "notes": "notes"}}"#;
    let wrong = picked.replace(r#""notes": "notes""#, r#""notes": {"value": "Bob"}"#);
    let off = due(r#""sink": "ndjson", "unchanged": "off""#);
    for (first, meanwhile, then) in [
        (format!("[{plain}]"), format!("[{off}]"), format!("[{plain}]")),
        // A second entry for a while.
        (format!("[{plain}]"), format!("[{plain}, {b}]"), format!("[{plain}]")),
        // One of two entries has another mapping for a while.
        (
            format!("[{}, {b}]", due(picked)),
            format!("[{}, {b}]", due(&wrong)),
            format!("[{}, {b}]", due(picked)),
        ),
    ] {
        let world = World::new();
        world.sandbox.when_i_work().invent(50, 1, world.clock.now());
        let id = some_id(&world);
        for (state, notes) in [(&first, "Ada"), (&meanwhile, "Bob"), (&then, "Ada")] {
            edit(&world, id, notes);
            world.save(state);
            assert_eq!(world.once().await.unwrap(), Verdict::Done);
            assert_eq!(last(&world, id)["notes"], notes, "{state}");
        }
    }
}

/// A contact made of a shift, as a user might map it.
const CONTACT: &str = r#""mapping": {"type": "fields", "fields": {"@type": {"value": "contact"}, "@collection": {"value": "c"},
    "@merge": {"value": true}, "id": {"from": "id", "as": "text"}, "email": {"value": "ada@example.org"},
    "marketing_optin": {"value": "EXPLICITLY_OPTEDOUT"}}}"#;

#[tokio::test(start_paused = true)]
async fn what_one_account_has_accepted_says_nothing_of_another() {
    let mut world = World::new();
    world.sandbox.when_i_work().invent(50, 1, world.clock.now());
    let mut pushed = 0;
    for (address, sends) in
        [("https://a.example/v2", true), ("https://a.example/v2", false), ("https://b.example/v2", true)]
    {
        world = world.set("OMETRIA_URL", address);
        world.save(&format!("[{}]", due(CONTACT)));
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_eq!(world.pushes().len() > pushed, sends, "{address}");
        pushed = world.pushes().len();
    }
}

#[tokio::test(start_paused = true)]
async fn the_dead_letter_of_an_opt_out_says_so_for_every_mapping() {
    let refused =
        CONTACT.replace(r#""marketing_optin""#, r#""phone_number": {"value": "123"}, "marketing_optin""#);
    let world = World::new().with_state(&format!("[{}]", due(&refused)));
    world.sandbox.when_i_work().invent(20, 1, world.clock.now());
    world.once().await.unwrap();
    let text = fs::read_to_string(dead_letter(world.folder.path(), "shifts")).unwrap();
    let letter: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&letter["reason"], &letter["opts_out"]), (&json!("invalid_phone_number"), &json!(true)));
}

/// Cursor paging reports no size: the size of the list is that of the last run, or the number of records
/// read.
#[tokio::test(start_paused = true)]
async fn mass_opt_outs_are_stopped_even_if_the_source_reports_no_size() {
    let opted_in = CONTACT.replace("EXPLICITLY_OPTEDOUT", "EXPLICITLY_OPTEDIN");
    // Small pages, so that some opt-outs are sent before the brake stops the run.
    let entry = |mapping: &str| format!("[{}]", due(&format!(r#""items_per_request": 220, {mapping}"#)));
    for ledger_is_lost in [false, true] {
        let mut world = World::new().with_state(&entry(&opted_in));
        world.sandbox.when_i_work().invent(8000, 1, world.clock.now());
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        if ledger_is_lost {
            ledger::write(&ledger::of(world.folder.path(), "shifts"), None);
        }
        world.save(&entry(CONTACT));
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        assert_eq!(world.logged("records would be opted out (up to "), 1);
        // Repeated runs do not bypass the brake: earlier opt-outs count each time.
        world.fresh();
        for _ in 0..6 {
            assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        }
    }
}

/// Cached deliveries expire together and are sent together. Opt-outs that the sink already has do not count
/// as new.
#[tokio::test(start_paused = true)]
async fn opt_outs_that_are_sent_once_more_trip_no_brake() {
    let state = format!(
        r#"[{{"list_id": "shifts", "source": "when_i_work", {CONTACT}, "items_per_request": 1000, "every": "30m",
            "unchanged": {{"expire": "1h"}}}}]"#
    );
    let world = World::new().with_state(&state);
    world.sandbox.when_i_work().invent(6000, 1, world.clock.now());
    assert_eq!(world.go_for(minutes(100)).await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("failed"), 0);
    let sent = world.lines("finished in").into_iter().filter(|line| !line.contains(": 0 sent, ")).count();
    assert_eq!(sent, 2, "at first and an hour later");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_listed_is_counted() {
    let state = r#"[{"list_id": "shifts", "source": "when_i_work", "sink": "ndjson", "every": "5s"}]"#;
    let world = World::new().with_state(state);
    world.sandbox.when_i_work().invent(50, 1, world.clock.now());
    let id = some_id(&world);
    let story = async {
        sleep(Duration::from_secs(30)).await;
        world.sandbox.when_i_work().edit(id, at("2026-11-21T12:00:20"), |shift| shift.user_id = 0);
        sleep(Duration::from_secs(30)).await;
        world.stop();
    };
    let (ended, ()) = tokio::join!(world.go(), story);
    assert_eq!(ended.unwrap(), Verdict::Done);
    let told: Vec<String> = world.lines(", 1 no longer listed, 1 pass").into_iter().collect();
    assert!(told.len() == 1 && told[0].starts_with("INFO"), "{told:?}");
}

/// Every third response is from a server whose clock is ten seconds behind.
struct TwoClocks(Arc<Sandbox>, AtomicUsize);

impl Transport for TwoClocks {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let mut response = self.0.send(request).await?;
            let date = response.headers().get("date").and_then(|date| date.to_str().ok()).unwrap().to_owned();
            if self.1.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
                let behind = DateTime::parse_from_rfc2822(&date).unwrap() - TimeDelta::seconds(10);
                let date = behind.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
                response.headers_mut().insert("date", date.parse().unwrap());
            }
            Ok(response)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn no_clock_of_a_source_decides_how_often_it_is_read() {
    let state = r#"[{"list_id": "shifts", "source": "when_i_work", "sink": "ndjson", "every": "5s"}]"#;
    let ahead = World::with_server_at("2026-11-21T12:10:00");
    let two = World::new().through(|sandbox| TwoClocks(sandbox, AtomicUsize::new(0)));
    for world in [ahead, two] {
        world.save(state);
        world.sandbox.when_i_work().invent(50, 1, world.clock.now());
        assert_eq!(world.go_for(minutes(5)).await.unwrap(), Verdict::Done);
        let runs = world.logged("finished in");
        assert!(runs > 20 && world.logged("failed") == 0, "{runs} runs in five minutes");
    }
}

/// A single pass continues one that was stopped two days ago, and then reads the current records.
#[tokio::test(start_paused = true)]
async fn an_interrupted_chain_ends_with_what_there_is_to_read_now() {
    let state = r#"[{"list_id": "shifts", "source": "when_i_work", "sink": "ndjson"}]"#;
    let world = World::new().with_state(state);
    world.sandbox.when_i_work().invent(600, 1, world.clock.now());
    world.go_for(Duration::from_millis(3400)).await.unwrap();
    assert_eq!(world.logged("list \"shifts\" stopped: "), 1);
    sleep(minutes(2 * 24 * 60)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("resuming the interrupted run"), 1);
    let held: Vec<u64> = world.out(FILE).iter().map(|line| line["id"].as_u64().unwrap()).collect();
    let account = world.sandbox.when_i_work();
    let counts = |shift: &&importer::sandbox::when_i_work::Shift| {
        let (from, to) = (at("2026-11-23"), at("2026-11-25"));
        shift.published && shift.user_id != 0 && shift.start >= from && shift.start < to
    };
    assert!(account.shifts().filter(counts).count() > 50);
    assert!(account.shifts().filter(counts).all(|shift| held.contains(&shift.id)));
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_the_service_asks_for_is_kept_without_retries_and_with_a_distance() {
    let entry = |list: &str, manner: &str| {
        format!(
            r#"{{"list_id": "{list}", "source": {{"type": "when_i_work", {manner}}}, "sink": "ndjson", "every": "5s"}}"#
        )
    };
    let (once, far) = (r#""retry": false"#, r#""min_interval": "30s""#);
    for state in
        [format!("[{}]", entry("shifts", once)), format!("[{}, {}]", entry("shifts", far), entry("41", far))]
    {
        let world = World::new().with_state(&state);
        world.sandbox.when_i_work().invent(20, 1, world.clock.now());
        let requests =
            || world.sandbox.seen().shifts.iter().filter(|read| read.contains("/2/shifts")).count();
        let story = async {
            sleep(Duration::from_secs(100)).await;
            world.sandbox.trouble(Service::WhenIWork, Trouble::Status(429, Some("240")));
            let throttled = world.sandbox.seen().throttled;
            while world.sandbox.seen().throttled == throttled {
                sleep(Duration::from_millis(100)).await;
            }
            let before = requests();
            sleep(Duration::from_secs(230)).await;
            assert_eq!(requests(), before, "{state}");
            sleep(Duration::from_secs(120)).await;
            assert!(requests() > before, "afterwards it goes on");
            world.stop();
        };
        tokio::join!(async { world.go().await.unwrap() }, story);
    }
}
