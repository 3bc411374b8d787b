//! Finds the place of a setting in the object of an adapter, and the credentials that such objects must not contain.
//! Pure.

use std::borrow::Cow;

use jsonc_parser::{
    ast::{Array, Object, ObjectProp, Value},
    common::Ranged,
};

use super::{
    fields::{MAPPING, NOTIFY, SINK, SOURCE},
    finding::{BOM, Lines, Place},
    syntax::parse,
    vocabulary::Vocabulary,
};
use crate::base::spec::Secrecy;

/// Fields of an entry whose objects contain settings of adapters.
const PARTS: [&str; 4] = [SOURCE.name, MAPPING.name, SINK.name, NOTIFY.name];

/// Returns the place of the setting that a message names in backticks, such as `` `results.path` ``, if the object at
/// `at` has it; `at` otherwise. A message about an unknown type concerns `type`.
pub fn setting(lines: &Lines, array: &Array, at: Place, message: &str) -> Place {
    let Some(object) = find(array, lines.offset_of(at)) else { return at };
    let named = message.split('`').skip(1).step_by(2);
    let named = named.chain(message.contains("unknown type").then_some("type"));
    let found = named.filter_map(|name| {
        let (first, rest) = name.split_once('.').unwrap_or((name, ""));
        // A message that does not begin with the name of the field may say `sink.url`.
        within(object, if PARTS.contains(&first) { rest } else { name })
    });
    found.into_iter().next().map_or(at, |offset| lines.place(offset))
}

/// Returns the values of credentials that a file contains, as it spells them. They must not be there, and the line of
/// a problem must not repeat them.
pub fn credentials(text: &str, array: &Array, vocabulary: &Vocabulary) -> Vec<String> {
    let mut found = vec![];
    for entry in array.elements.iter().filter_map(Value::as_object) {
        for part in PARTS {
            let object = entry.get(part).and_then(|prop| prop.value.as_object());
            let (Some(object), Some(catalog)) = (object, vocabulary.catalog(part)) else { continue };
            let kind = object.get("type").and_then(|prop| prop.value.as_string_lit());
            let spec = kind.and_then(|kind| catalog.spec(&kind.value));
            let secret =
                catalog.settings(spec).filter(|setting| matches!(setting.secrecy, Secrecy::Credential(_)));
            let values = secret.filter_map(|setting| Some((setting, &object.get(setting.name)?.value)));
            let literals = values.filter(|(setting, value)| {
                let plain = value.as_string_lit().is_some_and(|text| setting.is_literal(&text.value));
                !plain && !is_reference(value)
            });
            found.extend(literals.map(|(_, value)| value.text(text).to_owned()));
        }
    }
    found
}

/// Returns whether a file contains credentials. One that can't be parsed may have none: nothing shows where they are.
pub fn has_credentials(text: &str, vocabulary: &Vocabulary) -> bool {
    let body = text.strip_prefix(BOM).unwrap_or(text);
    parse(body).is_ok_and(|array| !credentials(body, &array, vocabulary).is_empty())
}

/// Returns whether a value only names a variable or a file. With a default, it could contain a credential.
fn is_reference(value: &Value) -> bool {
    let Some(object) = value.as_object() else { return false };
    let names = |prop: &ObjectProp| {
        ["env", "file"].contains(&prop.name.as_str()) && prop.value.as_string_lit().is_some()
    };
    matches!(&object.properties[..], [prop] if names(prop))
}

/// Returns a text with asterisks in the place of these credentials, so that every line and column stays.
pub fn hidden<'a>(text: &'a str, credentials: &[String]) -> Cow<'a, str> {
    let stars = |text: &str| text.chars().map(|c| if c == '\n' { c } else { '*' }).collect::<String>();
    let credentials = credentials.iter().filter(|credential| !credential.is_empty());
    credentials
        .fold(Cow::Borrowed(text), |text, credential| text.replace(credential, &stars(credential)).into())
}

/// Returns the object of an adapter that begins at an offset.
fn find<'a, 'b>(array: &'b Array<'a>, offset: usize) -> Option<&'b Object<'a>> {
    let last = array.elements.partition_point(|entry| entry.start() <= offset).checked_sub(1)?;
    let parts = array.elements[last].as_object()?.properties.iter().map(|prop| &prop.value);
    parts.filter(|value| value.start() == offset).find_map(Value::as_object)
}

/// Returns where the member of an object begins to which a path leads, or the deepest one that exists. Names may
/// contain dots.
fn within(object: &Object, path: &str) -> Option<usize> {
    let path = path.replace('[', ".").replace(']', "");
    let rest = |name: &str| match path.strip_prefix(name)? {
        "" => Some(String::new()),
        rest => rest.strip_prefix('.').map(str::to_owned),
    };
    let members = object.properties.iter().filter_map(|prop| Some((prop, rest(prop.name.as_str())?)));
    let (prop, rest) = members.max_by_key(|(prop, _)| prop.name.as_str().len())?;
    let deeper = match &prop.value {
        Value::Object(object) => within(object, &rest),
        Value::Array(array) => {
            let (index, rest) = rest.split_once('.').unwrap_or((&rest, ""));
            let item = index.parse().ok().and_then(|index: usize| array.elements.get(index));
            let deeper = item.and_then(Value::as_object).and_then(|object| within(object, rest));
            deeper.or(item.map(Ranged::start))
        }
        _ => None,
    };
    Some(deeper.unwrap_or(prop.start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::spec::{Catalog, Setting, Spec, ValueKind},
        state::vocabulary::SAMPLE,
    };

    const URL: Setting = Setting::new("url", ValueKind::Text, "").credential("ACME_URL").or_literal("file:");
    const STORE: Spec = Spec { settings: &[URL], ..Spec::new("store", "") };
    const SINKS: Catalog = Catalog { default: None, about: "", common: &[], specs: &[&STORE] };

    #[test]
    fn a_text_in_the_place_of_a_credential_is_one_unless_it_is_a_literal() {
        for (url, is_credential) in
            [(r#""s3cr3t""#, true), (r#""file:out/a""#, false), (r#"{"env": "ACME_URL"}"#, false)]
        {
            let text = format!(r#"[{{"list_id": "a", "sink": {{"type": "store", "url": {url}}}}}]"#);
            let vocabulary = Vocabulary { sink: &SINKS, ..SAMPLE };
            assert_eq!(has_credentials(&text, &vocabulary), is_credential, "{url}");
        }
    }

    const TEXT: &str = "[\n  {\"list_id\": \"ä\", \"sink\": {\"type\": \"http\", \"count\": 5,\n    \"results\": {\"path\": \"a\", \"a.b\": {\"c\": 1}}, \"accept\": [200, {\"x\": 1}]}}\n]";
    const SINK: Place = Place { line: 2, column: 28 };

    #[test]
    fn the_place_is_that_of_the_first_setting_that_the_message_names() {
        let (lines, array) = (Lines::of(TEXT), parse(TEXT).unwrap());
        for (message, line, column) in [
            ("`sink`: http: `count` must be a text", 2, 45),
            ("`sink`: http: `results`: missing field `status`", 3, 5),
            ("`sink`: http: unknown setting `results.path`; did you mean `count`?", 3, 17),
            ("`results.a.b.c` is wrong", 3, 38),
            ("`results.none` is wrong", 3, 5),
            ("`accept[0]`: invalid status 700", 3, 59),
            ("`accept.1.x` is wrong", 3, 65),
            ("`accept[7]` is wrong", 3, 48),
            ("`IMPORTER_VAR_A` is not set, and `sink.count` refers to it", 2, 45),
            ("`sink`: unknown type \"http\", expected one of a", 2, 29),
            ("`sink`: `HTTP_KEY` is not set", 2, 28),
            ("`sink`: http: `list_id` must be a number", 2, 28),
            ("no name", 2, 28),
        ] {
            assert_eq!(setting(&lines, &array, SINK, message), Place { line, column }, "{message}");
        }
        let elsewhere = Place { line: 2, column: 3 };
        assert_eq!(setting(&lines, &array, elsewhere, "`count`"), elsewhere, "no object of an adapter");
    }
}
