//! Records as the source tells them.

use super::Mapping;
use crate::base::{
    adapter::{Chosen, NoSettings},
    record::{Mapped, Outgoing, Record},
};

pub struct AsIs;

impl AsIs {
    pub fn open(chosen: &Chosen) -> Result<Self, String> {
        let NoSettings {} = chosen.settings()?;
        Ok(AsIs)
    }
}

impl Mapping for AsIs {
    fn map(&self, record: &Record) -> Mapped {
        Mapped::Send(Outgoing {
            body: record.body.clone(),
            opts_out: false,
            opts_in: false,
            left_out: vec![],
        })
    }
}
