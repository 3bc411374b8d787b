//! First loads into a sink that asks for caution: an operator can stop the load before anything is read or
//! sent.

use std::{sync::Arc, time::Duration};

use importer::{controller::Verdict, engine::confirm::Confirm, sandbox::Sandbox};
use tokio::time::{Instant, sleep};

use crate::{
    loopback::Loopback,
    support::{World, hours, minutes},
    terminal::Terminal,
};

const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// Delays the first load of `list`, and no other load, by half a minute.
fn slow(list: &'static str) -> Confirm {
    Confirm::new(move |asked| {
        let waits = asked == list;
        Box::pin(async move {
            if waits {
                sleep(HALF_A_MINUTE).await;
            }
        })
    })
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_list_is_read_or_sent_while_its_first_load_waits_and_other_lists_go_on() {
    let text = r#"[{"list_id": "wait1"}, {"list_id": "free1"}]"#;
    let world = World::new().list("wait1", 150).list("free1", 50).with_state(text).confirm(slow("wait1"));
    let (verdict, ()) = tokio::join!(world.once(), async {
        sleep(HALF_A_MINUTE - Duration::from_secs(1)).await;
        world.assert_delivered("free1");
        assert_eq!(world.reads().iter().filter(|read| read.contains("wait1")).count(), 0);
        assert_eq!(world.logged("list \"wait1\" is loaded for the first time"), 1);
        assert_eq!(world.contacts(), world.expected("free1").len());
    });
    assert_eq!(verdict.unwrap(), Verdict::Done);
    world.assert_delivered("wait1");
}

#[tokio::test(start_paused = true)]
async fn a_first_load_that_waits_ends_at_once_when_it_is_stopped_or_paused() {
    let text = r#"[{"list_id": "wait2"}]"#;
    let world = || World::new().list("wait2", 150).with_state(text).confirm(slow("wait2"));
    let stopped = world();
    let (verdict, asked) = tokio::join!(stopped.go(), async {
        sleep(Duration::from_secs(5)).await;
        stopped.stop();
        Instant::now()
    });
    assert_eq!((verdict.unwrap(), asked.elapsed().as_secs(), stopped.reads().len()), (Verdict::Done, 0, 0));
    let paused = world();
    let (verdict, ()) = tokio::join!(paused.once(), async {
        sleep(Duration::from_secs(5)).await;
        paused.save(r#"[{"list_id": "wait2", "enabled": false}]"#);
    });
    assert_eq!((verdict.unwrap(), paused.reads().len()), (Verdict::Done, 0));
    assert_eq!(paused.logged("list \"wait2\": paused by its entry; 0 records were delivered"), 1);
}

#[tokio::test(start_paused = true)]
async fn only_a_first_load_that_is_not_confirmed_yet_waits() {
    let never = || Confirm::new(|_| Box::pin(std::future::pending()));
    let confirmed = r#"[{"list_id": "sure1", "first_load": "confirmed"}]"#;
    let mut world = World::new().list("sure1", 150).with_state(confirmed).confirm(never());
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    world.assert_delivered("sure1");
    // A reload is not a first load.
    world = world.with_state(r#"[{"list_id": "sure1", "latest_timestamp": null}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("list \"sure1\" finished"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_first_load_that_is_to_be_asked_for_starts_only_when_it_is_confirmed() {
    let ask = r#"[{"list_id": "ask1", "first_load": "ask"}]"#;
    let world = World::new().list("ask1", 150).with_state(ask);
    let told = "WARN list \"ask1\": the first load waits for a confirmation, since the entry has `\"first_load\": \"ask\"`";
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert_eq!((world.logged(told), world.reads().len()), (1, 0));
    assert!(world.lines(told)[0].contains("set `first_load` to \"confirmed\""), "{:?}", world.lines(told));
    assert_eq!(world.go_for(minutes(3) + HALF_A_MINUTE).await.unwrap(), Verdict::Done);
    assert_eq!((world.logged(told), world.reads().len(), world.logged("ERROR")), (5, 0, 0), "at every look");
    let confirm = async {
        sleep(HALF_A_MINUTE).await;
        world.save(r#"[{"list_id": "ask1", "first_load": "confirmed"}]"#);
    };
    let (verdict, ()) = tokio::join!(world.go_for(minutes(5)), confirm);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    world.assert_delivered("ask1");
    // A reload and a sync are not first loads.
    world.save(r#"[{"list_id": "ask1", "first_load": "ask", "latest_timestamp": null}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    sleep(hours(3)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("list \"ask1\" finished"), 3);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_first_load_goes_on_whatever_is_said_of_first_loads() {
    let world = World::new().list("half1", 5000).with_state(r#"[{"list_id": "half1"}]"#);
    world.go_for(Duration::from_secs(4)).await.unwrap();
    assert!(world.contacts() > 500 && world.contacts() < world.expected("half1").len());
    world.save(r#"[{"list_id": "half1", "first_load": "ask"}]"#);
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.logged("resuming the interrupted run"), 1);
    world.assert_delivered("half1");
}

const QUESTION: &str = "press Enter to start its first load now";

fn pushes(sandbox: &Arc<Sandbox>) -> usize {
    sandbox.seen().pushes.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_each_first_load_waits_for_enter_one_after_the_other() {
    let text = r#"[{"list_id": "tty1"}, {"list_id": "tty2"}]"#;
    let loopback = Loopback::start(Duration::ZERO, text).await.list("tty1", 50).list("tty2", 50);
    let mut terminal = Terminal::start(&loopback, "go --once");
    terminal.wait_for(Some(QUESTION)).await;
    assert_eq!((pushes(&loopback.sandbox), terminal.shown.matches(QUESTION).count()), (0, 1));
    terminal.shown.clear();
    terminal.press(b"\n").await;
    terminal.wait_for(Some(QUESTION)).await;
    terminal.press(b"\n").await;
    let (code, shown) = terminal.end().await;
    assert_eq!(code, 0, "{shown}");
    let contacts = loopback.sandbox.ometria().contacts().len();
    assert_eq!(contacts, loopback.expected("tty1") + loopback.expected("tty2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_ctrl_c_stops_a_first_load_that_waits_and_nothing_is_sent() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "tty3"}]"#).await.list("tty3", 50);
    let mut terminal = Terminal::start(&loopback, "go");
    terminal.wait_for(Some(QUESTION)).await;
    terminal.press(b"\x03").await;
    let (code, shown) = terminal.end().await;
    assert!(code == 0 && shown.contains("stopped."), "{code} {shown}");
    assert_eq!(pushes(&loopback.sandbox), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_yes_a_first_load_on_a_terminal_is_warned_of_and_asks_nothing() {
    let loopback = Loopback::start(Duration::ZERO, r#"[{"list_id": "tty4"}]"#).await.list("tty4", 50);
    let (code, shown) = Terminal::start(&loopback, "go --once --yes").end().await;
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("loaded for the first time") && !shown.contains(QUESTION), "{shown}");
    assert_eq!(loopback.sandbox.ometria().contacts().len(), loopback.expected("tty4"));
}
