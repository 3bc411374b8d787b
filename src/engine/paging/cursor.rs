//! Cursor paging: reads one page after the other, and each page names the next. Pure.

use std::collections::HashSet;

use crate::{
    base::{fault::Fault, window::Cursor},
    store::seen::record_key,
};

/// Position of a pass in a listing that is read by cursor.
#[derive(Debug, Default)]
pub struct CursorWalk {
    next: Option<Cursor>,
    /// Whether the page at `next` has been requested and not been returned yet.
    asked: bool,
    ended: bool,
    pages: u64,
    /// Fingerprints of the cursors returned so far: a source that returns one of them again would never end.
    passed: HashSet<u128>,
}

impl CursorWalk {
    /// Resumes after a settled page that named `next`; `None` means that it was the last page.
    pub fn resume(next: Option<Cursor>) -> Self {
        CursorWalk { ended: next.is_none(), next, pages: 1, ..CursorWalk::default() }
    }

    /// Returns the page to read now: the one at a cursor, or the first one (`Some(None)`). Returns `None`
    /// while a page is in flight and after the last page.
    pub fn ask(&mut self) -> Option<Option<Cursor>> {
        if self.asked || self.ended {
            return None;
        }
        self.asked = true;
        Some(self.next.clone())
    }

    /// Records the answer to the requested page. `next` is the cursor of the following page.
    ///
    /// # Errors
    ///
    /// [`Fault::List`] if the source returned this cursor before: the listing would never end.
    pub fn answered(&mut self, next: Option<Cursor>) -> Result<(), Fault> {
        self.pages += 1;
        self.asked = false;
        self.ended = next.is_none();
        let known = next.as_ref().is_some_and(|cursor| !self.passed.insert(record_key(&cursor.0)));
        self.next = next;
        if known {
            return Err(Fault::list("the source's cursor leads back to a page that was already read")
                .hint("nothing is recorded as delivered; report this to the operator of the source"));
        }
        Ok(())
    }

    pub fn finished(&self) -> bool {
        self.ended
    }

    /// Returns whether the listing had a single page.
    pub fn held_all_at_once(&self) -> bool {
        self.ended && self.pages == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Option<Cursor> {
        Some(Cursor(text.into()))
    }

    #[test]
    fn pages_are_read_one_after_the_other_to_the_last() {
        let mut chain = CursorWalk::default();
        assert_eq!(chain.ask(), Some(None));
        assert_eq!(chain.ask(), None, "it is in flight");
        chain.answered(cursor("b")).unwrap();
        assert!(!chain.finished());
        assert_eq!(chain.ask(), Some(cursor("b")));
        chain.answered(None).unwrap();
        assert_eq!(chain.ask(), None);
        assert!(chain.finished() && !chain.held_all_at_once());
    }

    #[test]
    fn one_page_can_be_all() {
        let mut chain = CursorWalk::default();
        chain.ask();
        chain.answered(None).unwrap();
        assert!(chain.finished() && chain.held_all_at_once());
    }

    #[test]
    fn a_settled_page_names_the_next_page_or_is_the_last() {
        assert_eq!(CursorWalk::resume(cursor("c")).ask(), Some(cursor("c")));
        assert!(CursorWalk::resume(None).finished());
    }

    #[test]
    fn a_chain_that_leads_back_is_an_error() {
        let mut chain = CursorWalk::default();
        for next in ["b", "c"] {
            chain.ask();
            chain.answered(cursor(next)).unwrap();
        }
        chain.ask();
        let fault = chain.answered(cursor("b")).unwrap_err();
        assert!(fault.to_string().contains("leads back"), "{fault}");
    }
}
