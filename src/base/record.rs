//! A record as the source sent it, and a payload as the sink receives it.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::{json::Json, key::RecordKey};

/// One record of a source, unparsed: a mapping reads only the fields that it uses.
#[derive(Debug)]
pub struct Record {
    /// Identifies the record within its list, uniquely and permanently.
    pub key: RecordKey,
    /// Time of the last change, in whole seconds by the source's clock. `None` if the source reports none.
    pub changed: Option<DateTime<Utc>>,
    /// Current status in the source's words, such as `subscribed`. Records are counted by it.
    pub status: Cow<'static, str>,
    /// Whether the source reports the record as deleted. Its body is not read then, and may have only the key.
    pub deleted: bool,
    /// Why the record can't be read, and its position in the response; contains no value of the record. The
    /// engine rejects such a record as [`UNREADABLE`].
    pub unreadable: Option<String>,
    /// The JSON text of the record, unchanged.
    pub body: Json,
}

/// Reason for the rejection of a record that can't be read.
pub const UNREADABLE: Reason = "unreadable";

/// Prefix of the substitute key of a record whose own key can't be read.
const NAMELESS: &str = "unreadable-";

/// Returns a substitute key for a record whose own key can't be read: a digest of the record's text.
pub fn nameless(body: &str) -> String {
    format!("{NAMELESS}{:x}", md5::compute(body))
}

/// Whether a key is a substitute from [`nameless`]. No source can find a record by such a key.
pub fn is_nameless(key: &str) -> bool {
    key.starts_with(NAMELESS)
}

/// A payload of a record, before the sink encodes it.
#[derive(Debug)]
pub struct Payload {
    pub key: RecordKey,
    /// JSON text. `None` for a record that was deleted at the source.
    pub body: Option<Json>,
}

/// Why a record or one of its fields is not sent: a single word for counts and logs, such as `pending`.
pub type Reason = &'static str;

/// A field that is missing from a payload, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Name of the field at the source or at the sink; never its value.
    pub field: Cow<'static, str>,
    pub reason: Reason,
}

/// The payloads that a mapping made of a record, and their effect on consent.
#[derive(Debug)]
pub struct Outgoing {
    /// JSON texts; each is a payload with the record's key. Without any, the record is skipped.
    pub bodies: Vec<Json>,
    /// Whether the payloads withdraw a person's consent.
    pub opts_out: bool,
    /// Whether the payloads pass on a person's consent.
    pub opts_in: bool,
    /// Fields of the record that are not part of the payloads.
    pub left_out: Vec<LeftOut>,
}

impl Outgoing {
    /// Returns payloads that neither withdraw nor pass on a consent, and leave no field out.
    pub fn plain(bodies: Vec<Json>) -> Self {
        Outgoing { bodies, opts_out: false, opts_in: false, left_out: vec![] }
    }
}

/// Result of a mapping.
#[derive(Debug)]
pub enum Mapped {
    /// The record is sent.
    Send(Outgoing),
    /// A rule of the mapping leaves the record out, as intended.
    Skip(Reason),
    /// The record can't be mapped. It becomes a dead letter for a person to check.
    Reject(Reason),
}
