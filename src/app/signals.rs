//! Signals that stop importer.

use std::time::Duration;

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::listeners::Listeners;
use crate::{base::event::ProgramEvent, cli::exit};

/// Time in which a second signal counts as a repetition of the first.
const TWICE: Duration = Duration::from_secs(1);

/// Stops the controller at the first ctrl-c, SIGTERM or SIGHUP. If a stop was requested before, also by the
/// quit file, the next signal ends the program at once. The state file is complete at any moment.
pub async fn stop_on_signals(stop: CancellationToken, listeners: Listeners) -> anyhow::Result<()> {
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
            listeners.events.emit(ProgramEvent::SignalAgain { name });
            listeners.close().await;
            std::process::exit(exit::INTERRUPTED.into());
        }
        listeners.events.emit(ProgramEvent::Signal { name });
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
