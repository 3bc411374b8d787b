//! A PostgreSQL for the tests: one that was started before (`IMPORTER_TEST_POSTGRES`), or one of the test's own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

/// Variable with the address of a server that the tests share; each makes a database of its own there.
const SHARED: &str = "IMPORTER_TEST_POSTGRES";

/// A server in a temporary folder. Dropping it stops it.
pub struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
}

/// Returns an empty database and its address, with the server if it is the test's own; `None` without PostgreSQL.
pub async fn database() -> Option<(Arc<Server>, String)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = Arc::new(Server::shared_or_own()?);
    let name = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
    raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    let url = server.url(&name);
    Some((server, url))
}

impl Server {
    fn shared_or_own() -> Option<Self> {
        match std::env::var(SHARED) {
            Ok(url) => {
                let url = url::Url::parse(&url).unwrap();
                let folder = tempfile::tempdir().unwrap();
                Some(Server { folder, programs: PathBuf::new(), port: url.port().unwrap() })
            }
            Err(_) => Server::start(),
        }
    }

    /// Starts a server; `None` if PostgreSQL is not installed, which a test of CI does not accept.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("CI").is_none(), "PostgreSQL is missing; .ci/run installs it");
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        own(folder.path());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Server { folder, programs, port };
        server.run(
            "initdb",
            &["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C"],
        );
        // One role has to use its password.
        let rules = "host all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\nlocal all all trust\n";
        fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
        server.launch();
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub fn launch(&self) {
        let (port, folder) = (self.port, self.folder.path().display());
        let options =
            format!("-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=30");
        let log = self.folder.path().join("log").display().to_string();
        self.run("pg_ctl", &["--options", &options, "--log", &log, "--wait", "start"]);
    }

    /// Ends the server as a crash would.
    pub fn kill(&self) {
        self.run("pg_ctl", &["--mode=immediate", "--wait", "stop"]);
    }

    /// Runs a program on the data of the server. PostgreSQL refuses to be run by root.
    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        command.arg("--pgdata").arg(self.data()).args(arguments).current_dir("/");
        // The server inherits what is not redirected, and would keep the pipes of the test open.
        let status =
            command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).status().unwrap();
        assert!(status.success(), "{command:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.programs.as_os_str().is_empty() && self.data().join("postmaster.pid").exists() {
            self.kill();
        }
    }
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Gives a folder to the user who runs the server.
fn own(folder: &Path) {
    if is_root() {
        assert!(Command::new("chown").arg("postgres").arg(folder).status().unwrap().success());
    }
}

/// Returns the folder of PostgreSQL's programs, that of the newest version.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.map(|version| version.unwrap().path().join("bin"));
    folders.filter(|folder| folder.join("pg_ctl").exists()).max()
}
