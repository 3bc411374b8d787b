//! Builds the programs that are measured.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use serde_json::Value;

pub struct Programs {
    pub importer: PathBuf,
    pub service: PathBuf,
    pub limit: PathBuf,
    /// The interpreter with the packages of the script, or why there is none.
    pub python: Result<PathBuf, String>,
}

/// The script in Python, below the root of the repository.
pub const SCRIPT: &str = "benches/peers/script.py";
pub const REQUIREMENTS: &str = "benches/peers/requirements.txt";

pub fn build(folder: &Path) -> anyhow::Result<Programs> {
    let helpers = ["build", "--release", "--bench", "service", "--bench", "limit"];
    let helpers = cargo(&helpers)?;
    let helper = |name: &str| {
        let found = helpers.iter().find(|(of, _)| of == name).map(|(_, path)| path.clone());
        found.with_context(|| format!("cargo built no program `{name}`"))
    };
    let importer = match env::var_os("BENCH_IMPORTER") {
        Some(path) => path.into(),
        None => importer(folder, &[])?,
    };
    Ok(Programs { importer, service: helper("service")?, limit: helper("limit")?, python: python(folder) })
}

/// Builds importer with these features and returns a copy of the program, since builds replace each other.
pub fn importer(folder: &Path, features: &[&str]) -> anyhow::Result<PathBuf> {
    let joined = features.join(",");
    let mut words = vec!["build", "--profile", "dist", "--bin", "importer"];
    if !features.is_empty() {
        words.extend(["--features", &joined]);
    }
    let built = cargo(&words)?;
    let (_, built) = built.first().context("cargo built no program `importer`")?;
    let name = ["importer"].iter().chain(features).copied().collect::<Vec<_>>().join("-");
    let copy = folder.join(name);
    fs::copy(built, &copy)?;
    Ok(copy)
}

/// Runs cargo and returns the names and paths of the programs.
fn cargo(words: &[&str]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .args(words)
        .args(["--locked", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit());
    let output = command.output().context("could not start cargo")?;
    if !output.status.success() {
        bail!("cargo {} failed", words.join(" "));
    }
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let program = |message: &[u8]| {
        let message: Value = serde_json::from_slice(message).ok()?;
        Some((message["target"]["name"].as_str()?.to_owned(), message["executable"].as_str()?.into()))
    };
    Ok(messages.filter_map(program).collect())
}

/// Installs the packages of the script into an environment of its own.
fn python(folder: &Path) -> Result<PathBuf, String> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    let run = |command: &mut Command| {
        let output = command.output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let last = said.lines().last().unwrap_or_default().to_owned();
        if output.status.success() { Ok(()) } else { Err(last) }
    };
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS];
    run(Command::new(&python).args(pip))?;
    Ok(python)
}
