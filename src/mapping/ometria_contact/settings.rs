//! How an entry wants its contacts: what of a member is sent, and under which names.

mod declared;
mod names;

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{declared::DECLARED, names::default_collection};
use crate::base::consent::Policy;

/// The settings of one entry that change what its contacts look like.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ContactSettings {
    pub policy: Policy,
    /// Nothing: `mailchimp_<list_id>`.
    pub collection: Option<String>,
    /// Where phone numbers without a country code are from, ISO 3166-1 alpha-2.
    pub default_country: Option<String>,
    /// The id of the marketing permission without which nobody is opted in.
    pub marketing_permission: Option<String>,
    /// The merge tags of contact fields that differ from [`TAGS`]; `None` leaves the field out.
    pub fields: BTreeMap<String, Option<String>>,
    /// In the order in which they find room.
    pub properties: Vec<Property>,
}

/// The contact fields that come from merge fields, each with the tag that it is read from unless an entry says otherwise.
/// <https://mailchimp.com/developer/marketing/docs/merge-fields/>
pub const TAGS: [(&str, Option<&str>); 7] = [
    ("firstname", Some("FNAME")),
    ("lastname", Some("LNAME")),
    ("country_id", Some("ADDRESS")),
    ("phone_number", Some("PHONE")),
    ("date_of_birth", None),
    ("gender", None),
    ("customer_id", None),
];

impl ContactSettings {
    /// Returns whether anything but the policy is set.
    pub fn is_set(&self) -> bool {
        *self != ContactSettings { policy: self.policy, ..ContactSettings::default() }
    }

    /// The merge tag that a contact field is read from, if it is sent at all.
    pub fn tag(&self, field: &str) -> Option<&str> {
        match self.fields.get(field) {
            Some(tag) => tag.as_deref(),
            None => TAGS.iter().find(|(name, _)| *name == field).and_then(|(_, tag)| *tag),
        }
    }
}

/// A custom field of a contact. It must have been set up in Ometria.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Property {
    pub id: String,
    pub from: PropertySource,
    pub kind: PropertyKind,
}

/// What of a member becomes a property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum PropertySource {
    /// A field of the member itself: one of [`PropertySource::PLAIN`].
    Plain(&'static str),
    /// Whether the member is in this interest group.
    Interest(String),
    Merge {
        tag: String,
    },
    /// A part of an address.
    Part {
        tag: String,
        part: &'static str,
    },
}

impl PropertySource {
    pub const PLAIN: [&'static str; 5] = ["language", "vip", "tags", "source", "status"];
    /// <https://mailchimp.com/developer/marketing/docs/merge-fields/>
    pub const PARTS: [&'static str; 6] = ["addr1", "addr2", "city", "state", "zip", "country"];

    pub const FLAG_WORDS: [&'static str; 2] = ["flag", "text"];
    pub const TEXT_WORDS: [&'static str; 1] = ["text"];

    /// The types that it can be read as, in the words of a state file.
    pub fn words(&self) -> &'static [&'static str] {
        match self {
            PropertySource::Merge { .. } | PropertySource::Part { .. } => &PropertyKind::WORDS,
            PropertySource::Plain("vip") | PropertySource::Interest(_) => &Self::FLAG_WORDS,
            PropertySource::Plain(_) => &Self::TEXT_WORDS,
        }
    }

    pub fn can_be(&self, kind: PropertyKind) -> bool {
        let word = serde_json::to_value(kind).unwrap_or_default();
        self.words().iter().any(|known| word == **known)
    }

    /// What it is read as when nothing else is said. The default tag `BIRTHDAY` holds a month and a day.
    pub fn kind(&self) -> PropertyKind {
        match self {
            PropertySource::Merge { tag } if tag == "BIRTHDAY" => PropertyKind::MonthDay,
            _ => PropertyKind::Any,
        }
    }
}

/// `language`, `interests.<id>`, `merge_fields.<TAG>` or `merge_fields.<TAG>.<part>`.
impl FromStr for PropertySource {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let named =
            |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
        let one_of = |words: &[&'static str], word: &str| words.iter().find(|known| **known == word).copied();
        match text.split('.').collect::<Vec<_>>()[..] {
            [plain] => one_of(&Self::PLAIN, plain).map(PropertySource::Plain).ok_or(()),
            ["interests", id] if named(id) => Ok(PropertySource::Interest(id.to_owned())),
            ["merge_fields", tag] if named(tag) => Ok(PropertySource::Merge { tag: tag.to_owned() }),
            ["merge_fields", tag, part] if named(tag) => {
                let part = one_of(&Self::PARTS, part).ok_or(())?;
                Ok(PropertySource::Part { tag: tag.to_owned(), part })
            }
            _ => Err(()),
        }
    }
}

/// How a property's value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PropertyKind {
    /// As what it arrives: a text, a number or a flag.
    #[serde(skip_deserializing)]
    Any,
    Text,
    Number,
    Flag,
    /// `2026-05-15`.
    Date,
    /// `05/15`, sent as `05-15`.
    MonthDay,
    /// `15/05`, sent as `05-15`.
    DayMonth,
}

impl PropertyKind {
    /// The words that a state file may use.
    pub const WORDS: [&'static str; 6] = ["text", "number", "flag", "date", "month_day", "day_month"];
}
