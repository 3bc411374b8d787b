//! The limits of an account, shared fairly by its lists.

use std::time::Duration;

use importer::{
    controller::Verdict,
    sandbox::{Service, Trouble},
};
use tokio::time::{Instant, sleep};

use crate::support::{World, hours, minutes};

#[tokio::test(start_paused = true)]
async fn an_account_that_allows_four_pushes_a_second_is_found_with_few_of_them_refused() {
    let world = World::new().list("slow1", 12_000);
    let world = world.with_state(r#"[{"list_id": "slow1", "items_per_request": 5}]"#);
    world.sandbox.ometria().set_rate(4.0);
    let start = Instant::now();
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    let (pushes, refused) = (world.pushes().len(), world.sandbox.seen().throttled);
    assert!(pushes > 2000 && refused > 0, "{pushes} pushes, {refused} refused");
    assert!(refused * 200 < pushes, "{refused} of {pushes} were refused");
    let rate = pushes as f64 / start.elapsed().as_secs_f64();
    assert!(rate > 3.4, "{rate:.2} a second");
}

#[tokio::test(start_paused = true)]
async fn the_rate_that_is_allowed_is_used() {
    let world = World::new().list("fast1", 12_000);
    let world = world.with_state(r#"[{"list_id": "fast1", "items_per_request": 500}]"#);
    let contacts = async |count| {
        while world.contacts() < count {
            sleep(Duration::from_millis(10)).await;
        }
        Instant::now()
    };
    let (_, took) = tokio::join!(world.once(), async {
        let from = contacts(1_000).await;
        contacts(10_000).await - from
    });
    let records = 9_000.0 / took.as_secs_f64();
    assert!(records > 0.95 * 800.0, "{records:.0} records a second");
    assert_eq!(world.sandbox.seen().throttled, 0);
}

#[tokio::test(start_paused = true)]
async fn a_small_sync_is_not_held_up_by_big_loads() {
    let text = r#"[{"list_id": "small1"}]"#;
    let mut world = World::new().set("MAILCHIMP_CONNECTIONS", "2").list("small1", 50).with_state(text);
    world.once().await.unwrap();
    sleep(hours(3)).await;
    for number in 0..50 {
        let now = world.clock.now();
        world.sandbox.mailchimp().edit("small1", number, now, |member| member.status = "unsubscribed");
    }
    sleep(minutes(2)).await;
    let big: Vec<String> = (0..4).map(|n| format!("big{n}")).collect();
    for list_id in &big {
        world = world.list(list_id, 3000);
    }
    let others: Vec<String> =
        big.iter().map(|id| format!(r#"{{"list_id": "{id}", "worker_count": 10}}"#)).collect();
    world.save(&world.state().replacen('[', &format!("[{},", others.join(",")), 1));
    let start = Instant::now();
    let wait = async {
        while world.logged("list \"small1\" updated") < 2 {
            sleep(Duration::from_millis(50)).await;
        }
        start.elapsed()
    };
    let (_, took) = tokio::join!(world.once(), wait);
    assert!(took < Duration::from_secs(2), "{took:?}");
    world.assert_delivered("small1");
}

#[tokio::test(start_paused = true)]
async fn a_429_rests_every_list_of_the_account_once() {
    let lists: Vec<String> = (0..4).map(|n| format!("rest{n}")).collect();
    let mut world = World::new();
    for list_id in &lists {
        world = world.list(list_id, 400);
    }
    let text: Vec<String> = lists.iter().map(|id| format!(r#"{{"list_id": "{id}"}}"#)).collect();
    world.save(&format!("[{}]", text.join(",")));
    world.sandbox.trouble(Service::Mailchimp, Trouble::Status(429, Some("20")));
    let start = Instant::now();
    let watch = async {
        sleep(Duration::from_secs(1)).await;
        let asked = world.reads().len();
        sleep(Duration::from_secs(18)).await;
        assert_eq!(world.reads().len(), asked, "somebody asked during the rest");
    };
    let (verdict, ()) = tokio::join!(world.once(), watch);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    assert!(start.elapsed() > Duration::from_secs(20));
    assert_eq!(world.logged("pausing all requests to mailchimp"), 1);
    lists.iter().for_each(|list_id| world.assert_delivered(list_id));
}

#[tokio::test(start_paused = true)]
async fn a_403_without_json_and_a_503_rest_the_account_too() {
    for (list_id, trouble) in
        [("rst403", Trouble::Html(403, "<html>")), ("rst503", Trouble::Status(503, Some("2")))]
    {
        let text = format!(r#"[{{"list_id": "{list_id}"}}, {{"list_id": "{list_id}b"}}]"#);
        let world = World::new().list(list_id, 400).list(&format!("{list_id}b"), 400).with_state(&text);
        world.sandbox.trouble(Service::Mailchimp, trouble);
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_eq!(world.logged("pausing all requests to mailchimp"), 1);
        world.assert_delivered(list_id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fills_up_slows_the_pushes_down_before_it_refuses_them() {
    let world = World::new()
        .list("queue1", 15_000)
        .with_state(r#"[{"list_id": "queue1", "items_per_request": 1000}]"#);
    // Half the records of eight pushes per second.
    world.sandbox.ometria().set_queue(5_000.0, 400.0);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("queue1");
    let (pushes, throttled) = (world.pushes().len(), world.sandbox.seen().throttled);
    assert!(throttled * 200 <= pushes, "{throttled} of {pushes} were refused");
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_not_tried_by_every_list_and_all_continue_once_it_is_valid() {
    let lists: Vec<String> = (0..6).map(|n| format!("key{n}")).collect();
    let mut world = World::new().set("MAILCHIMP_CONNECTIONS", "1");
    for list_id in &lists {
        world = world.list(list_id, 50);
    }
    let text: Vec<String> = lists.iter().map(|id| format!(r#"{{"list_id": "{id}"}}"#)).collect();
    world.save(&format!("[{}]", text.join(",")));
    for _ in 0..3 {
        world.sandbox.trouble(Service::Mailchimp, Trouble::Status(401, None));
    }
    let watch = async {
        sleep(Duration::from_secs(30)).await;
        assert_eq!(world.logged(" failed: could not"), 6);
        assert!(world.reads().len() <= 2, "{} requests with a refused key", world.reads().len());
        sleep(minutes(20)).await;
        world.stop();
    };
    tokio::join!(async { world.go().await.unwrap() }, watch);
    lists.iter().for_each(|list_id| world.assert_delivered(list_id));
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_the_size_of_its_sink_whatever_the_size_of_a_page() {
    for (items, batch, most) in
        [(100, "", 100), (20, "", 20), (20, r#", "batch_size": 90"#, 90), (100, r#", "batch_size": 7"#, 7)]
    {
        let sink = format!(r#"{{"type": "ometria"{batch}}}"#);
        let text = format!(r#"[{{"list_id": "size1", "items_per_request": {items}, "sink": {sink}}}]"#);
        let world = World::new().list("size1", 300).with_state(&text);
        world.once().await.unwrap();
        let pushes = world.pushes();
        assert_eq!(pushes.iter().max(), Some(&most), "{text}");
        world.assert_delivered("size1");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_are_read_while_others_are_delivered() {
    let world = World::new().set("OMETRIA_RATE", "0").list("busy1", 30_000);
    let world = world.with_state(r#"[{"list_id": "busy1", "items_per_request": 1000, "worker_count": 8}]"#);
    world.sandbox.ometria().set_rate(1e6);
    let contacts = async |count| {
        while world.contacts() < count {
            sleep(Duration::from_millis(1)).await;
        }
        Instant::now()
    };
    let (_, took) = tokio::join!(world.once(), async {
        let from = contacts(4_000).await;
        contacts(28_000).await - from
    });
    // Eight at once, each of which takes 200 ms.
    let pushes = 240.0 / took.as_secs_f64();
    assert!(pushes > 39.0, "{pushes:.0} pushes a second, where 40 are possible");
    world.assert_delivered("busy1");
}
