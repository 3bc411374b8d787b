//! The way along a chain: one page after the other, of which each names the next. Pure.

use std::collections::HashSet;

use crate::{
    base::{fault::Fault, window::Cursor},
    store::seen::fingerprint,
};

/// Where in a chain a pass is.
#[derive(Debug, Default)]
pub struct Chain {
    next: Option<Cursor>,
    /// The page at `next` is being read.
    asked: bool,
    ended: bool,
    pages: u64,
    /// Where it has been: a chain that leads back would never end.
    passed: HashSet<u128>,
}

impl Chain {
    /// Goes on after a settled page which has named this one.
    pub fn resume(next: Option<Cursor>) -> Self {
        Chain { ended: next.is_none(), next, pages: 1, ..Chain::default() }
    }

    /// The page to read now, if none is under way: that at a cursor, or the first one.
    pub fn ask(&mut self) -> Option<Option<Cursor>> {
        if self.asked || self.ended {
            return None;
        }
        self.asked = true;
        Some(self.next.clone())
    }

    /// The page that was asked for is there.
    pub fn answered(&mut self, next: Option<Cursor>) -> Result<(), Fault> {
        self.pages += 1;
        self.asked = false;
        self.ended = next.is_none();
        let known = next.as_ref().is_some_and(|cursor| !self.passed.insert(fingerprint(&cursor.0)));
        self.next = next;
        if known {
            return Err(Fault::list("the source leads back to a page that was read already")
                .hint("nothing is recorded as delivered; report it to who runs the source"));
        }
        Ok(())
    }

    pub fn finished(&self) -> bool {
        self.ended
    }

    /// One page was all of it.
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
        let mut chain = Chain::default();
        assert_eq!(chain.ask(), Some(None));
        assert_eq!(chain.ask(), None, "it is under way");
        chain.answered(cursor("b")).unwrap();
        assert!(!chain.finished());
        assert_eq!(chain.ask(), Some(cursor("b")));
        chain.answered(None).unwrap();
        assert_eq!(chain.ask(), None);
        assert!(chain.finished() && !chain.held_all_at_once());
    }

    #[test]
    fn one_page_can_be_all() {
        let mut chain = Chain::default();
        chain.ask();
        chain.answered(None).unwrap();
        assert!(chain.finished() && chain.held_all_at_once());
    }

    #[test]
    fn a_settled_page_says_where_to_go_on_or_that_it_was_the_last() {
        assert_eq!(Chain::resume(cursor("c")).ask(), Some(cursor("c")));
        assert!(Chain::resume(None).finished());
    }

    #[test]
    fn a_chain_that_leads_back_is_no_chain() {
        let mut chain = Chain::default();
        for next in ["b", "c"] {
            chain.ask();
            chain.answered(cursor(next)).unwrap();
        }
        chain.ask();
        let fault = chain.answered(cursor("b")).unwrap_err();
        assert!(fault.to_string().contains("leads back"), "{fault}");
    }
}
