//! Pages that the page before names, by a cursor or an address, and listings of such pages that would never end. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Before, Position, Shown};
use crate::base::fault::Fault;

/// Upper bound of the pages without a record in a row that a cursor or a link may lead to.
const EMPTY: u32 = 100;

/// Upper bound of the pages in a row with the same records that a cursor or a link may lead to. All records of a page may
/// have changed once while it was read.
const REPEATED: u32 = 1;

/// Position that the page before named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    pub value: Value,
    /// Number of pages without a record before this one.
    empty: u32,
    /// Number of pages in a row before this one that have the same records as the one before them.
    #[serde(default)]
    repeated: u32,
    #[serde(default)]
    before: Before,
}

/// Returns the position that a page names, if it names one. `parameter` is that of a cursor.
pub fn followed(
    position: Option<&Position>,
    parameter: Option<&str>,
    shown: Shown,
) -> Result<Option<Followed>, Fault> {
    let last = match position {
        Some(Position::Cursor(last) | Position::Link(last)) => Some(last),
        _ => None,
    };
    let Some(value) = shown.next else { return Ok(None) };
    let names_itself = last.is_some_and(|last| last.value == value);
    let before = last.map_or(Before::default(), |last| last.before);
    if shown.keys.is_empty() {
        let empty = last.map_or(1, |last| last.empty + 1);
        return match empty {
            // Some services repeat their last cursor at the end.
            _ if names_itself => Ok(None),
            empty if empty > EMPTY => {
                Err(Fault::list(format!("{EMPTY} pages in a row have no records, and each names a next one"))
                    .hint("correct `paging`, or report this to the operator of the source"))
            }
            empty => Ok(Some(Followed { value, empty, repeated: 0, before })),
        };
    }
    let repeated = if before.has(shown.keys) { last.map_or(1, |last| last.repeated + 1) } else { 0 };
    if names_itself || repeated > REPEATED {
        let what = if names_itself {
            "names itself as the next one"
        } else {
            "has the same records as those before"
        };
        return Err(Fault::list(format!("the page {what}")).hint(match parameter {
            Some(parameter) => {
                format!(
                    "check `paging.parameter`, since the service may ignore `{parameter}`, and `paging.next`"
                )
            }
            None => "check `paging`, or report this to the operator of the source".to_owned(),
        }));
    }
    Ok(Some(Followed { value, empty: 0, repeated, before: before.and(None, shown.keys) }))
}
