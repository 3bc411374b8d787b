//! Finds the values in a JSON text, within bounds. Pure.

use std::fmt;

/// A value in a text, or the name of a field.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Range of the value in the text, in bytes; of a text with its quotes.
    pub start: u32,
    pub end: u32,
    /// Index of the node after the value and all that it contains.
    pub next: u32,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    Text,
    /// A text with escapes.
    Escaped,
    Number,
    Flag,
    Null,
}

/// Upper bound of the levels of arrays and objects. serde_json reads as many, and everything that converts, compares or
/// frees a value does it level by level on the stack.
pub const MAX_LEVELS: usize = 127;
/// Upper bound of the values of a text, names included. A text of 64 MB may have 30 million, each of which takes many
/// times its length in memory.
pub const MAX_VALUES: usize = 4_000_000;

/// Why a text is not read. The message quotes none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not valid JSON (RFC 8259), or longer than 4 GB.
    Invalid,
    TooDeep,
    TooMany,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Invalid => f.write_str("it is not valid JSON"),
            Refusal::TooDeep => write!(f, "it nests more than {MAX_LEVELS} levels"),
            Refusal::TooMany => f.write_str(
                "it has more than 4,000,000 values; request fewer records at a time (`items_per_request`)",
            ),
        }
    }
}

/// Bytes of a text for each node, for which space is reserved: records have short names and short values.
const BYTES_PER_NODE: usize = 12;

/// Returns the values of a text, each container before what it contains, each name before its value.
///
/// # Errors
///
/// [`Refusal`].
pub fn scan(text: &str) -> Result<Vec<Node>, Refusal> {
    u32::try_from(text.len()).map_err(|_| Refusal::Invalid)?;
    let nodes = Vec::with_capacity((text.len() / BYTES_PER_NODE).min(MAX_VALUES) + 1);
    let bytes = text.as_bytes();
    let mut scan = Scan { bytes, at: 0, nodes, open: vec![], within: Kind::Array, refusal: Refusal::Invalid };
    match scan.whole() {
        Some(()) => Ok(scan.nodes),
        None => Err(scan.refusal),
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// Indices of the containers that are not closed yet.
    open: Vec<u32>,
    /// Kind of the innermost open container.
    within: Kind,
    /// Why the scan ends, if it ends early.
    refusal: Refusal,
}

/// The steps are inlined into the loop, so that the state stays in registers: a page has some forty values per record.
impl Scan<'_> {
    fn whole(&mut self) -> Option<()> {
        loop {
            let opened = match self.space()? {
                b'"' => self.text()?,
                b'{' => self.container(Kind::Object, b'}')?,
                b'[' => self.container(Kind::Array, b']')?,
                b't' => self.word("true", Kind::Flag)?,
                b'f' => self.word("false", Kind::Flag)?,
                b'n' => self.word("null", Kind::Null)?,
                _ => self.number()?,
            };
            if !opened && !self.after_value()? {
                return (self.at == self.bytes.len()).then_some(());
            }
        }
    }

    /// Scans what follows a value, up to the next value. Returns `false` at the end of the whole.
    #[inline(always)]
    fn after_value(&mut self) -> Option<bool> {
        if self.nodes.len() > MAX_VALUES {
            self.refusal = Refusal::TooMany;
            return None;
        }
        while !self.open.is_empty() {
            match (self.space()?, self.within) {
                (b',', Kind::Object) => {
                    self.at += 1;
                    self.name()?;
                    return Some(true);
                }
                (b',', Kind::Array) => {
                    self.at += 1;
                    return Some(true);
                }
                (b'}', Kind::Object) | (b']', Kind::Array) => self.close(),
                _ => return None,
            }
        }
        // Nothing may follow.
        self.space();
        Some(false)
    }

    /// Scans the part of a container before its first value. Returns `false` if it has none.
    #[inline(always)]
    fn container(&mut self, kind: Kind, end: u8) -> Option<bool> {
        if self.open.len() == MAX_LEVELS {
            self.refusal = Refusal::TooDeep;
            return None;
        }
        self.open.push(self.nodes.len() as u32);
        self.push(kind, self.at, self.at);
        self.within = kind;
        self.at += 1;
        if self.space()? == end {
            self.close();
            return Some(false);
        }
        if kind == Kind::Object {
            self.name()?;
        }
        Some(true)
    }

    /// Closes the innermost container at the current byte.
    fn close(&mut self) {
        self.at += 1;
        let next = self.nodes.len() as u32;
        if let Some(container) = self.open.pop() {
            let container = &mut self.nodes[container as usize];
            (container.end, container.next) = (self.at as u32, next);
        }
        if let Some(outer) = self.open.last() {
            self.within = self.nodes[*outer as usize].kind;
        }
    }

    /// Scans the name of a field and the colon after it.
    #[inline(always)]
    fn name(&mut self) -> Option<()> {
        (self.space()? == b'"').then_some(())?;
        self.text()?;
        (self.space()? == b':').then(|| self.at += 1)
    }

    #[inline(always)]
    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node { start: start as u32, end: end as u32, next, kind });
    }

    /// Skips white space. Returns the byte after it.
    #[inline(always)]
    fn space(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn word(&mut self, word: &str, kind: Kind) -> Option<bool> {
        let start = self.at;
        self.bytes[start..].starts_with(word.as_bytes()).then_some(())?;
        self.at += word.len();
        self.push(kind, start, self.at);
        Some(false)
    }

    #[inline(always)]
    fn text(&mut self) -> Option<bool> {
        let start = self.at;
        let (end, kind) = end_of_text(self.bytes, start + 1)?;
        self.at = end;
        self.push(kind, start, end);
        Some(false)
    }

    fn number(&mut self) -> Option<bool> {
        let start = self.at;
        self.at += usize::from(self.bytes[start] == b'-');
        if let (b'0', 2..) = self.digits()? {
            return None;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        self.push(Kind::Number, start, self.at);
        Some(false)
    }

    /// Scans at least one digit. Returns the first one, and their number.
    fn digits(&mut self) -> Option<(u8, usize)> {
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let first = *self.bytes.get(self.at).filter(|_| digits > 0)?;
        self.at += digits;
        Some((first, digits))
    }
}

/// Returns the end of the text that begins at this byte, after its closing quote.
#[inline(always)]
fn end_of_text(bytes: &[u8], at: usize) -> Option<(usize, Kind)> {
    let at = at + plain(bytes.get(at..)?);
    match *bytes.get(at)? {
        b'"' => Some((at + 1, Kind::Text)),
        b'\\' => end_of_escaped(bytes, at).map(|end| (end, Kind::Escaped)),
        _ => None,
    }
}

/// Returns the end of the text whose next escape is at this byte.
fn end_of_escaped(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = end_of_escape(bytes, at + 1)?,
            _ => return None,
        }
        at += plain(&bytes[at..]);
    }
}

/// Returns the number of leading bytes that need no escape in a JSON text: up to a quote, a backslash, a control
/// character or the end.
#[inline(always)]
pub fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let (eights, rest) = bytes.as_chunks::<8>();
    for (number, eight) in eights.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        // XOR turns a quote or a backslash into 0, so the subtraction sets the highest bit of that byte; a control
        // character is less than a space. Bytes after the first match may be marked wrongly.
        let quote = (eight ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let backslash = (eight ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let control = eight.wrapping_sub(ONES * u64::from(b' '));
        let special = (quote | backslash | control) & !eight & HIGH;
        if special != 0 {
            return 8 * number + special.trailing_zeros() as usize / 8;
        }
    }
    let more = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..b' '));
    8 * eights.len() + more.count()
}

/// Returns the end of the escape whose backslash is before this byte.
fn end_of_escape(bytes: &[u8], at: usize) -> Option<usize> {
    match *bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => {
            let digits = bytes.get(at + 1..at + 5)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 5)
        }
        _ => None,
    }
}
