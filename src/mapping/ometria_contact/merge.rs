//! The merge fields of a member: those that an entry maps to fields of a contact, and the others.

use std::borrow::Cow;

use super::{
    field::{Field, is_unset},
    settings::{ContactSettings, PropertySource, TAGS},
};
use crate::base::json::Name;

/// The merge tags of an entry.
pub struct Tags {
    /// Tag of each contact field, in the order of [`TAGS`]; `None` if the field is not sent.
    of_fields: [Option<String>; TAGS.len()],
    /// Further tags that the entry knows: those of properties, and those of contact fields that it turned off.
    others: Vec<String>,
}

/// The merge fields of one member.
pub struct MergeFields<'a> {
    /// The merge field of each contact field, in the order of [`TAGS`]; `None` if the contact field is not sent.
    pub found: [Option<Field<'a>>; TAGS.len()],
    /// Names of the fields that are set and that the entry does not map, sorted.
    pub not_mapped: Vec<Cow<'a, str>>,
}

impl Tags {
    pub fn new(settings: &ContactSettings) -> Self {
        let properties = settings.properties.iter().filter_map(|property| match &property.from {
            PropertySource::Merge { tag } | PropertySource::Part { tag, .. } => Some(tag.clone()),
            _ => None,
        });
        let turned_off = TAGS.iter().filter(|(field, _)| settings.fields.get(*field) == Some(&None));
        let turned_off = turned_off.filter_map(|(_, usual)| usual.map(str::to_owned));
        Tags {
            of_fields: TAGS.map(|(field, _)| settings.tag(field).map(str::to_owned)),
            others: properties.chain(turned_off).collect(),
        }
    }

    /// Finds the merge fields of a member in one walk. If a name occurs twice, its last value counts.
    pub fn read<'a>(&self, merge_fields: Field<'a>) -> MergeFields<'a> {
        let sent = self.of_fields.each_ref().map(|tag| tag.as_ref().map(|_| Field(None)));
        let mut fields = MergeFields { found: sent, not_mapped: vec![] };
        for (name, value) in merge_fields.0.into_iter().flat_map(|value| value.fields()) {
            let mut is_mapped = false;
            for (tag, found) in self.of_fields.iter().zip(&mut fields.found) {
                if tag.as_ref().is_some_and(|tag| name.is(tag)) {
                    (*found, is_mapped) = (Some(Field(Some(value))), true);
                }
            }
            if !is_mapped && !self.others.iter().any(|tag| name.is(tag)) {
                fields.note(name, !is_unset(value));
            }
        }
        fields.not_mapped.sort_unstable();
        fields
    }
}

impl<'a> MergeFields<'a> {
    /// Notes a field that the entry does not map.
    fn note(&mut self, name: Name<'a>, is_set: bool) {
        self.not_mapped.retain(|known| !name.is(known));
        if is_set {
            self.not_mapped.push(name.text());
        }
    }
}
