//! Notices of opt-outs, deletions and rejections: they arrive at their receiver, whatever happens to it and to the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, SubsecRound, Utc};
use fastrand::Rng;
use futures::future::BoxFuture;
use importer::{
    base::events::Events,
    controller::Verdict,
    net::{Request, Response, Transport, TransportError},
    sandbox::Sandbox,
    store::records::{self, OutboxStatus},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    places,
    support::{World, entries, hours, minutes},
};

const HOST: &str = "receiver.example.org";
const FILE: &str = "shifts.ndjson";

/// The receiver, as the program reaches it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Up,
    /// Refuses connections.
    Down,
    /// Takes requests, and never answers.
    Silent,
    /// Loses one answer in three.
    Bad,
}

/// Stands between the program and the services. Stores the notices that have arrived, repeats included.
struct Hook {
    sandbox: Arc<Sandbox>,
    state: Arc<Mutex<State>>,
}

struct State {
    line: Line,
    random: Rng,
    arrived: Vec<Value>,
    /// Number of requests to the receiver.
    requests: usize,
}

impl Transport for Hook {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        if request.uri().host() != Some(HOST) {
            return self.sandbox.send(request);
        }
        Box::pin(async move {
            let (line, loses) = {
                let mut state = self.state.lock().unwrap();
                state.requests += 1;
                (state.line, state.random.u8(..3) == 0)
            };
            if line == Line::Down {
                sleep(Duration::from_millis(20)).await;
                return Err(TransportError::Unreachable("tcp connect error: connection refused".into()));
            }
            if line == Line::Silent {
                std::future::pending::<()>().await;
            }
            let notices: Vec<Value> = serde_json::from_slice(request.body()).unwrap();
            let response = self.sandbox.send(request).await?;
            if response.status().is_success() {
                self.state.lock().unwrap().arrived.extend(notices);
            }
            if line == Line::Bad && loses {
                return Err(TransportError::Broken("the answer is lost".into()));
            }
            Ok(response)
        })
    }
}

/// A world whose receiver is watched.
struct Watched {
    world: World,
    state: Arc<Mutex<State>>,
}

impl Watched {
    fn new(state_file: &Value) -> Self {
        let state = State { line: Line::Up, random: Rng::with_seed(1), arrived: vec![], requests: 0 };
        let state = Arc::new(Mutex::new(state));
        let hook = Arc::clone(&state);
        let world = World::new().with_state(&state_file.to_string());
        Watched { world: world.through(|sandbox| Hook { sandbox, state: hook }), state }
    }

    fn set(&self, line: Line) {
        self.state.lock().unwrap().line = line;
    }

    fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }

    /// Returns the notices that have arrived since the last call, without repeats of those.
    fn arrived(&self) -> Vec<Value> {
        let mut ids = BTreeSet::new();
        let arrived = std::mem::take(&mut self.state.lock().unwrap().arrived);
        arrived.into_iter().filter(|notice| ids.insert(notice["id"].to_string())).collect()
    }

    /// Returns the events and keys of the notices that have arrived since the last call, sorted.
    fn events(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut events: Vec<_> =
            self.arrived().iter().map(|notice| (text(&notice["event"]), text(&notice["key"]))).collect();
        events.sort();
        events
    }

    /// Runs the program once, when the next sync is due.
    async fn sync(&self) {
        sleep(hours(3)).await;
        assert_eq!(self.world.once().await.unwrap(), Verdict::Done);
    }

    fn edit(&self, number: u64, status: &'static str) {
        let now = self.world.clock.now();
        self.world.sandbox.mailchimp().edit(LIST, number, now, |member| member.status = status);
    }

    fn keys(&self, statuses: &[&str]) -> Vec<String> {
        let mailchimp = self.world.sandbox.mailchimp();
        let members = mailchimp.members(LIST).filter(|member| statuses.contains(&member.status));
        members.map(|member| member.id()).collect()
    }

    /// Returns the number of a subscribed member, and its key; another one for each index.
    fn subscribed(&self, index: usize) -> (u64, String) {
        let mailchimp = self.world.sandbox.mailchimp();
        let mut members = mailchimp.members(LIST).filter(|member| member.status == "subscribed");
        members.nth(index).map(|member| (member.number, member.id())).unwrap()
    }

    async fn status(&self) -> OutboxStatus {
        records::outbox(&places::delivery(self.world.folder.path(), LIST), &Events::default()).await.unwrap()
    }
}

const LIST: &str = "told1";

fn receiver() -> Value {
    json!({"type": "http", "url": format!("https://{HOST}/hooks/notices"), "auth": "bearer"})
}

/// Returns the state file of a list with a receiver, and more fields.
fn entry(more: &Value) -> Value {
    let mut entry = json!({"list_id": LIST, "notify": receiver(), "allow_mass_change": true});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([entry])
}

/// A list of 60 members, some of which are opted out.
fn list(more: &Value) -> Watched {
    let watched = Watched::new(&entry(more));
    watched.world.sandbox.mailchimp().add_list(LIST, 60, 1, watched.world.clock.now());
    watched
}

fn sorted(events: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut events: Vec<_> =
        events.iter().map(|(event, key)| ((*event).to_owned(), (*key).to_owned())).collect();
    events.sort();
    events
}

#[tokio::test(start_paused = true)]
async fn every_opt_out_arrives_once_and_again_only_after_the_member_has_subscribed() {
    for unchanged in ["off", "embedded"] {
        let watched = list(&json!({"unchanged": unchanged}));
        watched.world.once().await.unwrap();
        let mut first: Vec<String> = watched.keys(&["unsubscribed", "cleaned"]);
        first.sort();
        let events = watched.events();
        assert!(first.len() > 3 && events.iter().all(|(event, _)| event == "opt_out"), "{events:?}");
        assert_eq!(events.into_iter().map(|(_, key)| key).collect::<Vec<_>>(), first, "{unchanged}");
        let (ada, key) = watched.subscribed(0);
        let opt_out = sorted(&[("opt_out", key.as_str())]);
        for (status, expected) in [
            ("unsubscribed", &opt_out),
            // Another change of an opted-out member is no other opt-out.
            ("cleaned", &vec![]),
            ("subscribed", &vec![]),
            ("unsubscribed", &opt_out),
        ] {
            watched.edit(ada, status);
            watched.sync().await;
            assert_eq!(watched.events(), *expected, "{status}, {unchanged}");
        }
        watched.sync().await;
        assert_eq!(watched.events(), []);
        assert_eq!(watched.status().await, OutboxStatus::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_arrives_with_its_reason_and_what_a_replay_delivers_arrives_too() {
    let watched = list(&json!({}));
    watched.world.once().await.unwrap();
    watched.arrived();
    let (ada, key) = watched.subscribed(0);
    let contact = {
        let mailchimp = watched.world.sandbox.mailchimp();
        mailchimp.members(LIST).find(|member| member.number == ada).unwrap().contact_id(LIST)
    };
    watched.world.sandbox.ometria().refuse(&contact, true);
    watched.edit(ada, "unsubscribed");
    watched.sync().await;
    let [rejection] = &watched.arrived()[..] else { panic!("one rejection") };
    let (id, at) = (rejection["id"].as_str().unwrap(), rejection["at"].as_str().unwrap());
    assert!(id.len() == 32 && at.starts_with("2026-11-21T15:00:") && at.len() == 20, "{rejection}");
    assert_eq!(
        *rejection,
        json!({"id": id, "event": "rejection", "list_id": LIST, "key": key, "at": at, "reason": "refused"})
    );
    // The same rejection is no news.
    watched.world.replay(0).await.unwrap();
    watched.sync().await;
    assert_eq!(watched.events(), []);
    watched.world.sandbox.ometria().refuse(&contact, false);
    assert_eq!(watched.world.replay(0).await.unwrap().counts.sent, 1);
    watched.sync().await;
    assert_eq!(watched.events(), sorted(&[("opt_out", &key)]));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_arrives_once() {
    let watched = Watched::new(&json!([{"list_id": "shifts", "source": "when_i_work", "sink": "ndjson",
        "every": "5s", "notify": receiver()}]));
    let account = || watched.world.sandbox.when_i_work();
    account().invent(300, 1, watched.world.clock.now());
    let story = async {
        sleep(minutes(1)).await;
        let line = &watched.world.out(FILE)[3];
        let id = line["id"].as_u64().unwrap();
        account().delete(id);
        sleep(minutes(3)).await;
        watched.world.stop();
        id.to_string()
    };
    let (verdict, id) = tokio::join!(watched.world.go(), story);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert_eq!(watched.events(), sorted(&[("deletion", &id)]));
    assert!(watched.requests() < 5, "{} requests", watched.requests());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_delays_no_run_and_gets_its_notices_later_even_from_another_process() {
    let watched = list(&json!({}));
    watched.set(Line::Down);
    let begun = Instant::now();
    let story = async {
        sleep(minutes(1)).await;
        assert!(!watched.world.field("latest_timestamp").is_null(), "the run has finished");
        sleep(hours(1)).await;
        watched.world.stop();
    };
    let (verdict, ()) = tokio::join!(watched.world.go(), story);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert!(begun.elapsed() < minutes(62), "the stop waits for no notice");
    let waiting = watched.status().await;
    let opted_out = watched.keys(&["unsubscribed", "cleaned"]).len();
    assert_eq!((waiting.waiting, waiting.dropped), (opted_out as u64, 0));
    // After 1, 2, 4 and 8 minutes, then every 15.
    let warnings = watched.world.lines("for the receiver in `notify`: could not send");
    assert!((5..=9).contains(&warnings.len()), "{warnings:#?}");
    assert!(
        warnings[0].starts_with(&format!("WARN list \"told1\": {opted_out} notices wait")),
        "{warnings:?}"
    );
    assert!(warnings[0].contains("; next attempt in 1 min.") && warnings[4].contains("in 15 min."));
    // One attempt at the end of `go --once`; it does not take long.
    let begun = Instant::now();
    assert_eq!(watched.world.once().await.unwrap(), Verdict::Done);
    assert!(begun.elapsed() < minutes(2), "{:?}", begun.elapsed());
    let left = watched.world.lines("for the receiver in `notify`").split_off(warnings.len());
    assert_eq!(left.len(), 1, "no further attempt is announced: {left:#?}");
    let begin =
        format!("WARN list \"told1\": {opted_out} notices wait for the receiver in `notify`: could not send");
    assert!(left[0].starts_with(&begin) && left[0].ends_with("; importer delivers them when it runs again."));
    watched.set(Line::Up);
    watched.world.go_for(minutes(1)).await.unwrap();
    assert_eq!(watched.events().len(), opted_out);
    assert_eq!(watched.status().await.waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_answers_delays_neither_a_run_nor_a_stop() {
    let watched = list(&json!({}));
    watched.set(Line::Silent);
    let begun = Instant::now();
    assert_eq!(watched.world.go_for(minutes(1)).await.unwrap(), Verdict::Done);
    assert!(begun.elapsed() < Duration::from_secs(70), "{:?}", begun.elapsed());
    assert!(!watched.world.field("latest_timestamp").is_null());
    let begun = Instant::now();
    assert_eq!(watched.world.once().await.unwrap(), Verdict::Done);
    assert!(begun.elapsed() < minutes(3), "{:?}", begun.elapsed());
    let opted_out = watched.keys(&["unsubscribed", "cleaned"]).len();
    let left = format!(
        "WARN list \"told1\": {opted_out} notices wait for the receiver in `notify`: it has not responded within 60 s; \
         importer delivers them when it runs again."
    );
    assert_eq!(watched.world.logged(&left), 1);
    watched.set(Line::Up);
    watched.world.once().await.unwrap();
    assert!(!watched.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_quit_file_ends_the_last_attempt_and_what_is_left_is_reported() {
    let watched = list(&json!({}));
    watched.set(Line::Silent);
    let begun = Instant::now();
    let story = async {
        sleep(Duration::from_secs(40)).await;
        assert!(!watched.world.field("latest_timestamp").is_null(), "the run has finished");
        std::fs::write(watched.world.folder.path().join("controller.quit"), "").unwrap();
    };
    let (verdict, ()) = tokio::join!(watched.world.once(), story);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
    let left = "notices wait for the receiver in `notify`: importer was stopped; importer delivers them";
    assert_eq!(watched.world.logged(left), 1);
}

#[tokio::test(start_paused = true)]
async fn during_a_long_load_the_notices_arrive_every_minute() {
    let watched = list(&json!({"worker_count": 1, "items_per_request": 1}));
    watched.world.sandbox.mailchimp().add_list(LIST, 900, 1, watched.world.clock.now());
    let story = async {
        sleep(minutes(3)).await;
        let during = watched.events().len();
        assert!(watched.world.field("latest_timestamp").is_null() && during > 0, "{during}");
        watched.world.stop();
    };
    let (verdict, ()) = tokio::join!(watched.world.go(), story);
    verdict.unwrap();
}

#[tokio::test(start_paused = true)]
async fn notices_of_a_paused_entry_and_of_one_without_a_receiver_wait() {
    let watched = list(&json!({}));
    watched.set(Line::Down);
    watched.world.once().await.unwrap();
    watched.set(Line::Up);
    let with = watched.world.state();
    for (name, value) in [("enabled", json!(false)), ("notify", Value::Null)] {
        let mut entries: Value = serde_json::from_str(&with).unwrap();
        match value {
            Value::Null => drop(entries[0].as_object_mut().unwrap().remove(name)),
            value => entries[0][name] = value,
        }
        watched.world.save(&entries.to_string());
        watched.world.go_for(minutes(5)).await.unwrap();
        assert_eq!(watched.events(), [], "{name}");
    }
    watched.world.save(&with);
    watched.world.go_for(minutes(1)).await.unwrap();
    assert_eq!(watched.events().len(), watched.keys(&["unsubscribed", "cleaned"]).len());
}

#[tokio::test(start_paused = true)]
async fn notices_go_to_the_receiver_that_the_entry_names_now() {
    let watched = list(&json!({}));
    watched.set(Line::Silent);
    let story = async {
        sleep(minutes(5)).await;
        watched.set(Line::Up);
        let other = watched.world.state().replace("/hooks/notices", "/hooks/others");
        watched.world.save(&other);
        sleep(minutes(5)).await;
        watched.world.stop();
    };
    let (verdict, ()) = tokio::join!(watched.world.go(), story);
    verdict.unwrap();
    assert!(!watched.events().is_empty());
    assert!(watched.world.requests().keys().any(|request| request.starts_with("POST /hooks/others")));
}

#[tokio::test(start_paused = true)]
async fn an_entry_without_a_receiver_has_no_outbox() {
    let watched = Watched::new(&json!([{"list_id": LIST}]));
    watched.world.sandbox.mailchimp().add_list(LIST, 60, 1, watched.world.clock.now());
    watched.world.once().await.unwrap();
    let file = places::delivery(watched.world.folder.path(), LIST).join("records.redb");
    let bytes = std::fs::read(file).unwrap();
    let contains = |text: &str| bytes.windows(text.len()).any(|found| found == text.as_bytes());
    assert!(contains("records") && !contains("outbox") && !contains("noticed"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_notice_is_dropped_and_reported() {
    let watched = list(&json!({}));
    let key = watched.keys(&["unsubscribed"])[0].clone();
    watched.world.sandbox.receiver().refuse(&key, true);
    watched.world.once().await.unwrap();
    let opted_out = watched.keys(&["unsubscribed", "cleaned"]).len();
    assert_eq!(watched.events().len(), opted_out - 1);
    let status = watched.status().await;
    assert_eq!((status.waiting, status.refused), (0, 1));
    let warning = "WARN list \"told1\": the receiver in `notify` has refused 1 notice for good";
    assert_eq!(watched.world.logged(warning), 1);
}

#[tokio::test(start_paused = true)]
async fn notices_that_nobody_takes_for_30_days_are_dropped_with_a_warning_once_a_day() {
    let watched = list(&json!({}));
    watched.set(Line::Down);
    watched.world.once().await.unwrap();
    let first = watched.keys(&["unsubscribed", "cleaned"]).len() as u64;
    watched.edit(watched.subscribed(0).0, "unsubscribed");
    watched.sync().await;
    sleep(hours(30 * 24 - 3)).await;
    let warning = "WARN list \"told1\": notices were dropped, ";
    for (dropped, waiting) in [(first, 1), (first + 1, 0)] {
        watched.world.once().await.unwrap();
        let status = watched.status().await;
        assert_eq!((status.dropped, status.waiting), (dropped, waiting));
        assert_eq!(watched.world.logged(warning), 1);
        sleep(hours(3)).await;
    }
    // The first warning came with the first notice that was dropped.
    let told = watched.world.lines(warning).concat();
    assert!(
        told.contains("can't read them. At most 1000000 notices wait, for 30 days; check the receiver"),
        "{told}"
    );
}

/// The receiver is no part of what identifies a delivery or a run.
#[test]
fn a_receiver_changes_neither_the_folder_of_an_entry_nor_its_route() {
    let [with, without] = [entry(&json!({})), json!([{"list_id": LIST, "allow_mass_change": true}])]
        .map(|file| entries(&file.to_string()));
    assert_eq!((&with[0].folder, &with[0].route), (&without[0].folder, &without[0].route));
    assert_eq!(with[0].settings, without[0].settings);
}

#[tokio::test(start_paused = true)]
async fn entries_of_one_delivery_need_one_receiver() {
    let first = json!({"list_id": LIST, "notify": receiver()});
    for second in [json!({}), json!({"notify": {"type": "http", "url": "https://other.example.org/a"}})] {
        let mut second = second;
        second["list_id"] = LIST.into();
        second["consent"] = "none".into();
        let watched = Watched::new(&Value::Null);
        watched.world.save(&format!("[{first},\n{second}]"));
        watched.world.sandbox.mailchimp().add_list(LIST, 6, 1, watched.world.clock.now());
        assert_eq!(watched.world.once().await.unwrap(), Verdict::Failed);
        let why = "`notify` is not that of the entry at line 1, which delivers the same list to the same sink; set the same \
                   `notify` in both entries";
        assert_eq!(watched.world.logged(why), 1, "{:?}", watched.world.lines("ERROR"));
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_sink_that_can_receive_notices_is_accepted() {
    for (notify, why) in [
        (json!("ometria"), "`notify`: unknown type \"ometria\", expected one of http"),
        (json!("htpp"), "`notify`: unknown type \"htpp\", expected one of http; did you mean \"http\"?"),
        (json!({"type": "http"}), "`notify`: http: missing field `url`"),
        (
            json!({"type": "http", "url": "https://a.example.org/", "linger": "5s"}),
            "unknown setting `linger`",
        ),
        (
            json!({"type": "http", "url": "https://a.example.org/s3cr3t", "auth": "bearer"}),
            "`notify`: `HTTP_SINK_HOSTS` does not contain a.example.org",
        ),
        (json!(null), "`notify` must be a type, or an object with a `type`; found null"),
    ] {
        let watched = list(&json!({"notify": notify}));
        assert_eq!(watched.world.once().await.unwrap(), Verdict::Failed);
        assert_eq!(watched.world.logged(why), 1, "{why}: {:?}", watched.world.lines("ERROR"));
    }
}

// ---- Cut off at random moments ----

/// When each opted-out member was opted out, by key.
type OptedOut = BTreeMap<String, DateTime<Utc>>;

/// Changes some members while no program runs, and keeps account of the opt-outs that have to be noticed: an
/// opt-out after a subscription that the sink has never got is no other one.
fn change(watched: &Watched, random: &mut Rng, opted_out: &mut OptedOut) {
    let now = watched.world.clock.now();
    for _ in 0..random.u32(1..8) {
        let number = random.u64(..60);
        let status = ["unsubscribed", "cleaned", "subscribed"][random.usize(..3)];
        let member = {
            let mailchimp = watched.world.sandbox.mailchimp();
            mailchimp.members(LIST).find(|member| member.number == number).cloned().unwrap()
        };
        // These are delivered by other rules.
        if ["archived", "pending", "transactional"].contains(&member.status) {
            continue;
        }
        watched.edit(number, status);
        let contact = watched.world.contact(LIST, &member);
        let is_out = contact.is_some_and(|contact| contact["marketing_optin"] == "EXPLICITLY_OPTEDOUT");
        match (status, is_out) {
            ("subscribed", false) => drop(opted_out.remove(&member.id())),
            ("subscribed", true) => {}
            _ if is_out => assert!(opted_out.contains_key(&member.id())),
            _ => drop(opted_out.insert(member.id(), now)),
        }
    }
}

/// Checks that each of these opt-outs was noticed, and that the notices of each member are in their order.
fn assert_noticed(arrived: &[Value], opted_out: &OptedOut, seed: u64) {
    let at = |notice: &Value| notice["at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let mut of_key: BTreeMap<&str, Vec<DateTime<Utc>>> = BTreeMap::new();
    arrived
        .iter()
        .for_each(|notice| of_key.entry(notice["key"].as_str().unwrap()).or_default().push(at(notice)));
    assert!(of_key.values().all(|times| times.is_sorted()), "seed {seed}: {of_key:?}");
    for (key, since) in opted_out {
        let noticed = of_key
            .get(key.as_str())
            .is_some_and(|times| times.iter().any(|at| *at >= since.trunc_subsecs(0)));
        assert!(noticed, "seed {seed}: no notice since {since} in {:?}", of_key.get(key.as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_cut_off_again_and_again_loses_no_notice() {
    cut_off(0..10).await;
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_cut_off_again_and_again_loses_no_notice_in_other_worlds() {
    cut_off(10..20).await;
}

/// The program is cut off while it reads, delivers and notifies, and the receiver loses answers.
async fn cut_off(seeds: std::ops::Range<u64>) {
    let (mut cuts, expected) = (0, 12 * seeds.clone().count());
    for seed in seeds {
        let mut random = Rng::with_seed(seed);
        let size = [5, 20, 100][random.usize(..3)];
        let unchanged = if random.bool() { "off" } else { "embedded" };
        let watched = list(&json!({"items_per_request": size, "unchanged": unchanged, "every": "10s"}));
        let start = watched.world.clock.now() - chrono::TimeDelta::days(1000);
        let keys = watched.keys(&["unsubscribed", "cleaned"]);
        let (mut opted_out, mut arrived) = (keys.into_iter().map(|key| (key, start)).collect(), vec![]);
        for _ in 0..3 {
            for _ in 0..4 {
                watched.set([Line::Up, Line::Bad, Line::Down][random.usize(..3)]);
                // Unlike a stop, it writes and waits for nothing.
                let cut = sleep(Duration::from_millis(random.u64(..20_000)));
                tokio::select! {
                    ended = watched.world.go() => panic!("{ended:?}"),
                    () = cut => cuts += 1,
                }
                change(&watched, &mut random, &mut opted_out);
                arrived.extend(watched.arrived());
            }
            watched.set(Line::Up);
            // A run that is resumed reads only up to the end of its windows.
            watched.sync().await;
            watched.sync().await;
            arrived.extend(watched.arrived());
            let mut ids = BTreeSet::new();
            let first: Vec<Value> =
                arrived.iter().filter(|notice| ids.insert(notice["id"].to_string())).cloned().collect();
            assert_noticed(&first, &opted_out, seed);
            assert_eq!(watched.status().await.waiting, 0, "seed {seed}");
        }
    }
    assert_eq!(cuts, expected);
}
