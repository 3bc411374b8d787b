//! Writes a JSON object, and records the range of each value.

use super::{
    Json,
    scan::{Kind, Node, plain, scan},
};

/// An object that is being written, field by field. Its names have no escapes.
pub struct Writer {
    text: String,
    nodes: Vec<Node>,
}

impl Writer {
    /// Begins an object of about this many bytes and fields.
    pub fn new(bytes: usize, fields: usize) -> Self {
        let mut writer =
            Writer { text: String::with_capacity(bytes), nodes: Vec::with_capacity(2 * fields + 1) };
        writer.text.push('{');
        writer.push(Kind::Object, 0);
        writer
    }

    /// Begins an object with the fields of this one, and room for about this many bytes and fields.
    pub fn continued(&self, bytes: usize, fields: usize) -> Self {
        let mut writer =
            Writer { text: String::with_capacity(bytes), nodes: Vec::with_capacity(2 * fields + 1) };
        writer.text.push_str(&self.text);
        writer.nodes.extend_from_slice(&self.nodes);
        writer
    }

    /// Adds a field with a text.
    pub fn text(&mut self, name: &str, value: &str) {
        // With the comma, the colon and the quotes.
        self.text.reserve(name.len() + value.len() + 6);
        self.name(name);
        let start = self.text.len();
        let kind = match plain(value.as_bytes()) < value.len() {
            true => {
                // A text can always be written.
                self.text += &serde_json::to_string(value).unwrap_or_default();
                Kind::Escaped
            }
            false => {
                self.quoted(value);
                Kind::Text
            }
        };
        self.push(kind, start);
    }

    /// Adds a field with a text, if there is one.
    pub fn some_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Adds a field with this JSON. Returns `None` if that is not valid.
    pub fn json(&mut self, name: &str, value: &str) -> Option<()> {
        self.name(name);
        let (start, index) = (self.text.len() as u32, self.nodes.len() as u32);
        self.text += value;
        let moved = |node: Node| Node {
            start: start + node.start,
            end: start + node.end,
            next: index + node.next,
            kind: node.kind,
        };
        self.nodes.extend(scan(value).ok()?.into_iter().map(moved));
        Some(())
    }

    /// Ends the object.
    pub fn end(mut self) -> Json {
        self.text.push('}');
        (self.nodes[0].end, self.nodes[0].next) = (self.text.len() as u32, self.nodes.len() as u32);
        Json::whole(self.text, self.nodes)
    }

    #[inline]
    fn name(&mut self, name: &str) {
        if self.nodes.len() > 1 {
            self.text.push(',');
        }
        let start = self.text.len();
        self.quoted(name);
        self.push(Kind::Text, start);
        self.text.push(':');
    }

    fn quoted(&mut self, text: &str) {
        self.text.push('"');
        self.text.push_str(text);
        self.text.push('"');
    }

    #[inline]
    fn push(&mut self, kind: Kind, start: usize) {
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node { start: start as u32, end: self.text.len() as u32, next, kind });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_as_if_it_had_been_scanned(
            fields in prop::collection::btree_map("[a-z@_]{1,6}", (".{0,12}", 0u8..3), 0..8),
        ) {
            let (mut writer, mut expected) = (Writer::new(0, 0), Map::new());
            for (number, (name, (text, kind))) in fields.iter().enumerate() {
                if number == 3 {
                    writer = writer.continued(0, 0);
                }
                let value = match kind {
                    0 => json!({"a": [text], "b": {}}),
                    1 => json!(true),
                    _ => json!(text),
                };
                match &value {
                    Value::String(text) => writer.text(name, text),
                    value => writer.json(name, &value.to_string()).unwrap(),
                }
                writer.some_text("absent", None);
                expected.insert(name.clone(), value);
            }
            let written = writer.end();
            prop_assert_eq!(written.get(), json!(expected).to_string());
            let scanned = scan(written.get()).unwrap();
            prop_assert_eq!(format!("{:?}", written.value().nodes), format!("{scanned:?}"));
        }
    }

    #[test]
    fn invalid_json_is_not_written() {
        assert!(Writer::new(0, 0).json("a", "{").is_none());
    }
}
