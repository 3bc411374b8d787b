//! Runs the commands and turns their outcomes into exit codes. The only room that knows every floor.

pub mod commands;
mod confirm;
mod go;
mod listen;
pub mod listeners;
pub mod logger;
mod ready;
mod references;
mod signals;
mod strict;
pub mod variables;
pub mod wiring;

use std::path::Path;

use self::listeners::Listeners;
use crate::{
    base::fault::Fault,
    cli::{Cli, Command, exit},
    net::{Environment, Refused},
    state::{folders::Folders, home, lock::NotLocked},
    store::format,
};

/// Runs one command and returns its exit code. It reports to `listeners`.
///
/// # Errors
///
/// The command could not do its work; [`exit_code`] returns the exit code of the error.
pub async fn run(cli: Cli, listeners: &Listeners) -> anyhow::Result<u8> {
    let events = &listeners.events;
    match cli.command {
        Command::Go(options) => go::run(options, listeners).await,
        Command::Demo(options) => commands::demo::run(options.story, listeners).await,
        Command::Check(check) => commands::state::check(&check, events).await,
        Command::Preview(options) => commands::preview::run(&options, events).await,
        Command::Replay(options) => commands::replay::run(&options, events).await,
        Command::Release(options) => commands::release::run(&options, events).await,
        Command::Verify(options) => commands::verify::run(&options, events).await,
        Command::Why(options) => commands::why::run(&options, events).await,
        Command::Status(options) => commands::status::run(&options, events).await,
        Command::History(options) => commands::history::run(&options, events).await,
        Command::Settings(options) => commands::settings::run(&options),
        Command::Schema => commands::state::schema(),
        Command::State(options) => commands::state::versions(&options, events),
        Command::Sandbox(options) => commands::sandbox::run(options).await,
    }
}

/// Returns the exit code of a command that could not do its work.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(Refused::Key { .. } | Refused::Credential { .. }) => return exit::NO_KEY,
        Some(Refused::Value { .. }) => return exit::UNUSABLE,
        None => {}
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(NotLocked::Taken(_)), _) => exit::TAKEN,
        (_, Some(Fault::List(_) | Fault::Retryable { .. } | Fault::TooLarge(_))) => exit::FAILED,
        _ => exit::UNUSABLE,
    }
}

/// Returns an error if importer's files in a state folder have a newer layout. Writes nothing; commands call it
/// before they write.
fn check_layout(folder: &Path) -> Result<(), Fault> {
    // The code that opens the folder reports a missing folder or a dangling link.
    let Ok(home) = home::of(folder) else { return Ok(()) };
    format::check(&Folders::of(&home).ours()).map(|_| ())
}

/// Returns the environment of the process. A variable that is not Unicode counts as not set.
fn environment() -> Environment {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    Environment::new(|name| std::env::var(name).ok()).with_names(names)
}
