//! What becomes of a record on its way. A mapping is pure: it does no I/O and can't block, once it is open.

pub mod as_is;
pub mod fields;
#[cfg(feature = "jq")]
pub mod jq;
pub mod ometria_contact;

use std::path::Path;

use self::{
    as_is::AsIs,
    fields::Fields,
    ometria_contact::{OmetriaContact, settings},
};
use crate::base::{
    adapter::Chosen,
    consent::{Consent, Policy},
    declared::{Declared, Values},
    record::{Mapped, Record},
    spec::Catalog,
};

/// The types of mappings.
pub const TYPES: [&str; 4] = [CONTACT, PLAIN, "fields", "jq"];
/// The default for members.
pub const CONTACT: &str = "ometria_contact";
/// The default for records of any other source.
pub const PLAIN: &str = "as_is";

pub const CATALOG: Catalog = Catalog {
    default: None,
    about: "If absent, ometria_contact for members of Mailchimp, else as_is.",
    common: &[],
    specs: &[],
};
/// The fields of an entry that belong to a mapping.
pub const DECLARED: Declared = settings::DECLARED;

/// Returns the mapping of an entry that names none, by the type of its source.
pub fn default(source: &str) -> &'static str {
    if source == ometria_contact::SOURCE { CONTACT } else { PLAIN }
}

/// Returns whether an entry sets something that only a mapping to contacts heeds.
pub fn is_for_contacts(policy: Policy, declared: &Values) -> bool {
    policy.consent != Consent::default() || settings::ContactSettings::read(policy, declared).is_set()
}

/// What a mapping is for.
pub struct Wanted<'a> {
    pub list_id: &'a str,
    pub policy: Policy,
    /// The values of the fields in [`DECLARED`].
    pub declared: &'a Values,
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
