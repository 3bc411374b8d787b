//! Names of files and folders on disk, and the digest that identifies a text.

/// The name of the state file in its folder.
pub const NAME: &str = "state.json";
/// The folder of importer's own files, beside the state file.
pub const OURS: &str = ".importer";
/// The folder of what outlives runs, by list, in that folder.
pub const LISTS: &str = "lists";
/// The folder of dead letters, beside the state file; people read them.
pub const DEAD_LETTER: &str = "dead-letter";

/// Returns the digest of a text: MD5 in hexadecimal. It identifies texts and protects no secret.
pub fn digest(bytes: &[u8]) -> String {
    format!("{:x}", md5::compute(bytes))
}
