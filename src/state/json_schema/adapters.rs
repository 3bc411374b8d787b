//! The JSON Schema of sources, mappings, sinks and receivers of notices, from the declarations of the adapters.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    base::spec::{ACCOUNT, Catalog, Secrecy, Setting, Spec, ValueKind},
    state::vocabulary::Vocabulary,
};

/// Name of the definition of a reference to a variable, for settings that are no credential.
const ENV: &str = "env";
/// Name of the definition of a reference to a file of secrets.
const FILE: &str = "file";

/// Returns the definitions that the schemas of adapters use: the references, by what they may read.
pub fn definitions(vocabulary: &Vocabulary) -> Value {
    let specs = || specs(vocabulary);
    let plain = names(
        specs().flat_map(|spec| spec.variables).filter(|variable| !variable.credential).map(|v| v.name),
    );
    let mut definitions = Map::new();
    definitions.insert(ENV.into(), env(&plain, true));
    definitions.insert(
        FILE.into(),
        json!({"type": "object", "required": ["file"], "additionalProperties": false,
            "description": "A file below the folder in IMPORTER_SECRETS.",
            "properties": {"file": {"type": "string", "pattern": "^(?!/)(?!(.*/)?\\.\\.?(/|$)).*[^/]$"}}}),
    );
    for spec in specs() {
        let own = names(spec.variables.iter().filter(|variable| variable.credential).map(|v| v.name));
        if !own.is_empty() {
            // A credential has no default, which would be a credential in the state file.
            definitions.insert(credential(spec), env(&own, false));
        }
    }
    Value::Object(definitions)
}

/// Returns the schema of a field that chooses an adapter.
pub fn adapter(catalog: &Catalog) -> Value {
    // An adapter with a required setting needs an object.
    let bare = catalog.specs.iter().filter(|spec| spec.settings.iter().all(|setting| !setting.required));
    let bare: Vec<Value> = bare.map(|spec| json!({"const": spec.kind, "description": spec.about})).collect();
    let kinds: Vec<Value> =
        catalog.specs.iter().map(|spec| json!({"const": spec.kind, "description": spec.about})).collect();
    let settings: Vec<Value> = catalog
        .specs
        .iter()
        .map(|spec| json!({"if": {"properties": {"type": {"const": spec.kind}}}, "then": settings(catalog, spec)}))
        .collect();
    let object = json!({"type": "object", "required": ["type"],
        "properties": {"type": {"type": "string", "oneOf": kinds}}, "allOf": settings});
    match bare.is_empty() {
        true => object,
        false => json!({"anyOf": [{"type": "string", "oneOf": bare}, object]}),
    }
}

/// Returns the schema of the object of one type.
fn settings(catalog: &Catalog, spec: &'static Spec) -> Value {
    let known = catalog.settings(Some(spec));
    let known: Vec<&Setting> =
        known.filter(|setting| setting.name != ACCOUNT || !spec.variables.is_empty()).collect();
    let mut schema = object(&known, spec, Secrecy::Open);
    schema["properties"]["type"] = json!({"const": spec.kind, "description": spec.about});
    // Notes of the user.
    schema["patternProperties"] = json!({"^(x-|_)": {}});
    schema
}

fn object(known: &[&Setting], spec: &Spec, outer: Secrecy) -> Value {
    let properties: Map<String, Value> = known
        .iter()
        .map(|setting| {
            let secrecy = if setting.secrecy == Secrecy::Open { outer } else { setting.secrecy };
            let mut schema = match (secrecy, setting.name) {
                (Secrecy::Credential(_), _) => {
                    let mut kinds = vec![reference(&credential(spec)), reference(FILE)];
                    let plain = setting
                        .literal
                        .map(|literal| json!({"type": "string", "pattern": format!("^{literal}")}));
                    kinds.extend(plain);
                    json!({ "anyOf": kinds })
                }
                (_, ACCOUNT) => plain(&setting.kind, spec, secrecy),
                _ => value(&setting.kind, spec, secrecy),
            };
            schema["description"] = setting.about.into();
            if let Some(default) = setting.default.and_then(|default| serde_json::from_str(default).ok()) {
                schema["default"] = default;
            }
            (setting.name.to_owned(), schema)
        })
        .collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    let required: Vec<&str> =
        known.iter().filter(|setting| setting.required).map(|setting| setting.name).collect();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// Returns the schema of a value, or of a reference in its place.
fn value(kind: &ValueKind, spec: &Spec, secrecy: Secrecy) -> Value {
    let schema = plain(kind, spec, secrecy);
    // Where the user chooses the names, `env` and `file` are such names; any value includes a reference.
    if matches!(kind, ValueKind::Map(_) | ValueKind::Any) {
        return schema;
    }
    let mut kinds = match schema["anyOf"].as_array() {
        Some(kinds) => kinds.clone(),
        None => vec![schema],
    };
    kinds.push(reference(ENV));
    if secrecy != Secrecy::Open || !kind.takes_any_text() {
        kinds.push(reference(FILE));
    }
    json!({ "anyOf": kinds })
}

fn plain(kind: &ValueKind, spec: &Spec, secrecy: Secrecy) -> Value {
    match kind {
        ValueKind::Flag => json!({"type": "boolean"}),
        ValueKind::Whole { least, most: None } => json!({"type": "integer", "minimum": least}),
        ValueKind::Whole { least, most: Some(most) } => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        ValueKind::Number { least, most } => json!({"type": "number", "minimum": least, "maximum": most}),
        ValueKind::Text => json!({"type": "string"}),
        ValueKind::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
        ValueKind::Word(words) => json!({"enum": words}),
        ValueKind::Null => json!({"type": "null"}),
        ValueKind::List(kind) => json!({"type": "array", "items": value(kind, spec, secrecy)}),
        ValueKind::Object(known) => object(&known.iter().collect::<Vec<_>>(), spec, secrecy),
        ValueKind::Map(kind) => json!({"type": "object", "additionalProperties": value(kind, spec, secrecy)}),
        ValueKind::Either(kinds) => {
            let kinds: Vec<Value> = kinds.iter().map(|kind| plain(kind, spec, secrecy)).collect();
            json!({ "anyOf": kinds })
        }
        ValueKind::Any => json!({}),
    }
}

fn reference(definition: &str) -> Value {
    json!({"$ref": format!("#/$defs/{definition}")})
}

fn credential(spec: &Spec) -> String {
    format!("credential_of_{}", spec.kind)
}

/// Returns the schema of a reference to one of these variables, those of accounts, or those that belong to no adapter.
fn env(names: &str, has_default: bool) -> Value {
    let own = "IMPORTER_VAR_[A-Z0-9_]+";
    let names = if names.is_empty() { own.to_owned() } else { format!("{own}|({names})(_[A-Z][A-Z0-9_]*)?") };
    let name = json!({"type": "string", "pattern": format!("^(?!.*_FILE$)({names})$")});
    let properties = match has_default {
        true => json!({"env": name, "default": {}}),
        false => json!({ "env": name }),
    };
    json!({"type": "object", "required": ["env"], "additionalProperties": false, "properties": properties,
        "description": "A variable of the environment, or of the file that the same name with _FILE names."})
}

fn names(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("|")
}

fn specs(vocabulary: &Vocabulary) -> impl Iterator<Item = &'static Spec> {
    let catalogs = [vocabulary.source, vocabulary.mapping, vocabulary.sink];
    catalogs.into_iter().flat_map(|catalog| catalog.specs.iter().copied())
}
