//! Reacts to pages that are too slow for the server: halves them, and if that does not help, has the window
//! split.

use super::{Page, PageRequest, Stage, State, Walk};

/// Number of times that a page is halved. If it is still too slow, the offset is the cause, not the size.
pub(super) const HALVINGS: u32 = 2;

/// Remedy for a page that was too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shrink {
    /// Smaller pages, from now on.
    Halved,
    /// A window with fewer rows: the high offset makes the page slow.
    Cut,
}

impl Walk {
    /// Reacts to a page that was too slow for the server: halves the pages and keeps the smaller size.
    /// Returns [`Shrink::Cut`] if halving did not help this page; the caller then has to split the window.
    pub fn too_slow(&mut self, ask: PageRequest) -> Shrink {
        let index = self.pages.iter().position(|page| page.id == ask.id);
        let heavies = match index {
            Some(index) => &mut self.pages[index].heavies,
            None => &mut self.heavies,
        };
        *heavies += 1;
        let heavies = *heavies;
        self.again(ask);
        if heavies > HALVINGS {
            return Shrink::Cut;
        }
        self.stride = self.stride.div_ceil(2).max(self.least_stride);
        self.overlap = self.overlap.min(self.stride);
        if let Some(index) = index {
            self.split(index, self.stride);
        }
        Shrink::Halved
    }

    /// Schedules a page to be read again, unchanged.
    pub fn again(&mut self, ask: PageRequest) {
        if let Stage::Top(search) = &mut self.stage {
            search.again();
        }
        if let Some(page) = self.pages.iter_mut().find(|page| page.id == ask.id) {
            page.state = State::Due;
        }
    }

    /// Replaces a scheduled page with pages of at most `most` rows.
    pub(super) fn split(&mut self, index: usize, most: usize) {
        if self.pages[index].height <= most {
            return;
        }
        let Some(whole) = self.pages.remove(index) else { return };
        let mut top = whole.offset + whole.height as u64;
        let mut at = index;
        while top > whole.offset {
            let height = (top - whole.offset).min(most as u64);
            top -= height;
            let page = self.page(top, height as usize);
            self.pages.insert(at, Page { heavies: whole.heavies, readings: whole.readings, ..page });
            at += 1;
        }
    }
}

#[cfg(test)]
#[path = "shrink_tests.rs"]
mod tests;
