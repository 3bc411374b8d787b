//! The key of a record, its fingerprint, and tables by fingerprint.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    ops::Deref,
    sync::{Arc, LazyLock},
};

/// The key of a record, with its fingerprint. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordKey {
    text: Arc<str>,
    print: u128,
}

impl RecordKey {
    /// Returns the [`fingerprint`] of the key.
    pub fn print(&self) -> u128 {
        self.print
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<T: Into<Arc<str>>> From<T> for RecordKey {
    fn from(text: T) -> Self {
        let text = text.into();
        RecordKey { print: fingerprint(&text), text }
    }
}

impl Deref for RecordKey {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq<str> for RecordKey {
    fn eq(&self, other: &str) -> bool {
        *self.text == *other
    }
}

impl PartialEq<&str> for RecordKey {
    fn eq(&self, other: &&str) -> bool {
        *self.text == **other
    }
}

impl PartialEq<String> for RecordKey {
    fn eq(&self, other: &String) -> bool {
        *self.text == **other
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns the fingerprint of a record's key. It takes 16 bytes instead of the key, and two keys with the same
/// fingerprint are not to be expected. It is MD5, since it has to be the same in every process, and a collision
/// benefits nobody.
pub fn fingerprint(key: &str) -> u128 {
    u128::from_be_bytes(md5::compute(key).0)
}

/// A table by fingerprint, or by a row with a fingerprint.
pub type PrintMap<K, V> = HashMap<K, V, Spread>;
/// A set of fingerprints, or of rows with a fingerprint.
pub type PrintSet<K> = HashSet<K, Spread>;

/// Hashes fingerprints, whose bits are spread already: one multiplication a number. Its secret differs from process
/// to process, so nobody can invent records whose fingerprints fall into one place of a table.
#[derive(Debug, Clone, Copy)]
pub struct Spread(u64);

impl Default for Spread {
    fn default() -> Self {
        static SECRET: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
        Spread(*SECRET)
    }
}

impl BuildHasher for Spread {
    type Hasher = Spreading;

    fn build_hasher(&self) -> Spreading {
        Spreading(self.0)
    }
}

/// A hash that is being computed.
pub struct Spreading(u64);

impl Spreading {
    fn add(&mut self, number: u64) {
        // An odd constant without a pattern: 2^64 divided by the golden ratio.
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Spreading {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.add(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn write_i64(&mut self, number: i64) {
        self.add(number as u64);
    }

    fn write_u128(&mut self, number: u128) {
        self.add(number as u64);
        self.add((number >> 64) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_fingerprint_of_its_text_in_every_process() {
        let key = RecordKey::from("ada@example.com");
        assert_eq!((key.print(), key.as_str()), (fingerprint("ada@example.com"), "ada@example.com"));
        assert_eq!(format!("{:x}", key.print()), "3e3417d7ef77d5932a6734b916515ed5");
    }

    /// Numbers that differ in a few bits only, as tests use them, still fill a table evenly.
    #[test]
    fn neighboring_fingerprints_are_spread_over_the_places_of_a_table() {
        for shift in [0, 32, 64, 100] {
            let mut places = vec![0; 1024];
            let spread = Spread::default();
            (0..10_240u128).for_each(|n| places[(spread.hash_one(n << shift) % 1024) as usize] += 1);
            let fullest = places.iter().max().unwrap();
            assert!(*fullest < 100, "{fullest} of 10,240 in one of 1,024 places, shifted by {shift}");
        }
    }
}
