//! A list: its members as they truly are, and a log by which a reader can be shown them as they were a moment ago.

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

/// Sorted as the API sorts: by the last change, ties by number.
type Place = (DateTime<Utc>, u64);

#[derive(Default)]
pub struct List {
    members: BTreeMap<Place, Member>,
    /// When each member last changed, by number.
    stamps: BTreeMap<u64, DateTime<Utc>>,
    /// Counts the members that there ever were: the number of the next one.
    ever: u64,
    people: Option<People>,
    /// The changes that a picture may have to undo, oldest first.
    log: Vec<Change>,
}

struct Change {
    number: u64,
    /// When readers see it, if they have seen the earlier ones of the same member.
    visible: DateTime<Utc>,
    /// `None`: the change inserted the member.
    before: Option<Member>,
}

impl List {
    /// Invented members, the same for the same seed.
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

    /// All members, the archived ones too, oldest change first.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = &Member> {
        self.members.values()
    }

    /// Changes a member, which moves it to the end of the list.
    pub fn edit(&mut self, number: u64, now: DateTime<Utc>, change: impl FnOnce(&mut Member)) {
        let Some(mut member) = self.member(number).cloned() else { return };
        change(&mut member);
        self.put(number, now, Some(member));
    }

    /// Somebody new joins.
    pub fn insert(&mut self, now: DateTime<Utc>) -> u64 {
        let number = self.ever;
        self.ever += 1;
        self.put(number, now, Some(Member::join(number, now.trunc_subsecs(0))));
        number
    }

    /// Forgets a member for good.
    pub fn delete(&mut self, number: u64, now: DateTime<Utc>) {
        if self.stamps.contains_key(&number) {
            self.put(number, now, None);
        }
    }

    /// From now on people change the list, or nobody does. What was changed still becomes visible in its time.
    pub fn inhabit(&mut self, people: Option<People>) {
        self.people = people;
    }

    /// Makes the changes that are due, and tells their kinds.
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

    /// Whether there was anybody to do it to.
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

    /// What readers see who are shown the list of this time.
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

    /// Puts a member, or nobody, in the place of the one of this number.
    fn put(&mut self, number: u64, now: DateTime<Utc>, member: Option<Member>) {
        let before = self.stamps.remove(&number).and_then(|stamp| self.members.remove(&(stamp, number)));
        if let Some(mut member) = member {
            // The service tells whole seconds, and compares and sorts by what it tells.
            member.last_changed = now.trunc_subsecs(0);
            self.stamps.insert(number, member.last_changed);
            self.members.insert(place(&member), member);
        }
        self.note(number, now, before);
    }

    /// Keeps what readers see until they see the change.
    fn note(&mut self, number: u64, now: DateTime<Utc>, before: Option<Member>) {
        let Some(people) = &mut self.people else { return };
        let visible = people.visible(now);
        if visible > people.oldest() {
            self.log.push(Change { number, visible, before });
        }
    }
}

/// A list as readers see it.
pub struct Picture<'a> {
    members: &'a BTreeMap<Place, Member>,
    /// The members whose latest changes are not seen, and what is seen instead, if anything.
    undone: HashMap<u64, Option<&'a Member>>,
    /// By what chance the members of one second are put in order, if by any.
    pub shuffle: Option<Rng>,
}

impl<'a> Picture<'a> {
    /// The wanted members that last changed after `since`, up to and with `until`; oldest change first.
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
