//! JSON texts, scanned once: a value is a range of its text, so that nothing is copied or converted that no one reads.
//! A page of a source has millions of bytes; the engine and a mapping read a few fields of each of its records, one
//! after the other.

mod scan;
mod write;

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
};

use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::{
    scan::{MAX_LEVELS, Refusal},
    write::Writer,
};

use self::scan::{Kind, Node, scan};
use super::text::is_blank;

/// A JSON value with its text. Cheap to clone: the values of one text share it.
#[derive(Clone)]
pub struct Json {
    scanned: Arc<Scanned>,
    /// Index of the value's node.
    index: u32,
    /// Its range in the text, in bytes.
    start: u32,
    end: u32,
}

/// A JSON text, with the places of its values.
struct Scanned {
    text: String,
    /// The nodes; for a detached value, whose text is known to be valid, they are made at the first use.
    nodes: OnceLock<Vec<Node>>,
}

/// A value within a JSON text.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    text: &'a str,
    nodes: &'a [Node],
    index: usize,
}

impl Json {
    /// Scans a text. Accepts what `serde_json` accepts as raw JSON, within bounds: the escapes of its strings are valid, but
    /// may encode half a surrogate pair, for which [`Value::text`] returns `None`.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub fn read(text: String) -> Result<Self, Refusal> {
        let mut nodes = scan(&text)?;
        nodes.shrink_to_fit();
        Ok(Json::whole(text, nodes))
    }

    /// Checks a text as [`Self::read`] does, without keeping it.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub fn check(text: &str) -> Result<(), Refusal> {
        scan(text).map(|_| ())
    }

    /// Makes the value that a text consists of.
    fn whole(text: String, nodes: Vec<Node>) -> Self {
        let (start, end) = nodes.first().map_or((0, 0), |node| (node.start, node.end));
        Json { scanned: Arc::new(Scanned { text, nodes: nodes.into() }), index: 0, start, end }
    }

    /// Returns a value that was found in this text, on its own; it keeps the whole text in memory.
    pub fn part(&self, value: Value) -> Self {
        let Node { start, end, .. } = *value.node();
        Json { scanned: Arc::clone(&self.scanned), index: value.index as u32, start, end }
    }

    pub fn value(&self) -> Value<'_> {
        let Scanned { text, nodes } = &*self.scanned;
        // The scan can't fail: the text was part of a valid text.
        let nodes = nodes.get_or_init(|| scan(text).unwrap_or_default());
        Value { text, nodes, index: self.index as usize }
    }

    /// Returns the JSON text of the value.
    pub fn get(&self) -> &str {
        &self.scanned.text[self.start as usize..self.end as usize]
    }

    /// Returns the value with a text of its own, so that it does not keep a larger one in memory.
    pub fn detached(&self) -> Self {
        let text = self.get().to_owned();
        let end = self.end - self.start;
        Json { scanned: Arc::new(Scanned { text, nodes: OnceLock::new() }), index: 0, start: 0, end }
    }

    /// Returns the JSON text, copied, for a struct that is written to a file.
    pub fn to_raw_value(&self) -> Box<RawValue> {
        // The text was found to be valid when it was scanned.
        RawValue::from_string(self.get().to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Returns the values of an array, each on its own; it keeps the whole text in memory.
    pub fn into_items(self) -> Vec<Json> {
        self.value().items().map(|item| self.part(item)).collect()
    }

    /// Returns a field of an object on its own, as [`Value::field`] does.
    pub fn into_field(self, name: &str) -> Option<Json> {
        let field = self.value().field(name)?;
        Some(self.part(field))
    }
}

impl<'a> Value<'a> {
    fn node(self) -> &'a Node {
        &self.nodes[self.index]
    }

    /// Returns the JSON text of the value, as it is in the whole.
    pub fn raw(self) -> &'a str {
        let Node { start, end, .. } = *self.node();
        &self.text[start as usize..end as usize]
    }

    /// Returns a text, copied only if it has escapes; `None` for any other value.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.node().kind {
            Kind::Text => Some(Cow::Borrowed(self.inner())),
            Kind::Escaped => serde_json::from_str(self.raw()).ok().map(Cow::Owned),
            _ => None,
        }
    }

    /// Returns the text of a string without escapes; `None` for any other value.
    pub fn plain_text(self) -> Option<&'a str> {
        (self.node().kind == Kind::Text).then(|| self.inner())
    }

    /// Returns the text, unless it is blank.
    pub fn filled(self) -> Option<Cow<'a, str>> {
        self.text().filter(|text| !is_blank(text))
    }

    /// Returns the value as this type; `None` if it is of another type.
    pub fn parse<T: Deserialize<'a>>(self) -> Option<T> {
        serde_json::from_str(self.raw()).ok()
    }

    fn inner(self) -> &'a str {
        let Node { start, end, .. } = *self.node();
        &self.text[start as usize + 1..end as usize - 1]
    }

    /// Returns whether the value is a string, even if its escapes make no text.
    pub fn is_text(self) -> bool {
        matches!(self.node().kind, Kind::Text | Kind::Escaped)
    }

    pub fn is_object(self) -> bool {
        self.node().kind == Kind::Object
    }

    pub fn is_array(self) -> bool {
        self.node().kind == Kind::Array
    }

    pub fn is_null(self) -> bool {
        self.node().kind == Kind::Null
    }

    /// Returns the values of an array; none of any other value.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> {
        let (mut at, end) =
            if self.is_array() { (self.index + 1, self.node().next as usize) } else { (0, 0) };
        std::iter::from_fn(move || {
            let index = at;
            (at < end).then(|| {
                at = self.nodes[index].next as usize;
                Value { index, ..self }
            })
        })
    }

    /// Returns the fields of an object in their order, also those whose name occurs again; none of any other value.
    pub fn fields(self) -> impl Iterator<Item = (Name<'a>, Value<'a>)> {
        let (mut at, end) =
            if self.is_object() { (self.index + 1, self.node().next as usize) } else { (0, 0) };
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let (name, value) = (Name::new(Value { index: at, ..self }), Value { index: at + 1, ..self });
                at = value.node().next as usize;
                (name, value)
            })
        })
    }

    /// Returns a field of an object. If its name occurs twice, the last value counts.
    pub fn field(self, name: &str) -> Option<Value<'a>> {
        self.fields().filter(|(label, _)| label.is(name)).map(|(_, value)| value).last()
    }

    /// Returns the fields with these names, each as [`Value::field`] does. It is quickest if the names have the order of
    /// the object.
    pub fn pick<const N: usize>(self, names: &[&str; N]) -> [Option<Value<'a>>; N] {
        let (mut found, mut next) = ([None; N], 0);
        for (label, value) in self.fields() {
            if let Some(at) = label.position(names, next) {
                found[at] = Some(value);
                next = at + 1;
            }
        }
        found
    }
}

/// The name of a field.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    /// The text between the quotes.
    inner: &'a str,
    is_escaped: bool,
    value: Value<'a>,
}

impl<'a> Name<'a> {
    #[inline]
    fn new(value: Value<'a>) -> Self {
        Name { inner: value.inner(), is_escaped: value.node().kind == Kind::Escaped, value }
    }

    /// Returns the JSON text of the name, with its quotes.
    pub fn raw(self) -> &'a str {
        self.value.raw()
    }

    /// Returns the name; one with half a surrogate pair as its JSON text.
    pub fn text(self) -> Cow<'a, str> {
        self.value.text().unwrap_or(Cow::Borrowed(self.value.raw()))
    }

    #[inline]
    pub fn is(self, name: &str) -> bool {
        match self.is_escaped {
            false => self.inner == name,
            true => self.text() == name,
        }
    }

    /// Returns the position of the name among these names. The search begins at `next`: the fields of records mostly
    /// have the same order, so the name is found at once if the names have it too.
    #[inline]
    pub fn position(self, names: &[&str], next: usize) -> Option<usize> {
        let (before, from) = names.split_at_checked(next)?;
        let later = from.iter().position(|name| self.is(name)).map(|at| next + at);
        later.or_else(|| before.iter().position(|name| self.is(name)))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl From<Box<RawValue>> for Json {
    /// Raw values are valid, and were found to be within the bounds of a text; another one counts as null.
    fn from(raw: Box<RawValue>) -> Self {
        let null = || Json::whole("null".to_owned(), scan("null").unwrap_or_default());
        Json::read(Box::<str>::from(raw).into_string()).unwrap_or_else(|_| null())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Json {
        Json::read(text.to_owned()).unwrap()
    }

    /// Reads a value as the library would.
    fn tree(value: Value) -> Option<serde_json::Value> {
        Some(match value.node().kind {
            Kind::Object => {
                let fields =
                    value.fields().map(|(name, value)| Some((name.text().into_owned(), tree(value)?)));
                serde_json::Value::Object(fields.collect::<Option<_>>()?)
            }
            Kind::Array => value.items().map(tree).collect::<Option<_>>()?,
            Kind::Text | Kind::Escaped => value.text()?.into(),
            _ => value.parse()?,
        })
    }

    #[test]
    fn fields_are_found_by_name_and_the_last_one_counts() {
        let json =
            json(r#" {"a": 1, "b": {"c": [], "a": 7}, "\u0061": "x", "d\"": null, "": [1, "z", {}]} "#);
        let value = json.value();
        let names: Vec<_> = value.fields().map(|(name, _)| name.text().into_owned()).collect();
        assert_eq!(names, ["a", "b", "a", "d\"", ""]);
        let raw = |name: &str| value.field(name).map(Value::raw);
        assert_eq!((raw("a"), raw("b"), raw("c")), (Some("\"x\""), Some(r#"{"c": [], "a": 7}"#), None));
        let picked = value.pick(&["b", "", "c", "a"]).map(|value| value.map(Value::raw));
        assert_eq!(picked, [raw("b"), raw(""), None, raw("a")]);
        let items: Vec<_> = value.field("").unwrap().items().map(Value::raw).collect();
        assert_eq!(items, ["1", "\"z\"", "{}"]);
        let inner = json.clone().into_field("b").unwrap();
        assert_eq!((inner.get(), inner.value().field("a").unwrap().raw()), (r#"{"c": [], "a": 7}"#, "7"));
        let own: Vec<_> = json.clone().into_field("").unwrap().into_items();
        assert_eq!(own.iter().map(Json::get).collect::<Vec<_>>(), items);
        let detached = inner.detached();
        assert_eq!((detached.get(), detached.value().field("a").unwrap().raw()), (inner.get(), "7"));
        assert!(detached.scanned.text == inner.get() && json.get() == json.detached().get());
        assert!(value.is_object() && !value.is_array() && value.field("d\"").unwrap().is_null());
        assert!(value.field("a").unwrap().fields().next().is_none() && value.items().next().is_none());
    }

    #[test]
    fn half_a_surrogate_pair_is_valid_json_but_no_text() {
        let json = json(r#"{"a": "\ud800", "b": "\ud83d\ude00", "c": " ", "d": 5}"#);
        let text = |name: &str| json.value().field(name).unwrap().text().map(Cow::into_owned);
        assert_eq!((text("a"), text("b").as_deref(), text("d")), (None, Some("😀"), None));
        assert!(json.value().field("c").unwrap().filled().is_none());
    }

    #[test]
    fn a_text_that_serde_json_can_not_read_for_its_depth_or_with_too_many_values_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let deepest = nested(MAX_LEVELS);
        assert_eq!(json(&deepest).get(), deepest);
        assert!(serde_json::from_str::<serde_json::Value>(&deepest).is_ok());
        for text in [nested(MAX_LEVELS + 1), nested(200_000), "{\"a\":".repeat(200_000)] {
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_err());
            assert_eq!(Json::read(text).unwrap_err().to_string(), "it nests more than 127 levels");
        }
        let values = |more: usize| format!("[{}1]", "1,".repeat(scan::MAX_VALUES - 2 + more));
        assert!(Json::read(values(0)).is_ok());
        assert_eq!(Json::read(values(1)).unwrap_err(), Refusal::TooMany);
    }

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            prop::num::f64::NORMAL.prop_map(Into::into),
            ".{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(".{0,9}", inner, 0..6)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_is_read_as_the_library_reads_it(value in values(), pretty in any::<bool>()) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let json = json(&text);
            prop_assert_eq!(json.get(), text.trim());
            prop_assert_eq!(tree(json.value()), Some(value));
        }

        /// Any text: of random characters that matter to JSON, and valid ones with a random change.
        #[test]
        fn a_text_is_valid_exactly_if_the_library_accepts_it_as_raw_json(
            noise in r#"[\[\]{}":,\\/ \t\n\x01\x7f0-9eE+.\-a-fu"é😀]{0,24}"#,
            value in values(),
            at in any::<prop::sample::Index>(),
            cut in 0usize..3,
        ) {
            let whole = value.to_string();
            let mut chars: Vec<char> = whole.chars().collect();
            let from = at.index(chars.len() + 1);
            chars.splice(from..(from + cut).min(chars.len()), noise.chars().take(2));
            for text in [noise, chars.into_iter().collect()] {
                let raw = serde_json::from_str::<&RawValue>(&text);
                let read = Json::read(text.clone());
                prop_assert_eq!(read.is_ok(), raw.is_ok(), "{}", text);
                if let (Ok(read), Ok(raw)) = (read, raw) {
                    prop_assert_eq!(read.get(), raw.get());
                    if let Ok(expected) = serde_json::from_str::<serde_json::Value>(&text) {
                        prop_assert_eq!(tree(read.value()), Some(expected), "{}", text);
                    }
                }
            }
        }
    }
}
