//! `importer go`: from the environment and the state folder to the controller, from its verdict to an exit code.

use std::{path::Path, sync::Arc};

use log::{error, info};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    check_layout, confirm, environment, exit_code,
    signals::stop_on_signals,
    strict,
    wiring::{Adapters, Keys, VOCABULARY},
};
use crate::{
    base::clock::{Clock, SystemClock},
    cli::{self, exit},
    controller::{self, Mode, Tools, Verdict, handle, watch::Watch},
    net::{Refused, transport::Web},
    state::{
        StateFile,
        layout::NAME,
        lock::{self, NotLocked},
        read, schema,
    },
};

/// `importer go`: syncs the lists until it is stopped, or once.
pub async fn run(go: cli::Go) -> anyhow::Result<u8> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let adapters =
        Adapters::new(&environment(), Keys::Both, Arc::new(Web::new()?), Arc::clone(&clock), &go.state);
    if let Some(refused) = missing_key(&adapters, &go.state) {
        error!("{refused}.");
        return Ok(exit_code(&refused.into()));
    }
    if let Err(fault) = check_layout(&go.state) {
        error!("{fault}");
        return Ok(exit::UNUSABLE);
    }
    let _lock = match lock::take(&go.state, clock.now()) {
        Ok(lock) => lock,
        Err(taken @ NotLocked::Taken(_)) => {
            error!("{taken}.");
            return Ok(exit::TAKEN);
        }
        Err(error) => {
            error!("{error}.");
            return Ok(exit::UNUSABLE);
        }
    };
    let state = match StateFile::open(&go.state, Arc::clone(&clock), VOCABULARY) {
        Ok(state) => state,
        Err(fault) => {
            error!("{fault}");
            return Ok(exit::UNUSABLE);
        }
    };
    let stop = CancellationToken::new();
    let mut signals = JoinSet::new();
    signals.spawn(stop_on_signals(stop.clone()));
    let watch = Watch::file(state.path());
    let open = adapters.opener();
    let (_, commands) = handle::channel();
    let asked = stop.clone();
    let tools = Tools {
        state,
        clock,
        open,
        watch,
        commands,
        fresh: go.fresh,
        confirm: confirm::on_terminal(go.yes),
        stop,
    };
    let mode = if go.once { Mode::Once } else { Mode::Loop };
    Ok(match controller::run(tools, mode).await {
        Ok(Verdict::Done) if go.strict && !asked.is_cancelled() => strict::exit_code(&go.state).await?,
        Ok(Verdict::Done) => {
            info!("{}.", if asked.is_cancelled() { "stopped" } else { "done" });
            exit::DONE
        }
        Ok(Verdict::Failed) => {
            error!("done, but at least one entry failed; see the errors above.");
            exit::FAILED
        }
        Err(fault) => {
            error!("{fault}");
            exit::UNUSABLE
        }
    })
}

/// Returns the first missing or malformed variable, mostly an API key, that an enabled entry needs; without a
/// state file, that an entry of defaults needs. At the start it ends the program, because an operator is
/// watching. Later it is an error of its entry.
fn missing_key(adapters: &Adapters, folder: &Path) -> Option<Refused> {
    let path = folder.join(NAME);
    let snapshot = match path.exists() {
        true => read::load(&path, VOCABULARY).ok()?,
        false => schema::read(PLAIN, VOCABULARY).ok()?,
    };
    let enabled = snapshot.entries.iter().filter(|entry| entry.enabled);
    enabled.filter_map(|entry| adapters.open(entry, false).err()?.refused).next()
}

/// An entry with the default source, mapping and sink.
const PLAIN: &str = r#"[{"list_id": "any"}]"#;
