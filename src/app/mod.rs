//! Runs the commands: opens the adapters, starts the controller, stops it at a signal, and turns outcomes
//! into exit codes. The only module that knows every floor.

pub mod commands;
mod confirm;
pub mod logger;
mod strict;
pub mod wiring;

use std::{
    io::{Write, stdout},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use log::{error, info, warn};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::wiring::{Adapters, Keys, VOCABULARY};
use crate::{
    base::{
        clock::{Clock, SystemClock},
        fault::Fault,
    },
    cli::{self, Cli, Command, exit},
    controller::{self, Mode, Tools, Verdict, watch::Watch},
    net::{Refused, transport::Web},
    sandbox::{self, Faults, MAILCHIMP_KEY, OMETRIA_KEY, serve::serve, when_i_work},
    state::{
        StateFile,
        layout::NAME,
        lock::{self, NotLocked},
        read, schema,
    },
};

/// Number of shifts that the sandbox serves.
const SHIFTS: u64 = 300;

/// Time in which a second signal counts as a repetition of the first.
const TWICE: Duration = Duration::from_secs(1);

/// Runs one command and returns its exit code.
///
/// # Errors
///
/// The command could not do its work; [`exit_code`] returns the exit code of the error.
pub async fn run(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        Command::Go(go) => self::go(go).await,
        Command::Demo(options) => commands::demo::run(options.story).await,
        Command::Check(check) => commands::state::check(&check),
        Command::Preview(options) => commands::preview::run(&options).await,
        Command::Replay(options) => commands::replay::run(&options).await,
        Command::Release(options) => commands::release::run(&options).await,
        Command::Verify(options) => commands::verify::run(&options).await,
        Command::Why(options) => commands::why::run(&options).await,
        Command::Schema => commands::state::schema(),
        Command::State(options) => commands::state::versions(&options),
        Command::Sandbox(sandbox) => self::sandbox(sandbox).await,
    }
}

/// Returns the exit code of a command that could not do its work.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(Refused::Key { .. }) => return exit::NO_KEY,
        Some(Refused::Value { .. }) => return exit::UNUSABLE,
        None => {}
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(NotLocked::Taken(_)), _) => exit::TAKEN,
        (_, Some(Fault::List(_) | Fault::Retryable { .. } | Fault::TooLarge(_))) => exit::FAILED,
        _ => exit::UNUSABLE,
    }
}

/// Returns a variable of the environment; `None` if it is not set or not Unicode.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// `importer go`: syncs the lists until it is stopped, or once.
async fn go(go: cli::Go) -> anyhow::Result<u8> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let adapters = Adapters::new(variable, Keys::Both, Arc::new(Web::new()?), Arc::clone(&clock), &go.state);
    if let Some(refused) = missing_key(&adapters, &go.state) {
        error!("{refused}.");
        return Ok(exit_code(&refused.into()));
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
    let asked = stop.clone();
    let tools =
        Tools { state, clock, open, watch, fresh: go.fresh, confirm: confirm::on_terminal(go.yes), stop };
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

/// Stops the controller at the first ctrl-c, SIGTERM or SIGHUP. If a stop was requested before, also by the
/// quit file, the next signal ends the program at once. The state file is complete at any moment.
async fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("could not handle ctrl-c")?;
    let mut terminate = signal(SignalKind::terminate()).context("could not handle SIGTERM")?;
    let mut hang_up = match ignores_hang_up() {
        true => None,
        false => Some(signal(SignalKind::hangup()).context("could not handle SIGHUP")?),
    };
    let mut asked = None;
    loop {
        let name = tokio::select! {
            _ = interrupt.recv() => "ctrl-c",
            _ = terminate.recv() => "SIGTERM",
            Some(_) = async { hang_up.as_mut()?.recv().await } => "SIGHUP",
        };
        // `timeout` and the like send one signal twice, to the process and to its group.
        if asked.is_some_and(|asked: Instant| asked.elapsed() < TWICE) {
            continue;
        }
        if stop.is_cancelled() {
            warn!("{name} again: stopped at once; the next run sends all records not recorded as delivered.");
            std::process::exit(exit::INTERRUPTED.into());
        }
        info!("{name}: stopping.");
        asked = Some(Instant::now());
        stop.cancel();
    }
}

/// Returns whether SIGHUP is ignored because importer was started by `nohup` or a similar command. The end of
/// the terminal must not stop importer then. Linux reports ignored signals as a mask whose lowest bit is
/// SIGHUP (`SigIgn` in proc(5)). On other systems SIGHUP always stops importer.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// `importer sandbox`: serves the emulators until it is stopped.
async fn sandbox(options: cli::Sandbox) -> anyhow::Result<u8> {
    let clock = Arc::new(SystemClock);
    let sandbox = sandbox::Sandbox::new(clock.clone(), Duration::ZERO);
    for (seed, list_id) in (options.seed..).zip(&options.list) {
        sandbox.mailchimp().add_list(list_id, options.members, seed, clock.now());
    }
    sandbox.when_i_work().invent(SHIFTS, options.seed, clock.now());
    sandbox.ometria().set_rate(options.ometria_rate);
    let faults = options.faults.then(|| Faults::by_default(options.seed));
    if let Some(faults) = &faults {
        sandbox.misbehave(faults.clone());
    }
    let listener = TcpListener::bind(("127.0.0.1", options.port)).await.with_context(|| {
        format!("could not listen on port {} (choose another one with --port)", options.port)
    })?;
    let address = listener.local_addr()?;
    writeln!(
        stdout(),
        "# Mailchimp, Ometria and When I Work are emulated at {address}. Set these variables in another shell, or in .env:\n\
         export MAILCHIMP_URL=http://{address}/3.0\n\
         export MAILCHIMP_APIKEY={MAILCHIMP_KEY}\n\
         export OMETRIA_URL=http://{address}/v2\n\
         export OMETRIA_APIKEY={OMETRIA_KEY}\n\
         export WHEN_I_WORK_URL=http://{address}/2\n\
         export WHEN_I_WORK_LOGIN_URL=http://{address}\n\
         export WHEN_I_WORK_KEY={}\n\
         export WHEN_I_WORK_EMAIL={}\n\
         export WHEN_I_WORK_PASSWORD={}\n\
         # Lists of {} members each: {}; {SHIFTS} shifts. Stop with ctrl-c.",
        when_i_work::KEY,
        when_i_work::EMAIL,
        when_i_work::PASSWORD,
        options.members,
        options.list.join(", ")
    )?;
    if let Some(faults) = faults {
        writeln!(stdout(), "{}", misbehaviour(&faults))?;
    }
    let mut terminate = signal(SignalKind::terminate()).context("could not handle SIGTERM")?;
    tokio::select! {
        served = serve(listener, Arc::new(sandbox)) => served.context("the sandbox failed")?,
        pressed = tokio::signal::ctrl_c() => pressed.context("could not handle ctrl-c")?,
        _ = terminate.recv() => {}
    }
    Ok(exit::DONE)
}

/// Describes the faults of a sandbox.
fn misbehaviour(faults: &Faults) -> String {
    let clock = match faults.ahead.num_minutes() {
        0 => "correct".to_owned(),
        ahead @ 1.. => format!("{ahead} minutes ahead"),
        behind => format!("{} minutes behind", -behind),
    };
    format!(
        "# Random faults, seed {}: {} % of the requests fail, stall or are slow; each list has {} changes per second;\n\
         # a change becomes visible up to {} s late, a response may be {} s old, members of one second are in any order,\n\
         # and the clock of both services is {clock}.",
        faults.seed,
        faults.troubles * 100.0,
        faults.edits_per_second,
        faults.late.as_secs(),
        faults.stale.as_secs()
    )
}
