//! What travels: a record as the source told it, a payload as the sink wants it.

use serde_json::value::RawValue;

/// One record of a source, unparsed: a mapping reads only the fields it uses.
#[derive(Debug)]
pub struct Record {
    /// What names the record within its list, always and only this one.
    pub key: String,
    pub body: Box<RawValue>,
}

/// The bytes that will be sent for one record.
#[derive(Debug)]
pub struct Payload(pub Box<RawValue>);

/// Why a record is not sent: a word that is counted and logged, such as `pending`.
pub type Reason = &'static str;

/// What a mapping makes of a record.
#[derive(Debug)]
pub enum Mapped {
    Send(Payload),
    /// Held back by a rule, as it should be.
    Skip(Reason),
    /// Held back because it can't be understood; someone should look.
    Reject(Reason),
}
