//! Parses the command line, starts the log, runs the command, and returns its exit code.

use std::{io, panic::AssertUnwindSafe, process::ExitCode};

use futures::future::LocalBoxFuture;
use importer::{
    app::{self, listeners::Listeners, logger, variables},
    cli::{self, exit},
};
use tokio::runtime::Builder;

/// Maximum number of threads for work on files and for name lookups: two for each run that can be active. More
/// would only wait for the same disk.
const FILE_THREADS: usize = 64;

fn main() -> ExitCode {
    let cli = cli::parse(&variables::help());
    let log = logger::start();
    let runtime = Builder::new_multi_thread().enable_all().max_blocking_threads(FILE_THREADS).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("importer: could not start: {error}");
            return ExitCode::from(exit::BUG);
        }
    };
    let listeners = {
        let _context = runtime.enter();
        Listeners::start(log)
    };
    // On the heap behind a pointer: tokio would contain three copies of the code of the whole program.
    let program: LocalBoxFuture<'_, _> = Box::pin(app::run(cli, &listeners));
    let run = AssertUnwindSafe(|| runtime.block_on(program));
    let ended = std::panic::catch_unwind(run);
    // After a panic, too: the last lines of the log matter most then.
    runtime.block_on(listeners.close());
    // Tasks that a stop interrupted must not delay the exit.
    runtime.shutdown_background();
    match ended {
        Ok(Ok(code)) => ExitCode::from(code),
        // The reader of the output, such as `head`, has seen enough.
        Ok(Err(error)) if is_broken_pipe(&error) => ExitCode::from(exit::DONE),
        Ok(Err(error)) => {
            eprintln!("importer: {error:#}");
            ExitCode::from(app::exit_code(&error))
        }
        Err(_) => ExitCode::from(exit::BUG),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref().map(io::Error::kind);
    error.chain().filter_map(kind).any(|kind| kind == io::ErrorKind::BrokenPipe)
}
