//! A list: its current members, and a log of changes from which snapshots of earlier moments are made.

use std::{
    collections::{BTreeMap, HashMap},
    ops::{Bound, RangeBounds},
};

use chrono::{DateTime, SubsecRound, Utc};
use fastrand::Rng;

use super::{
    edits::{Edit, People},
    people::Member,
};

/// Position in the API's order: by the last change, ties by number.
type Place = (DateTime<Utc>, u64);

/// The members of a list and their latest changes.
#[derive(Default)]
pub struct List {
    members: BTreeMap<Place, Member>,
    /// Time of each member's last change, by number.
    stamps: BTreeMap<u64, DateTime<Utc>>,
    /// Number of members that ever existed, which is the number of the next one.
    ever: u64,
    people: Option<People>,
    /// Changes that a snapshot may have to undo, oldest first.
    log: Vec<Change>,
}

/// A change of a member.
struct Change {
    number: u64,
    /// Time from which the change is visible, if the earlier ones of the member are.
    visible: DateTime<Utc>,
    /// `None`: the change inserted the member.
    before: Option<Member>,
}

impl List {
    /// Makes a list of invented members, reproducible by seed.
    pub fn invent(size: u64, seed: u64, now: DateTime<Utc>) -> Self {
        let mut random = Rng::with_seed(seed);
        let now = now.trunc_subsecs(0);
        let mut list = List { ever: size, ..List::default() };
        for number in 0..size {
            let member = Member::invent(&mut random, number, now);
            list.stamps.insert(number, member.last_changed);
            list.members.insert(place(&member), member);
        }
        list
    }

    /// Returns all current members, including archived ones, oldest change first.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = &Member> {
        self.members.values()
    }

    /// Changes a member, which moves it to the end of the list.
    pub fn edit(&mut self, number: u64, now: DateTime<Utc>, change: impl FnOnce(&mut Member)) {
        let Some(mut member) = self.member(number).cloned() else { return };
        change(&mut member);
        self.put(number, now, Some(member));
    }

    /// Adds a new member and returns its number.
    pub fn insert(&mut self, now: DateTime<Utc>) -> u64 {
        let number = self.ever;
        self.ever += 1;
        self.put(number, now, Some(Member::join(number, now.trunc_subsecs(0))));
        number
    }

    /// Deletes a member permanently.
    pub fn delete(&mut self, number: u64, now: DateTime<Utc>) {
        if self.stamps.contains_key(&number) {
            self.put(number, now, None);
        }
    }

    /// Starts random changes, or ends them with `None`. Earlier changes still become visible at their time.
    pub fn inhabit(&mut self, people: Option<People>) {
        self.people = people;
    }

    /// Applies the random changes that are due. Returns their kinds.
    pub fn live(&mut self, now: DateTime<Utc>) -> Vec<Edit> {
        let due = self.people.as_mut().map(|people| people.due(now)).unwrap_or_default();
        let made = due.into_iter().filter_map(|(at, mut chance)| {
            let edit = Edit::any(&mut chance);
            self.make(edit, at, &mut chance).then_some(edit)
        });
        let made = made.collect();
        let oldest = self.people.as_ref().map_or(now, People::oldest);
        self.log.retain(|change| change.visible > oldest);
        made
    }

    /// Applies a random change. Returns `false` if it fits no member.
    fn make(&mut self, edit: Edit, at: DateTime<Utc>, chance: &mut Rng) -> bool {
        if edit == Edit::Insert {
            self.insert(at);
            return true;
        }
        let from = chance.u64(..self.ever.max(1));
        let around = self.stamps.range(from..).chain(self.stamps.range(..from));
        let mut members = around.filter_map(|(number, stamp)| self.members.get(&(*stamp, *number)));
        let Some(number) = members.find(|member| edit.fits(member)).map(|member| member.number) else {
            return false;
        };
        match edit {
            Edit::Delete => self.delete(number, at),
            _ => self.edit(number, at, |member| edit.apply(member, at.trunc_subsecs(0), chance)),
        }
        true
    }

    /// Returns the snapshot of the list at a time.
    pub fn picture(&self, time: DateTime<Utc>, shuffle: Option<Rng>) -> Picture<'_> {
        let mut undone = HashMap::new();
        for change in self.log.iter().filter(|change| change.visible > time) {
            undone.entry(change.number).or_insert(change.before.as_ref());
        }
        Picture { members: &self.members, undone, shuffle }
    }

    fn member(&self, number: u64) -> Option<&Member> {
        self.members.get(&(*self.stamps.get(&number)?, number))
    }

    /// Replaces the member with this number, or removes it with `None`.
    fn put(&mut self, number: u64, now: DateTime<Utc>, member: Option<Member>) {
        let before = self.stamps.remove(&number).and_then(|stamp| self.members.remove(&(stamp, number)));
        if let Some(mut member) = member {
            // The service reports whole seconds, and compares and sorts by them.
            member.last_changed = now.trunc_subsecs(0);
            self.stamps.insert(number, member.last_changed);
            self.members.insert(place(&member), member);
        }
        self.note(number, now, before);
    }

    /// Logs a change, so that snapshots in which it is not visible yet can undo it.
    fn note(&mut self, number: u64, now: DateTime<Utc>, before: Option<Member>) {
        let Some(people) = &mut self.people else { return };
        let visible = people.visible(now);
        if visible > people.oldest() {
            self.log.push(Change { number, visible, before });
        }
    }
}

/// A snapshot of a list.
pub struct Picture<'a> {
    members: &'a BTreeMap<Place, Member>,
    /// Members whose latest changes are not visible, and their visible version, if there is one.
    undone: HashMap<u64, Option<&'a Member>>,
    /// Generator for the order of the members of one second. `None` keeps the order.
    pub shuffle: Option<Rng>,
}

impl<'a> Picture<'a> {
    /// Returns the members that satisfy `wanted` and last changed in `(since, until]`, oldest change first.
    pub fn members(
        &self,
        since: Option<DateTime<Utc>>,
        until: Option<DateTime<Utc>>,
        wanted: impl Fn(&Member) -> bool,
    ) -> Vec<&'a Member> {
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return vec![];
        }
        let since = since.map_or(Bound::Unbounded, |since| Bound::Excluded((since, u64::MAX)));
        let until = until.map_or(Bound::Unbounded, |until| Bound::Included((until, u64::MAX)));
        let all_seen = self.undone.is_empty();
        let mut members = vec![];
        for (place, member) in self.members.range((since, until)) {
            if wanted(member) && (all_seen || !self.undone.contains_key(&place.1)) {
                members.push(member);
            }
        }
        for member in self.undone.values().copied().flatten().filter(|member| wanted(member)) {
            if (since, until).contains(&place(member)) {
                let index = members.partition_point(|other| place(other) < place(member));
                members.insert(index, member);
            }
        }
        members
    }
}

fn place(member: &Member) -> Place {
    (member.last_changed, member.number)
}
