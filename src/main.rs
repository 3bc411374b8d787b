//! Parses the command line, starts the log, runs the command, and returns its exit code.

use std::process::ExitCode;

use importer::{
    app::{self, logger, variables},
    cli::{self, exit},
};

fn main() -> ExitCode {
    let cli = cli::parse(&variables::help());
    logger::start();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("importer: could not start: {error}");
            return ExitCode::from(exit::BUG);
        }
    };
    let ended = std::panic::catch_unwind(|| runtime.block_on(app::run(cli)));
    // Tasks that a stop interrupted must not delay the exit.
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
