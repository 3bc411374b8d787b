//! `importer demo`: complete imports without an account. Runs the real program against the emulators, with a
//! state folder of its own.

mod members;
mod shifts;
#[cfg(feature = "sql")]
mod warehouses;

use std::{
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{
        listeners::Listeners,
        wiring::{Adapters, Keys, VOCABULARY},
    },
    base::clock::{Clock, SystemClock},
    cli::{self, exit},
    controller::{self, Mode, Tools, Verdict, handle, watch::Watch},
    net::Environment,
    sandbox::{MAILCHIMP_KEY, OMETRIA_KEY, Sandbox, rest, when_i_work},
    state::{StateFile, layout},
};

/// Runs a story and returns the exit code of its imports.
///
/// # Errors
///
/// The temporary state folder could not be made, read or written.
pub async fn run(story: cli::Story, listeners: &Listeners) -> anyhow::Result<u8> {
    let done = match story {
        cli::Story::Members => members::tell(listeners).await?,
        cli::Story::Shifts => shifts::tell(listeners).await?,
        #[cfg(feature = "sql")]
        cli::Story::Warehouses => warehouses::tell(listeners).await?,
        #[cfg(not(feature = "sql"))]
        cli::Story::Warehouses => anyhow::bail!(
            "this build has no `sql`; run IMPORTER_FEATURES=sql ./run.sh demo warehouses, or rebuild with cargo build \
             --release --features sql"
        ),
    };
    Ok(if done { exit::DONE } else { exit::FAILED })
}

/// The system clock, which a story can set forward.
struct StoryClock {
    ahead_seconds: AtomicI64,
}

impl Clock for StoryClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::seconds(self.ahead_seconds.load(Ordering::Relaxed))
    }
}

/// Clock, emulators and state folder of a story.
struct Stage {
    clock: Arc<StoryClock>,
    sandbox: Arc<Sandbox>,
    folder: tempfile::TempDir,
    listeners: Listeners,
}

impl Stage {
    /// Makes a state folder with this text as the state file.
    fn new(state: &str, listeners: &Listeners) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("importer-demo-")
            .tempdir()
            .context("could not make a temporary folder for the demo")?;
        #[expect(clippy::disallowed_methods, reason = "the folder is new and has no reader yet")]
        std::fs::write(folder.path().join(layout::NAME), state)
            .context("could not write the demo's state file")?;
        let clock = Arc::new(StoryClock { ahead_seconds: AtomicI64::new(0) });
        let sandbox = Arc::new(Sandbox::new(clock.clone(), Duration::from_millis(100)));
        Ok(Stage { clock, sandbox, folder, listeners: listeners.clone() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the text of a file in the state folder.
    async fn text(&self, name: &str) -> anyhow::Result<String> {
        tokio::fs::read_to_string(self.path(name))
            .await
            .with_context(|| format!("could not read the demo's {name}"))
    }

    /// Sets the clock forward.
    fn pass(&self, time: TimeDelta) {
        self.clock.ahead_seconds.fetch_add(time.num_seconds(), Ordering::Relaxed);
    }

    /// Runs `importer go --once`. Returns whether no entry failed.
    async fn import(&self) -> anyhow::Result<bool> {
        let settings = |name: &str| {
            let value = match name {
                "MAILCHIMP_APIKEY" => MAILCHIMP_KEY,
                "OMETRIA_APIKEY" => OMETRIA_KEY,
                "WHEN_I_WORK_KEY" => when_i_work::KEY,
                "WHEN_I_WORK_EMAIL" => when_i_work::EMAIL,
                "WHEN_I_WORK_PASSWORD" => when_i_work::PASSWORD,
                "REST_HOSTS" => "wms.example.com",
                "REST_USER" => rest::USER,
                "REST_PASSWORD" => rest::PASSWORD,
                _ => return None,
            };
            Some(value.to_owned())
        };
        let (transport, clock) = (self.sandbox.clone(), self.clock.clone());
        let listeners = self.listeners.with_clock(self.clock.clone());
        let events = &listeners.events;
        let tools = Tools {
            state: StateFile::open(self.folder.path(), self.clock.clone(), VOCABULARY, events.clone())?,
            clock: self.clock.clone(),
            open: Adapters::new(
                &Environment::new(settings),
                Keys::Both,
                transport,
                clock,
                self.folder.path(),
                events.clone(),
            )
            .opener(),
            watch: Watch::file(&self.path(layout::NAME), events.clone()),
            events: events.clone(),
            commands: handle::channel().1,
            confirm: None,
            fresh: false,
            stop: CancellationToken::new(),
        };
        let verdict = controller::run(tools, Mode::Once).await;
        // The story continues on stdout after the log of this import.
        listeners.close().await;
        Ok(verdict? == Verdict::Done)
    }
}

/// Prints a text. A closed stdout is not an error.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("       {line}\n")).collect()
}
