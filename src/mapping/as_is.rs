//! Records as the source tells them.

use serde::Deserialize;

use super::Mapping;
use crate::base::{
    adapter::Chosen,
    record::{Mapped, Outgoing, Record},
};

/// There is nothing to set.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

pub struct AsIs;

impl AsIs {
    pub fn open(chosen: &Chosen) -> Result<Self, String> {
        let Settings {} = chosen.settings()?;
        Ok(AsIs)
    }
}

impl Mapping for AsIs {
    fn map(&self, record: &Record) -> Mapped {
        Mapped::Send(Outgoing { body: record.body.clone(), opts_out: false, left_out: vec![] })
    }
}
