//! Ends runs whose entries were paused or removed in the state file. Pure, except that it cancels the runs.

use std::collections::BTreeSet;

use tokio::{
    task::{self, AbortHandle},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::GRACE;
use crate::state::{
    Entry,
    fields::ENABLED,
    identity::EntryId,
    model::{Mention, Mentions},
};

/// Reason for which a run ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The entry says `"enabled": false`.
    Disabled,
    /// The entry is not in the state file anymore.
    Removed,
}

/// The active runs, each with the current version of its entry.
#[derive(Default)]
pub struct Pauses {
    runs: Vec<Run>,
}

struct Run {
    task: AbortHandle,
    stop: CancellationToken,
    entry: Tracked,
    /// Why and when the run was stopped.
    paused: Option<(Pause, Instant)>,
}

impl Pauses {
    /// Adds a run that has begun. `stop` is its own token and ends no other run.
    pub fn begin(&mut self, task: AbortHandle, stop: CancellationToken, entry: Named, mentions: &Mentions) {
        let entry = Tracked::new(entry, mentions);
        self.runs.push(Run { task, stop, entry, paused: None });
    }

    /// Stops the runs whose entries are paused or removed according to `mentions`, the elements of the file.
    /// Returns the lists of the runs that it stopped.
    pub fn follow(&mut self, mentions: &Mentions, now: Instant) -> Vec<(String, Pause)> {
        let mut ending = Vec::new();
        for run in &mut self.runs {
            let pause = run.entry.follow(mentions);
            if let Some(pause) = pause.filter(|_| run.paused.is_none()) {
                run.stop.cancel();
                run.paused = Some((pause, now));
                ending.push((run.entry.now.id.list_id.clone(), pause));
            }
        }
        ending
    }

    /// Aborts the stopped runs that have not ended within [`GRACE`].
    pub fn cut_overdue(&self, now: Instant) {
        let overdue = |run: &&Run| run.paused.is_some_and(|(_, since)| now.duration_since(since) >= GRACE);
        self.runs.iter().filter(overdue).for_each(|run| run.task.abort());
    }

    /// Removes a run that has ended. Returns why it was stopped, if it was.
    pub fn ended(&mut self, task: task::Id) -> Option<Pause> {
        let index = self.runs.iter().position(|run| run.task.id() == task)?;
        self.runs.swap_remove(index).paused.map(|(pause, _)| pause)
    }
}

/// An entry and the name of its folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
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
}

impl Tracked {
    fn new(entry: Named, mentions: &Mentions) -> Self {
        let of_list = mentions.of_list(&entry.id.list_id).iter().map(Named::mentioned);
        let others = of_list.filter(|other| !is_same(other, &entry)).collect();
        Tracked { others, now: entry }
    }

    /// Finds the entry in the file. Returns `None` while the entry may still be in it and enabled.
    fn follow(&mut self, mentions: &Mentions) -> Option<Pause> {
        let of_list = mentions.of_list(&self.now.id.list_id).iter();
        let of_list: Vec<(Named, bool)> =
            of_list.map(|mention| (Named::mentioned(mention), mention.disabled)).collect();
        let unreadable = mentions.unreadable;
        let (candidates, certain) = self.candidates(&of_list);
        if candidates.is_empty() {
            return (!unreadable).then_some(Pause::Removed);
        }
        if candidates.iter().any(|(_, disabled)| !disabled) {
            if !unreadable && let [(entry, _)] = candidates[..] {
                self.now = entry.clone();
                let others = of_list.iter().filter(|(other, _)| other != entry);
                self.others = others.map(|(other, _)| other.clone()).collect();
            }
            return None;
        }
        (certain || !unreadable).then_some(Pause::Disabled)
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
    fn candidates<'a>(&self, of_list: &'a [(Named, bool)]) -> (Vec<&'a (Named, bool)>, bool) {
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
    use crate::state::{schema, vocabulary::SAMPLE};

    fn mentions(text: &str) -> Mentions {
        schema::read(text, &SAMPLE).unwrap().mentions
    }

    /// Follows the first entry of the first text through the other texts. Returns the result for each.
    fn found(texts: &[&str]) -> Vec<Option<Pause>> {
        let first = mentions(texts[0]);
        let mut tracked = Tracked::new(Named::mentioned(&first.of_list("a")[0]), &first);
        texts[1..].iter().map(|text| tracked.follow(&mentions(text))).collect()
    }

    #[test]
    fn a_list_with_one_entry_is_found_by_its_list_id() {
        let one = r#"[{"list_id": "a", "consent": "none"}]"#;
        let after = |text: &str| found(&[one, text])[0];
        assert_eq!(after(r#"[{"list_id": "a"}]"#), None);
        assert_eq!(after(r#"[{"list_id": "a", "enabled": false}]"#), Some(Pause::Disabled));
        assert_eq!(after(r#"[{"list_id": "a", "enabled": false}, {}]"#), Some(Pause::Disabled));
        assert_eq!(after(r#"[{"list_id": "b"}]"#), Some(Pause::Removed));
        assert_eq!(after("[]"), Some(Pause::Removed));
        assert_eq!(after(r#"[{"list_id": "b"}, {}]"#), None, "it may be the one without an id");
        let two = r#"[{"list_id": "a", "consent": "none", "enabled": false}, {"list_id": "a"}]"#;
        assert_eq!(after(two), Some(Pause::Disabled), "the other one is new");
        let two = r#"[{"list_id": "a", "archived": "skip", "enabled": false}, {"list_id": "a"}]"#;
        assert_eq!(after(two), None, "either could be the entry");
    }

    #[test]
    fn one_of_several_entries_is_found_by_its_fields() {
        let both = r#"[{"list_id": "a", "collection": "x"}, {"list_id": "a", "collection": "y"}]"#;
        let after = |text: &str| found(&[both, text])[0];
        assert_eq!(after(r#"[{"list_id": "a", "collection": "y"}]"#), Some(Pause::Removed));
        assert_eq!(
            after(r#"[{"list_id": "a", "collection": "y", "worker_count": 2}]"#),
            Some(Pause::Removed),
            "the other one, at another pace"
        );
        assert_eq!(after(r#"[{"list_id": "a", "collection": "x", "worker_count": 2}]"#), None);
        let paused = r#"[{"list_id": "a", "collection": "y"}, {"list_id": "a", "collection": "x", "enabled": false, "every": "1h"}]"#;
        assert_eq!(after(paused), Some(Pause::Disabled));
        let other =
            r#"[{"list_id": "a", "collection": "y", "enabled": false}, {"list_id": "a", "collection": "x"}]"#;
        assert_eq!(after(other), None);
        assert_eq!(after(r#"[{"list_id": "a", "collection": "z"}]"#), None, "it may have been edited");
        assert_eq!(after(r#"[{"list_id": "a", "collection": "y"}, 5]"#), None);
    }

    #[test]
    fn an_entry_is_followed_over_several_edits() {
        let all = found(&[
            r#"[{"list_id": "a", "collection": "x"}, {"list_id": "a", "collection": "y"}]"#,
            r#"[{"list_id": "a", "collection": "z"}, {"list_id": "a", "collection": "y"}]"#,
            r#"[{"list_id": "a", "collection": "z"}, {"list_id": "a", "collection": "w"}]"#,
            r#"[{"list_id": "a", "collection": "w"}]"#,
        ]);
        assert_eq!(all, [None, None, Some(Pause::Removed)]);
    }
}
