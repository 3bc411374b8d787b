//! The vocabulary of the state file: what the adapters add to it, defaults and fields of an entry. `state`
//! knows no adapter; the wiring passes the declarations in.

use serde_json::Value;

use super::fields::{self, MAPPING, NOTIFY, SINK, SOURCE};
use crate::base::{
    declared::Declared,
    spec::{Catalog, is_note, nearest},
};

/// Settings, each with the field whose object it belongs in.
const WITHIN: [(&str, &str); 4] =
    [("min_interval", "source"), ("retry", "source"), ("store", "unchanged"), ("expire", "unchanged")];

/// The declarations of all adapters.
pub struct Vocabulary {
    pub source: &'static Catalog,
    pub mapping: &'static Catalog,
    pub sink: &'static Catalog,
    /// The sinks that can receive notices.
    pub notify: &'static Catalog,
    /// Returns the default mapping for a type of source.
    pub default_mapping: fn(source: &str) -> &'static str,
    /// Fields of an entry that belong to an adapter.
    pub declared: &'static Declared,
}

impl Vocabulary {
    /// Returns the catalog from which a field chooses; `None` if the field chooses no adapter.
    pub fn catalog(&self, field: &str) -> Option<&'static Catalog> {
        let catalogs =
            [(&SOURCE, self.source), (&MAPPING, self.mapping), (&SINK, self.sink), (&NOTIFY, self.notify)];
        catalogs.into_iter().find(|(choice, _)| choice.name == field).map(|(_, catalog)| catalog)
    }

    /// Returns the value that counts when a field is absent; `None` if there is no such value.
    pub fn default(&self, field: &str) -> Option<Value> {
        match self.catalog(field) {
            Some(catalog) => catalog.default(),
            None => fields::default(field),
        }
    }

    /// Returns the warning for an unknown field; `None` if the field is known or a note.
    pub fn unknown(&self, name: &str) -> Option<String> {
        if self.fields().any(|field| field == name) || is_note(name) {
            return None;
        }
        if let Some((_, within)) = WITHIN.iter().find(|(known, _)| *known == name) {
            return Some(format!("`{name}` is ignored here; move it into the object of `{within}`"));
        }
        Some(match nearest(name, self.fields()) {
            Some(field) => format!("unknown field `{name}` is ignored; did you mean `{field}`?"),
            None => format!(
                "unknown field `{name}` is ignored; for a note of your own, use a name such as `x-{name}`"
            ),
        })
    }

    /// Returns the names of all fields of an entry.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> {
        let declared = self.declared.fields.iter().map(|field| field.name);
        fields::ALL.iter().map(|field| field.name).chain(declared)
    }
}

#[cfg(test)]
use crate::base::spec::ACCOUNT_SETTING;

/// Declarations of invented adapters, for the tests of `state` and of other modules that know no adapter.
#[cfg(test)]
pub const SAMPLE: Vocabulary = Vocabulary {
    source: &Catalog { default: Some("rows"), about: "", common: &[ACCOUNT_SETTING], specs: &[] },
    mapping: &Catalog { default: None, about: "", common: &[], specs: &[] },
    sink: &Catalog { default: Some("file"), about: "", common: &[ACCOUNT_SETTING], specs: &[] },
    notify: &Catalog { default: None, about: "", common: &[ACCOUNT_SETTING], specs: &[] },
    default_mapping: |source| if source == "rows" { "rename" } else { "copy" },
    declared: &tests::DECLARED,
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        base::declared::{Check, EntryField, Names, Wrong, is_name},
        state::schema,
    };

    pub const DECLARED: Declared = Declared {
        fields: &[COLLECTION, LABELS],
        normalize: |_, settings| settings.retain(|name, value| name != "labels" || *value != json!({})),
        names: |_, _| Names::default(),
    };
    const COLLECTION: EntryField = EntryField {
        name: "collection",
        about: "A name.",
        schema: || json!({"type": "string"}),
        check: Check::Whole(|value| match value.as_str() {
            Some(text) if is_name(text) => Ok(()),
            _ => Err("a name".to_owned()),
        }),
    };
    const LABELS: EntryField = EntryField {
        name: "labels",
        about: "Numbers by name.",
        schema: || json!({"type": "object"}),
        check: Check::Members(|name, value| match value {
            _ if name.starts_with('-') => Err(Wrong::Name(format!("`{name}` begins with a hyphen"))),
            value if value["n"].is_i64() || value.is_i64() => Ok(()),
            value => {
                let within = value.get("n").map(|_| "n");
                Err(Wrong::Value { within, expected: "a number".to_owned() })
            }
        }),
    };

    fn findings(text: &str) -> Vec<String> {
        let problems = schema::read(text, &SAMPLE).unwrap().problems;
        problems.iter().map(|problem| format!("{}: {}", problem.place, problem.text)).collect()
    }

    #[test]
    fn a_problem_of_a_declared_field_has_the_place_of_the_part_that_is_wrong() {
        let text = r#"[{"list_id": "a", "collection": 5,
            "labels": {"-b": 1, "c": true, "d": {"n": "x"}, "e": 1, "e": 2}}]"#;
        assert_eq!(
            findings(text),
            [
                "line 1 column 33: `collection` must be a name; found 5",
                "line 2 column 24: `-b` begins with a hyphen",
                "line 2 column 38: `labels.c` must be a number; found true",
                "line 2 column 55: `labels.d` must be a number; found \"x\"",
                "line 2 column 69: duplicate key `e`; remove one",
            ]
        );
        assert_eq!(
            findings(r#"[{"list_id": "a", "labels": []}]"#),
            ["line 1 column 29: `labels` must be an object `{ … }`; found []"]
        );
    }

    #[test]
    fn values_of_declared_fields_are_kept_as_they_stand_in_the_file() {
        let text = r#"[{"list_id": "a", "collection": "c", "labels": {"z": 1, "b": {"n": 2}}}]"#;
        let entry = schema::read(text, &SAMPLE).unwrap().entries.remove(0);
        assert_eq!(entry.declared.text("collection").as_deref(), Some("c"));
        let labels = [("z".to_owned(), json!(1)), ("b".to_owned(), json!({"n": 2}))];
        assert_eq!(entry.declared.members("labels"), labels);
        assert_eq!((entry.declared.text("labels"), entry.declared.members("collection").len()), (None, 0));
    }

    #[test]
    fn a_declared_field_counts_for_the_folder_of_an_entry_unless_it_has_its_default() {
        let folder = |text: &str| schema::read(text, &SAMPLE).unwrap().entries.remove(0).folder;
        let plain = folder(r#"[{"list_id": "a"}]"#);
        assert_eq!(
            folder(r#"[{"list_id": "a", "labels": {}, "source": "rows", "mapping": "rename"}]"#),
            plain
        );
        assert_ne!(folder(r#"[{"list_id": "a", "collection": "c"}]"#), plain);
        assert_ne!(folder(r#"[{"list_id": "a", "mapping": "copy"}]"#), plain);
    }
}
