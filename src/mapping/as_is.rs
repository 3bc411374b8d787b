//! The mapping `as_is`: the payload is the record as the source sent it.

use super::Mapping;
use crate::base::{
    adapter::{Chosen, NoSettings},
    record::{Mapped, Outgoing, Record},
    spec::{Makes, Spec},
};

pub const SPEC: Spec = Spec { makes: Makes::Same, ..Spec::new("as_is", "The record, unchanged.") };

/// Mapping that passes records on unchanged.
pub struct AsIs;

impl AsIs {
    /// Returns the mapping.
    ///
    /// # Errors
    ///
    /// The entry gives the mapping a setting; it has none.
    pub fn open(chosen: &Chosen) -> Result<Self, String> {
        let NoSettings {} = chosen.settings(SPEC.settings)?;
        Ok(AsIs)
    }
}

impl Mapping for AsIs {
    fn map(&self, record: &Record) -> Mapped {
        // The page is dropped once its records are mapped; payloads wait until the sink has taken them.
        Mapped::Send(Outgoing::plain(vec![record.body.detached()]))
    }
}
