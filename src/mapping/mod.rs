//! Mappings: the conversion of records to payloads. Once open, a mapping is pure: it does no I/O and does not
//! block.

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
/// Default of an entry that names neither a mapping nor a source.
pub const CONTACT: &str = "ometria_contact";
/// Default of an entry that names a source other than the default one.
pub const PLAIN: &str = "as_is";

/// The mappings, as the reader of the state file needs them.
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

/// Returns whether an entry has a setting that applies to contacts only.
pub fn is_for_contacts(policy: Policy, declared: &Values) -> bool {
    policy.consent != Consent::default() || settings::ContactSettings::read(policy, declared).is_set()
}

/// What a mapping needs from its entry.
pub struct MappingContext<'a> {
    pub list_id: &'a str,
    pub policy: Policy,
    /// Values of the fields in [`DECLARED`].
    pub declared: &'a Values,
    /// Folder of the state file; relative paths are relative to it.
    pub folder: &'a Path,
}

/// Opens the mapping that an entry chose. May read files that the settings name; sends no request.
///
/// # Errors
///
/// The type is unknown or not in this build, or a setting is invalid. `importer check` reports the message
/// with the position of the entry's `mapping`.
pub fn open(chosen: &Chosen, wanted: &MappingContext) -> Result<Box<dyn Mapping>, String> {
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

/// Converts records to payloads: none, one or several of each record.
///
/// Each run opens a mapping of its own and calls [`choose`](Mapping::choose) before the first record. It then
/// calls [`map`](Mapping::map) for each record that it reads, in any order and for some records several
/// times. Equal records have to produce equal payloads, because an unchanged payload is not sent again. A
/// mapping raises no fault: it rejects a record that it can't map, and the run continues.
///
/// An implementer has to write `map` only; the defaults of the other methods suit a mapping without state.
pub trait Mapping: Send + Sync {
    /// Returns the top-level fields of a record that this mapping reads. `None` means all of them.
    ///
    /// Called when the source is opened, which then requests only these fields if the service supports that.
    /// The record may nevertheless contain other fields.
    fn fields(&self) -> Option<Vec<String>> {
        None
    }

    /// Maps a record.
    ///
    /// Called for every record of a pass, except for records that were deleted at the source, which only the
    /// sink handles, and for records that can't be read.
    ///
    /// * [`Mapped::Send`]: the payloads go to the sink, unless the sink has accepted equal payloads of the record
    ///   before.
    /// * [`Mapped::Skip`]: the record is counted by the reason.
    /// * [`Mapped::Reject`]: the record is counted by the reason and becomes a dead letter.
    fn map(&self, record: &Record) -> Mapped;

    /// Returns the version of the mapping's rules.
    ///
    /// Increase it when a change of the code makes a different payload of the same record with the same
    /// settings. Payloads that were accepted under the former version then no longer count as unchanged.
    fn version(&self) -> u32 {
        1
    }

    /// Returns a choice, as text, that the mapping makes once for the whole list and keeps in later runs.
    /// `None` before the choice, and for mappings that make none.
    ///
    /// Called when a page is settled and when a run ends; the checkpoint and the ledger store the text.
    fn choice(&self) -> Option<String> {
        None
    }

    /// Returns what the settings name but no record of the run has, such as "the field `FNAM`". Empty before
    /// the first record.
    ///
    /// Called at the end of a run. Each text completes the warning "no record has …".
    fn unknown(&self) -> Vec<String> {
        vec![]
    }

    /// Restores the choice of an earlier run, as [`choice`](Mapping::choice) returned it, if there was one.
    ///
    /// Called once, before the first record. A mapping without a choice ignores it.
    fn choose(&self, _choice: Option<String>) {}
}
