//! Where `importer go` serves the HTTP API, if it is asked to.

#[cfg(feature = "api")]
mod served;

use std::path::Path;

use super::{environment, variables::LISTEN};
use crate::{base::events::Events, controller::handle::Handle};

#[cfg(feature = "api")]
pub use self::served::Server;

/// A build without the API has no server.
#[cfg(not(feature = "api"))]
pub enum Server {}

/// Serves the API on the address of `--listen`, or else of `IMPORTER_LISTEN`; on none if there is neither.
///
/// # Errors
///
/// The address can't be used, a variable is malformed, or this build has no API.
pub async fn start(
    listen: Option<&str>,
    folder: &Path,
    handle: Handle,
    events: &Events,
) -> anyhow::Result<Option<Server>> {
    let address = match listen {
        Some(address) => Some(address.to_owned()),
        None => environment().text(&LISTEN)?,
    };
    let Some(address) = address else { return Ok(None) };
    #[cfg(feature = "api")]
    return Ok(Some(Server::start(&address, folder, handle, events).await?));
    #[cfg(not(feature = "api"))]
    {
        let _ = (folder, handle, events);
        anyhow::bail!(
            "can't listen on {address}: this build has no HTTP API; rebuild with `--features api`, or leave out \
             `--listen` and `IMPORTER_LISTEN`"
        )
    }
}

/// Answers the requests that have come, but not for long.
pub async fn close(server: Option<Server>) {
    #[cfg(feature = "api")]
    if let Some(server) = server {
        server.close().await;
    }
    #[cfg(not(feature = "api"))]
    drop(server);
}
