//! `./run.sh bench instructions`: the instructions that importer takes for a record, counted by callgrind. They suffer
//! from no busy neighbor, so CI compares them with the figure in `benches/instructions.json`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::json;

use super::{
    process, programs,
    service::{Conditions, Service},
    state::{State, entry},
};

const FIGURE: &str = "benches/instructions.json";
/// Members of a small and of a larger load. What both take, such as the start, is no part of the figure.
const MEMBERS: [u64; 2] = [2_000, 12_000];

#[derive(Deserialize)]
struct Figure {
    /// Instructions per record of a full load.
    per_record: u64,
    /// Share by which a count may be higher.
    tolerance: f64,
}

/// Counts, and fails if importer takes more instructions than it may.
pub fn guard(folder: &Path) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FIGURE);
    let text = fs::read_to_string(&path).with_context(|| format!("could not read {FIGURE}"))?;
    let Figure { per_record: known, tolerance } = serde_json::from_str(&text).context(FIGURE)?;
    let service = programs::helper("service")?;
    let importer = programs::released()?;
    let [small, large] = MEMBERS.map(|members| instructions(folder, &service, &importer, members));
    let counted = (large? - small?) / (MEMBERS[1] - MEMBERS[0]);
    println!("{counted} instructions per record; {FIGURE} has {known}");
    let change = counted as f64 / known as f64 - 1.0;
    ensure!(
        change <= tolerance,
        "importer takes {:.0} % more instructions per record than {FIGURE} says, where {:.0} % are tolerated; find out \
         why (callgrind_annotate target/bench/callgrind.out), or write the new figure there and give the reason",
        change * 100.0,
        tolerance * 100.0
    );
    if change < -tolerance {
        println!("that is {:.0} % less; write the new figure there", -change * 100.0);
    }
    Ok(())
}

/// Counts the instructions of a full load.
fn instructions(folder: &Path, service: &Path, importer: &Path, members: u64) -> anyhow::Result<u64> {
    let service = Service::start(service, members, 0)?;
    service.reset(Conditions::default())?;
    let state = State::fresh(folder.join("state"), &entry(json!({"default_country": "GB"})))?;
    let plain = state.run_once(importer, &service, "0");
    let mut command = Command::new("valgrind");
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    let out: PathBuf = folder.join("callgrind.out");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(plain.get_program()).args(plain.get_args());
    let log = folder.join("callgrind.log");
    process::run(&command, &log).context("install valgrind (Debian: apt-get install valgrind)")?;
    let report = service.report()?;
    ensure!(report.records == members, "a run did not deliver every member: {report:?}");
    let said = fs::read_to_string(&log)?;
    let counted =
        said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim());
    counted.context("callgrind reported no count")?.parse().context("callgrind's count")
}
