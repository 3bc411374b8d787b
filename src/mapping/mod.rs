//! Mappings: the conversion of records to payloads. Once open, a mapping is pure: it does no I/O and does not
//! block.

pub mod as_is;
pub mod fields;
#[cfg(feature = "jq")]
pub mod jq;
pub mod ometria_contact;

use std::{path::Path, sync::Arc};

use self::{
    as_is::AsIs,
    fields::Fields,
    ometria_contact::{OmetriaContact, settings},
};
use crate::base::{
    adapter::Chosen,
    consent::Policy,
    declared::{Declared, Values},
    record::{Mapped, Record},
    spec::{Catalog, Makes, Setting, Spec, ValueKind},
};

/// Default if no mapping is declared for the records of the source.
pub const PLAIN: &str = as_is::SPEC.kind;

/// The types of mappings.
pub const CATALOG: Catalog = Catalog {
    default: None,
    about: "If absent, ometria_contact for members of Mailchimp, else as_is.",
    common: &[],
    specs: &[&ometria_contact::SPEC, &as_is::SPEC, &fields::SPEC, &JQ],
};
/// A declaration that every build has; only a build with the feature can open the mapping.
const JQ: Spec = Spec {
    settings: &[
        Setting::new("expression", ValueKind::Text, "The jq expression. Set either this or `file`."),
        Setting::new(
            "file",
            ValueKind::Text,
            "File with the expression. A relative path begins in the folder of the state file.",
        ),
    ],
    makes: Makes::Any,
    ..Spec::new("jq", "The results of a jq expression for the record.")
};

/// The fields of an entry that belong to a mapping.
pub const DECLARED: Declared = settings::DECLARED;

/// Returns the mapping of an entry that names none, by what its source makes: the mapping that is made for it.
pub fn default(source: Makes) -> &'static str {
    let made = CATALOG.specs.iter().find(|spec| spec.takes.is_some_and(|takes| source == Makes::Only(takes)));
    made.map_or(PLAIN, |spec| spec.kind)
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
pub fn open(chosen: &Chosen, wanted: &MappingContext) -> Result<Arc<dyn Mapping>, String> {
    Ok(match chosen.kind.as_str() {
        kind if kind == ometria_contact::SPEC.kind => Arc::new(OmetriaContact::open(chosen, wanted)?),
        kind if kind == as_is::SPEC.kind => Arc::new(AsIs::open(chosen)?),
        kind if kind == fields::SPEC.kind => Arc::new(Fields::open(chosen)?),
        #[cfg(feature = "jq")]
        kind if kind == JQ.kind => Arc::new(jq::Jq::open(chosen, wanted)?),
        #[cfg(not(feature = "jq"))]
        kind if kind == JQ.kind => return Err(chosen.not_built()),
        kind => return Err(CATALOG.unknown(kind)),
    })
}

/// Converts records to payloads: none, one or several of each record.
///
/// Each run opens a mapping of its own and calls [`choose`](Mapping::choose) before the first record. It then
/// calls [`map`](Mapping::map) for each record that it reads, in any order, for some records several times, and
/// from several threads at once. Equal records have to produce equal payloads, because an unchanged payload is not sent again. A
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
    /// A payload that differs from the accepted one is sent again in any case. Increase the version when a change of
    /// the code has to send equal payloads again as well. Payloads that were accepted under the former version then
    /// no longer count as unchanged.
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

    /// Returns whether payloads may opt records out or in, so that the safety brake has something to compare.
    ///
    /// Called when a run begins.
    fn has_consent(&self) -> bool {
        false
    }

    /// Restores the choice of an earlier run, as [`choice`](Mapping::choice) returned it, if there was one.
    ///
    /// Called once, before the first record. A mapping without a choice ignores it.
    fn choose(&self, _choice: Option<String>) {}
}
