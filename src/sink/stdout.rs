//! Writes payloads to the standard output as lines of JSON. The smallest sink, and a way to try a mapping.

use std::io::{self, Write};

use futures::future::BoxFuture;
use tokio::task::spawn_blocking;

use super::{BatchLimits, Deletion, Receipt, Sink, ndjson::lines};
use crate::{
    base::{
        adapter::{Chosen, NoSettings},
        fault::Fault,
        record::Payload,
    },
    net::Unopened,
};

/// Lines per batch.
const MAX_RECORDS: usize = 1000;

/// The standard output.
pub struct Stdout;

impl Stdout {
    pub fn open(chosen: &Chosen) -> Result<Self, Unopened> {
        let NoSettings {} = chosen.settings()?;
        Ok(Stdout)
    }
}

impl Sink for Stdout {
    /// One batch at a time, so that an older version of a record precedes a newer one.
    fn limits(&self) -> BatchLimits {
        BatchLimits { records: MAX_RECORDS, in_flight: 1 }
    }

    fn place(&self) -> String {
        String::new()
    }

    fn deletion(&self) -> Deletion {
        Deletion::Sent
    }

    fn deliver<'a>(&'a self, batch: &'a [Payload]) -> BoxFuture<'a, Result<Receipt, Fault>> {
        let lines = lines(batch);
        Box::pin(async move {
            let written = spawn_blocking(move || {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&lines)?;
                stdout.flush()
            });
            match written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(()) => Ok(Receipt::default()),
                Err(error) => Err(Fault::list("could not write to the standard output").because(error)),
            }
        })
    }
}
