//! The real binary on a pseudo-terminal.

use std::process::Stdio;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    loopback::{LIMIT, Loopback},
    privacy,
};

/// The program on a terminal of its own.
pub struct Terminal {
    child: Child,
    pub shown: String,
}

impl Terminal {
    /// Starts a command, such as `go --once`.
    pub fn start(loopback: &Loopback, command_line: &str) -> Self {
        let importer = loopback.command(&[]);
        let mut command = Command::new("script");
        for (name, value) in importer.as_std().get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        // Without `exec`, some shells stay the parent process, and Ctrl-C ends them with an exit code of
        // their own.
        let line = format!(
            "exec {} {command_line} --state {}",
            env!("CARGO_BIN_EXE_importer"),
            loopback.folder.path().display()
        );
        command.args(["-qec", &line, "/dev/null"]).kill_on_drop(true);
        command.env("RUST_LOG", "info").env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Terminal { child: command.spawn().unwrap(), shown: String::new() }
    }

    /// Reads the output up to `text`, or to the end.
    pub async fn wait_for(&mut self, text: Option<&str>) {
        let out = self.child.stdout.as_mut().unwrap();
        let wait = async {
            let mut bytes = [0; 4096];
            while !text.is_some_and(|text| self.shown.contains(text)) {
                let count = out.read(&mut bytes).await.unwrap_or(0);
                if count == 0 {
                    assert!(text.is_none(), "not shown: {text:?}\n{}", self.shown);
                    return;
                }
                self.shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("not shown in time: {text:?}"));
    }

    pub async fn press(&mut self, key: &[u8]) {
        let keys = self.child.stdin.as_mut().unwrap();
        keys.write_all(key).await.unwrap();
        keys.flush().await.unwrap();
    }

    pub async fn end(mut self) -> (i32, String) {
        self.wait_for(None).await;
        privacy::search(&self.shown, "the terminal");
        (timeout(LIMIT, self.child.wait()).await.unwrap().unwrap().code().unwrap(), self.shown)
    }
}
