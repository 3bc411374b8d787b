//! The HTTP API: reads what the controller does and what importer's own files say, and passes requests on to the
//! controller. Knows no adapter, and nothing of a run waits for it.

pub mod access;
mod call;
pub mod files;
pub mod metrics;
mod openapi;
mod patient;
pub mod problem;
mod reads;
pub mod route;
pub mod router;
pub mod routes;
pub mod serve;
mod syncs;
pub mod token;

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use self::{access::Access, files::Files, metrics::Metrics, problem::Problem};
use crate::controller::{handle::Handle, status::Status};

/// Number of requests that may wait for the end of runs. They are fewer than the connections, so that others are still
/// answered.
const WAITING: usize = 56;
/// Maximum time in which the controller has to describe its state. It answers within a second, unless it hangs.
const ANSWER: Duration = Duration::from_secs(5);

/// What the API answers from.
pub struct Api {
    pub handle: Handle,
    pub files: Files,
    pub access: Access,
    /// What was counted of the runs; its listener is a task of its own.
    pub metrics: Arc<Metrics>,
    waiting: Semaphore,
}

impl Api {
    pub fn new(handle: Handle, files: Files, access: Access, metrics: Arc<Metrics>) -> Self {
        Api { handle, files, access, metrics, waiting: Semaphore::new(WAITING) }
    }

    /// Returns what the controller and each entry do.
    ///
    /// # Errors
    ///
    /// The controller has ended, or does not answer.
    async fn status(&self) -> Result<Status, Problem> {
        let status = timeout(ANSWER, self.handle.status()).await.map_err(|_| Problem::hangs())?;
        status.map_err(|_| Problem::stopping())
    }
}
