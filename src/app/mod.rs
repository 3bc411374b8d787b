//! Wiring: settings to adapters to controller, signals to the stop token, outcomes to exit codes. The one place that
//! knows every floor.

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

/// Shifts that the sandbox serves.
const SHIFTS: u64 = 300;

/// Within so long a second signal is the first one once more.
const TWICE: Duration = Duration::from_secs(1);

/// Runs one command; answers its exit code.
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

/// What a command that could not do its work exits with.
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

/// A setting of the environment.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

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
            error!("done, but not everything: see the errors above.");
            exit::FAILED
        }
        Err(fault) => {
            error!("{fault}");
            exit::UNUSABLE
        }
    })
}

/// Which key is missing that an enabled entry needs; without a state file, that of an entry which says nothing of its ends. Later
/// on a missing key is one entry's problem; now somebody is watching.
fn missing_key(adapters: &Adapters, folder: &Path) -> Option<Refused> {
    let path = folder.join(NAME);
    let snapshot = match path.exists() {
        true => read::load(&path, VOCABULARY).ok()?,
        false => schema::read(PLAIN, VOCABULARY).ok()?,
    };
    let enabled = snapshot.entries.iter().filter(|entry| entry.enabled);
    enabled.filter_map(|entry| adapters.open(entry, false).err()?.refused).next()
}

/// An entry that says nothing of its ends.
const PLAIN: &str = r#"[{"list_id": "any"}]"#;

/// The first ctrl-c, SIGTERM or SIGHUP asks for a stop; when one is asked for already, also by the quit file, the next
/// signal stops at once. The state file is whole at any moment.
async fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("no handler for ctrl-c")?;
    let mut terminate = signal(SignalKind::terminate()).context("no handler for SIGTERM")?;
    let mut hang_up = match ignores_hang_up() {
        true => None,
        false => Some(signal(SignalKind::hangup()).context("no handler for SIGHUP")?),
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
            warn!(
                "{name} again: stopped at once; what was not recorded as delivered is sent by the next run."
            );
            std::process::exit(exit::INTERRUPTED.into());
        }
        info!("{name}: stopping.");
        asked = Some(Instant::now());
        stop.cancel();
    }
}

/// Whether we were started by `nohup` or the like: then the end of the terminal must not stop us. Linux tells the
/// ignored signals as a mask whose lowest bit is SIGHUP; elsewhere SIGHUP stops.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

async fn sandbox(options: cli::Sandbox) -> anyhow::Result<u8> {
    let clock = Arc::new(SystemClock);
    let sandbox = sandbox::Sandbox::new(clock.clone(), Duration::ZERO);
    for (seed, list_id) in (options.seed..).zip(&options.list) {
        sandbox.mailchimp().add_list(list_id, options.members, seed, clock.now());
    }
    sandbox.when_i_work().invent(SHIFTS, options.seed, clock.now());
    sandbox.ometria().set_rate(options.ometria_rate);
    let faults = options.faults.then(|| Faults::usual(options.seed));
    if let Some(faults) = &faults {
        sandbox.misbehave(faults.clone());
    }
    let listener = TcpListener::bind(("127.0.0.1", options.port))
        .await
        .with_context(|| format!("port {} can't be had (choose another one with --port)", options.port))?;
    let address = listener.local_addr()?;
    writeln!(
        stdout(),
        "# Mailchimp, Ometria and When I Work, emulated at {address}. In another shell, or in .env:\n\
         export MAILCHIMP_URL=http://{address}/3.0\n\
         export MAILCHIMP_APIKEY={MAILCHIMP_KEY}\n\
         export OMETRIA_URL=http://{address}/v2\n\
         export OMETRIA_APIKEY={OMETRIA_KEY}\n\
         export WHEN_I_WORK_URL=http://{address}/2\n\
         export WHEN_I_WORK_LOGIN_URL=http://{address}\n\
         export WHEN_I_WORK_KEY={}\n\
         export WHEN_I_WORK_EMAIL={}\n\
         export WHEN_I_WORK_PASSWORD={}\n\
         # Lists of {} members: {}; {SHIFTS} shifts. Stop with ctrl-c.",
        when_i_work::KEY,
        when_i_work::EMAIL,
        when_i_work::PASSWORD,
        options.members,
        options.list.join(", ")
    )?;
    if let Some(faults) = faults {
        writeln!(stdout(), "{}", misbehaviour(&faults))?;
    }
    let mut terminate = signal(SignalKind::terminate()).context("no handler for SIGTERM")?;
    tokio::select! {
        served = serve(listener, Arc::new(sandbox)) => served.context("the sandbox can't go on")?,
        pressed = tokio::signal::ctrl_c() => pressed.context("no handler for ctrl-c")?,
        _ = terminate.recv() => {}
    }
    Ok(exit::DONE)
}

fn misbehaviour(faults: &Faults) -> String {
    let clock = match faults.ahead.num_minutes() {
        0 => "right".to_owned(),
        ahead @ 1.. => format!("{ahead} minutes ahead"),
        behind => format!("{} minutes behind", -behind),
    };
    format!(
        "# Things go wrong by chance, seed {}: {} % of the requests fail, stall or are slow; people make {} change a second \
         to each list;\n\
         # a change shows up to {} s late, an answer may be {} s old, members of one second come in any order,\n\
         # and the clock of both services is {clock}.",
        faults.seed,
        faults.troubles * 100.0,
        faults.edits_per_second,
        faults.late.as_secs(),
        faults.stale.as_secs()
    )
}
