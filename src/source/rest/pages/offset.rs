//! Pages by offset over a list that changes while it is read. Each page repeats the last record of the one before: if
//! that record is not there, rows have moved, and the listing goes back until it finds the record. Pure.

use serde::{Deserialize, Serialize};

use super::{Before, Following, Kept, Paging, Position, Shown};
use crate::base::fault::Fault;

/// Number of pages by which a listing goes back before it begins again. Few rows move between two requests, so the
/// record is near, unless it was removed itself.
const BACK: u32 = 3;

/// Position of a page that is requested by its offset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetPosition {
    /// Number of rows before those that are to be read.
    offset: u64,
    /// Key of the row before them, which the page repeats; `None` at the beginning.
    seam: Option<String>,
    /// Number of rows of the last page that followed the one before.
    page: u64,
    /// Number of pages by which the listing has gone back since then.
    back: u32,
    /// Number of times that the listing has gone back at all, so that no position is returned twice.
    moves: u32,
    #[serde(default)]
    before: Before,
}

impl OffsetPosition {
    /// Returns the offset and the number of records of the request: with the row of the seam, and at least one other.
    pub fn range(&self, count: usize) -> (u64, usize) {
        match self.seam {
            Some(_) => (self.offset.saturating_sub(1), count.max(2)),
            None => (self.offset, count),
        }
    }

    /// Returns what follows the page. `parameter` is the name of the offset.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the service returns the same page again.
    pub fn follow(
        &self,
        paging: &Paging,
        parameter: &str,
        asked: Option<usize>,
        shown: &Shown,
    ) -> Result<Following, Fault> {
        let Shown { keys, total, .. } = *shown;
        // After rows have moved, the page before may be read again.
        if self.back == 0 && self.before.repeats(parameter, self.offset, shown)? {
            return Ok(Following::ended());
        }
        let at = match &self.seam {
            None => None,
            Some(seam) => match keys.iter().position(|key| key == seam) {
                None => return Ok(self.go_back()),
                // Rows have come in before the seam. One of them may be a row that would have followed.
                Some(1..) if self.back == 0 && paging.reads_all => return Ok(self.begin_again()),
                found => found,
            },
        };
        let rows = self.range(0).0 + keys.len() as u64;
        let short = asked.is_none_or(|asked| keys.len() < asked);
        // Only the row of the seam, or none, is an empty page.
        let ends = keys.len() == usize::from(at.is_some())
            || (short && ((paging.short_page_ends && self.before.full) || total == Some(rows)));
        // Of a server that returns one row at a time, each page would be the seam only.
        let seam = keys.last().filter(|_| keys.len() > 1).map(|key| (*key).to_owned());
        let (page, moves) = (keys.len() as u64, self.moves);
        let before = self.before.and(asked, keys);
        let next = OffsetPosition { offset: rows, seam, page, back: 0, moves, before };
        Ok(Following {
            records: at.map_or(Kept::All, Kept::Without),
            next: (!ends).then_some(Position::Offset(next)),
            begins_again: false,
        })
    }

    /// Goes back by a page, or begins again.
    fn go_back(&self) -> Following {
        let (back, moves) = (self.back + 1, self.moves + 1);
        let offset = self.offset.saturating_sub(self.page.max(1));
        if back > BACK || offset == 0 {
            return self.begin_again();
        }
        let next = OffsetPosition { offset, back, moves, ..self.clone() };
        Following { records: Kept::None, next: Some(Position::Offset(next)), begins_again: false }
    }

    /// Goes back to the beginning, which needs no seam.
    fn begin_again(&self) -> Following {
        let next = OffsetPosition { moves: self.moves + 1, ..OffsetPosition::default() };
        Following { records: Kept::None, next: Some(Position::Offset(next)), begins_again: true }
    }
}
