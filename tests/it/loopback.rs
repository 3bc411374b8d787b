//! The real binary against the sandbox on loopback, in real time.

use std::{
    fs,
    process::{ExitStatus, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use importer::{
    base::clock::{Clock, SystemClock},
    sandbox::{MAILCHIMP_KEY, OMETRIA_KEY, Sandbox, serve::serve},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStderr, Command},
    task::JoinSet,
    time::timeout,
};

use crate::privacy;

/// Longer than any step here takes, and shorter than the minute after which the program polls by itself.
pub const LIMIT: Duration = Duration::from_secs(45);

/// The sandbox on loopback, and a state folder.
pub struct Loopback {
    pub sandbox: Arc<Sandbox>,
    pub port: u16,
    pub folder: tempfile::TempDir,
    _server: JoinSet<std::io::Result<()>>,
}

impl Loopback {
    pub async fn start(latency: Duration, state: &str) -> Self {
        let sandbox = Arc::new(Sandbox::new(Arc::new(SystemClock), latency));
        sandbox.ometria().set_rate(0.0);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, sandbox.clone()));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("state.json"), state).unwrap();
        Loopback { sandbox, port, folder, _server: server }
    }

    pub fn list(self, list_id: &str, size: u64) -> Self {
        self.sandbox.mailchimp().add_list(list_id, size, 1, SystemClock.now());
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = importer(arguments);
        command
            .arg("--state")
            .arg(self.folder.path())
            .env("MAILCHIMP_URL", format!("http://127.0.0.1:{}/3.0", self.port))
            .env("OMETRIA_URL", format!("http://127.0.0.1:{}/v2", self.port))
            .env("OMETRIA_RATE", "0")
            .envs([("MAILCHIMP_APIKEY", MAILCHIMP_KEY), ("OMETRIA_APIKEY", OMETRIA_KEY)]);
        command
    }

    pub fn state(&self) -> String {
        fs::read_to_string(self.folder.path().join("state.json")).unwrap()
    }

    /// Returns the number of contacts that Ometria should have.
    pub fn expected(&self, list_id: &str) -> usize {
        let mailchimp = self.sandbox.mailchimp();
        mailchimp.members(list_id).filter(|member| !["archived", "pending"].contains(&member.status)).count()
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            privacy::search_folder(self.folder.path());
        }
    }
}

pub fn importer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_importer"));
    // The most verbose log; a test of the default log sets its level.
    command.args(arguments).env_clear().env("RUST_LOG", "trace").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end. Its output must not contain personal data.
pub async fn finish(command: Command) -> (i32, String, String) {
    let (code, told, log) = output(command).await;
    privacy::search(&told, "stdout");
    (code, told, log)
}

/// Works like [`finish`], for the commands that print personal data on stdout.
pub async fn output(mut command: Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = timeout(LIMIT * 2, command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (told, log) = (text(stdout), text(stderr));
    privacy::search(&log, "stderr");
    (status.code().unwrap(), told, log)
}

/// A running program whose log is read.
pub struct Running {
    pub child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Running { child, log }
    }

    /// Reads the log up to a line that contains this text.
    pub async fn wait_for(&mut self, text: &str) -> String {
        let wait = async {
            loop {
                let line = self.log.next_line().await.unwrap().expect("the program has ended");
                privacy::search(&line, "stderr");
                if line.contains(text) {
                    return line;
                }
            }
        };
        timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("not seen in the log: {text}"))
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub async fn end(mut self) -> ExitStatus {
        let read_on = async {
            while let Ok(Some(line)) = self.log.next_line().await {
                privacy::search(&line, "stderr");
            }
        };
        let (status, ()) = timeout(LIMIT, async { tokio::join!(self.child.wait(), read_on) }).await.unwrap();
        status.unwrap()
    }
}
