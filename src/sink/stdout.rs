//! Writes payloads to the standard output as lines of JSON. The smallest sink, and a way to try a mapping.

use std::io::{self, Write};

use futures::future::BoxFuture;
use tokio::task::spawn_blocking;

use super::{
    Deletions, Delivery, Prepared, Receipt, Rejection, Sink, SinkSpec,
    ndjson::{lines, prepared},
};
use crate::{
    base::{
        adapter::{Chosen, NoSettings},
        fault::Fault,
        record::Payload,
        secret::Secret,
        spec::Spec,
    },
    net::Unopened,
};

/// Lines per batch.
const MAX_RECORDS: usize = 1000;

pub const SPEC: Spec = Spec::new("stdout", "The standard output, as lines of JSON.");

/// The standard output.
pub struct Stdout;

impl Stdout {
    pub fn open(chosen: &Chosen) -> Result<Self, Unopened> {
        let NoSettings {} = chosen.settings(SPEC.settings)?;
        Ok(Stdout)
    }
}

impl Sink for Stdout {
    /// One batch at a time, so that an older version of a record precedes a newer one.
    fn spec(&self) -> SinkSpec {
        let spec = SinkSpec::new(Secret::new(""), String::new(), MAX_RECORDS, 1);
        SinkSpec { deletions: Deletions::Sent, ..spec }
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        Ok(prepared(payload))
    }

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        let lines = lines(batch);
        Box::pin(async move {
            let written = spawn_blocking(move || {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&lines)?;
                stdout.flush()
            });
            match written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(()) => Ok(Delivery::accepted(Receipt::default())),
                Err(error) => Err(Fault::list("could not write to the standard output").because(error)),
            }
        })
    }
}
