//! What a reader of the figures has to know of the machine and the versions.

use std::{env, fs, process::Command};

use chrono::Utc;

use super::{bench::Bench, programs};

/// Returns the lines above the table.
pub fn describe(bench: &Bench) -> Vec<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpu.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let model = models.first().map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    let python = match &bench.programs.python {
        Ok(python) => {
            let packages = fs::read_to_string(programs::REQUIREMENTS).unwrap_or_default().replace("==", " ");
            let packages = packages.lines().collect::<Vec<_>>().join(", ");
            format!("{}, {packages}", first_line(&python.display().to_string(), &["--version"]))
        }
        Err(why) => format!("not run: {why}"),
    };
    let importer = bench.programs.importer.display().to_string();
    vec![
        format!("* Measured on {}, medians of {} runs.", Utc::now().format("%Y-%m-%d %H:%M UTC"), bench.runs),
        format!("* Machine: {model}, {} cores, Linux {}.", models.len(), first_line("uname", &["-r"])),
        format!("* Load average before the first run: {}; after the last: {}.", bench.load, load()),
        format!(
            "* {} at {}, {}.",
            first_line(&importer, &["--version"]),
            first_line("git", &["log", "-1", "--format=%h", "--", "src", "Cargo.toml", "Cargo.lock"]),
            first_line(&env::var("RUSTC").unwrap_or("rustc".into()), &["--version"])
        ),
        format!("* Script: {python}."),
    ]
}

/// Returns the load averages of the last 1, 5 and 15 minutes.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(", ")
}

/// Returns the first line that a program prints.
fn first_line(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().trim().to_owned()
}
