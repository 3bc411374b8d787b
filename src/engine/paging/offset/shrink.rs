//! Pages that are too heavy for the server: smaller ones, and when that does not help, a smaller window.

use super::{Ask, Page, Stage, State, Walk};

/// How often a page that is too heavy is halved; then it is the offset that is slow.
pub(super) const HALVINGS: u32 = 2;

/// What helps against a page that is too heavy for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relief {
    /// Smaller pages, which the walk asks for from now on.
    Halved,
    /// A window with fewer rows: it is the offset that is slow.
    Cut,
}

impl Walk {
    /// Takes note that a page was too heavy for the server. Pages are halved, and the smaller size is kept; when that
    /// does not help the page, the window must be cut.
    pub fn too_heavy(&mut self, ask: Ask) -> Relief {
        let index = self.pages.iter().position(|page| page.id == ask.id);
        let heavies = match index {
            Some(index) => &mut self.pages[index].heavies,
            None => &mut self.heavies,
        };
        *heavies += 1;
        let heavies = *heavies;
        self.again(ask);
        if heavies > HALVINGS {
            return Relief::Cut;
        }
        self.stride = self.stride.div_ceil(2).max(self.least_stride);
        self.overlap = self.overlap.min(self.stride);
        if let Some(index) = index {
            self.split(index, self.stride);
        }
        Relief::Halved
    }

    /// The page is to be read again as it is.
    pub fn again(&mut self, ask: Ask) {
        if let Stage::Top(search) = &mut self.stage {
            search.again();
        }
        if let Some(page) = self.pages.iter_mut().find(|page| page.id == ask.id) {
            page.state = State::Due;
        }
    }

    /// Replaces a page that is due with pages of at most `most` rows.
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
