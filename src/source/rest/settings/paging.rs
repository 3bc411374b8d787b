//! The setting `paging`: reads and checks it.

use serde::Deserialize;

use super::super::{
    pages::{Pages, Paging},
    requests::Place,
};
use crate::base::path::Path;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagingSetting {
    r#type: PagingType,
    parameter: Option<String>,
    limit: Option<String>,
    first: Option<u64>,
    next: Option<Path>,
    pub r#in: Option<Place>,
    #[serde(default)]
    short_page: ShortPage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PagingType {
    Offset,
    Page,
    Cursor,
    Next,
    Link,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ShortPage {
    #[default]
    More,
    End,
}

/// Checks the setting; without it, one page has all records.
///
/// # Errors
///
/// A member is missing, or has no effect with this type.
pub fn paging(setting: Option<PagingSetting>) -> Result<Paging, String> {
    let Some(setting) = setting else {
        return Ok(Paging { pages: Pages::One, limit: None, short_page_ends: false, reads_all: true });
    };
    let PagingSetting { r#type, parameter, limit, first, next, short_page, .. } = setting;
    let kind = format!("{:?}", r#type).to_lowercase();
    let unused = [
        ("parameter", parameter.is_some() && matches!(r#type, PagingType::Next | PagingType::Link)),
        ("first", first.is_some() && r#type != PagingType::Page),
        ("next", next.is_some() && !matches!(r#type, PagingType::Cursor | PagingType::Next)),
    ];
    if let Some((name, _)) = unused.iter().find(|(_, unused)| *unused) {
        return Err(format!("`paging.{name}` has no effect with the type {kind}; remove it"));
    }
    let missing = |name: &str| format!("`paging` of the type {kind} needs `{name}`");
    let parameter = || parameter.clone().ok_or_else(|| missing("parameter"));
    let next = || next.clone().ok_or_else(|| missing("next"));
    let pages = match r#type {
        PagingType::Offset => Pages::Offset(parameter()?),
        PagingType::Page => Pages::Number { parameter: parameter()?, first: first.unwrap_or(1) },
        PagingType::Cursor => Pages::Cursor { parameter: parameter()?, next: next()? },
        PagingType::Next => Pages::Next(next()?),
        PagingType::Link => Pages::Link,
    };
    let short_page_ends = short_page == ShortPage::End;
    if short_page_ends && !(limit.is_some() && matches!(r#type, PagingType::Offset | PagingType::Page)) {
        return Err("`paging.short_page` \"end\" needs the type offset or page, and `limit`".to_owned());
    }
    Ok(Paging { pages, limit, short_page_ends, reads_all: true })
}
