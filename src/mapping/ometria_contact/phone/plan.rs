//! The numbering plans of all countries: which numbers are valid, and what people dial before them. Pure.
//!
//! They are the metadata of libphonenumber in one table, which `tests/phone/plan.py` writes. All numbers in it
//! are little-endian. It consists of:
//!
//! 1. its version, as text
//! 2. by the two letters of a region: the number of its plan, or 0
//! 3. by country code: the number of the plan of its main region, or 0
//! 4. the plans
//! 5. the rules, by label: what replaces a prefix
//! 6. the nodes of the automaton. A node is a label and a mask of ten bits, then a reference for each bit that
//!    is set. A bit is set for each digit that leads elsewhere than the digit below it. A reference below
//!    [`LABELS`] is a label that no further digit changes; otherwise it is the place of a node.

use std::borrow::Cow;

static TABLE: &[u8] = include_bytes!("plan.bin");

const REGIONS: usize = 64;
const CODES: usize = REGIONS + 26 * 26;
const PLANS: usize = CODES + 1000;
const RULES: usize = PLANS + 256 * 16;
const NODES: usize = RULES + LABELS as usize * 8;
const LABELS: u16 = 64;
/// The label of a text that does not match, and of one without a prefix.
const NOTHING: u16 = 0;
/// The label of a text that matches.
const MATCHES: u16 = 1;
/// Most digits of a country code.
const CODE_DIGITS: usize = 3;

/// The plan of a region: the place of its row in the table. Digits are values from 0 to 9.
#[derive(Clone, Copy)]
pub struct Plan(usize);

impl Plan {
    /// Returns the plan of a region, such as `GB`.
    pub fn of_region(region: &str) -> Option<Self> {
        let [first, second] = region.as_bytes() else { return None };
        let place = |letter: &u8| Some(usize::from(letter.checked_sub(b'A').filter(|place| *place < 26)?));
        Self::listed(REGIONS + place(first)? * 26 + place(second)?)
    }

    /// Returns the plan of the country code at the beginning, and the digits after it.
    pub fn of_code(digits: &[u8]) -> Option<(Self, &[u8])> {
        if digits.first() == Some(&0) || digits.len() < CODE_DIGITS {
            return None;
        }
        (1..=CODE_DIGITS).find_map(|length| {
            let (code, rest) = digits.split_at_checked(length)?;
            let code = code.iter().fold(0, |code, digit| code * 10 + usize::from(*digit));
            Some((Self::listed(CODES + code)?, rest))
        })
    }

    fn listed(place: usize) -> Option<Self> {
        let number = TABLE.get(place).copied().filter(|number| *number > 0)?;
        Some(Self(PLANS + usize::from(number) * 16))
    }

    pub fn country_code(self) -> u16 {
        word(self.0)
    }

    /// Whether a number has the general form of numbers in the region, without regard to what is in use.
    pub fn describes(self, number: &[u8]) -> bool {
        label(word(self.0 + 2), number) == MATCHES
    }

    /// Returns a number without what people dial before it in their own country. A prefix that belongs to the
    /// number is kept, and an area code or a digit for mobiles that people omit is added.
    pub fn without_national_prefix(self, number: &[u8]) -> Cow<'_, [u8]> {
        let rule = label(word(self.0 + 4), number);
        if rule == NOTHING {
            return number.into();
        }
        let rule = RULES + usize::from(rule) * 8;
        let Some([text @ .., length, begin, end, rest]) = TABLE.get(rule..rule + 8) else {
            return number.into();
        };
        let slice = |from: &u8, to| number.get(usize::from(*from)..to).unwrap_or_default();
        let (middle, rest) = (slice(begin, usize::from(*end)), slice(rest, number.len()));
        let stripped: Cow<'_, [u8]> = if *length == 0 && middle.is_empty() {
            rest.into()
        } else {
            let added = text.iter().take(usize::from(*length)).map(|digit| digit - b'0');
            added.chain(middle.iter().chain(rest).copied()).collect()
        };
        if self.describes(number) && !self.describes(&stripped) { number.into() } else { stripped }
    }

    /// Returns the digits after what people dial for numbers of other countries, if the number begins so.
    pub fn after_international_prefix(self, number: &[u8]) -> Option<&[u8]> {
        let rule = label(word(self.0 + 6), number);
        let length = *TABLE.get(RULES + usize::from(rule) * 8 + 7)?;
        let rest = number.get(usize::from(length)..)?;
        (rule != NOTHING && rest.first() != Some(&0)).then_some(rest)
    }

    /// Whether a number is in use, in one of the regions with this country code.
    pub fn is_valid(self, number: &[u8]) -> bool {
        label(word(self.0 + 8), number) == MATCHES
    }

    pub fn is_too_long(self, length: usize) -> bool {
        length > usize::from(word(self.0 + 10)) && self.is_long_enough(length)
    }

    /// Whether no area code is missing from a number of this length. Too long a number counts too.
    pub fn is_long_enough(self, length: usize) -> bool {
        let lengths = u32::from(word(self.0 + 12)) | u32::from(word(self.0 + 14)) << 16;
        length >= 32 || lengths >> length & 1 == 1
    }
}

/// Returns the label of a number, by the part of the automaton that begins at a reference.
fn label(root: u16, number: &[u8]) -> u16 {
    let mut at = root;
    for digit in number {
        if at < LABELS {
            return at;
        }
        let below = node(at) & ((2 << digit) - 1);
        at = node(at + u16::try_from(below.count_ones()).unwrap_or_default());
    }
    if at < LABELS { at } else { node(at) >> 10 }
}

fn node(at: u16) -> u16 {
    word(NODES + usize::from(at) * 2)
}

/// Reads two bytes. A place outside the table reads as 0, which is a label.
fn word(place: usize) -> u16 {
    TABLE.get(place..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}
