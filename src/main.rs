//! Parses, starts the log, runs, and turns the outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use importer::{
    app::{self, logger},
    cli::{Cli, exit},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    logger::start();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("importer: could not start: {error}");
            return ExitCode::from(exit::BUG);
        }
    };
    let ended = std::panic::catch_unwind(|| runtime.block_on(app::run(cli)));
    // Work that a stop has cut short must not hold up the exit.
    runtime.shutdown_background();
    match ended {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(error)) => {
            eprintln!("importer: {error:#}");
            ExitCode::from(app::exit_code(&error))
        }
        Err(_) => ExitCode::from(exit::BUG),
    }
}
