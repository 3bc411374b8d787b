//! Runs a process and measures it.

use std::{
    env,
    fs::{self, File},
    io::stdout,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use wait4::Wait4;

/// What a process has used.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Usage {
    pub wall: f64,
    /// User and system time, in seconds.
    pub cpu: f64,
    /// Peak resident memory, in MB.
    pub memory: f64,
    /// Start, in microseconds since 1970.
    pub started_us: u64,
}

/// The word by which this program starts another one and measures it.
pub const MEASURE: &str = "measure";

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

/// Runs a process to its end, with no variables of the environment but its own. Fails if it does.
///
/// Another process of this program starts it: the kernel counts the peak memory of the parent as that of the child, and
/// a new process has little.
pub fn run(command: &Command, log: &Path) -> anyhow::Result<Usage> {
    let mut measuring = Command::new(env::current_exe()?);
    measuring.arg(MEASURE).arg(log).arg(command.get_program()).args(command.get_args()).env_clear();
    measuring.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = measuring.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        let said = fs::read_to_string(log).unwrap_or_default();
        let last = said.lines().last().unwrap_or_default();
        bail!("{:?} failed: {last} (see {})", command.get_program(), log.display());
    }
    serde_json::from_slice(&output.stdout).context("a process was not measured")
}

/// Runs a process, whose output goes to a file, and prints what it has used.
pub fn measure(words: &[String]) -> anyhow::Result<()> {
    let [log, program, arguments @ ..] = words else { bail!("usage: {MEASURE} LOG PROGRAM ARGUMENTS") };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let begun = Instant::now();
    let ended = start(Command::new(program).args(arguments), Path::new(log))?.wait4()?;
    let wall = begun.elapsed().as_secs_f64();
    ensure!(ended.status.success(), "{program} ended with {}", ended.status);
    let used = ended.rusage;
    let usage = Usage {
        wall,
        cpu: (used.utime + used.stime).as_secs_f64(),
        memory: used.maxrss as f64 / 1e6,
        started_us: now.as_micros() as u64,
    };
    Ok(serde_json::to_writer(stdout(), &usage)?)
}
