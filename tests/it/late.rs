//! Errors that Ometria finds after it has accepted a contact.

use importer::controller::Verdict;
use tokio::time::sleep;

use crate::support::{World, hours, minutes};

/// Makes Ometria find `count` subscribers invalid after it has accepted them.
fn disbelieve(world: &World, list_id: &str, from: usize, count: usize) {
    let ids: Vec<String> = {
        let mailchimp = world.sandbox.mailchimp();
        let members = mailchimp.members(list_id).filter(|member| member.status == "subscribed");
        members.skip(from).take(count).map(|member| member.contact_id(list_id)).collect()
    };
    ids.iter().for_each(|id| world.sandbox.ometria().disbelieve(id));
}

#[tokio::test(start_paused = true)]
async fn late_errors_are_reported_once_with_their_count_and_polled_every_ten_minutes_at_most() {
    let world = World::new().list("lat1", 300).with_state(r#"[{"list_id": "lat1"}]"#);
    disbelieve(&world, "lat1", 0, 3);
    let look = async {
        sleep(minutes(9)).await;
        assert_eq!(world.sandbox.seen().looks, 0);
        sleep(minutes(2)).await;
        assert_eq!(world.sandbox.seen().looks, 1);
        let told = "found 3 errors so far in records that it had accepted, from importer or from other \
                    programs: 3 \"root > lastname: not a valid value\". It does not name the records; look the errors up in \
                    the account of the sink.";
        assert_eq!(world.logged(told), 1);
        // Nothing more was sent, so importer does not poll.
        sleep(minutes(60)).await;
        assert_eq!(world.sandbox.seen().looks, 1);
        disbelieve(&world, "lat1", 3, 2);
        world.save(r#"[{"list_id": "lat1", "latest_timestamp": null}]"#);
        sleep(minutes(70)).await;
        world.stop();
    };
    let (ended, ()) = tokio::join!(world.go(), look);
    assert_eq!(ended.unwrap(), Verdict::Done);
    assert_eq!(world.logged("has found 5 errors since 2026-11-21 12:10:0"), 1);
    assert!(world.sandbox.seen().looks <= 4, "{}", world.sandbox.seen().looks);
    world.sandbox.ometria().forget_errors();
}

#[tokio::test(start_paused = true)]
async fn a_single_pass_looks_at_its_end_unless_another_has_a_moment_ago() {
    let world = World::new().list("lat2", 50).with_state(r#"[{"list_id": "lat2"}]"#);
    disbelieve(&world, "lat2", 0, 1);
    let reload = || world.save(r#"[{"list_id": "lat2", "latest_timestamp": null}]"#);
    for (pause, looks) in [(0, 1), (5, 1), (6, 2), (180, 3)] {
        sleep(minutes(pause)).await;
        reload();
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_eq!(world.sandbox.seen().looks, looks, "after {pause} minutes");
    }
    sleep(hours(3)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.sandbox.seen().looks, 3, "nothing was sent");
    // Records that were sent too soon after a poll are checked by the next run, even if it sends nothing.
    reload();
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    sleep(minutes(1)).await;
    reload();
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.sandbox.seen().looks, 4);
    sleep(hours(3)).await;
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    assert_eq!(world.sandbox.seen().looks, 5);
    world.sandbox.ometria().forget_errors();
}

#[tokio::test(start_paused = true)]
async fn a_key_without_the_right_to_read_errors_still_delivers() {
    use importer::sandbox::{Service, Trouble};
    let world = World::new().list("lat3", 50).with_state(r#"[{"list_id": "lat3"}]"#);
    let refuse = async {
        sleep(minutes(9)).await;
        let refused = Trouble::Status(403, None);
        world.sandbox.trouble(Service::Ometria, refused);
        sleep(minutes(2)).await;
        assert_eq!(world.logged("could not read ometria's validation errors: ometria returned 403"), 1);
        world.save(r#"[{"list_id": "lat3", "latest_timestamp": null}]"#);
        sleep(minutes(1)).await;
        assert_eq!(world.logged("updated, latest timestamp"), 2, "the account is not parked for it");
        world.stop();
    };
    let (ended, ()) = tokio::join!(world.go(), refuse);
    assert_eq!(ended.unwrap(), Verdict::Done);
}
