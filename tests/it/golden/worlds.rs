//! Hand-made worlds, one for each behavior. Their lists are small, so that a person can read their records.

pub mod edits;
pub mod loads;
pub mod settings;
pub mod troubles;

use std::{pin::Pin, time::Duration};

use importer::sandbox::people::Member;

use crate::support::{World, minutes};

/// A world from its start to its end.
pub type Told = Pin<Box<dyn Future<Output = World>>>;

/// A world that has not started.
pub struct Story {
    pub name: &'static str,
    pub tell: fn() -> Told,
}

/// Makes a named story of each function.
macro_rules! stories {
    ($($name:ident),* $(,)?) => {
        pub const STORIES: &[$crate::golden::worlds::Story] = &[$($crate::golden::worlds::Story {
            name: stringify!($name),
            tell: || Box::pin($name()),
        }),*];
    };
}
use stories;

pub fn all() -> impl Iterator<Item = &'static Story> {
    [loads::STORIES, edits::STORIES, troubles::STORIES, settings::STORIES].into_iter().flatten()
}

/// The list of a world that has only one.
const LIST: &str = "list1";

/// Returns a world with this state file and one list, and resets the seed of random waits.
fn world(size: u64, state: &str) -> World {
    let world = World::new().list(LIST, size).with_state(state);
    fastrand::seed(1);
    world
}

/// A world whose only entry has these settings besides its list.
fn with(size: u64, settings: &str) -> World {
    world(size, &format!(r#"[{{"list_id": "{LIST}"{settings}}}]"#))
}

/// Members of this status, oldest change first.
fn members(world: &World, status: &str) -> Vec<Member> {
    let mailchimp = world.sandbox.mailchimp();
    mailchimp.members(LIST).filter(|member| member.status == status).cloned().collect()
}

/// Gives these members another status, now.
fn turn(world: &World, members: &[Member], status: &'static str) {
    let now = world.clock.now();
    for member in members {
        world.sandbox.mailchimp().edit(LIST, member.number, now, |member| match status {
            "subscribed" => member.subscribe(now),
            _ => member.status = status,
        });
    }
}

/// Gives these members another name, now.
fn rename(world: &World, members: &[Member]) {
    let now = world.clock.now();
    for member in members {
        world.sandbox.mailchimp().edit(LIST, member.number, now, |member| member.first = "Augusta".into());
    }
}

/// Returns a time 17 s past `count` minutes. At the full minute the loop reads the state file, so the order of an edit and of
/// that reading would be undefined.
fn past(count: u64) -> Duration {
    minutes(count) + Duration::from_secs(17)
}
