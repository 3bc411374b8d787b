//! What a response says of the members of a list.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::STATUSES;
use crate::{
    base::{
        fault::Fault,
        json::{self, Json},
        key::RecordKey,
        record::{Record, nameless},
        text::lowercase,
        time,
        unreadable::{self, Repaired, Unread},
        window::Page,
    },
    net::{Http, Response, answer::reports_error},
};

/// Reads a page. Only the fields that the engine uses are read: a page has millions of bytes, and a mapping reads a
/// few fields more.
pub(super) fn page(response: &Response, http: &Http) -> Result<Page, Fault> {
    let (page, repaired) = unreadable::json(response.body()).map_err(broken)?;
    let Some((total, error)) = header(page.value()) else { return Err(misshaped(&page)) };
    if error {
        return Err(Fault::retry("mailchimp's response reports an error"));
    }
    let members = page.into_field("members").into_iter().flat_map(Json::into_items);
    let records = members.map(|body| record(body, repaired.as_ref())).collect();
    let at = http.dated(response)?;
    Ok(Page { records, total, at })
}

/// Returns the total of a page, and whether the response reports an error; `None` if it is not a page.
fn header(page: json::Value) -> Option<(u64, bool)> {
    const NAMES: [&str; 5] = ["members", "total_items", "error", "errors", "success"];
    let mut found: [Option<json::Value>; 5] = [None; 5];
    for (name, value) in page.fields() {
        if let Some(at) = name.position(&NAMES, 0) {
            // Which of two values counts is not certain.
            if found[at].replace(value).is_some() {
                return None;
            }
        }
    }
    let [members, total, error, errors, success] = found;
    members.filter(|members| members.is_array())?;
    let read = |value: Option<json::Value>| value.map_or(Some(Value::Null), json::Value::parse);
    Some((total?.parse()?, reports_error(&read(error)?, &read(errors)?, &read(success)?)))
}

/// The fault of a response that is valid JSON, but no page.
fn misshaped(page: &Json) -> Fault {
    #[derive(Deserialize)]
    struct Members {
        #[serde(rename = "members")]
        _members: Vec<IgnoredAny>,
        #[serde(rename = "total_items")]
        _total: u64,
    }
    match serde_json::from_str::<Members>(page.get()) {
        Err(error) => broken(error),
        Ok(_) => Fault::retry(UNREAD),
    }
}

/// The fields that identify a member, and those that the engine uses. A field of an unexpected type counts as
/// absent.
#[derive(Default)]
struct Member<'a> {
    id: Option<Cow<'a, str>>,
    email_address: Option<Cow<'a, str>>,
    unique_email_id: Option<Cow<'a, str>>,
    contact_id: Option<Cow<'a, str>>,
    status: Option<Cow<'a, str>>,
    last_changed: Option<Cow<'a, str>>,
}

impl<'a> Member<'a> {
    /// The fields, in the order in which Mailchimp sends them.
    const NAMES: [&'static str; 6] =
        ["id", "email_address", "unique_email_id", "contact_id", "status", "last_changed"];

    fn read(body: json::Value<'a>) -> Self {
        let (mut found, mut next) = ([const { None }; 6], 0);
        for (name, value) in body.fields() {
            let Some(at) = name.position(&Self::NAMES, next) else { continue };
            let text = value.text();
            // What identifies a member has to be unambiguous.
            if found[at].is_some() || (text.is_none() && value.is_text()) {
                return Member::default();
            }
            found[at] = Some(text);
            next = at + 1;
        }
        let [id, email_address, unique_email_id, contact_id, status, last_changed] =
            found.map(Option::flatten);
        Member { id, email_address, unique_email_id, contact_id, status, last_changed }
    }

    /// Returns the member's id if that is the MD5 of its address. Several members may share any other id; the
    /// key is then the id that the contact gets.
    fn key(&self) -> Option<&str> {
        let id = self.id.as_deref()?;
        let filled =
            |text: &'_ Option<Cow<'a, str>>| text.as_deref().is_some_and(|text| !text.trim().is_empty());
        let address = self.email_address.as_deref().map(str::trim).filter(|address| !address.is_empty());
        if address.is_some_and(|address| is_digest(id, address)) {
            return Some(id);
        }
        let others = [&self.contact_id, &self.unique_email_id, &self.id];
        others.into_iter().find(|text| filled(text)).and_then(|text| text.as_deref())
    }
}

/// Returns whether an id is the MD5 of this address in lower case.
fn is_digest(id: &str, address: &str) -> bool {
    let is_of = |text: &str| hexadecimal(md5::compute(text).0).eq_ignore_ascii_case(id.as_bytes());
    is_of(&lowercase(address)) || (!address.is_ascii() && is_of(&address.to_ascii_lowercase()))
}

fn hexadecimal(digest: [u8; 16]) -> [u8; 32] {
    let mut text = [0; 32];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
        *pair = [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    }
    text
}

/// Reads a member. One that can't be read says why.
pub(super) fn record(body: Json, repaired: Option<&Repaired>) -> Record {
    let fault = |part: &str| repaired.and_then(|repaired| repaired.fault(part));
    let member = Member::read(body.value());
    let shape = |field: &str| match unreadable::shape(body.get(), field) {
        shape if shape.ends_with(" a string") => {
            format!("`{field}` is not a valid {}", if field == "id" { "id" } else { "time" })
        }
        shape => shape,
    };
    let key = member.key().filter(|key| fault(key).is_none());
    let changed = member.last_changed.as_deref().and_then(time::parse);
    let status = member.status.as_deref().filter(|text| fault(text).is_none());
    let unreadable = match (fault(body.get()), key, changed) {
        (Some(fault), ..) => Some(fault.to_owned()),
        (None, None, _) => Some(shape("id")),
        // The engine reads a list by time, so a member without a time can't be read.
        (None, Some(_), None) => Some(shape("last_changed")),
        (None, Some(_), Some(_)) => None,
    };
    let key = key.map_or_else(|| nameless(body.get()).into(), RecordKey::from);
    let known = status.map(|status| STATUSES.into_iter().find(|known| *known == status).ok_or(status));
    let status = match known.unwrap_or(Ok("none")) {
        Ok(known) => Cow::Borrowed(known),
        Err(other) => Cow::Owned(other.to_owned()),
    };
    Record { key, changed, status, deleted: false, unreadable, body }
}

pub(super) const UNREAD: &str = "mailchimp's response can't be read";

pub(super) fn broken(error: impl Into<Unread>) -> Fault {
    Fault::retry(UNREAD).because(error.into())
}
