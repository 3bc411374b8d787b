//! What becomes of a record on its way. A mapping is pure: it does no I/O and can't block, once it is open.

pub mod as_is;
pub mod fields;
#[cfg(feature = "jq")]
pub mod jq;
pub mod ometria_contact;

use std::path::Path;

use self::{as_is::AsIs, fields::Fields, ometria_contact::OmetriaContact};
use crate::base::{
    adapter::Chosen,
    contact::ContactSettings,
    record::{Mapped, Record},
};

/// The types of mappings.
pub const TYPES: [&str; 4] = [CONTACT, PLAIN, "fields", "jq"];
/// That of an entry which names neither a mapping nor a source.
pub const CONTACT: &str = "ometria_contact";
/// That of an entry which names another source.
pub const PLAIN: &str = "as_is";

/// What a mapping is for.
pub struct Wanted<'a> {
    pub list_id: &'a str,
    pub contact: &'a ContactSettings,
    /// That of the state file, where relative paths begin.
    pub folder: &'a Path,
}

/// Opens what an entry says of its mapping.
pub fn open(chosen: &Chosen, wanted: &Wanted) -> Result<Box<dyn Mapping>, String> {
    Ok(match chosen.kind.as_str() {
        CONTACT => Box::new(OmetriaContact::open(chosen, wanted)?),
        PLAIN => Box::new(AsIs::open(chosen)?),
        "fields" => Box::new(Fields::open(chosen)?),
        #[cfg(feature = "jq")]
        "jq" => Box::new(jq::Jq::open(chosen, wanted)?),
        #[cfg(not(feature = "jq"))]
        "jq" => return Err(chosen.not_built()),
        _ => return Err(chosen.unknown(&TYPES)),
    })
}

/// One record in, at most one payload out. A refusal is a value, not a fault: the run goes on.
pub trait Mapping: Send + Sync {
    /// The fields of a record that this mapping reads, so that the source need not send others; nothing: all of them.
    fn fields(&self) -> Option<Vec<String>> {
        None
    }

    /// Never called with a record that is gone: what becomes of it is the sink's to say.
    fn map(&self, record: &Record) -> Mapped;

    /// Raised when the same record becomes another payload although the entry says the same: what was sent before is then sent
    /// again.
    fn version(&self) -> u32 {
        1
    }

    /// What is decided once for a whole list and must stay so over runs, as text; nothing before it is decided.
    fn choice(&self) -> Option<String> {
        None
    }

    /// What the settings name and no record has had, each as what is to be said of it; nothing before there was a record.
    fn unknown(&self) -> Vec<String> {
        vec![]
    }

    /// Takes back an earlier decision. Called before the first record.
    fn choose(&self, _choice: Option<String>) {}
}
