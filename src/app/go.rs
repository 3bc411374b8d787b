//! `importer go`: from the environment and the state folder to the controller, from its verdict to an exit code.

use std::{path::Path, sync::Arc};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    check_layout, confirm, environment, exit_code, listen,
    listeners::Listeners,
    signals::stop_on_signals,
    strict,
    wiring::{Adapters, Keys, VOCABULARY},
};
use crate::{
    base::{
        clock::{Clock, SystemClock},
        event::ProgramEvent,
    },
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
pub async fn run(go: cli::Go, listeners: &Listeners) -> anyhow::Result<u8> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let events = &listeners.events;
    let unusable = |problem: String| events.emit(ProgramEvent::Unusable { problem });
    let (web, own) = (Arc::new(Web::new()?), events.clone());
    let adapters = Adapters::new(&environment(), Keys::Both, web, Arc::clone(&clock), &go.state, own);
    if let Some(refused) = missing_key(&adapters, &go.state) {
        unusable(format!("{refused}."));
        return Ok(exit_code(&refused.into()));
    }
    if let Err(fault) = check_layout(&go.state) {
        unusable(fault.to_string());
        return Ok(exit::UNUSABLE);
    }
    let _lock = match lock::take(&go.state, clock.now()) {
        Ok(lock) => lock,
        Err(taken @ NotLocked::Taken(_)) => {
            unusable(format!("{taken}."));
            return Ok(exit::TAKEN);
        }
        Err(error) => {
            unusable(format!("{error}."));
            return Ok(exit::UNUSABLE);
        }
    };
    let state = match StateFile::open(&go.state, Arc::clone(&clock), VOCABULARY, events.clone()) {
        Ok(state) => state,
        Err(fault) => {
            unusable(fault.to_string());
            return Ok(exit::UNUSABLE);
        }
    };
    let stop = CancellationToken::new();
    let mut signals = JoinSet::new();
    signals.spawn(stop_on_signals(stop.clone(), listeners.clone()));
    let watch = Watch::file(state.path(), events.clone());
    let open = adapters.opener();
    let (handle, commands) = handle::channel();
    let server = match listen::start(go.listen.as_deref(), &go.state, handle, events).await {
        Ok(server) => server,
        Err(error) => {
            unusable(format!("{error:#}."));
            return Ok(exit_code(&error));
        }
    };
    let asked = stop.clone();
    let tools = Tools {
        state,
        clock,
        open,
        watch,
        events: events.clone(),
        commands,
        fresh: go.fresh,
        confirm: confirm::on_terminal(go.yes),
        stop,
    };
    let mode = if go.once { Mode::Once } else { Mode::Loop };
    let verdict = controller::run(tools, mode).await;
    listen::close(server).await;
    Ok(match verdict {
        Ok(Verdict::Done) if go.strict && !asked.is_cancelled() => {
            strict::exit_code(&go.state, events).await?
        }
        Ok(Verdict::Done) => {
            events.emit(if asked.is_cancelled() { ProgramEvent::Stopped } else { ProgramEvent::Done });
            exit::DONE
        }
        Ok(Verdict::Failed) => {
            events.emit(ProgramEvent::DoneWithFailures);
            exit::FAILED
        }
        Err(fault) => {
            unusable(fault.to_string());
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
