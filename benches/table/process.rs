//! Runs a process and measures it.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use wait4::Wait4;

/// What a process has used. Its memory is at least that of this program, some 4 MB, which the kernel counts, too.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub wall: f64,
    /// User and system time, in seconds.
    pub cpu: f64,
    /// Peak resident memory, in MB.
    pub memory: f64,
    /// Start, in microseconds since 1970.
    pub started_us: u64,
}

/// Part of a second at which a run starts. A full load waits for the end of the second in which it began, so that a run
/// that starts late in a second measures the load and not the wait.
const START: Duration = Duration::from_millis(900);

/// Waits until a full load may start.
pub fn wait_for_start() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let part = Duration::from_nanos(now.subsec_nanos().into());
    let left = if part <= START { START - part } else { START + Duration::from_secs(1) - part };
    sleep(left);
}

/// Starts a process whose output goes to a file.
pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    let output = File::create(log).with_context(|| format!("could not create {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    command.spawn().with_context(|| format!("could not start {:?}", command.get_program()))
}

/// Runs a process to its end. Fails if it does.
pub fn run(command: &mut Command, log: &Path) -> anyhow::Result<Usage> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let begun = Instant::now();
    let ended = start(command, log)?.wait4()?;
    let wall = begun.elapsed().as_secs_f64();
    if !ended.status.success() {
        let said = fs::read_to_string(log).unwrap_or_default();
        let last = said.lines().last().unwrap_or_default();
        bail!("{:?} ended with {}: {last} (see {})", command.get_program(), ended.status, log.display());
    }
    let used = ended.rusage;
    Ok(Usage {
        wall,
        cpu: (used.utime + used.stime).as_secs_f64(),
        memory: used.maxrss as f64 / 1e6,
        started_us: now.as_micros() as u64,
    })
}
