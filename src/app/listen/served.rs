//! The HTTP API of a running `importer go`: its address, its token, and its end.

use std::{
    io::{IsTerminal, Write, stderr},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{
        Api,
        access::{self, Access},
        files::Files,
        metrics::{self, Metrics},
        router::router,
        serve::serve,
        token::{SHORTEST, Token},
    },
    app::{
        environment,
        variables::{HOSTS, TOKEN},
        wiring::{Adapters, Keys, VOCABULARY},
    },
    base::{clock::SystemClock, event::ProgramEvent, events::Events, secret::Secret},
    controller::handle::Handle,
    net::{Environment, Refused, transport::Web},
    state::{folders::Folders, home},
    store::files,
};

/// The server, and what counts for it, in tasks of their own.
pub struct Server {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    /// Serves the API on an address.
    ///
    /// # Errors
    ///
    /// The address can't be used, or a variable is malformed.
    pub async fn start(
        address: &str,
        folder: &Path,
        handle: Handle,
        events: &Events,
    ) -> anyhow::Result<Self> {
        let (environment, folders) = (environment(), Folders::of(&home::of(folder)?));
        let (given, hosts) = (given_token(&environment)?, hosts(&environment)?);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            anyhow!(
                "can't listen on {address}: {error}; name a free address of this machine, such as 127.0.0.1:5000, or \
                 127.0.0.1:0 for any free port"
            )
        })?;
        let bound = listener.local_addr()?;
        let (token, file) = match given {
            Some(token) => (token, None),
            None => made_token(&folders.api_token()).context("can't make a token for the HTTP API")?,
        };
        if file.is_none() {
            // That of an earlier run permits nothing.
            files::remove(&folders.api_token())?;
        }
        let (web, clock) = (Arc::new(Web::new()?), Arc::new(SystemClock));
        let adapters = Adapters::new(&environment, Keys::None, web, clock, folder, events.clone());
        let files = Files::new(folders, VOCABULARY, adapters.opener());
        let metrics = Arc::new(Metrics::default());
        let api = Api::new(handle, files, Access { token, hosts }, Arc::clone(&metrics));
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(serve(listener, router(Arc::new(api)), stop.clone()));
        let (inbox, ended) = (events.subscribe(metrics::QUEUE, metrics::is_counted), stop.clone());
        tasks.spawn(async move { _ = ended.run_until_cancelled(metrics.listen(inbox)).await });
        events.emit(ProgramEvent::Listening { address: bound, token: file });
        Ok(Server { stop, tasks })
    }

    /// Answers the requests that have come, but not for long.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.join_all().await;
    }
}

/// Returns the token that the operator has set.
fn given_token(environment: &Environment) -> Result<Option<Token>, Refused> {
    let Some(text) = environment.text(&TOKEN)? else { return Ok(None) };
    let token = Token::new(Secret::new(text)).ok_or_else(|| Refused::Credential {
        name: TOKEN.name.to_owned(),
        why: format!("must have at least {SHORTEST} visible ASCII characters and no space"),
    })?;
    Ok(Some(token))
}

/// Makes a token. Shows it on the terminal of a person who watches; otherwise writes it into a file that only its owner
/// may read, and returns the path. A log is kept and read by others, so it never contains a token.
fn made_token(path: &Path) -> anyhow::Result<(Token, Option<PathBuf>)> {
    let token = Token::make()?;
    if stderr().is_terminal() {
        writeln!(stderr(), "importer: the token of the HTTP API, for this run: {}", token.reveal())?;
        return Ok((token, None));
    }
    files::replace(path, token.reveal().as_bytes())?;
    Ok((token, Some(path.to_owned())))
}

fn hosts(environment: &Environment) -> Result<Vec<String>, Refused> {
    let text = environment.text(&HOSTS)?.unwrap_or_default();
    access::hosts(&text).map_err(|name| Refused::Value {
        name: HOSTS.name.to_owned(),
        why: format!("names {name:?}, which is no host; use names without a scheme, a port and a path"),
    })
}
