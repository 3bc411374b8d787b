//! The end of a listing: with wrong totals, with capped responses, and without an end.

use importer::{
    controller::Verdict,
    sandbox::quirks::{Offsets, Quirks, Totals},
};

use crate::support::{World, at, hours};

/// Makes a list with this number of members, none of them archived.
fn listed(list_id: &str, members: u64, entry: &str) -> World {
    let world = World::new().list(list_id, members);
    for number in 0..members {
        let mut mailchimp = world.sandbox.mailchimp();
        let known = mailchimp.members(list_id).find(|member| member.number == number).cloned().unwrap();
        if known.status == "archived" || known.status == "pending" {
            mailchimp.edit(list_id, number, known.last_changed, |member| member.status = "unsubscribed");
        }
    }
    world.save(&format!(r#"[{{"list_id": "{list_id}"{entry}}}]"#));
    world
}

fn quirks(total: Totals, cap: Option<usize>) -> Quirks {
    Quirks { total, cap, ..Quirks::default() }
}

/// Totals that a server may report, each with whether it exceeds the listed rows.
fn totals(members: u64) -> [(Totals, bool); 5] {
    [
        (Totals::Right, false),
        (Totals::Fixed(0), false),
        (Totals::OfPage, false),
        (Totals::Fixed(100), members <= 100),
        (Totals::Fixed(members + 1_000_000), true),
    ]
}

#[tokio::test(start_paused = true)]
async fn whatever_the_total_and_the_cap_every_member_is_delivered() {
    for cap in [None, Some(100), Some(50), Some(10)] {
        let around = cap.unwrap_or(100) as u64;
        for members in [0, 1, around - 1, around, around + 1, 350] {
            for (total, too_high) in totals(members) {
                let case = format!("{members} members, total {total:?}, cap {cap:?}");
                let world = listed("cap1", members, "");
                world.sandbox.mailchimp().set_quirks(quirks(total, cap));
                let verdict = world.once().await.unwrap();
                assert_eq!(world.contacts() as u64, members, "{case}");
                world.assert_delivered("cap1");
                // The total exceeds the listed rows: records may be missing, so no timestamp is written.
                let expected = if too_high { Verdict::Failed } else { Verdict::Done };
                assert_eq!(verdict, expected, "{case}");
                assert_eq!(world.field("latest_timestamp").is_null(), too_high, "{case}");
            }
        }
    }
}

/// Search engines often stop counting at a round number, and caps are round too. The response that reaches
/// the total may then be a truncated one.
#[tokio::test(start_paused = true)]
async fn a_total_that_stops_at_a_multiple_of_the_cap_ends_no_listing() {
    for cap in [100, 50, 20] {
        let world = listed("cap6", 350, "");
        world.sandbox.mailchimp().set_quirks(quirks(Totals::AtMost(200), Some(cap)));
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{cap}");
        world.assert_delivered("cap6");
        assert_eq!(world.contacts(), 350, "{cap}");
    }
}

/// A response with more rows in the past does not prove that this one is complete.
#[tokio::test(start_paused = true)]
async fn a_cap_that_is_lowered_later_loses_nobody_where_totals_are_those_of_the_page() {
    for (before, after, full) in
        [(None, 50, false), (None, 10, false), (Some(50), 10, false), (None, 50, true)]
    {
        let world = listed("cap7", 350, "");
        // A reload trusts no totals that were right before.
        let total = if full { Totals::Right } else { Totals::OfPage };
        world.sandbox.mailchimp().set_quirks(quirks(total, before));
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        tokio::time::sleep(hours(3)).await;
        let now = world.clock.now() - chrono::TimeDelta::minutes(5);
        for number in 0..80 {
            world.sandbox.mailchimp().edit("cap7", number, now, |member| member.status = "unsubscribed");
        }
        if full {
            world.save(r#"[{"list_id": "cap7", "latest_timestamp": null}]"#);
        }
        world.sandbox.mailchimp().set_quirks(quirks(Totals::OfPage, Some(after)));
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{before:?} {after}");
        world.assert_delivered("cap7");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cap_is_logged_once_and_costs_neither_waiting_nor_requests() {
    for cap in [100, 50, 10] {
        let world = listed("cap2", 3000, "");
        world.sandbox.mailchimp().set_quirks(quirks(Totals::Right, Some(cap)));
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        world.assert_delivered("cap2");
        assert_eq!(world.logged(&format!("the source returns at most {cap} records per answer")), 1);
        let (least, reads) = (3000 / cap, world.reads().len());
        // Two pages per worker may be requested before an answer shows the cap; each is read again in two parts.
        let unaware = 2 * 8;
        assert!(reads <= least * 3 / 2 + 2 * unaware + 10, "{reads} requests where {least} could do");
        let seconds = world.field("elapsed_seconds").as_f64().unwrap();
        assert!(seconds < 40.0, "{seconds} s");
    }
}

/// The order within a second is not guaranteed, so a second that spans pages is read separately.
#[tokio::test(start_paused = true)]
async fn many_members_of_one_second_are_all_delivered_whatever_the_total_and_the_cap() {
    for cap in [None, Some(100), Some(50)] {
        for total in [Totals::Right, Totals::Fixed(0), Totals::OfPage] {
            let world = listed("cap4", 350, "");
            let filled = at("2026-11-20T09:00:00");
            for number in 0..350 {
                world
                    .sandbox
                    .mailchimp()
                    .edit("cap4", number, filled, |member| member.first = "Augusta".into());
            }
            world.sandbox.mailchimp().set_quirks(quirks(total, cap));
            assert_eq!(world.once().await.unwrap(), Verdict::Done, "{total:?} {cap:?}");
            world.assert_delivered("cap4");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_totals_are_reported_and_remembered_by_later_syncs() {
    for total in [Totals::Fixed(0), Totals::OfPage, Totals::Fixed(100)] {
        let world = listed("cap5", 350, "");
        world.sandbox.mailchimp().set_quirks(quirks(total, None));
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{total:?}");
        assert_eq!(world.logged("the source's totals are wrong"), 1, "{total:?}");
        assert_eq!(world.logged("350 seen: 350 sent"), 1);
        for _ in 0..2 {
            tokio::time::sleep(hours(3)).await;
            let now = world.clock.now() - chrono::TimeDelta::minutes(5);
            world.sandbox.mailchimp().edit("cap5", 7, now, |member| member.first = "Augusta".into());
            assert_eq!(world.once().await.unwrap(), Verdict::Done, "{total:?}");
            world.assert_delivered("cap5");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_sync_with_a_true_total_is_one_request_a_listing() {
    for changed in [0, 1, 99] {
        let world = listed("cap3", 300, "");
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert!(hours(3).as_secs() > 0);
        tokio::time::sleep(hours(3)).await;
        let now = world.clock.now() - chrono::TimeDelta::minutes(5);
        for number in 0..changed {
            world.sandbox.mailchimp().edit("cap3", number, now, |member| member.first = "Augusta".into());
        }
        let before = world.reads().len();
        assert_eq!(world.once().await.unwrap(), Verdict::Done);
        assert_eq!(world.reads().len() - before, 2, "{changed} changed");
        world.assert_delivered("cap3");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_never_ends_fails_soon_and_says_what_the_server_does() {
    let ids = |offset, total| Quirks { total, offset, new_ids: true, ..Quirks::default() };
    let offsets = |offset, total| Quirks { total, offset, ..Quirks::default() };
    for (quirks, told) in [
        (offsets(Offsets::Ignored, Totals::Right), "seems to ignore the offset"),
        (offsets(Offsets::Ignored, Totals::Fixed(0)), "seems to ignore the offset"),
        (offsets(Offsets::Ignored, Totals::OfPage), "seems to ignore the offset"),
        (offsets(Offsets::Wrapped, Totals::Fixed(1_000_000_000)), "returned no new record in "),
        (offsets(Offsets::Clamped, Totals::Fixed(1_000_000_000)), "seems to ignore the offset"),
        (offsets(Offsets::Kept, Totals::Fixed(1_000_000_000)), "are unexplained"),
        (ids(Offsets::Kept, Totals::Right), "returns different record ids in every answer"),
        (ids(Offsets::Wrapped, Totals::Fixed(0)), "beyond the end of any list"),
        (ids(Offsets::Ignored, Totals::Fixed(1_000_000_000)), "beyond the end of any list"),
    ] {
        let case = format!("{quirks:?}");
        println!("{case}");
        let world = listed("end1", 250, "");
        world.sandbox.mailchimp().set_quirks(quirks);
        assert_eq!(world.once().await.unwrap(), Verdict::Failed, "{case}");
        assert!(world.logged(told) > 0, "{case}: {:?}", world.lines("failed"));
        assert!(world.reads().len() < 130, "{} requests, {case}", world.reads().len());
        assert!(world.contacts() >= 100, "{} of what was read is delivered, {case}", world.contacts());
        assert!(world.field("latest_timestamp").is_null(), "{case}");
    }
}
