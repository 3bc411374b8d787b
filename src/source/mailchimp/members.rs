//! What a response says of the members of a list.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    base::{
        fault::Fault,
        record::{Record, nameless},
        time,
        unreadable::{self, Repaired},
        window::Page,
    },
    net::{Http, Response, answer::reports_error},
};

/// Reads a page. Members stay unparsed: a page has millions of bytes, and the mapping reads a few fields.
pub(super) fn page(response: &Response, http: &Http) -> Result<Page, Fault> {
    #[derive(Deserialize)]
    struct Members {
        members: Vec<Box<RawValue>>,
        total_items: u64,
        #[serde(default)]
        error: Value,
        #[serde(default)]
        errors: Value,
        #[serde(default)]
        success: Value,
    }
    let (Members { members, total_items: total, error, errors, success }, repaired) =
        unreadable::read(response.body()).map_err(broken)?;
    if reports_error(&error, &errors, &success) {
        return Err(Fault::retry("mailchimp's response reports an error"));
    }
    let records = members.into_iter().map(|body| record(body, repaired.as_ref())).collect();
    let at = http.dated(response)?;
    Ok(Page { records, total, at })
}

/// The fields that identify a member, and those that the engine uses. A field of an unexpected type is no
/// error here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Member {
    id: Value,
    email_address: Value,
    contact_id: Value,
    unique_email_id: Value,
    last_changed: Value,
    status: Value,
}

impl Member {
    /// Returns the member's id if that is the MD5 of its address. Several members may share any other id; the
    /// key is then the id that the contact gets.
    fn key(&self) -> Option<&str> {
        let id = self.id.as_str()?;
        let filled = |value: &'_ Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
        let address = self.email_address.as_str().filter(|_| filled(&self.email_address)).map(str::trim);
        let is_of = |text: String| format!("{:x}", md5::compute(text)).eq_ignore_ascii_case(id);
        if address.is_some_and(|address| is_of(address.to_lowercase()) || is_of(address.to_ascii_lowercase()))
        {
            return Some(id);
        }
        let others = [&self.contact_id, &self.unique_email_id, &self.id];
        others.into_iter().find(|value| filled(value)).and_then(Value::as_str)
    }
}

/// Reads a member. One that can't be read says why.
pub(super) fn record(body: Box<RawValue>, repaired: Option<&Repaired>) -> Record {
    let fault = |part: &str| repaired.and_then(|repaired| repaired.fault(part));
    let is_object = body.get().starts_with('{');
    let member = serde_json::from_str::<Member>(body.get()).ok().filter(|_| is_object);
    let shape = |field: &str| match unreadable::shape(body.get(), field) {
        shape if shape.ends_with(" a string") => {
            format!("`{field}` is not a valid {}", if field == "id" { "id" } else { "time" })
        }
        shape => shape,
    };
    let key = member.as_ref().and_then(Member::key).filter(|key| fault(key).is_none());
    let changed = member.as_ref().and_then(|member| time::parse(member.last_changed.as_str()?));
    let status =
        member.as_ref().and_then(|member| member.status.as_str()).filter(|text| fault(text).is_none());
    let unreadable = match (fault(body.get()), key, changed) {
        (Some(fault), ..) => Some(fault.to_owned()),
        (None, None, _) => Some(shape("id")),
        // The engine reads a list by time, so a member without a time can't be read.
        (None, Some(_), None) => Some(shape("last_changed")),
        (None, Some(_), Some(_)) => None,
    };
    let key = key.map_or_else(|| nameless(&body), str::to_owned);
    let status = status.unwrap_or("none").to_owned();
    Record { key, changed, status, deleted: false, unreadable, body }
}

pub(super) const UNREAD: &str = "mailchimp's response can't be read";

/// The error's own text may quote a value, so the message contains only its position.
pub(super) fn broken(error: serde_json::Error) -> Fault {
    Fault::retry(UNREAD).because(format!(
        "unexpected JSON at line {} column {}",
        error.line(),
        error.column()
    ))
}
