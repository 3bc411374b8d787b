//! A PostgreSQL of the bench, with the settings that a new installation has: each commit is on disk before it counts.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, ensure};
use tempfile::TempDir;

const INSTALLED: &str = "/usr/lib/postgresql";
/// Temporary files that outlast a restart, so that they are on a disk.
const FOLDER: &str = "/var/tmp";
/// Units of the times in `/proc`, per second.
const TICKS: f64 = 100.0;

/// A server in a folder of its own. Dropping it stops it.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Postgres {
    /// Starts a server.
    pub fn start() -> anyhow::Result<Self> {
        let programs = programs().with_context(|| {
            format!(
                "PostgreSQL is not installed in {INSTALLED}; install it (Debian: apt-get install postgresql)"
            )
        })?;
        let folder = tempfile::tempdir_in(FOLDER)?;
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = Postgres { folder, programs, port };
        server.run("initdb", &["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"])?;
        let path = server.folder.path().display();
        let options = format!("-p {port} -k {path} -c listen_addresses=127.0.0.1");
        let log = format!("{path}/log");
        server.run("pg_ctl", &["--options", &options, "--log", &log, "--wait", "start"])?;
        Ok(server)
    }

    /// Makes an empty database, and returns its address.
    pub fn database(&self, name: &str) -> anyhow::Result<String> {
        for (program, more) in [("dropdb", Some("--if-exists")), ("createdb", None)] {
            let mut command = Command::new(self.programs.join(program));
            command.args(["--host", "127.0.0.1", "--username", "postgres", "--port", &self.port.to_string()]);
            run(command.args(more).arg(name))?;
        }
        Ok(format!("postgres://postgres@127.0.0.1:{}/{name}", self.port))
    }

    /// Returns the CPU time of the connections that have ended, in seconds.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        // A connection ends a little later than its client.
        sleep(Duration::from_millis(200));
        let process = fs::read_to_string(self.data().join("postmaster.pid"))?;
        let process = process.lines().next().context("the server's process")?;
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("the server's time")?;
        // The user and the system time of the children that have ended, see proc(5).
        let ticks = fields.split_whitespace().skip(13).take(2).map(|field| field.parse::<u64>());
        Ok(ticks.sum::<Result<u64, _>>()? as f64 / TICKS)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs a program on the data of the server. PostgreSQL refuses to be run by root.
    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let program = self.programs.join(program);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        run(command.arg("--pgdata").arg(self.data()).args(arguments).current_dir("/"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            // The folder is removed anyway.
            let _ = self.run("pg_ctl", &["--mode=immediate", "--wait", "stop"]);
        }
    }
}

/// Runs a command. A server inherits what is not redirected, and would keep the pipes of the bench open.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let redirected = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status =
        redirected.status().with_context(|| format!("could not start {:?}", redirected.get_program()))?;
    ensure!(status.success(), "{redirected:?} ended with {status}");
    Ok(())
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Returns the folder of PostgreSQL's programs, that of the newest version.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(Path::new(INSTALLED)).ok()?;
    let folders = versions.flatten().map(|version| version.path().join("bin"));
    folders.filter(|folder| folder.join("pg_ctl").exists()).max()
}
