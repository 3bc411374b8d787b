//! Settings of an entry for its contacts: which parts of a member are sent, and under which names.

mod declared;
mod names;

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{declared::DECLARED, names::default_collection};
use crate::base::consent::Policy;

/// Settings of one entry that change its contacts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ContactSettings {
    pub policy: Policy,
    /// Collection in Ometria. `None` means `mailchimp_<list_id>`.
    pub collection: Option<String>,
    /// Country of phone numbers without a country code, as ISO 3166-1 alpha-2.
    pub default_country: Option<String>,
    /// Id of the marketing permission that an opt-in requires.
    pub marketing_permission: Option<String>,
    /// Merge tags of contact fields, where they differ from [`TAGS`]; `None` leaves the field out.
    pub fields: BTreeMap<String, Option<String>>,
    /// Custom fields. Over Ometria's limit, the last ones are left out first.
    pub properties: Vec<Property>,
}

/// Contact fields that are read from merge fields, each with its default merge tag. The mapping takes them in this order.
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
    /// Returns the merge tag that a contact field is read from; `None` if the field is not sent.
    pub fn tag(&self, field: &str) -> Option<&str> {
        match self.fields.get(field) {
            Some(tag) => tag.as_deref(),
            None => TAGS.iter().find(|(name, _)| *name == field).and_then(|(_, tag)| *tag),
        }
    }
}

/// A custom field of a contact. It has to exist in Ometria.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Property {
    pub id: String,
    pub from: PropertySource,
    pub kind: PropertyKind,
}

/// Part of a member that a property is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum PropertySource {
    /// A field of the member itself: one of [`PropertySource::PLAIN`].
    Plain(&'static str),
    /// Whether the member is in this interest group.
    Interest(String),
    /// A merge field.
    Merge { tag: String },
    /// A part of an address: one of [`PropertySource::PARTS`].
    Part { tag: String, part: &'static str },
}

impl PropertySource {
    /// Fields of a member that can be properties.
    pub const PLAIN: [&'static str; 5] = ["language", "vip", "tags", "source", "status"];
    /// Parts of an address. <https://mailchimp.com/developer/marketing/docs/merge-fields/>
    pub const PARTS: [&'static str; 6] = ["addr1", "addr2", "city", "state", "zip", "country"];

    /// Types of a property that is read from a flag.
    pub const FLAG_WORDS: [&'static str; 2] = ["flag", "text"];
    /// Types of a property that is read from a text.
    pub const TEXT_WORDS: [&'static str; 1] = ["text"];

    /// Returns the types that a property from this source can have, as a state file spells them.
    pub fn words(&self) -> &'static [&'static str] {
        match self {
            PropertySource::Merge { .. } | PropertySource::Part { .. } => &PropertyKind::WORDS,
            PropertySource::Plain("vip") | PropertySource::Interest(_) => &Self::FLAG_WORDS,
            PropertySource::Plain(_) => &Self::TEXT_WORDS,
        }
    }

    /// Returns whether a property from this source can have this type.
    pub fn can_be(&self, kind: PropertyKind) -> bool {
        let word = serde_json::to_value(kind).unwrap_or_default();
        self.words().iter().any(|known| word == **known)
    }

    /// Returns the default type. The merge field `BIRTHDAY`, a default of Mailchimp, contains a month and a
    /// day.
    pub fn kind(&self) -> PropertyKind {
        match self {
            PropertySource::Merge { tag } if tag == "BIRTHDAY" => PropertyKind::MonthDay,
            _ => PropertyKind::Any,
        }
    }
}

/// Reads `language`, `interests.<id>`, `merge_fields.<TAG>` or `merge_fields.<TAG>.<part>`.
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

/// Type of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PropertyKind {
    /// The type of the value itself: text, number or flag.
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
    /// The types, as a state file spells them.
    pub const WORDS: [&'static str; 6] = ["text", "number", "flag", "date", "month_day", "day_month"];
}
