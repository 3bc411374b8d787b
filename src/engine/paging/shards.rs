//! The shards of a stream: where a run begins in each, and which of them have to wait for others. Pure.

use std::collections::HashSet;

use super::listing::ListingProgress;
use crate::{
    base::{fault::Fault, window::Shard},
    store::position::{Positions, ShardPosition},
};

/// Returns the listed shards, each with the position at which a run begins in it.
///
/// # Errors
///
/// [`Fault::List`]: the source lists no shard, the same shard twice, or shards that wait for each other.
pub fn begin(listed: Vec<Shard>, known: &Positions) -> Result<Vec<ShardPosition>, Fault> {
    let hint = "check that the stream exists; no position was moved";
    let wrong = |what: &str| Err(Fault::list(format!("the source lists {what}")).hint(hint));
    let ids: HashSet<&str> = listed.iter().map(|shard| shard.id.as_str()).collect();
    if listed.is_empty() {
        return wrong("no shard of its stream");
    }
    if ids.len() < listed.len() {
        return wrong("a shard of its stream twice");
    }
    // Removes the shards that wait for no other one, until none is left.
    let mut waiting: HashSet<&str> = ids;
    let mut left: Vec<&Shard> = listed.iter().collect();
    while !left.is_empty() {
        let free = |shard: &&Shard| !shard.parents.iter().any(|parent| waiting.contains(parent.as_str()));
        let (free, others): (Vec<&Shard>, Vec<&Shard>) = left.into_iter().partition(free);
        if free.is_empty() {
            return wrong("shards of its stream that are parents of each other");
        }
        free.iter().for_each(|shard| {
            waiting.remove(shard.id.as_str());
        });
        left = others;
    }
    let position = |shard: Shard| {
        let position = known.get(&shard.id).cloned();
        ShardPosition { id: shard.id, parents: shard.parents, position }
    };
    Ok(listed.into_iter().map(position).collect())
}

/// Returns the indices of a shard's parents in `shards`; leaves out parents that are no longer listed.
pub fn parents(shards: &[ShardPosition], shard: &ShardPosition) -> Vec<usize> {
    let index = |parent: &String| shards.iter().position(|shard| shard.id == *parent);
    shard.parents.iter().filter_map(index).collect()
}

/// Returns whether a listing may be read: all of its ancestors are closed. Its parents alone are not enough in a run
/// that resumes: an empty shard counts as read at once, although its own parents have to be read again.
pub fn may_begin(listings: &[ListingProgress], index: usize) -> bool {
    ancestors(listings, index).into_iter().all(|ancestor| listings[ancestor].is_closed())
}

/// Returns the indices of the listed ancestors of a shard.
fn ancestors(listings: &[ListingProgress], index: usize) -> HashSet<usize> {
    let (mut found, mut next) = (HashSet::new(), vec![index]);
    while let Some(index) = next.pop() {
        next.extend(listings[index].parents().iter().filter(|parent| found.insert(**parent)));
    }
    found
}

/// Leaves to the next run the shards of which an ancestor does not reach its end in this run. Their records
/// would overtake those that are still added to the ancestor.
pub fn postpone(listings: &mut [ListingProgress]) {
    let stays_open = |ancestor: usize| listings[ancestor].finished() && !listings[ancestor].is_closed();
    let is_left = |index: &usize| {
        !listings[*index].finished() && ancestors(listings, *index).into_iter().any(stays_open)
    };
    let left: Vec<usize> = (0..listings.len()).filter(is_left).collect();
    left.into_iter().for_each(|index| listings[index].postpone());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        base::window::{Cursor, Listing, Next, Window},
        engine::paging::listing::Pace,
        store::{position::Position, progress::Server},
    };

    fn shard(id: &str, parents: &[&str]) -> Shard {
        Shard { id: id.into(), parents: parents.iter().map(|parent| (*parent).to_owned()).collect() }
    }

    fn listings(shards: &[ShardPosition]) -> Vec<ListingProgress> {
        let pace =
            Pace { size: 10, workers: 2, chained: true, server: Server::default(), totals_wrong: false };
        let window = Window { listing: Listing::Listed, since: None, until: None };
        let listing = |shard: &ShardPosition| {
            ListingProgress::new(window, pace).of_shard(shard.clone(), parents(shards, shard))
        };
        shards.iter().map(listing).collect()
    }

    fn answered(listings: &mut [ListingProgress], index: usize, next: Next) {
        listings[index].want(Default::default()).unwrap();
        listings[index].linked(vec![], next, None).unwrap();
        postpone(listings);
    }

    fn tip() -> Next {
        Next::Tip(Cursor("5".into()))
    }

    #[test]
    fn a_shard_begins_at_its_position_and_one_without_at_its_beginning() {
        let known = BTreeMap::from([("a".to_owned(), Position::Closed), ("x".to_owned(), Position::Closed)]);
        let shards = begin(vec![shard("a", &[]), shard("b", &["a", "gone"])], &known).unwrap();
        assert_eq!(shards[0].position, Some(Position::Closed));
        assert_eq!((&shards[1].position, parents(&shards, &shards[1])), (&None, vec![0]));
    }

    #[test]
    fn shards_that_could_never_be_read_in_order_are_an_error() {
        for (listed, what) in [
            (vec![], "no shard"),
            (vec![shard("a", &[]), shard("a", &[])], "twice"),
            (vec![shard("a", &[]), shard("b", &["c"]), shard("c", &["a", "b"])], "parents of each other"),
            (vec![shard("a", &["a"])], "parents of each other"),
        ] {
            let fault = begin(listed, &BTreeMap::new()).unwrap_err().to_string();
            assert!(fault.contains(what), "{fault}");
        }
    }

    #[test]
    fn a_shard_waits_until_all_of_its_parents_are_closed() {
        let listed = vec![shard("d", &["b", "c"]), shard("b", &["a"]), shard("c", &["a"]), shard("a", &[])];
        let mut listings = listings(&begin(listed, &BTreeMap::new()).unwrap());
        let may_begin = |listings: &[ListingProgress]| [0, 1, 2, 3].map(|index| may_begin(listings, index));
        assert_eq!(may_begin(&listings), [false, false, false, true]);
        answered(&mut listings, 3, Next::More(Cursor("1".into())));
        assert_eq!(may_begin(&listings), [false, false, false, true]);
        answered(&mut listings, 3, Next::Closed);
        assert_eq!(may_begin(&listings), [false, true, true, true]);
        answered(&mut listings, 1, Next::Closed);
        assert_eq!(may_begin(&listings), [false, true, true, true]);
        answered(&mut listings, 2, tip());
        assert!(listings.iter().all(ListingProgress::finished), "the last one is left to the next run");
        let ends: Vec<_> = listings.iter().filter_map(ListingProgress::shard_position).collect();
        let positions: Vec<_> = ends.into_iter().map(|shard| shard.position).collect();
        let after = Position::After(Cursor("5".into()));
        assert_eq!(positions, [None, Some(Position::Closed), Some(after), Some(Position::Closed)]);
    }

    /// The checkpoint of an interrupted run may have the end of an empty shard, but not yet the records of its parent.
    #[test]
    fn a_shard_waits_for_all_of_its_ancestors_even_if_its_parents_are_closed_already() {
        let listed = vec![shard("c", &["b"]), shard("b", &["a"]), shard("a", &[])];
        for (last, expected) in [(Next::Closed, [true, false, false]), (tip(), [false, false, false])] {
            let mut listings = listings(&begin(listed.clone(), &BTreeMap::new()).unwrap());
            answered(&mut listings, 1, Next::Closed);
            assert!(!may_begin(&listings, 0), "its grandparent has not been read");
            answered(&mut listings, 2, last);
            let may_begin = [0, 1, 2].map(|index| may_begin(&listings, index) && !listings[index].finished());
            assert_eq!(may_begin, expected);
        }
    }

    #[test]
    fn the_descendants_of_a_shard_that_stays_open_are_left_to_the_next_run() {
        let listed = vec![shard("c", &["b"]), shard("b", &["a"]), shard("a", &[])];
        let mut listings = listings(&begin(listed, &BTreeMap::new()).unwrap());
        answered(&mut listings, 2, tip());
        assert!(listings.iter().all(ListingProgress::finished));
        assert!(listings[0].want(Default::default()).is_none());
    }
}
