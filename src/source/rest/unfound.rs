//! Paths that an entry names, and whether anything that was read has them. A path with a typing error is no error by
//! itself: a record without a deletion mark is not deleted, and a page that names no next one is the last.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{pages::Pages, settings::Api};
use crate::base::{json::Json, path::Path, record::Record};

/// The paths of an entry that may lead to nothing.
pub struct Sought {
    of_records: Vec<Named>,
    /// Path of the next page.
    next: Option<Named>,
    /// Whether a record was read.
    has_read: AtomicBool,
}

/// A path in a setting.
struct Named {
    setting: &'static str,
    path: Path,
    found: AtomicBool,
}

impl Sought {
    pub fn new(api: &Api) -> Self {
        let fields = &api.fields;
        let of_records =
            [("changed", &fields.changed), ("deleted", &fields.deleted), ("status", &fields.status)];
        let of_records =
            of_records.into_iter().filter_map(|(name, path)| Some(Named::new(name, path.as_ref()?)));
        let next = match &api.paging.pages {
            Pages::Cursor { next, .. } | Pages::Next(next) => Some(Named::new("paging.next", next)),
            Pages::One | Pages::Offset(_) | Pages::Number { .. } | Pages::Link => None,
        };
        Sought { of_records: of_records.collect(), next, has_read: AtomicBool::default() }
    }

    /// Looks for the paths in a response and in its records.
    pub fn note(&self, answer: &Json, records: &[Record]) {
        if records.is_empty() {
            return;
        }
        self.has_read.store(true, Ordering::Relaxed);
        for named in &self.of_records {
            named.look(records.iter().map(|record| &record.body));
        }
        if let Some(named) = &self.next {
            named.look([answer]);
        }
    }

    /// Returns a warning for each path that led to nothing; none before a record was read.
    pub fn unfound(&self) -> Vec<String> {
        if !self.has_read.load(Ordering::Relaxed) {
            return vec![];
        }
        let is_unfound = |named: &&Named| !named.found.load(Ordering::Relaxed);
        let of_records = self.of_records.iter().filter(is_unfound).map(|Named { setting, path, .. }| {
            format!(
                "no record that was read has `{}`, the path in `{setting}`; correct the path, unless only a few records of \
                 the list have this field",
                path.shown()
            )
        });
        let next = self.next.iter().filter(is_unfound).map(|Named { setting, path, .. }| {
            format!(
                "the first response has nothing at `{}`, the path in `{setting}`, so the listing ends with that page; \
                 correct the path, unless the list has only one page",
                path.shown()
            )
        });
        of_records.chain(next).collect()
    }
}

impl Named {
    fn new(setting: &'static str, path: &Path) -> Self {
        Named { setting, path: path.clone(), found: AtomicBool::default() }
    }

    fn look<'a>(&self, texts: impl IntoIterator<Item = &'a Json>) {
        let is_there = |text: &Json| self.path.find(text.value()).is_some();
        if !self.found.load(Ordering::Relaxed) && texts.into_iter().any(is_there) {
            self.found.store(true, Ordering::Relaxed);
        }
    }
}
