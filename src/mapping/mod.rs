//! What becomes of a record on its way. A mapping is pure: it does no I/O and can't block.

pub mod ometria_contact;

use crate::base::record::{Mapped, Record};

/// One record in, at most one payload out. A refusal is a value, not a fault: the run goes on.
pub trait Mapping: Send + Sync {
    /// The fields of a record that this mapping reads, so that the source need not send others.
    fn fields(&self) -> Vec<&'static str>;

    fn map(&self, record: &Record) -> Mapped;

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
