//! Row 12: a controller that has nothing to do.

use std::{collections::HashMap, fs, process::Child, thread::sleep, time::Duration};

use chrono::Utc;
use serde_json::{Value, json};

use crate::{
    bench::Bench,
    figure::{Figure, Goal, Unit},
    process,
    state::State,
};

const ENTRIES: usize = 100;
/// Time until a controller has read its entries and is idle.
const SETTLE: Duration = Duration::from_secs(15);
const SECONDS: u64 = 60;

/// An idle controller, with the CPU time of its threads in nanoseconds.
struct Idle {
    child: Child,
    threads: HashMap<String, u64>,
}

pub fn measure(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let service = bench.service(1000, 0)?;
    let now = Utc::now().format("%Y-%m-%dT%H:%M:%S").to_string();
    let entry = |number: usize| json!({"list_id": format!("list{number}"), "latest_timestamp": now});
    let entries: Value = (0..ENTRIES).map(entry).collect();
    // All runs at once, since they only wait.
    let start = |number: usize| {
        let state = State::fresh(bench.path(&format!("idle-{number}")), &entries)?;
        let mut command = state.go(&bench.programs.importer, &service, "8");
        let child = process::start(&mut command, &bench.path(&format!("idle-{number}.log")))?;
        Ok(Idle { child, threads: HashMap::new() })
    };
    let mut all = (0..bench.runs).map(start).collect::<anyhow::Result<Vec<Idle>>>()?;
    sleep(SETTLE);
    all.iter_mut().for_each(Idle::look);
    let before: Vec<u64> = all.iter().map(Idle::cpu).collect();
    for _ in 0..SECONDS {
        sleep(Duration::from_secs(1));
        all.iter_mut().for_each(Idle::look);
    }
    let cpu = all.iter().zip(before).map(|(idle, before)| (idle.cpu() - before) as f64 / 1e6).collect();
    let memory = all.iter().map(Idle::memory).collect::<anyhow::Result<_>>()?;
    let (space, time) = (Goal::AtMost { must: 14.0, aim: 8.0 }, Goal::AtMost { must: 20.0, aim: 5.0 });
    Ok(vec![
        Figure::new(12, "idle controller, 100 entries: resident memory", Unit::Megabytes, space, memory),
        Figure::new(12, "idle controller, 100 entries: CPU a minute", Unit::Milliseconds, time, cpu),
    ])
}

impl Idle {
    /// Notes the CPU time of each thread. A thread ends after ten idle seconds, so none is missed.
    fn look(&mut self) {
        let folder = format!("/proc/{}/task", self.child.id());
        let threads = fs::read_dir(folder).into_iter().flatten().flatten();
        for thread in threads {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let running = text.split(' ').next().and_then(|time| time.parse().ok());
            let name = thread.file_name().to_string_lossy().into_owned();
            self.threads.extend(running.map(|running| (name, running)));
        }
    }

    fn cpu(&self) -> u64 {
        self.threads.values().sum()
    }

    fn memory(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
