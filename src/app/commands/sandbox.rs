//! `importer sandbox`: serves the emulators.

use std::{
    io::{Write, stdout},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    base::clock::{Clock, SystemClock},
    cli::{self, exit},
    sandbox::{self, Faults, MAILCHIMP_KEY, OMETRIA_KEY, receiver, rest, serve::serve, when_i_work},
};

/// Number of shifts that the sandbox serves.
const SHIFTS: u64 = 300;

/// Number of warehouses that the sandbox serves.
const WAREHOUSES: u64 = 250;

/// `importer sandbox`: serves the emulators until it is stopped.
pub async fn run(options: cli::Sandbox) -> anyhow::Result<u8> {
    let clock = Arc::new(SystemClock);
    let sandbox = sandbox::Sandbox::new(clock.clone(), Duration::ZERO);
    for (seed, list_id) in (options.seed..).zip(&options.list) {
        sandbox.mailchimp().add_list(list_id, options.members, seed, clock.now());
    }
    sandbox.when_i_work().invent(SHIFTS, options.seed, clock.now());
    sandbox.rest().invent(WAREHOUSES, options.seed, clock.now());
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
         # The sink http can send batches to http://{address}/hooks/…, with `auth` bearer and these variables:\n\
         export HTTP_SINK_HOSTS={address}\n\
         export HTTP_SINK_TOKEN={}\n\
         # The source rest can read http://{address}/rest/items/offset, page, cursor or link, and\n\
         # single records at http://{address}/rest/items/{{key}} (docs/rest.md):\n\
         export REST_HOSTS=http://{address}\n\
         # With this token, importer does not log in; leave it out to try a login.\n\
         export REST_TOKEN={}\n\
         export REST_USER={}\n\
         export REST_PASSWORD={}\n\
         # Lists of {} members each: {}; {SHIFTS} shifts; {WAREHOUSES} warehouses. Stop with ctrl-c.",
        when_i_work::KEY,
        when_i_work::EMAIL,
        when_i_work::PASSWORD,
        receiver::TOKEN,
        rest::KEY,
        rest::USER,
        rest::PASSWORD,
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
        "# Random faults, seed {}: {} % of the requests fail, stall or are slow; each list and the warehouses have {} changes\n\
         # per second; a change of a list becomes visible up to {} s late, a response may be {} s old, members of one second\n\
         # are in any order, and the clock of the services is {clock}.",
        faults.seed,
        faults.troubles * 100.0,
        faults.edits_per_second,
        faults.late.as_secs(),
        faults.stale.as_secs()
    )
}
