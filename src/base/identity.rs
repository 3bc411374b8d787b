//! The identities of a list and of a delivery. Files and runs are filed under these two, and neither depends on
//! notes, on other entries of the state file, or on the version of importer.

use std::fmt;

/// Longest list id, in bytes, that is used as part of a file name.
const LONGEST: usize = 64;
/// Number of hexadecimal digits of the digest in the name of a delivery's folder: 48 bits.
const DIGITS: usize = 12;

/// A list at its source. Only one run of a list takes place at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListId {
    /// Type of the source.
    pub source: String,
    /// Name of the source's account; `None` for the account without a name.
    pub account: Option<String>,
    /// The list's id at the source: the `list_id` of its entries.
    pub id: String,
}

/// A list and the sink into which it is delivered. Everything that is known about deliveries belongs to it: the
/// ledger, the delivery cache, dead letters and holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    pub list: ListId,
    /// Type of the sink.
    pub sink: String,
    /// Name of the sink's account; `None` for the account without a name.
    pub account: Option<String>,
    /// Digest of the sink's type, account and address, in hexadecimal. Another key of the same account does not
    /// change it.
    pub digest: String,
}

impl ListId {
    /// Returns the name of the list in file names: `<id>.<source>` or `<id>.<source>.<account>`.
    pub fn name(&self) -> String {
        named(&format!("{}.{}", file_name(&self.id), self.source), self.account.as_deref())
    }
}

impl DeliveryId {
    /// Makes the identity of a list's delivery to the sink at `address`.
    pub fn new(list: ListId, sink: &str, account: Option<&str>, address: &str) -> Self {
        let (sink, account) = (sink.to_owned(), account.map(str::to_owned));
        let digest = digest(&format!("{} {address}", named(&sink, account.as_deref())));
        DeliveryId { list, sink, account, digest }
    }

    /// Returns the name of the delivery in the folder of its list: `<sink>.<digest>` or
    /// `<sink>.<account>.<digest>`.
    pub fn name(&self) -> String {
        format!("{}.{}", named(&self.sink, self.account.as_deref()), &self.digest[..DIGITS])
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--{}", self.list.name(), self.name())
    }
}

/// Returns the name of a list id in file names: the id itself, or its digest if the id is longer than 64 bytes or
/// has characters other than ASCII letters, digits and `_`. The name has no hyphen and no dot.
pub fn file_name(list_id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let readable = list_id.chars().all(plain) && list_id.len() <= LONGEST;
    if readable { list_id.to_owned() } else { digest(list_id) }
}

fn named(kind: &str, account: Option<&str>) -> String {
    account.map_or_else(|| kind.to_owned(), |account| format!("{kind}.{account}"))
}

fn digest(text: &str) -> String {
    format!("{:x}", md5::compute(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(account: Option<&str>, id: &str) -> ListId {
        ListId { source: "rows".into(), account: account.map(str::to_owned), id: id.into() }
    }

    #[test]
    fn every_list_and_every_delivery_has_a_name_of_its_own() {
        assert_eq!(list(None, "a").name(), "a.rows");
        assert_eq!(list(Some("acme"), "a").name(), "a.rows.acme");
        assert_eq!(list(None, "../a").name(), format!("{:x}.rows", md5::compute("../a")));
        let deliveries = [
            DeliveryId::new(list(None, "a"), "file", None, "/out"),
            DeliveryId::new(list(None, "b"), "file", None, "/out"),
            DeliveryId::new(list(Some("acme"), "a"), "file", None, "/out"),
            DeliveryId::new(list(None, "a"), "pipe", None, "/out"),
            DeliveryId::new(list(None, "a"), "file", Some("acme"), "/out"),
            DeliveryId::new(list(None, "a"), "file", None, "/out2"),
        ];
        let names: std::collections::BTreeSet<String> =
            deliveries.iter().map(DeliveryId::to_string).collect();
        assert_eq!(names.len(), deliveries.len(), "{names:?}");
        let digest = format!("{:x}", md5::compute("file /out"));
        assert_eq!(deliveries[0].to_string(), format!("a.rows--file.{}", &digest[..12]));
        assert_eq!(deliveries[4].name(), format!("file.acme.{}", &deliveries[4].digest[..12]));
    }
}
