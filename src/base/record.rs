//! What travels: a record as the source told it, a payload as the sink wants it.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

/// One record of a source, unparsed: a mapping reads only the fields it uses.
#[derive(Debug)]
pub struct Record {
    /// What names the record within its list, always and only this one.
    pub key: String,
    /// When it last changed, in whole seconds by the source's clock; none if the source does not say.
    pub changed: Option<DateTime<Utc>>,
    /// The source's word for what the record is at the moment, such as `subscribed`; records are counted by it.
    pub status: String,
    /// The source tells that it is gone; the body is then no more than what names it.
    pub deleted: bool,
    /// Why the record can't be read, and its place in the answer; contains no value of the record. The engine rejects such a
    /// record as [`UNREADABLE`].
    pub unreadable: Option<String>,
    pub body: Box<RawValue>,
}

/// Reason for the rejection of a record that can't be read.
pub const UNREADABLE: Reason = "unreadable";

/// Prefix of the substitute key of a record whose own key can't be read.
const NAMELESS: &str = "unreadable-";

/// Returns a substitute key for a record whose own key can't be read: a digest of the record's text.
pub fn nameless(body: &RawValue) -> String {
    format!("{NAMELESS}{:x}", md5::compute(body.get()))
}

/// Whether a key is a substitute from [`nameless`]. No source can find a record by such a key.
pub fn is_nameless(key: &str) -> bool {
    key.starts_with(NAMELESS)
}

/// What will be sent for one record.
#[derive(Debug)]
pub struct Payload {
    /// That of the record.
    pub key: String,
    /// The bytes; none for a record that is gone.
    pub body: Option<Box<RawValue>>,
}

/// Why a record, or a field of it, is not sent: a word that is counted and logged, such as `pending`.
pub type Reason = &'static str;

/// A field that is not sent although the record is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The field's name at the source or at the sink; never its value.
    pub field: Cow<'static, str>,
    pub reason: Reason,
}

/// What a mapping has made of a record for the sink.
#[derive(Debug)]
pub struct Outgoing {
    pub body: Box<RawValue>,
    /// Whether it withdraws somebody's consent.
    pub opts_out: bool,
    /// Whether it passes on somebody's consent.
    pub opts_in: bool,
    pub left_out: Vec<LeftOut>,
}

/// What a mapping makes of a record.
#[derive(Debug)]
pub enum Mapped {
    Send(Outgoing),
    /// Held back by a rule, as it should be.
    Skip(Reason),
    /// Held back because it can't be understood; someone should look.
    Reject(Reason),
}
