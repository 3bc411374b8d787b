//! A Mailchimp member, with the fields that most contacts are made of.

use crate::base::json::Value;

use super::field::Field;

/// The fields, in the order in which Mailchimp sends them and in which [`Member::read`] takes them.
const NAMES: [&str; 10] = [
    "id",
    "email_address",
    "unique_email_id",
    "contact_id",
    "status",
    "merge_fields",
    "timestamp_signup",
    "timestamp_opt",
    "last_changed",
    "location",
];

/// The fields of a member that most contacts need, found in one walk.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    /// The member itself, for fields that few entries need.
    pub whole: Field<'a>,
    pub id: Field<'a>,
    pub email_address: Field<'a>,
    pub unique_email_id: Field<'a>,
    pub contact_id: Field<'a>,
    pub status: Field<'a>,
    pub merge_fields: Field<'a>,
    pub timestamp_signup: Field<'a>,
    pub timestamp_opt: Field<'a>,
    pub last_changed: Field<'a>,
    pub location: Field<'a>,
}

impl<'a> Member<'a> {
    /// Reads a member; returns `None` if the JSON is not an object.
    pub fn read(body: Value<'a>) -> Option<Self> {
        let mut found = body.is_object().then(|| body.pick(&NAMES))?.into_iter();
        let mut next = || Field(found.next().flatten());
        Some(Member {
            whole: Field(Some(body)),
            id: next(),
            email_address: next(),
            unique_email_id: next(),
            contact_id: next(),
            status: next(),
            merge_fields: next(),
            timestamp_signup: next(),
            timestamp_opt: next(),
            last_changed: next(),
            location: next(),
        })
    }
}
