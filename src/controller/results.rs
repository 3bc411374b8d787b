//! The last results of this process, by list. Pure.

use std::collections::{HashMap, VecDeque};

use super::{
    schedule::RunId,
    status::{RunOutcome, RunResult},
};

/// Number of results of a list that are kept.
pub const PER_LIST: usize = 20;

/// The last results of each list, newest first.
#[derive(Default)]
pub struct Results(HashMap<String, VecDeque<(RunId, RunResult)>>);

impl Results {
    /// Adds the result of a run. The oldest one of its list makes room for it.
    pub fn add(&mut self, run: RunId, result: RunResult) {
        let of_list = self.0.entry(result.list_id.clone()).or_default();
        of_list.truncate(PER_LIST - 1);
        of_list.push_front((run, result));
    }

    /// Records that the result of a run is in the state file after all, or that an edit has `overruled` it.
    pub fn written(&mut self, run: RunId, list_id: &str, overruled: Option<&String>) {
        let of_list = self.0.get_mut(list_id).into_iter().flatten();
        for (_, result) in of_list.filter(|(other, _)| *other == run) {
            if let RunOutcome::Finished { not_written, .. } = &mut result.outcome {
                *not_written = overruled.cloned();
            }
        }
    }

    /// Returns the last results of a list, or of all lists, newest first.
    pub fn of(&self, list_id: Option<&str>) -> Vec<RunResult> {
        let all = self.0.iter().filter(|(list, _)| list_id.is_none_or(|wanted| *list == wanted));
        let mut found: Vec<&(RunId, RunResult)> = all.flat_map(|(_, of_list)| of_list).collect();
        found.sort_by_key(|(run, result)| std::cmp::Reverse((result.end, *run)));
        found.into_iter().map(|(_, result)| result.clone()).collect()
    }

    /// Returns the last result of an entry; `entry` is the name of its folder.
    pub fn last(&self, list_id: &str, entry: &str) -> Option<&RunResult> {
        let of_list = self.0.get(list_id)?;
        of_list.iter().map(|(_, result)| result).find(|result| result.entry == entry)
    }

    /// Forgets the results of lists that the state file has no longer.
    pub fn keep(&mut self, is_listed: impl Fn(&str) -> bool) {
        self.0.retain(|list_id, _| is_listed(list_id));
    }
}
