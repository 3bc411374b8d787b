//! Pages: the parameters of each request, and what follows a page, by the kind of paging. Pure.

mod before;
mod followed;
mod links;
mod offset;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::links::{linked, restored, stored};

use self::{
    before::Before,
    followed::{Followed, followed},
    offset::OffsetPosition,
};
use crate::base::{fault::Fault, path::Path, window::Cursor};

/// How a service divides its records into pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pages {
    /// All records in one response.
    One,
    /// By the number of records before the page.
    Offset(String),
    /// By the number of the page.
    Number { parameter: String, first: u64 },
    /// By a text from the page before, at this path.
    Cursor { parameter: String, next: Path },
    /// By the address of the next page, at this path.
    Next(Path),
    /// By the address of the next page, in the header `Link`.
    Link,
}

/// The kind of paging, and how a listing ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging {
    pub pages: Pages,
    /// Name of the parameter for the number of records of a page; `None` if the service has none.
    pub limit: Option<String>,
    /// Whether a page with fewer records than requested is the last one, once a page had all of them.
    pub short_page_ends: bool,
    /// Whether each run reads all records. If not, the next window has a record that changes and moves meanwhile.
    pub reads_all: bool,
}

/// Position of a page in a listing, as it is stored in a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Position {
    Offset(OffsetPosition),
    Number(NumberPosition),
    Cursor(Followed),
    /// Address without its origin.
    Link(Followed),
}

/// Position of a page that is requested by its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberPosition {
    number: u64,
    /// Number of records per page. It stays the same in a listing, since pages of another size begin elsewhere.
    size: usize,
    /// Number of rows on the pages before.
    rows: u64,
    /// Total that the page before reported.
    total: Option<u64>,
    /// Number of times that the listing was begun again.
    round: u32,
    #[serde(default)]
    before: Before,
}

/// What a page shows of its listing.
pub struct Shown<'a> {
    /// Keys of its records, in their order.
    pub keys: &'a [&'a str],
    pub total: Option<u64>,
    /// Value that names the next page: a cursor, or an address without its origin.
    pub next: Option<Value>,
}

/// What follows a page.
#[derive(Debug, PartialEq)]
pub struct Following {
    /// Which of the page's records count.
    pub records: Kept,
    pub next: Option<Position>,
    /// Whether the listing begins again, because its rows have moved.
    pub begins_again: bool,
}

/// Records of a page that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    All,
    /// All but the one at this index, which the page before had too.
    Without(usize),
    /// None: the page does not follow the one before.
    None,
}

impl Following {
    fn all(next: Option<Position>) -> Self {
        Following { records: Kept::All, next, begins_again: false }
    }

    /// The listing ended with the page before.
    fn ended() -> Self {
        Following { records: Kept::None, next: None, begins_again: false }
    }
}

impl Position {
    /// Reads a position that [`Position::cursor`] wrote.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the position in the checkpoint is damaged, or the entry had another paging.
    pub fn read(cursor: &Cursor) -> Result<Self, Fault> {
        serde_json::from_str(&cursor.0).map_err(|_| misfit())
    }

    /// Formats the position as a cursor.
    pub fn cursor(&self) -> Cursor {
        // Numbers and texts can always be written.
        Cursor(serde_json::to_string(self).unwrap_or_default())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Offset(position) => write!(f, "the records from offset {} on", position.range(0).0),
            Position::Number(position) => write!(f, "page {}", position.number),
            // A cursor or an address may contain anything.
            Position::Cursor(_) | Position::Link(_) => f.write_str("the next page"),
        }
    }
}

fn misfit() -> Fault {
    Fault::list("the position of the interrupted run can't be read")
        .hint("discard it with `importer go --fresh`")
}

/// Parameters of a request, and the number of records that it asks for, if it says so.
pub type Parameters = (Vec<(String, Value)>, Option<usize>);

impl Paging {
    /// Returns the position of the first page; `None` for the page at the plain address.
    pub fn first(&self, count: usize) -> Option<Position> {
        match &self.pages {
            Pages::Offset(_) => Some(Position::Offset(OffsetPosition::default())),
            Pages::Number { first, .. } => Some(Position::Number(NumberPosition {
                number: *first,
                size: count,
                rows: 0,
                total: None,
                round: 0,
                before: Before::default(),
            })),
            Pages::One | Pages::Cursor { .. } | Pages::Next(_) | Pages::Link => None,
        }
    }

    /// Returns the parameters of the page at `position`. A link has its own.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the position is one of another kind of paging.
    pub fn parameters(&self, position: Option<&Position>, count: usize) -> Result<Parameters, Fault> {
        let (own, count) = match (&self.pages, position) {
            (Pages::Offset(parameter), Some(Position::Offset(position))) => {
                let (offset, count) = position.range(count);
                (Some((parameter.clone(), offset.into())), count)
            }
            (Pages::Number { parameter, .. }, Some(Position::Number(position))) => {
                (Some((parameter.clone(), position.number.into())), position.size)
            }
            (Pages::Cursor { parameter, .. }, Some(Position::Cursor(followed))) => {
                (Some((parameter.clone(), followed.value.clone())), count)
            }
            (Pages::One | Pages::Cursor { .. } | Pages::Next(_) | Pages::Link, None) => (None, count),
            (Pages::Next(_) | Pages::Link, Some(Position::Link(_))) => return Ok((vec![], None)),
            _ => return Err(misfit()),
        };
        let limit = self.limit.iter().map(|limit| (limit.clone(), count.into()));
        Ok((own.into_iter().chain(limit).collect(), self.limit.is_some().then_some(count)))
    }

    /// Returns what follows the page at `position`, which was requested with `asked` records.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the position is one of another kind of paging, or the listing would not end.
    pub fn follow(
        &self,
        position: Option<&Position>,
        asked: Option<usize>,
        shown: Shown,
    ) -> Result<Following, Fault> {
        match (&self.pages, position) {
            (Pages::One, None) => Ok(Following::all(None)),
            (Pages::Offset(parameter), Some(Position::Offset(position))) => {
                position.follow(self, parameter, asked, &shown)
            }
            (Pages::Number { parameter, first }, Some(Position::Number(position))) => {
                self.number(position, (parameter, *first), asked, &shown)
            }
            (Pages::Cursor { parameter, .. }, None | Some(Position::Cursor(_))) => {
                followed(position, Some(parameter), shown)
                    .map(|next| Following::all(next.map(Position::Cursor)))
            }
            (Pages::Next(_) | Pages::Link, None | Some(Position::Link(_))) => {
                followed(position, None, shown).map(|next| Following::all(next.map(Position::Link)))
            }
            _ => Err(misfit()),
        }
    }

    fn number(
        &self,
        position: &NumberPosition,
        (parameter, first): (&str, u64),
        asked: Option<usize>,
        shown: &Shown,
    ) -> Result<Following, Fault> {
        // Rows were removed, so others may have moved to the pages before.
        if let (Some(before), Some(total)) = (position.total, shown.total)
            && total < before
        {
            let round = position.round + 1;
            let before = Before::default();
            let again = NumberPosition { number: first, rows: 0, total: None, round, before, ..*position };
            let next = Some(Position::Number(again));
            return Ok(Following { records: Kept::None, next, begins_again: true });
        }
        if position.before.repeats(parameter, position.rows, shown)? {
            return Ok(Following::ended());
        }
        let found = shown.keys.len();
        let rows = position.rows + found as u64;
        let short = asked.is_none_or(|asked| found < asked);
        let by_entry = self.short_page_ends && position.before.full;
        let ends = found == 0 || (short && (by_entry || shown.total == Some(rows)));
        let (number, before) = (position.number + 1, position.before.and(asked, shown.keys));
        let next = NumberPosition { number, rows, total: shown.total, before, ..*position };
        Ok(Following::all((!ends).then_some(Position::Number(next))))
    }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
