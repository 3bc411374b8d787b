//! Lists of HTTP statuses in the settings of an entry, and the rules that follow from them. Pure.

use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::{
    base::spec::ValueKind,
    net::classify::{Rule, Rules, Verdict},
};

/// Statuses that end a request (RFC 9110, section 15): all but the informational ones.
const FINAL: RangeInclusive<u16> = 200..=599;

/// Declaration of a list of statuses.
pub const STATUSES: ValueKind = ValueKind::List(&ValueKind::Either(&[
    ValueKind::Whole { least: *FINAL.start() as u64, most: Some(*FINAL.end() as u64) },
    ValueKind::Pattern("^[2-5][0-9]{2}-[2-5][0-9]{2}$"),
]));

/// An HTTP status, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(RangeInclusive<u16>);

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let range = match &value {
            Value::Number(number) => number.as_u64().map(|status| (status, status)),
            Value::String(text) => {
                let bounds = text.split_once('-');
                bounds.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
            }
            _ => None,
        };
        let range = range.and_then(|(first, last): (u64, u64)| {
            let (first, last) = (u16::try_from(first).ok()?, u16::try_from(last).ok()?);
            let valid = FINAL.contains(&first) && FINAL.contains(&last) && first <= last;
            valid.then_some(Statuses(first..=last))
        });
        range.ok_or_else(|| {
            D::Error::custom(format!(
                "invalid status {value}; use a number from 200 to 599, or a range such as \"500-599\""
            ))
        })
    }
}

/// Returns whether a list contains a status.
pub fn contains(list: &[Statuses], status: u16) -> bool {
    list.iter().any(|Statuses(range)| range.contains(&status))
}

/// A list of an entry: the name of the setting, its statuses, and the verdict on each of them.
pub struct Listed<'a> {
    pub name: &'static str,
    pub statuses: &'a [Statuses],
    pub verdict: fn(u16) -> Verdict,
}

/// Makes the rules of the statuses that the entry lists. The lists precede `others`, and `others` precede the rules
/// of every account. If the entry has `accept`, no other status of success counts.
///
/// # Errors
///
/// A status is in two lists.
pub fn rules(
    accept: Option<&[Statuses]>,
    lists: &[Listed],
    others: impl Fn(u16) -> Option<Verdict>,
) -> Result<Rules, String> {
    let accepts =
        Listed { name: "accept", statuses: accept.unwrap_or_default(), verdict: |_| Verdict::Accepted };
    let mut rules = Vec::new();
    for status in FINAL {
        let lists = [&accepts].into_iter().chain(lists);
        let named: Vec<&Listed> = lists.filter(|list| contains(list.statuses, status)).collect();
        let verdict = match named[..] {
            [list] => Some((list.verdict)(status)),
            [one, other, ..] => {
                return Err(format!(
                    "status {status} is in `{}` and in `{}`; remove it from one of them",
                    one.name, other.name
                ));
            }
            [] if accept.is_some() && (200..=299).contains(&status) => Some(Verdict::Refused),
            [] => others(status),
        };
        rules.extend(verdict.map(|verdict| Rule::status(status, verdict)));
    }
    Ok(Rules::new(rules))
}

/// Returns the verdict on a status in `retry`. A verdict of every account that leads to a retry stays, so that a
/// status for throttling still pauses the account.
pub fn again(status: u16) -> Verdict {
    match Rules::default().verdict(status, || true) {
        verdict @ (Verdict::Throttled | Verdict::Overloaded | Verdict::TooSlow) => verdict,
        _ => Verdict::Temporary,
    }
}
