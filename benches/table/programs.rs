//! Builds the programs that are measured.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
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
    let importer = importer(folder, &[])?;
    Ok(Programs { importer, service: helper("service")?, limit: helper("limit")?, python: python(folder) })
}

/// Builds a program of the bench.
pub fn helper(name: &str) -> anyhow::Result<PathBuf> {
    cargo(&["build", "--release", "--bench", name], name)
}

/// Builds the bare loop of the sink `sql`, which needs that feature.
pub fn sql_loop() -> anyhow::Result<PathBuf> {
    cargo(&["build", "--release", "--features", "sql", "--bench", "sql_loop"], "sql_loop")
}

/// Builds importer with the profile that is quick to build. The service is built with it, because a build of importer
/// alone has other features of its dependencies, and would build them once more.
pub fn released() -> anyhow::Result<PathBuf> {
    cargo(&["build", "--release", "--bench", "service", "--bin", "importer"], "importer")
}

/// Builds importer with these features and returns a copy of the program, since builds replace each other; or returns the
/// program that the environment names.
pub fn importer(folder: &Path, features: &[&str]) -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("BENCH_IMPORTER") {
        return Ok(path.into());
    }
    let joined = features.join(",");
    let mut words = vec!["build", "--profile", "dist", "--bin", "importer"];
    if !features.is_empty() {
        words.extend(["--features", &joined]);
    }
    let built = cargo(&words, "importer")?;
    let name = ["importer"].iter().chain(features).copied().collect::<Vec<_>>().join("-");
    let copy = folder.join(name);
    fs::copy(built, &copy)?;
    Ok(copy)
}

/// Runs cargo and returns the path of the program with this name.
fn cargo(words: &[&str], name: &str) -> anyhow::Result<PathBuf> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(words).args(["--locked", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("could not start cargo")?;
    ensure!(output.status.success(), "cargo {} failed", words.join(" "));
    let program = |message: &[u8]| {
        let message: Value = serde_json::from_slice(message).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == name).then(|| path.into())
    };
    let found = output.stdout.split(|byte| *byte == b'\n').find_map(program);
    found.with_context(|| format!("cargo built no program `{name}`"))
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
