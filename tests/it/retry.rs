//! Failures: temporary ones are retried; others end the run of the list and say what to do.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use importer::{
    controller::Verdict,
    net::{Request, Response, Transport, TransportError},
    sandbox::{Service, Trouble},
};
use tokio::time::{Instant, sleep};

use crate::support::{World, minutes};

#[tokio::test(start_paused = true)]
async fn transient_failures_are_tried_again_and_nothing_is_lost_or_sent_twice() {
    let troubles = [
        Trouble::Status(429, None),
        Trouble::Status(500, None),
        Trouble::Status(502, None),
        Trouble::Status(503, Some("2")),
        Trouble::Status(504, None),
        Trouble::Html(403, "<html>slow down</html>"),
        Trouble::Html(200, "<html>maintenance</html>"),
        Trouble::Truncated,
        Trouble::Reset,
    ];
    for service in [Service::Mailchimp, Service::Ometria] {
        for trouble in &troubles {
            let world =
                World::new().list("flaky1", 950).with_state(r#"[{"list_id": "flaky1", "worker_count": 3}]"#);
            for _ in 0..4 {
                world.sandbox.trouble(service, trouble.clone());
            }
            assert_eq!(world.once().await.unwrap(), Verdict::Done, "{service:?} {trouble:?}");
            world.assert_delivered("flaky1");
            assert_eq!(world.field("total_updates"), world.contacts());
            // A page that takes too long is not requested again at the same size.
            let again = world.logged(" of 6 in ")
                + world.logged("requesting smaller pages")
                + world.logged("splitting the window in two by time");
            assert_eq!(again, 4, "{service:?} {trouble:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_server_asks_for_is_honoured() {
    for (asked, seconds) in [("120", 120), ("Sat, 21 Nov 2026 12:01:30 GMT", 89)] {
        let world = World::new().list("after1", 10).with_state(r#"[{"list_id": "after1"}]"#);
        world.sandbox.trouble(Service::Mailchimp, Trouble::Status(429, Some(asked)));
        let start = Instant::now();
        world.once().await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(seconds), "{asked}: {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(seconds + 10), "{asked}: {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_recover_ends_the_list_with_the_tries_and_the_others_go_on() {
    let text = r#"[{"list_id": "down1"}, {"list_id": "gone1"}]"#;
    let world = World::new().list("down1", 10).with_state(text);
    for _ in 0..6 {
        world.sandbox.trouble(Service::Ometria, Trouble::Status(503, None));
    }
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(world.state(), text);
    let told = "ometria returned 503 service unavailable (tried 6 times in";
    assert_eq!(world.logged(told), 1);
    assert_eq!(
        world.logged(
            "ERROR list \"gone1\" failed: could not read the members of list `gone1` from row 0 on: mailchimp returned 404 not \
             found: resource not found: the requested resource could not be found (check that `list_id` is a list of \
             this account). Its entry is unchanged; the next run delivers what this one has not delivered."
        ),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_list_leaves_its_entry_and_the_other_lists_finish() {
    let text = r#"[{"list_id": "missing2", "note": 1}, {"list_id": "there2"}]"#;
    let world = World::new().list("there2", 300).with_state(text);
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    world.assert_delivered("there2");
    assert!(world.state().starts_with(r#"[{"list_id": "missing2", "note": 1}, {"list_id": "there2", "#));
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_not_tried_again_and_names_its_variable() {
    for (service, status, variable) in [
        (Service::Mailchimp, 401, "check the key in `MAILCHIMP_APIKEY`"),
        (Service::Mailchimp, 403, "check the permissions of the key in `MAILCHIMP_APIKEY`"),
        (Service::Ometria, 401, "check the key in `OMETRIA_APIKEY`"),
        (Service::Ometria, 403, "check the permissions of the key in `OMETRIA_APIKEY`"),
    ] {
        let world = World::new().list("key1", 10).with_state(r#"[{"list_id": "key1"}]"#);
        world.sandbox.trouble(service, Trouble::Status(status, None));
        assert_eq!(world.once().await.unwrap(), Verdict::Failed);
        assert_eq!((world.logged(variable), world.logged(" of 6 in ")), (1, 0), "{service:?} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_loop_a_failed_list_rests_and_then_runs_again() {
    let world = World::new().list("rest1", 10).with_state(r#"[{"list_id": "rest1"}]"#);
    world.sandbox.trouble(Service::Ometria, Trouble::Status(401, None));
    let look = async {
        sleep(Duration::from_secs(30)).await;
        world.save("[{\"list_id\": \"rest1\"}] // a look in between");
        sleep(Duration::from_secs(10)).await;
        assert_eq!((world.contacts(), world.pushes().len()), (0, 1));
        sleep(minutes(2)).await;
        world.assert_delivered("rest1");
        world.stop();
    };
    let (verdict, ()) = tokio::join!(world.go(), look);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert_eq!(world.logged("list \"rest1\": the last run failed; the next attempt starts in"), 1);
}

/// A service that responds "not found" after a delay, and records the times of the requests.
struct NotFound {
    after: Duration,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Transport for NotFound {
    fn send(&self, _: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        self.asked.lock().unwrap().push(Instant::now());
        Box::pin(async {
            sleep(self.after).await;
            let mut response = Response::default();
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            Ok(response)
        })
    }
}

/// Seven seconds, so that no cool-down ends at the time of the poll that happens every minute.
#[tokio::test(start_paused = true)]
async fn in_the_loop_a_list_that_always_fails_rests_twice_as_long_each_time_and_an_edit_ends_the_rest() {
    let (after, asked) = (Duration::from_secs(7), Arc::new(Mutex::new(vec![])));
    let world = World::new().with_state(r#"[{"list_id": "gone2"}]"#);
    let world = world.through(|_| NotFound { after, asked: asked.clone() });
    let rests = [1, 2, 4, 8, 16, 32, 60, 60, 60].map(minutes);
    let edit = rests[..8].iter().sum::<Duration>() + 9 * after + minutes(20);
    let begun = Instant::now();
    let (verdict, ()) = tokio::join!(world.go(), async {
        sleep(edit).await;
        world.save(r#"[{"list_id": "gone2", "worker_count": 1}]"#);
        // The cool-down of the former entry ends in between; it no longer matters.
        sleep(minutes(45)).await;
        world.stop();
    });
    assert_eq!(verdict.unwrap(), Verdict::Done);
    let runs = |first: Duration, count: usize| {
        rests[..count]
            .iter()
            .scan(first, |start, rest| Some(std::mem::replace(start, *start + after + *rest)))
    };
    let expected: Vec<u64> =
        runs(Duration::ZERO, 9).chain(runs(edit, 6)).map(|start| start.as_secs()).collect();
    let mut starts: Vec<u64> = asked.lock().unwrap().iter().map(|at| (*at - begun).as_secs()).collect();
    // The first requests of a run go out together.
    starts.dedup();
    assert_eq!(starts, expected);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_refused_rather_than_followed_with_the_key() {
    let world = World::new().list("moved1", 10).with_state(r#"[{"list_id": "moved1"}]"#);
    world.sandbox.trouble(Service::Mailchimp, Trouble::Status(302, None));
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!(world.logged("redirects are not followed, to protect the key"), 1);
}
