//! Whole imports that need no account: the real program against the emulators, on a state folder of its own.

mod members;
mod shifts;

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
    app::wiring::{Adapters, Keys, VOCABULARY},
    base::clock::{Clock, SystemClock},
    cli::{self, exit},
    controller::{self, Mode, Tools, Verdict, watch::Watch},
    sandbox::{MAILCHIMP_KEY, OMETRIA_KEY, Sandbox, when_i_work},
    state::{StateFile, layout},
};

/// Tells a story; answers the exit code of the imports in it.
pub async fn run(story: cli::Story) -> anyhow::Result<u8> {
    let done = match story {
        cli::Story::Members => members::tell().await?,
        cli::Story::Shifts => shifts::tell().await?,
    };
    Ok(if done { exit::DONE } else { exit::FAILED })
}

/// The machine's clock, which a story can turn forward.
struct StoryClock {
    ahead_seconds: AtomicI64,
}

impl Clock for StoryClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::seconds(self.ahead_seconds.load(Ordering::Relaxed))
    }
}

/// Where a story takes place.
struct Stage {
    clock: Arc<StoryClock>,
    sandbox: Arc<Sandbox>,
    folder: tempfile::TempDir,
}

impl Stage {
    /// With this state file.
    fn new(state: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("importer-demo-")
            .tempdir()
            .context("no temporary folder for the demo")?;
        #[expect(clippy::disallowed_methods, reason = "the folder is new, nobody reads it yet")]
        std::fs::write(folder.path().join(layout::NAME), state).context("the demo's state file")?;
        let clock = Arc::new(StoryClock { ahead_seconds: AtomicI64::new(0) });
        let sandbox = Arc::new(Sandbox::new(clock.clone(), Duration::from_millis(100)));
        Ok(Stage { clock, sandbox, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn text(&self, name: &str) -> anyhow::Result<String> {
        tokio::fs::read_to_string(self.path(name)).await.with_context(|| format!("the demo's {name}"))
    }

    /// Turns the clock forward.
    fn pass(&self, time: TimeDelta) {
        self.clock.ahead_seconds.fetch_add(time.num_seconds(), Ordering::Relaxed);
    }

    /// `importer go --once`. Whether all went well.
    async fn import(&self) -> anyhow::Result<bool> {
        let settings = |name: &str| {
            let value = match name {
                "MAILCHIMP_APIKEY" => MAILCHIMP_KEY,
                "OMETRIA_APIKEY" => OMETRIA_KEY,
                "WHEN_I_WORK_KEY" => when_i_work::KEY,
                "WHEN_I_WORK_EMAIL" => when_i_work::EMAIL,
                "WHEN_I_WORK_PASSWORD" => when_i_work::PASSWORD,
                _ => return None,
            };
            Some(value.to_owned())
        };
        let (transport, clock) = (self.sandbox.clone(), self.clock.clone());
        let tools = Tools {
            state: StateFile::open(self.folder.path(), self.clock.clone(), VOCABULARY)?,
            clock: self.clock.clone(),
            open: Adapters::new(settings, Keys::Both, transport, clock, self.folder.path()).opener(),
            watch: Watch::file(&self.path(layout::NAME)),
            confirm: None,
            fresh: false,
            stop: CancellationToken::new(),
        };
        Ok(controller::run(tools, Mode::Once).await? == Verdict::Done)
    }
}

/// A reader that has gone away is no reason to fail.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("       {line}\n")).collect()
}
