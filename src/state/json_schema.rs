//! The JSON Schema of the state file.

mod adapters;

use serde_json::{Value, json};

use super::{
    fields::{ALL, Field, FieldKind, LIST_ID, STORES},
    vocabulary::Vocabulary,
};
use crate::base::{
    declared::{EntryField, NAME},
    time,
};

/// Returns the JSON Schema of the state file, draft 2020-12. Editors use it for completion and checks.
pub fn json_schema(vocabulary: &Vocabulary) -> Value {
    let own = ALL.iter().map(|field| (field.name.to_owned(), field.json_schema(vocabulary)));
    let declared = vocabulary.declared.fields.iter();
    let properties = own.chain(declared.map(|field| (field.name.to_owned(), declared_schema(field))));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The state file of importer",
        "description": "One entry for each list. Comments and trailing commas are allowed.",
        "type": "array",
        "$defs": adapters::definitions(vocabulary),
        "items": {
            "type": "object",
            "required": [LIST_ID.name],
            "properties": properties.collect::<serde_json::Map<_, _>>(),
        },
    })
}

impl Field {
    fn json_schema(&self, vocabulary: &Vocabulary) -> Value {
        let mut schema = match self.kind {
            FieldKind::Name => json!({"type": "string", "pattern": NAME}),
            FieldKind::Time => json!({"type": ["string", "null"],
                "pattern": "^\\s*\\d{4}-\\d{2}-\\d{2}([Tt ]\\d{2}:\\d{2}(:\\d{2}([.,]\\d+)?)?([Zz]|[+-]\\d{2}(:?\\d{2})?)?)?\\s*$"}),
            FieldKind::Flag => json!({"type": "boolean"}),
            FieldKind::Word(words) => json!({"enum": words}),
            FieldKind::Whole { least, .. } => json!({"type": "integer", "minimum": least}),
            FieldKind::Number => json!({"type": ["number", "null"]}),
            FieldKind::Adapter => vocabulary.catalog(self.name).map(adapters::adapter).unwrap_or_default(),
            FieldKind::Span => span_schema(),
            FieldKind::SpanOfADay => json!({"type": "string", "pattern": time::SPAN_OF_A_DAY}),
            FieldKind::Unchanged => {
                json!({"anyOf": [{"enum": STORES}, {"type": "object", "additionalProperties": false,
                "properties": {"store": {"enum": STORES}, "expire": span_schema()}}]})
            }
        };
        if let FieldKind::Whole { most: Some(most), .. } = self.kind {
            schema["maximum"] = most.into();
        }
        if let Some(default) = vocabulary.default(self.name) {
            schema["default"] = default;
        }
        let more =
            vocabulary.catalog(self.name).map(|catalog| catalog.about).filter(|about| !about.is_empty());
        schema["description"] =
            [Some(self.about), more].into_iter().flatten().collect::<Vec<_>>().join(" ").into();
        schema
    }
}

fn declared_schema(field: &EntryField) -> Value {
    let mut schema = (field.schema)();
    schema["description"] = field.about.into();
    schema
}

fn span_schema() -> Value {
    json!({"type": "string", "pattern": time::SPAN})
}
