//! The key of a record, its digest, and tables by digest.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    ops::Deref,
    sync::{Arc, LazyLock},
};

/// The key of a record, with its digest. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordKey {
    text: Arc<str>,
    digest: u128,
}

impl RecordKey {
    /// Returns the [`key_digest`] of the key.
    pub fn digest(&self) -> u128 {
        self.digest
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<T: Into<Arc<str>>> From<T> for RecordKey {
    fn from(text: T) -> Self {
        let text = text.into();
        RecordKey { digest: key_digest(&text), text }
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

/// Returns the digest of a record's key, which takes 16 bytes instead of the key. Collisions are not expected. It is
/// MD5 because it has to be equal in every process; nobody gains from a collision.
pub fn key_digest(key: &str) -> u128 {
    u128::from_be_bytes(md5::compute(key).0)
}

/// A table by digest, or by a row with a digest.
pub type KeyMap<K, V> = HashMap<K, V, KeyHasher>;
/// A set of digests, or of rows with a digest.
pub type KeySet<K> = HashSet<K, KeyHasher>;

/// Hashes digests with one multiplication per 64 bits, since their bits are random already. The secret differs from
/// process to process, so nobody can choose records whose digests collide in a table.
#[derive(Debug, Clone, Copy)]
pub struct KeyHasher(u64);

impl Default for KeyHasher {
    fn default() -> Self {
        static SECRET: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
        KeyHasher(*SECRET)
    }
}

impl BuildHasher for KeyHasher {
    type Hasher = KeyHash;

    fn build_hasher(&self) -> KeyHash {
        KeyHash(self.0)
    }
}

/// A hash that is being computed.
pub struct KeyHash(u64);

impl KeyHash {
    fn add(&mut self, number: u64) {
        // An odd constant without a pattern: 2^64 divided by the golden ratio.
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for KeyHash {
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
    fn a_key_has_the_digest_of_its_text_in_every_process() {
        let key = RecordKey::from("ada@example.com");
        assert_eq!((key.digest(), key.as_str()), (key_digest("ada@example.com"), "ada@example.com"));
        assert_eq!(format!("{:x}", key.digest()), "3e3417d7ef77d5932a6734b916515ed5");
    }

    /// Numbers that differ in a few bits only, as tests use them, still fill a table evenly.
    #[test]
    fn neighboring_digests_are_spread_over_a_table() {
        for shift in [0, 32, 64, 100] {
            let mut slots = vec![0; 1024];
            let hasher = KeyHasher::default();
            (0..10_240u128).for_each(|n| slots[(hasher.hash_one(n << shift) % 1024) as usize] += 1);
            let fullest = slots.iter().max().unwrap();
            assert!(*fullest < 100, "{fullest} of 10,240 in one of 1,024 slots, shifted by {shift}");
        }
    }
}
