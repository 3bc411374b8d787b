//! Lists that people edit while they are read.

use importer::controller::Verdict;
use tokio::time::{sleep, timeout};

use crate::support::{World, hours};

/// Members change every 100 ms of a load, each at a random place; the next incremental sync brings what changed.
#[tokio::test(start_paused = true)]
async fn no_member_is_skipped_when_others_change_while_one_worker_reads() {
    for seed in 0..5 {
        let text = r#"[{"list_id": "edits1", "worker_count": 1, "items_per_request": 20}]"#;
        let world = World::new().list("edits1", 1000).with_state(text);
        let edits = async {
            let mut random = fastrand::Rng::with_seed(seed);
            loop {
                sleep(std::time::Duration::from_millis(100)).await;
                let now = world.clock.now();
                world.sandbox.mailchimp().edit("edits1", random.u64(..1000), now, |member| {
                    member.first = "Augusta".into();
                });
            }
        };
        let load = tokio::select! {
            verdict = world.once() => verdict,
            () = edits => unreachable!("edits go on for ever"),
        };
        assert_eq!(load.unwrap(), Verdict::Done);
        sleep(hours(3)).await;
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        world.assert_delivered("edits1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_listed_twice_is_sent_and_counted_once() {
    let text = r#"[{"list_id": "moves1", "worker_count": 1, "items_per_request": 50}]"#;
    let world = World::new().list("moves1", 500).with_state(text);
    let edits = async {
        loop {
            sleep(std::time::Duration::from_millis(150)).await;
            let now = world.clock.now();
            let oldest = world.sandbox.mailchimp().members("moves1").next().unwrap().number;
            world.sandbox.mailchimp().edit("moves1", oldest, now, |member| member.first = "Augusta".into());
        }
    };
    let once = async {
        tokio::select! { verdict = world.once() => verdict, () = edits => unreachable!() }
    };
    timeout(hours(1), once).await.unwrap().unwrap();
    assert_eq!(world.pushes().iter().sum::<usize>(), world.contacts());
    assert_eq!(world.field("total_updates"), world.contacts());
}
