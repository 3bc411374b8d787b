//! Decides which runs end early: those whose entries were paused, removed or given another source or sink in the state
//! file, and those that a person stops. Pure.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::time::Instant;

use super::{GRACE, schedule::RunId, siblings::Destination};
use crate::{
    base::event::PauseReason,
    state::{
        Entry,
        fields::ENABLED,
        identity::EntryId,
        model::{Mention, Mentions},
    },
};

/// Returns where an entry delivers, or `None` if it can't be opened.
type ResolveDestination<'a> = dyn Fn(&EntryId) -> Option<Destination> + 'a;

/// The active runs, each with the current version of its entry.
#[derive(Default)]
pub struct Pauses {
    runs: Vec<Run>,
}

struct Run {
    run: RunId,
    entry: Tracked,
    /// Why and when the run was stopped.
    paused: Option<(PauseReason, Instant)>,
}

impl Pauses {
    /// Adds a run that has begun. `entry` and `destination` are those with which it began.
    pub fn begin(&mut self, run: RunId, (entry, destination): (&Entry, Destination), mentions: &Mentions) {
        let entry = Tracked::new(Named::of(entry), (entry.route.clone(), destination), mentions);
        self.runs.push(Run { run, entry, paused: None });
    }

    /// Returns the runs that have to stop now, with the reasons: their entries are paused, removed or have another
    /// source or sink according to `mentions`, the elements of the file. `open` returns where an entry delivers, or
    /// `None` if it can't be opened. Each run is returned once.
    pub fn follow(
        &mut self,
        mentions: &Mentions,
        open: &ResolveDestination,
        now: Instant,
    ) -> Vec<(RunId, PauseReason)> {
        let mut ending = Vec::new();
        for run in &mut self.runs {
            let pause = run.entry.follow(mentions, open);
            if let Some(pause) = pause.filter(|_| run.paused.is_none()) {
                run.paused = Some((pause, now));
                ending.push((run.run, pause));
            }
        }
        ending
    }

    /// Records that a person stops this run. Returns whether the run has to stop now: it did not have to before.
    pub fn stop(&mut self, run: RunId, now: Instant) -> bool {
        let Some(run) = self.runs.iter_mut().find(|other| other.run == run && other.paused.is_none()) else {
            return false;
        };
        run.paused = Some((PauseReason::Requested, now));
        true
    }

    /// Returns the stopped runs that have not ended within [`GRACE`].
    pub fn overdue(&self, now: Instant) -> impl Iterator<Item = RunId> {
        let overdue =
            move |run: &&Run| run.paused.is_some_and(|(_, since)| now.duration_since(since) >= GRACE);
        self.runs.iter().filter(overdue).map(|run| run.run)
    }

    /// Returns whether a run belongs to this entry, with its present or with earlier settings.
    pub fn is_running(&self, entry: &EntryId) -> bool {
        self.runs.iter().any(|run| run.entry.now.id == *entry)
    }

    /// Returns whether the run of this entry was stopped and has not ended yet.
    pub fn is_ending(&self, entry: &EntryId) -> bool {
        self.runs.iter().any(|run| run.paused.is_some() && run.entry.now.id == *entry)
    }

    /// Removes a run that has ended. Returns the last certain version of its entry, and why the run was stopped, if it
    /// was.
    pub fn ended(&mut self, run: RunId) -> Option<(EntryId, Option<PauseReason>)> {
        let index = self.runs.iter().position(|other| other.run == run)?;
        let run = self.runs.swap_remove(index);
        Some((run.entry.now.id, run.paused.map(|(pause, _)| pause)))
    }
}

/// An entry and the name of its folder.
#[derive(Debug, Clone, PartialEq)]
struct Named {
    id: EntryId,
    folder: String,
}

impl Named {
    pub fn of(entry: &Entry) -> Self {
        Named { id: entry.id.clone(), folder: entry.folder.clone() }
    }

    fn mentioned(mention: &Mention) -> Self {
        Named { id: mention.id.clone(), folder: mention.folder.clone() }
    }
}

/// An entry that is tracked across edits of the file.
struct Tracked {
    /// The last version of the entry that was certain.
    now: Named,
    /// The other entries of its list.
    others: Vec<Named>,
    /// The route that leads to `destination`, as last read; see [`Entry::route`].
    route: Value,
    destination: Destination,
}

impl Tracked {
    fn new(entry: Named, (route, destination): (Value, Destination), mentions: &Mentions) -> Self {
        let of_list = mentions.of_list(&entry.id.list_id).iter().map(Named::mentioned);
        let others = of_list.filter(|other| !is_same(other, &entry)).collect();
        Tracked { others, now: entry, route, destination }
    }

    /// Finds the entry in the file. Returns `None` while the entry may still be in it and enabled.
    fn follow(&mut self, mentions: &Mentions, open: &ResolveDestination) -> Option<PauseReason> {
        let of_list = mentions.of_list(&self.now.id.list_id).iter();
        let of_list: Vec<(Named, &Mention)> =
            of_list.map(|mention| (Named::mentioned(mention), mention)).collect();
        let unreadable = mentions.unreadable;
        let (candidates, certain) = self.candidates(&of_list);
        if candidates.is_empty() {
            return (!unreadable).then_some(PauseReason::Removed);
        }
        if candidates.iter().any(|(_, mention)| !mention.disabled) {
            let [(entry, mention)] = candidates[..] else { return None };
            if unreadable {
                return None;
            }
            self.now = entry.clone();
            let others = of_list.iter().filter(|(other, _)| other != entry);
            self.others = others.map(|(other, _)| other.clone()).collect();
            let route = mention.route.as_ref().filter(|route| **route != self.route)?;
            let destination = open(&mention.id)?;
            if !destination.is_same_sink(&self.destination) {
                return Some(PauseReason::Redirected);
            }
            self.route = route.clone();
            return None;
        }
        (certain || !unreadable).then_some(PauseReason::Disabled)
    }

    /// Returns the candidates for this entry in the edited file, and whether the match is unambiguous.
    ///
    /// The candidates are the entries that the first of these rules finds:
    ///
    /// * The same fields, apart from `enabled`. Unambiguous.
    /// * The same settings for what is delivered, and not one of the list's other entries before the edit.
    ///   Unambiguous.
    /// * Settings for what is delivered that none of the other entries had before the edit. Unambiguous only
    ///   if the list had a single entry before the edit and has a single entry after it.
    fn candidates<'a, 'b>(
        &self,
        of_list: &'a [(Named, &'b Mention)],
    ) -> (Vec<&'a (Named, &'b Mention)>, bool) {
        let chosen = |wanted: &dyn Fn(&Named) -> bool| -> Vec<_> {
            of_list.iter().filter(|(entry, _)| wanted(entry)).collect()
        };
        let same = chosen(&|entry| is_same(entry, &self.now));
        if !same.is_empty() {
            return (same, true);
        }
        let is_other = |entry: &Named| self.others.iter().any(|other| is_same(other, entry));
        let alike = chosen(&|entry| !is_other(entry) && entry.folder == self.now.folder);
        if !alike.is_empty() {
            return (alike, true);
        }
        let folders: BTreeSet<&str> = self.others.iter().map(|other| other.folder.as_str()).collect();
        let rest = chosen(&|entry| !folders.contains(entry.folder.as_str()));
        (rest, self.others.is_empty() && of_list.len() == 1)
    }
}

/// Returns whether two entries are equal apart from `enabled`.
fn is_same(a: &Named, b: &Named) -> bool {
    let without = |entry: &Named| {
        let mut others = entry.id.others.clone();
        others.remove(ENABLED.name);
        others
    };
    a.id.list_id == b.id.list_id && without(a) == without(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::identity::DeliveryId,
        state::{schema, vocabulary::SAMPLE},
    };

    fn mentions(text: &str) -> Mentions {
        schema::read(text, &SAMPLE).unwrap().mentions
    }

    /// Follows the first entry of the first text through the other texts. Returns the result for each.
    fn found(texts: &[&str]) -> Vec<Option<PauseReason>> {
        let first = mentions(texts[0]);
        let begun = &first.of_list("a")[0];
        let was = (begun.route.clone().unwrap(), open(&begun.id).unwrap());
        let mut tracked = Tracked::new(Named::mentioned(begun), was, &first);
        texts[1..].iter().map(|text| tracked.follow(&mentions(text), &open)).collect()
    }

    /// Returns where an invented entry delivers: `link` leads to the default sink, and `none` nowhere.
    fn open(id: &EntryId) -> Option<Destination> {
        let sink = id.route(&SAMPLE)[1].to_string().replace("\"link\"", "null");
        let delivery = DeliveryId::new(id.list(&SAMPLE), &sink, None, "");
        (!sink.contains("none")).then_some(Destination { delivery, digest: String::new(), receiver: None })
    }

    #[test]
    fn a_list_with_one_entry_is_found_by_its_list_id() {
        let one = r#"[{"list_id": "a", "consent": "none"}]"#;
        let after = |text: &str| found(&[one, text])[0];
        assert_eq!(after(r#"[{"list_id": "a"}]"#), None);
        assert_eq!(after(r#"[{"list_id": "a", "enabled": false}]"#), Some(PauseReason::Disabled));
        assert_eq!(after(r#"[{"list_id": "a", "enabled": false}, {}]"#), Some(PauseReason::Disabled));
        assert_eq!(after(r#"[{"list_id": "b"}]"#), Some(PauseReason::Removed));
        assert_eq!(after("[]"), Some(PauseReason::Removed));
        assert_eq!(after(r#"[{"list_id": "b"}, {}]"#), None, "it may be the one without an id");
        let two = r#"[{"list_id": "a", "consent": "none", "enabled": false}, {"list_id": "a"}]"#;
        assert_eq!(after(two), Some(PauseReason::Disabled), "the other one is new");
        let two = r#"[{"list_id": "a", "archived": "skip", "enabled": false}, {"list_id": "a"}]"#;
        assert_eq!(after(two), None, "either could be the entry");
    }

    #[test]
    fn one_of_several_entries_is_found_by_its_fields() {
        let both = r#"[{"list_id": "a", "collection": "x"}, {"list_id": "a", "collection": "y"}]"#;
        let after = |text: &str| found(&[both, text])[0];
        assert_eq!(after(r#"[{"list_id": "a", "collection": "y"}]"#), Some(PauseReason::Removed));
        assert_eq!(
            after(r#"[{"list_id": "a", "collection": "y", "worker_count": 2}]"#),
            Some(PauseReason::Removed),
            "the other one, at another pace"
        );
        assert_eq!(after(r#"[{"list_id": "a", "collection": "x", "worker_count": 2}]"#), None);
        let paused = r#"[{"list_id": "a", "collection": "y"}, {"list_id": "a", "collection": "x", "enabled": false, "every": "1h"}]"#;
        assert_eq!(after(paused), Some(PauseReason::Disabled));
        let other =
            r#"[{"list_id": "a", "collection": "y", "enabled": false}, {"list_id": "a", "collection": "x"}]"#;
        assert_eq!(after(other), None);
        assert_eq!(after(r#"[{"list_id": "a", "collection": "z"}]"#), None, "it may have been edited");
        assert_eq!(after(r#"[{"list_id": "a", "collection": "y"}, 5]"#), None);
    }

    #[test]
    fn a_run_ends_when_its_entry_gets_another_source_or_sink() {
        let after = |before: &str, now: &str| {
            let entry = |fields: &str| format!(r#"[{{"list_id": "a"{fields}}}]"#);
            found(&[&entry(before), &entry(now)])[0]
        };
        for same in [
            r#", "source": {"type": "rows"}, "sink": {"type": "file", "_note": 1}"#,
            r#", "sink": {"type": "file", "pace": 2}"#,
            r#", "mapping": "copy", "consent": "none""#,
            r#", "sink": "link""#,
        ] {
            assert_eq!((after("", same), after(same, "")), (None, None), "{same}");
        }
        for other in [
            r#", "sink": "pipe""#,
            r#", "sink": {"type": "file", "account": "acme"}"#,
            r#", "source": "shifts""#,
            r#", "source": {"type": "rows", "account": "acme"}"#,
        ] {
            assert_eq!(after("", other), Some(PauseReason::Redirected), "{other}");
            assert_eq!(after(other, ""), Some(PauseReason::Redirected), "{other}");
        }
        let paused = r#", "sink": "pipe", "enabled": false"#;
        assert_eq!(after("", paused), Some(PauseReason::Disabled), "the reason that a person gave");
        for broken in [r#", "sink": "pipe", "every": 5"#, r#", "sink": "none""#] {
            assert_eq!(after("", broken), None, "an entry with a problem says nothing for certain: {broken}");
        }
        let one = r#"{"list_id": "a", "sink": "pipe", "consent": "none"}"#;
        let (both, other) = (
            format!(r#"[{{"list_id": "a"}}, {one}]"#),
            format!(r#"[{{"list_id": "a", "sink": "pipe"}}, {one}]"#),
        );
        assert_eq!(found(&[&both, &other]), [Some(PauseReason::Redirected)]);
        assert_eq!(found(&[&both, &both]), [None]);
    }

    #[test]
    fn an_entry_is_followed_over_several_edits() {
        let all = found(&[
            r#"[{"list_id": "a", "collection": "x"}, {"list_id": "a", "collection": "y"}]"#,
            r#"[{"list_id": "a", "collection": "z"}, {"list_id": "a", "collection": "y"}]"#,
            r#"[{"list_id": "a", "collection": "z"}, {"list_id": "a", "collection": "w"}]"#,
            r#"[{"list_id": "a", "collection": "w"}]"#,
        ]);
        assert_eq!(all, [None, None, Some(PauseReason::Removed)]);
    }
}
