//! Wrong clocks: the source's `Date`, importer's own clock, and the effect of their difference on a window.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use importer::{
    app::wiring::VOCABULARY,
    controller::Verdict,
    net::{Request, Response, Transport, TransportError},
    sandbox::{Faults, Sandbox, clocks::Jump},
    state::json_schema,
};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{NOON, World, at, hours, minutes, read};

const SHIFTS: &str =
    r#"[{"list_id": "shifts", "source": "when_i_work", "mapping": "as_is", "sink": "ndjson"}]"#;

/// Returns the time by a correct clock, `since` noon.
fn right(since: Instant) -> DateTime<Utc> {
    at(NOON) + TimeDelta::from_std(since.elapsed()).unwrap()
}

fn date_ahead(by: TimeDelta) -> Faults {
    Faults { date_ahead: by, ..Faults::default() }
}

fn our_jump(after: u64, by: TimeDelta) -> Faults {
    let jump = Jump { after: Duration::from_secs(after), by };
    Faults { our_jump: Some(jump), ..Faults::default() }
}

fn stamp(world: &World) -> DateTime<Utc> {
    at(world.field("latest_timestamp").as_str().unwrap())
}

/// Unsubscribes one of the subscribed members.
fn unsubscribe(world: &World, list_id: &str, now: DateTime<Utc>) {
    let mut mailchimp = world.sandbox.mailchimp();
    let member = mailchimp.members(list_id).find(|member| member.status == "subscribed").unwrap().number;
    mailchimp.edit(list_id, member, now, |member| member.status = "unsubscribed");
}

#[tokio::test(start_paused = true)]
async fn changes_between_the_rows_own_clock_and_a_wrong_one_are_not_lost() {
    for minutes_off in [-600, -5, 5, 600] {
        for ours in [false, true] {
            let off = TimeDelta::minutes(minutes_off);
            let began = Instant::now();
            let world = World::new().list("off2", 300).with_state(r#"[{"list_id": "off2"}]"#);
            world.sandbox.misbehave(if ours { our_jump(0, off) } else { date_ahead(off) });
            assert_eq!(world.once().await.unwrap(), Verdict::Done, "{off} {ours}");
            assert!(stamp(&world) <= right(began), "{off} {ours}");
            assert_eq!(world.logged("differ by more than 60 seconds"), 1, "{off} {ours}");
            sleep(minutes(2)).await;
            unsubscribe(&world, "off2", right(began));
            sleep(hours(13)).await;
            world.save(&world.state().replace("\"off2\"", "\"off2\", \"every\": \"1m\""));
            assert_eq!(world.once().await.unwrap(), Verdict::Done, "{off} {ours}");
            assert!(stamp(&world) <= right(began), "{off} {ours}");
            world.assert_delivered("off2");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_more_than_a_day_apart_fail_the_run_and_both_are_named() {
    let (members, years) = (r#"[{"list_id": "off3"}]"#, TimeDelta::days(25 * 365));
    for state in [members, SHIFTS] {
        for faults in [
            date_ahead(-years),
            date_ahead(years),
            our_jump(0, -years),
            our_jump(0, years),
            date_ahead(TimeDelta::hours(25)),
        ] {
            let world = World::new().list("off3", 300).with_state(state);
            world.sandbox.when_i_work().invent(50, 1, at(NOON));
            world.sandbox.misbehave(faults);
            assert_eq!(world.once().await.unwrap(), Verdict::Failed, "{state}");
            let told = world.lines("the clocks are more than a day apart");
            assert!(told.len() == 1 && told[0].contains("2026-11-21 12:00:"), "{told:?}");
            assert_eq!(world.state(), state);
            // Once the clocks are correct again, everything is read.
            world.sandbox.behave();
            assert_eq!(world.once().await.unwrap(), Verdict::Done, "{state}");
            if state == members {
                world.assert_delivered("off3");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_during_a_run_makes_it_wait_for_seconds_and_not_for_the_jump() {
    let ours = Faults { our_jump: Some(jump(5, -2)), ..Faults::default() };
    let theirs = Faults { date_jump: Some(jump(5, -2)), ..Faults::default() };
    for faults in [ours, theirs] {
        let world = World::new().set("OMETRIA_RATE", "1").list("back1", 1500);
        let world = world.with_state(r#"[{"list_id": "back1"}]"#);
        let state = world.state();
        world.sandbox.misbehave(faults);
        let began = Instant::now();
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        assert!(began.elapsed() < minutes(5), "{:?}", began.elapsed());
        let told = world.lines("would end at 2026-11-21 10:00:");
        assert!(told.len() == 1 && told[0].contains("this machine's clock says"), "{told:?}");
        assert_eq!(world.state(), state);
        world.sandbox.behave();
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        world.assert_delivered("back1");
    }
}

fn jump(after: u64, hours: i64) -> Jump {
    Jump { after: Duration::from_secs(after), by: TimeDelta::hours(hours) }
}

/// The clock is set back while nothing runs.
#[tokio::test(start_paused = true)]
async fn a_window_that_would_end_before_the_timestamp_fails_the_run() {
    let text = r#"[{"list_id": "back2", "latest_timestamp": "2026-11-21T09:00:00"}]"#;
    let world = World::new().list("back2", 300).with_state(text);
    world.sandbox.misbehave(date_ahead(TimeDelta::hours(-4)));
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(
        world.logged(
            "would end at 2026-11-21 07:59:59, but the list was already read up to 2026-11-21 09:00:00"
        ),
        1
    );
    assert_eq!(world.state(), text);
}

/// An interrupted run continues with its own window, which may end later than the current time of all clocks.
#[tokio::test(start_paused = true)]
async fn an_interrupted_run_whose_window_has_not_ended_yet_does_not_continue() {
    let text = r#"[{"list_id": "back3", "items_per_request": 20, "worker_count": 1}]"#;
    let world = World::new().list("back3", 1500).with_state(text);
    assert!(timeout(Duration::from_secs(12), world.once()).await.is_err());
    world.sandbox.misbehave(our_jump(0, TimeDelta::hours(-2)));
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(world.logged("resuming the interrupted run"), 1);
    assert_eq!(world.logged("which is later than now"), 1);
    world.sandbox.behave();
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("resuming the interrupted run"), 2);
    world.assert_delivered("back3");
}

/// Changes responses on their way.
struct Altered<F> {
    sandbox: Arc<Sandbox>,
    alter: F,
}

impl<F: Fn(&Request, &mut Response) + Send + Sync> Transport for Altered<F> {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let asked = request.clone();
            let mut response = self.sandbox.send(request).await?;
            (self.alter)(&asked, &mut response);
            Ok(response)
        })
    }
}

/// Makes a world with one list of one member, which changed `seconds` after noon but is listed.
fn with_a_row_after_the_end(list_id: &'static str, seconds: i64) -> World {
    let changed = (at(NOON) + TimeDelta::seconds(seconds)).to_rfc3339();
    let alter = move |request: &Request, response: &mut Response| {
        let whole =
            request.uri().query().is_some_and(|query| !query.contains("since") && !query.contains("status="));
        if whole && request.uri().path().contains("/members") {
            let mut page: Value = serde_json::from_slice(response.body()).unwrap();
            if let Some(last) = page["members"].as_array_mut().and_then(|members| members.last_mut()) {
                last["last_changed"] = changed.clone().into();
            }
            *response.body_mut() = page.to_string().into();
        }
    };
    let world = World::new().list(list_id, 80).with_state(&format!(r#"[{{"list_id": "{list_id}"}}]"#));
    world.through(|sandbox| Altered { sandbox, alter })
}

#[tokio::test(start_paused = true)]
async fn a_row_a_moment_after_the_end_is_logged_once_per_run() {
    let world = with_a_row_after_the_end("after1", 30);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    let told = world.lines("after the end of the window");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("1 record") && told[0].contains("2026-11-21 12:00:30"), "{told:?}");
    world.assert_delivered("after1");
}

#[tokio::test(start_paused = true)]
async fn a_row_long_after_the_end_fails_the_run_but_is_delivered() {
    let world = with_a_row_after_the_end("after2", 300);
    let state = world.state();
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    let told = world.lines("a record changed at 2026-11-21 12:05:00");
    assert!(told.len() == 1 && told[0].contains("ends at 2026-11-21 11:59:59"), "{told:?}");
    assert_eq!(world.state(), state);
    world.assert_delivered("after2");
    // The next run is not affected.
    sleep(minutes(10)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
}

/// Sets the `Date` of Mailchimp's responses.
fn dated(list_id: &str, date: impl Fn(DateTime<Utc>) -> Option<String> + Send + Sync + 'static) -> World {
    let began = Instant::now();
    let alter = move |_: &Request, response: &mut Response| {
        response.headers_mut().remove(header::DATE);
        let date = date(right(began)).map(|date| HeaderValue::try_from(date).unwrap());
        date.map(|date| response.headers_mut().insert(header::DATE, date));
    };
    let world = World::new().list(list_id, 30).with_state(&format!(r#"[{{"list_id": "{list_id}"}}]"#));
    world.through(|sandbox| Altered { sandbox, alter })
}

#[tokio::test(start_paused = true)]
async fn all_three_forms_of_a_date_are_read() {
    for form in ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"] {
        let world = dated("dates1", move |now| Some(now.format(form).to_string()));
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{form}");
        world.assert_delivered("dates1");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_readable_date_fails_the_list_and_says_what_to_look_at() {
    for date in [None, Some("soon".to_owned())] {
        let world = dated("dates2", move |_| date.clone());
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        assert_eq!(
            world.logged("sent a response without a readable `Date` header (check `MAILCHIMP_URL`"),
            1
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_that_is_a_date_counts_by_the_clock_that_wrote_it() {
    for hours_off in [-10, 0, 10] {
        let began = Instant::now();
        let refused = std::sync::atomic::AtomicBool::new(false);
        let alter = move |request: &Request, response: &mut Response| {
            let first = request.uri().path().contains("/members")
                && !refused.swap(true, std::sync::atomic::Ordering::Relaxed);
            if first {
                let again = right(began) + TimeDelta::seconds(20);
                let again = again.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
                *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                response.headers_mut().insert(header::RETRY_AFTER, again.parse().unwrap());
            }
        };
        let world = World::new().list("wait1", 30).with_state(r#"[{"list_id": "wait1"}]"#);
        world.sandbox.misbehave(our_jump(0, TimeDelta::hours(hours_off)));
        let world = world.through(|sandbox| Altered { sandbox, alter });
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{hours_off}");
        let took = began.elapsed().as_secs();
        assert!((18..40).contains(&took), "{took} s, {hours_off} h");
    }
}

#[tokio::test(start_paused = true)]
async fn overlap_says_how_much_of_the_last_window_is_read_again() {
    for (overlap, since) in [
        ("", "2026-11-21T08%3A58%3A59Z"),
        (r#", "overlap": "1s""#, "2026-11-21T08%3A59%3A58Z"),
        (r#", "overlap": "10m""#, "2026-11-21T08%3A49%3A59Z"),
        (r#", "overlap": "24h""#, "2026-11-20T08%3A59%3A59Z"),
    ] {
        let text = format!(r#"[{{"list_id": "lap1", "latest_timestamp": "2026-11-21T09:00:00"{overlap}}}]"#);
        let world = World::new().list("lap1", 30).with_state(&text);
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{overlap}");
        let reads = world.reads();
        let first = reads.iter().find(|read| !read.contains("status=")).unwrap();
        assert!(first.contains(&format!("since_last_changed={since}")), "{first}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_overlap_lets_an_interrupted_run_go_on() {
    let text = r#"[{"list_id": "lap2", "items_per_request": 20, "worker_count": 1}]"#;
    let world = World::new().list("lap2", 1500).with_state(text);
    assert!(timeout(Duration::from_secs(12), world.once()).await.is_err());
    world.save(&text.replace("\"lap2\"", "\"lap2\", \"overlap\": \"5m\""));
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("resuming the interrupted run"), 1);
    world.assert_delivered("lap2");
}

#[test]
fn overlap_is_from_a_second_to_a_day_for_importer_and_for_editors() {
    let validator = jsonschema::validator_for(&json_schema::json_schema(VOCABULARY)).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for value in [
        "1s", "9s", "60s", "9999s", "79999s", "80000s", "85999s", "86000s", "86399s", "86400s", "86401s",
        "86500s", "99999s", "1m", "999m", "1000m", "1399m", "1440m", "1441m", "1500m", "9h", "19h", "24h",
        "25h", "1d", "2d", "0s", "01s", "-1s", "soon", "",
    ] {
        let text = format!(r#"[{{"list_id": "a", "overlap": "{value}"}}]"#);
        let snapshot = read(&text);
        let fits = snapshot.problems.is_empty();
        assert_eq!(validator.is_valid(&serde_json::from_str(&text).unwrap()), fits, "{value}");
        match snapshot.problems.first() {
            None => taken += 1,
            Some(problem) => {
                refused += 1;
                assert!(problem.text.contains("`overlap` must be a duration from one second to one day"));
            }
        }
    }
    assert!(taken > 15 && refused > 8, "{taken} {refused}");
}

/// A catch-up pass reads the changes since the pass before it, not the whole overlap of two runs.
#[tokio::test(start_paused = true)]
async fn a_long_overlap_does_not_repeat_a_list_that_was_filled_today() {
    let world = World::new().list("over9", 300).with_state(r#"[{"list_id": "over9", "overlap": "24h"}]"#);
    let filled = at("2026-11-21T09:00:00");
    for number in 0..300 {
        world.sandbox.mailchimp().edit("over9", number, filled, |member| member.first = "Augusta".into());
    }
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged(", 2 passes, 0 unexplained."), 1, "{:?}", world.lines("finished"));
    world.assert_delivered("over9");
}
