//! The state folder of a run, and importer's command line.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::{Value, json};

use super::service::Service;

/// A folder with a state file of its own.
pub struct State {
    pub folder: PathBuf,
}

impl State {
    /// Makes a folder in which no run has been.
    pub fn fresh(folder: PathBuf, entries: &Value) -> anyhow::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let state = State { folder };
        state.write(entries)?;
        Ok(state)
    }

    /// Makes a copy of a folder, with another state file.
    pub fn copy_of(other: &State, folder: PathBuf, entries: &Value) -> anyhow::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        copy(&other.folder, &folder)?;
        let state = State { folder };
        state.write(entries)?;
        Ok(state)
    }

    /// Replaces the state file, as an editor does.
    pub fn write(&self, entries: &Value) -> anyhow::Result<()> {
        let file = self.folder.join("state.json");
        fs::write(&file, serde_json::to_vec_pretty(entries)?)
            .with_context(|| format!("could not write {}", file.display()))
    }

    /// Returns the command that runs the due entries once, with importer's default settings: only the addresses and
    /// the keys are set, and a rate, since the default is the one that Ometria allows.
    pub fn run_once(&self, program: &Path, service: &Service, rate: &str) -> Command {
        let mut command = self.go(program, service, rate);
        command.arg("--once");
        command
    }

    /// Returns the command of a controller that runs until it is stopped.
    pub fn go(&self, program: &Path, service: &Service, rate: &str) -> Command {
        let base = service.base();
        let mut command = Command::new(program);
        command.env_clear().args(["go", "--state"]).arg(&self.folder);
        command.env("MAILCHIMP_URL", format!("{base}/3.0")).env("MAILCHIMP_APIKEY", "key-us1");
        command
            .env("OMETRIA_URL", format!("{base}/v2"))
            .env("OMETRIA_APIKEY", "key")
            .env("OMETRIA_RATE", rate);
        command
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(|_| ())?,
        }
    }
    Ok(())
}

/// Returns a state file with one entry: the list of the bench with these settings.
pub fn entry(settings: Value) -> Value {
    let mut entry = json!({"list_id": "bench"});
    if let (Some(entry), Value::Object(settings)) = (entry.as_object_mut(), settings) {
        entry.extend(settings);
    }
    json!([entry])
}
