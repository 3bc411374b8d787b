//! Which runs are due and what they write, in worlds with a paused clock.

use importer::controller::Verdict;
use tokio::time::{Instant, sleep};

use crate::support::{World, at, entries, hours, minutes};

const NULL: &str = r#"[{"list_id": "null1", "latest_timestamp": null}]"#;

#[tokio::test(start_paused = true)]
async fn a_null_timestamp_causes_one_full_load() {
    let world = World::new().list("null1", 450).with_state(NULL);
    world.go_for(minutes(59) + std::time::Duration::from_secs(30)).await.unwrap();
    world.assert_delivered("null1");
    assert_eq!(world.field("total_updates"), world.expected("null1").len());
    assert_eq!(world.logged("list \"null1\" has no latest timestamp, firing full load."), 1);
    assert_eq!(world.logged("list \"null1\" up to date, last updated on "), 59);
    assert_eq!(world.logged("checking all lists."), 60);
    assert_eq!(world.logged("sleeping for 60 seconds."), 60);
}

#[tokio::test(start_paused = true)]
async fn an_absent_timestamp_is_a_null_one_and_defaults_are_never_added() {
    let world = World::new().list("absent1", 10).with_state(r#"[{"list_id": "absent1"}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("absent1");
    let caution = "list \"absent1\" is loaded for the first time: contacts that arrive as subscribed can start a welcome";
    assert_eq!(world.logged(caution), 1);
    world.save(r#"[{"list_id": "absent1", "latest_timestamp": null}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged(caution), 1, "once a list");
    world.save(r#"[{"list_id": "absent1"}]"#);
    world.once().await.unwrap();
    let entry = serde_json::from_str::<serde_json::Value>(&world.state()).unwrap()[0].clone();
    let fields: Vec<&String> = entry.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["elapsed_seconds", "latest_timestamp", "list_id", "total_updates"]);
}

#[tokio::test(start_paused = true)]
async fn after_two_hours_what_changed_since_is_synced_and_nothing_else() {
    let world = World::new().list("sync1", 450).with_state(r#"[{"list_id": "sync1"}]"#);
    let change = async {
        sleep(hours(1)).await;
        let now = world.clock.now();
        world.sandbox.mailchimp().edit("sync1", 7, now, |member| member.status = "unsubscribed");
        world.sandbox.mailchimp().edit("sync1", 8, now, |member| member.first = "Augusta".into());
        sleep(minutes(59)).await;
        assert_eq!(world.logged("firing incremental sync"), 0);
        sleep(minutes(3)).await;
        world.stop();
    };
    tokio::join!(async { world.go().await.unwrap() }, change);
    world.assert_delivered("sync1");
    assert_eq!(world.logged("list \"sync1\" up to date, last updated on \"2026-11-21 12:00:"), 120);
    assert_eq!(world.logged("over 2 hours ago, firing incremental sync."), 1);
    assert_eq!(world.field("total_updates"), 2);
    let reads = world.reads();
    // A minute and a second before the end of the load, because changes may become visible late.
    for read in &reads[reads.len() - 2..] {
        assert!(read.contains("since_last_changed=2026-11-21T11%3A58%3A59Z"), "{read}");
        assert!(read.contains("before_last_changed=2026-11-21T14%3A00%3A00Z"), "{read}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_timestamp_is_the_end_of_the_window_by_the_earlier_clock() {
    let world = World::with_server_at("2026-11-21T11:50:30")
        .list("clock1", 450)
        .with_state(r#"[{"list_id":"clock1"}]"#);
    world.once().await.unwrap();
    assert_eq!(world.field("latest_timestamp"), "2026-11-21T11:50:30");
    let reads = world.reads();
    // The first request only shows that the clocks differ.
    assert!(reads[0].contains("before_last_changed=2026-11-21T11%3A59%3A59Z"), "{reads:?}");
    let bounds = reads[1..].iter().filter(|read| read.contains("before_last_changed="));
    for read in bounds.filter(|read| !read.contains("count=1000")) {
        let right = ["50%3A29Z", "50%3A30Z"]
            .iter()
            .any(|end| read.contains(&format!("before_last_changed=2026-11-21T11%3A{end}")));
        assert!(right, "{read}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_three_fields_are_written_and_all_else_stays() {
    let text = "// ours\r\n[ {\"list_id\":\"bytes1\" , \"owner\": \"caf\\u00e9\", /* ! */ \"latest_timestamp\": null,\r\n\
                \t\"elapsed_seconds\": 1.50, \"total_updates\": -77,\r\n\t\"x\": 1e3,}, ]\r\n";
    let world = World::new().list("bytes1", 450).with_state(text);
    world.once().await.unwrap();
    let state = world.state();
    let elapsed =
        state.split("\"elapsed_seconds\": ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    assert!(elapsed.parse::<f64>().unwrap() > 1.5, "{elapsed}");
    // The entry says that it was loaded, but there is no record of the load: all archived members are opted
    // out.
    let archived = world.sandbox.mailchimp().members("bytes1").filter(|m| m.status == "archived").count();
    let sent = (world.expected("bytes1").len() + archived).to_string();
    let expected =
        text.replace("null", "\"2026-11-21T12:00:00\"").replace("-77", &sent).replace("1.50", elapsed);
    assert_eq!(world.state(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_set_to_null_during_a_run_is_kept_and_the_reload_follows() {
    let world = World::new().list("reload1", 2500).with_state(r#"[{"list_id": "reload1"}]"#);
    let edit = async {
        sleep(minutes(10) + std::time::Duration::from_secs(5)).await;
        world.save(r#"[{"list_id": "reload1", "latest_timestamp": "2026-11-21T09:00:00"}]"#);
        // The incremental sync begins 200 ms after the edit of the file, and ends with the response 200 ms
        // later.
        sleep(std::time::Duration::from_millis(300)).await;
        world.save(r#"[{"list_id": "reload1", "latest_timestamp": null}]"#);
        sleep(minutes(10)).await;
        world.stop();
    };
    tokio::join!(async { world.go().await.unwrap() }, edit);
    assert_eq!(world.logged("list \"reload1\" has no latest timestamp, firing full load."), 2);
    assert_eq!(
        world.logged("list \"reload1\": latest_timestamp or start_offset was changed by hand during the run"),
        1
    );
    assert_eq!(world.field("total_updates"), world.expected("reload1").len());
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_file_is_acted_on_at_once() {
    let world = World::new().list("edit1", 10).list("edit2", 10).with_state(r#"[{"list_id": "edit1"}]"#);
    let edit = async {
        sleep(minutes(10) + std::time::Duration::from_secs(5)).await;
        let added = world.state().replace(']', r#", {"list_id": "edit2"}]"#);
        world.save(&added);
        sleep(std::time::Duration::from_secs(2)).await;
        world.assert_delivered("edit2");
        world.stop();
    };
    tokio::join!(async { world.go().await.unwrap() }, edit);
    assert!(entries(&world.state()).iter().all(|entry| entry.latest_timestamp.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_far_in_the_future_runs_nothing_and_says_so() {
    let text = r#"[{"list_id": "future1", "latest_timestamp": "2026-11-21T13:00:01"},
        {"list_id": "future2", "latest_timestamp": "2026-11-21T12:59:00"}]"#;
    let world = World::new().list("future1", 10).list("future2", 10).with_state(text);
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!((world.reads().len(), world.state().as_str()), (0, text));
    assert_eq!(world.logged("list \"future1\" (entry at line 1 column 2) has the latest timestamp"), 1);
    assert_eq!(world.logged("list \"future2\" up to date"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bad_entry_is_reported_and_the_others_run() {
    let text = r#"[{"list_id": "bad1", "worker_count": 0}, {"list_id": "good1"}, {"lst_id": "bad2"}]"#;
    let world = World::new().list("good1", 10).list("bad1", 10).with_state(text);
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    world.assert_delivered("good1");
    assert_eq!(
        world.logged("state.json:1:38: `worker_count` must be a whole number from 1 to 10; found 0"),
        1
    );
    assert_eq!(world.logged("this entry has no `list_id`"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unusable_file_ends_a_single_pass_but_not_the_loop() {
    let world = World::new().list("mend1", 10).with_state("[{]");
    assert!(world.once().await.unwrap_err().to_string().contains("state.json:1:3: "));
    let mend = async {
        sleep(minutes(3)).await;
        world.save(r#"[{"list_id": "mend1"}]"#);
        sleep(std::time::Duration::from_secs(5)).await;
        world.assert_delivered("mend1");
        world.save(r#"[{"list_id": "mend1",}, oops]"#);
        sleep(minutes(3)).await;
        assert_eq!(world.logged("until then, importer uses the last valid version of the lists"), 3);
        assert!(world.logged("list \"mend1\" up to date") >= 3);
        world.stop();
    };
    tokio::join!(async { world.go().await.unwrap() }, mend);
}

#[tokio::test(start_paused = true)]
async fn entries_of_one_list_run_one_after_the_other_and_each_is_stamped() {
    let text = r#"[{"list_id": "twice1", "items_per_request": 50},
        {"list_id": "twice1", "items_per_request": 60, "start_offset": 100}]"#;
    let world = World::new().list("twice1", 700).with_state(text);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    let reads = world.reads();
    let last_of_first = reads.iter().rposition(|read| read.contains("count=5")).unwrap();
    let first_of_second = reads.iter().position(|read| read.contains("count=6")).unwrap();
    assert!(last_of_first < first_of_second, "{reads:?}");
    assert!(entries(&world.state()).iter().all(|entry| entry.latest_timestamp.is_some()));
}

#[tokio::test(start_paused = true)]
async fn different_lists_run_side_by_side() {
    let alone =
        World::new().set("OMETRIA_RATE", "0").list("alone1", 1000).with_state(r#"[{"list_id": "alone1"}]"#);
    alone.sandbox.ometria().set_rate(0.0);
    let start = Instant::now();
    alone.once().await.unwrap();
    let time = start.elapsed();
    let both =
        World::new().set("OMETRIA_RATE", "0").list("side1", 1000).list("side2", 1000).with_state(
            r#"[{"list_id": "side1", "worker_count": 2}, {"list_id": "side2", "worker_count": 2}]"#,
        );
    both.sandbox.ometria().set_rate(0.0);
    let start = Instant::now();
    both.once().await.unwrap();
    assert!(start.elapsed() < time * 3, "{:?} alone {time:?}", start.elapsed());
    assert_eq!(both.sandbox.seen().peak, 4);
}

#[tokio::test(start_paused = true)]
async fn ten_lists_share_the_connections_of_the_account() {
    let lists: Vec<String> = (0..10).map(|n| format!("share{n}")).collect();
    for (allowed, variable) in [(8, None), (10, Some("10")), (3, Some("3"))] {
        let mut world = World::new();
        if let Some(value) = variable {
            world = world.set("MAILCHIMP_CONNECTIONS", value);
        }
        for list_id in &lists {
            world = world.list(list_id, 300);
        }
        let text: Vec<String> = lists
            .iter()
            .map(|id| format!(r#"{{"list_id": "{id}", "worker_count": 10, "items_per_request": 20}}"#))
            .collect();
        world.save(&format!("[{}]", text.join(",")));
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_eq!((world.sandbox.seen().peak, world.sandbox.seen().throttled), (allowed, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn batches_are_filled_across_pages_and_only_the_last_is_smaller() {
    for (items_per_request, batch) in [(7, 7), (100, 100), (250, 100)] {
        let state = format!(r#"[{{"list_id": "batch1", "items_per_request": {items_per_request}}}]"#);
        let world = World::new().list("batch1", 777).with_state(&state);
        world.once().await.unwrap();
        world.assert_delivered("batch1");
        let mut pushes = world.pushes();
        let last = pushes.pop().unwrap();
        assert!(pushes.iter().all(|&records| records == batch), "{pushes:?}");
        assert!(last <= batch && pushes.iter().sum::<usize>() + last == world.contacts());
    }
}

#[tokio::test(start_paused = true)]
async fn pushes_keep_to_the_rate_of_the_account() {
    let world = World::new().list("rate1", 4000).with_state(r#"[{"list_id": "rate1"}]"#);
    let start = Instant::now();
    world.once().await.unwrap();
    let pushes = world.pushes().len();
    assert!(start.elapsed().as_secs_f64() > (pushes - 1) as f64 / 8.0);
    assert_eq!(world.sandbox.seen().throttled, 0);
}

#[tokio::test(start_paused = true)]
async fn only_fields_that_the_mapping_uses_are_requested() {
    let world = World::new().list("fields1", 10).with_state(r#"[{"list_id": "fields1"}]"#);
    world.once().await.unwrap();
    let reads = world.reads();
    for private in ["ip_signup", "ip_opt", "last_note", "stats", "_links"] {
        assert!(!reads[0].contains(private), "{}", reads[0]);
    }
    assert!(
        reads[0]
            .contains("fields=members.id%2Cmembers.last_changed%2Cmembers.status%2Cmembers.email_address"),
        "{}",
        reads[0]
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_offset_bounds_a_full_load_and_an_incremental_sync_ignores_it() {
    let text = r#"[{"list_id": "offset1", "start_offset": 200, "items_per_request": 60}]"#;
    let world = World::new().list("offset1", 500).with_state(text);
    world.once().await.unwrap();
    let listed: Vec<_> = world
        .sandbox
        .mailchimp()
        .members("offset1")
        .filter(|member| member.status != "archived")
        .cloned()
        .collect();
    for (index, member) in listed.iter().enumerate() {
        let expected = index >= 200 && member.status != "pending";
        assert_eq!(world.contact("offset1", member).is_some(), expected, "row {index}");
    }
    sleep(hours(3)).await;
    world.sandbox.mailchimp().edit("offset1", listed[0].number, at("2026-11-21T14:00:00"), |member| {
        member.status = "unsubscribed";
    });
    world.once().await.unwrap();
    assert_eq!(world.contact("offset1", &listed[0]).unwrap()["marketing_optin"], "EXPLICITLY_OPTEDOUT");
    assert_eq!(world.logged("list \"offset1\": start_offset 200 bounds full loads only"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_status_is_counted_and_causes_a_warning() {
    let world = World::new().list("odd1", 50).with_state(r#"[{"list_id": "odd1"}]"#);
    world.sandbox.mailchimp().edit("odd1", 3, at("2026-11-01T00:00:00"), |member| member.status = "vip");
    world.once().await.unwrap();
    assert_eq!(world.logged("1 rejected (1 unknown_status)"), 1);
    assert_eq!(world.logged("WARN list \"odd1\": 1 rejected record can't be delivered"), 1);
}
