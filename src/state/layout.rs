//! Names of files and folders on disk, and the digest that tells texts apart.

/// The name of the state file in its folder.
pub const NAME: &str = "state.json";
/// The folder of our own files, beside the state file.
pub const OURS: &str = ".importer";
/// The folder of rejected records, for people to look at.
pub const DEAD_LETTER: &str = "dead-letter";

/// The digest by which texts are told apart.
pub fn digest(bytes: &[u8]) -> String {
    format!("{:x}", md5::compute(bytes))
}
