//! Cursor paging: reads one page after the other, and each page names the next. Pure.

use crate::base::{
    fault::Fault,
    key::{KeySet, key_digest},
    window::{Cursor, Next},
};

/// End of a listing in this pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The listing was read to its end.
    Closed,
    /// No record follows at present.
    Tip,
    /// The listing is left to the next run.
    Postponed,
}

/// Position of a pass in a listing that is read by cursor.
#[derive(Debug, Default)]
pub struct CursorWalk {
    next: Option<Cursor>,
    /// Whether the page at `next` has been requested and not been returned yet.
    asked: bool,
    end: Option<End>,
    pages: u64,
    /// Fingerprints of the cursors returned so far: a source that returns one of them again would never end.
    passed: KeySet<u128>,
}

impl CursorWalk {
    /// Returns a listing that begins after a position of an earlier run; `None`: at its beginning.
    pub fn after(next: Option<Cursor>) -> Self {
        CursorWalk { next, ..CursorWalk::default() }
    }

    /// Returns a listing that earlier runs have read to its end.
    pub fn closed() -> Self {
        CursorWalk { end: Some(End::Closed), ..CursorWalk::default() }
    }

    /// Resumes after a settled page that named `next`; `None` means that it was the last page. A page at the
    /// tip named the position at which records may have followed since.
    pub fn resume(next: Option<Cursor>) -> Self {
        let end = next.is_none().then_some(End::Closed);
        CursorWalk { end, next, pages: 1, ..CursorWalk::default() }
    }

    /// Returns the page to read now: the one at a cursor, or the first one (`Some(None)`). Returns `None`
    /// while a page is in flight and after the last page.
    pub fn ask(&mut self) -> Option<Option<Cursor>> {
        if self.asked || self.finished() {
            return None;
        }
        self.asked = true;
        Some(self.next.clone())
    }

    /// Records what follows the requested page.
    ///
    /// # Errors
    ///
    /// [`Fault::List`] if the source returned this cursor before: the listing would never end.
    pub fn answered(&mut self, next: Next) -> Result<(), Fault> {
        self.pages += 1;
        self.asked = false;
        let (next, end) = match next {
            Next::More(cursor) => (Some(cursor), None),
            Next::Tip(cursor) => (Some(cursor), Some(End::Tip)),
            Next::Closed => (None, Some(End::Closed)),
        };
        (self.next, self.end) = (next, end);
        let new = |cursor: &Cursor| self.passed.insert(key_digest(&cursor.0));
        if self.end.is_some() || self.next.as_ref().is_none_or(new) {
            return Ok(());
        }
        Err(Fault::list("the source's cursor leads back to a page that was already read")
            .hint("nothing is recorded as delivered; report this to the operator of the source"))
    }

    /// Leaves the listing to the next run, unless it has ended.
    pub fn postpone(&mut self) {
        self.end.get_or_insert(End::Postponed);
    }

    pub fn finished(&self) -> bool {
        self.end.is_some()
    }

    /// Returns whether the listing was read to its end, after which nothing will follow.
    pub fn is_closed(&self) -> bool {
        self.end == Some(End::Closed)
    }

    /// Returns the position at which the next run continues; `None` if there is none.
    pub fn tip(&self) -> Option<&Cursor> {
        self.next.as_ref().filter(|_| self.end == Some(End::Tip))
    }

    /// Returns whether the listing had a single page, or was not read at all.
    pub fn held_all_at_once(&self) -> bool {
        self.finished() && self.pages <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Option<Cursor> {
        Some(Cursor(text.into()))
    }

    fn more(text: &str) -> Next {
        Next::More(Cursor(text.into()))
    }

    #[test]
    fn pages_are_read_one_after_the_other_to_the_last() {
        let mut chain = CursorWalk::default();
        assert_eq!(chain.ask(), Some(None));
        assert_eq!(chain.ask(), None, "it is in flight");
        chain.answered(more("b")).unwrap();
        assert!(!chain.finished());
        assert_eq!(chain.ask(), Some(cursor("b")));
        chain.answered(Next::Closed).unwrap();
        assert_eq!(chain.ask(), None);
        assert!(chain.finished() && !chain.held_all_at_once());
    }

    #[test]
    fn one_page_can_be_all() {
        let mut chain = CursorWalk::default();
        chain.ask();
        chain.answered(Next::Closed).unwrap();
        assert!(chain.finished() && chain.held_all_at_once());
    }

    #[test]
    fn a_settled_page_names_the_next_page_or_is_the_last() {
        assert_eq!(CursorWalk::resume(cursor("c")).ask(), Some(cursor("c")));
        assert!(CursorWalk::resume(None).is_closed());
    }

    #[test]
    fn a_chain_that_leads_back_is_an_error() {
        let mut chain = CursorWalk::default();
        for next in ["b", "c"] {
            chain.ask();
            chain.answered(more(next)).unwrap();
        }
        chain.ask();
        let fault = chain.answered(more("b")).unwrap_err();
        assert!(fault.to_string().contains("leads back"), "{fault}");
    }

    #[test]
    fn a_tip_ends_the_pass_at_a_position_that_may_repeat_an_earlier_one() {
        let mut chain = CursorWalk::after(cursor("a"));
        assert_eq!(chain.ask(), Some(cursor("a")));
        chain.answered(more("b")).unwrap();
        chain.ask();
        chain.answered(Next::Tip(Cursor("b".into()))).unwrap();
        assert_eq!((chain.ask(), chain.tip()), (None, cursor("b").as_ref()));
        assert!(chain.finished() && !chain.is_closed());
    }

    #[test]
    fn a_listing_that_is_not_read_has_ended_and_only_a_closed_one_for_good() {
        let (closed, mut postponed) = (CursorWalk::closed(), CursorWalk::after(cursor("a")));
        postponed.postpone();
        for chain in [&closed, &postponed] {
            assert!(chain.finished() && chain.held_all_at_once() && chain.tip().is_none());
        }
        assert!(closed.is_closed() && !postponed.is_closed());
    }
}
