//! importer and the bare loop of the sink `sql`, one after the other, into tables of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::{Value, json};

use super::{
    bench::Bench,
    postgres::Postgres,
    process::{self, Usage},
    service::{Conditions, Service},
    state::State,
};

/// A load of the whole table, and the edition of the records that the service has then.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub name: &'static str,
    pub edition: u64,
    /// Whether it writes rows.
    pub writes: bool,
}

/// Each load finds the table as the one before left it.
pub const LOADS: [Load; 3] = [
    Load { name: "first load", edition: 0, writes: true },
    Load { name: "changed rows", edition: 1, writes: true },
    Load { name: "equal rows", edition: 1, writes: false },
];

/// Where the tables are.
pub enum Place {
    Sqlite,
    Postgres(Postgres),
}

/// What is compared: a kind of database, with one transaction for each batch or for the whole run.
pub struct Comparison<'a> {
    pub place: &'a Place,
    pub atomic: bool,
    pub records: u64,
    pub importer: &'a Path,
    pub bare: &'a Path,
}

/// The runs of a load. Times are in seconds.
#[derive(Default)]
pub struct Runs {
    pub importer: Vec<Usage>,
    /// Wall time of the bare loop, from its connection to its last commit: its batches are in memory before.
    pub bare: Vec<f64>,
    pub bare_cpu: Vec<f64>,
    /// CPU time of the service.
    pub service: Vec<f64>,
    /// CPU time of the server for importer; none for SQLite.
    pub server: Vec<f64>,
}

impl Place {
    pub fn name(&self) -> &'static str {
        match self {
            Place::Sqlite => "SQLite",
            Place::Postgres(_) => "PostgreSQL",
        }
    }

    /// Makes an empty database, for a program that runs in this folder.
    fn database(&self, name: &str, folder: &Path) -> anyhow::Result<String> {
        match self {
            Place::Sqlite => Ok(format!("sqlite:{}", folder.join(format!("{name}.db")).display())),
            Place::Postgres(server) => server.database(name),
        }
    }

    fn cpu(&self) -> anyhow::Result<f64> {
        match self {
            Place::Sqlite => Ok(0.0),
            Place::Postgres(server) => server.cpu(),
        }
    }
}

impl Comparison<'_> {
    /// Makes all loads as often as the bench repeats its runs. Returns those of each load.
    pub fn measure(&self, bench: &mut Bench) -> anyhow::Result<[Runs; 3]> {
        let service = bench.service(0, 0)?;
        let mut all: [Runs; 3] = Default::default();
        for _ in 0..bench.runs {
            let folder = bench.path("bare");
            let state = State::fresh(bench.path("state"), &json!([]))?;
            recreate(&folder)?;
            let bare = self.place.database("bare", &folder)?;
            let importer = self.place.database("importer", &state.folder)?;
            for (load, runs) in LOADS.iter().zip(&mut all) {
                self.bare(bench, *load, &bare, runs)?;
                self.importer(bench, *load, &importer, &state, &service, runs)?;
                for url in [&bare, &importer] {
                    self.verify(bench, *load, url).with_context(|| load.name)?;
                }
            }
        }
        Ok(all)
    }

    fn bare(&self, bench: &Bench, load: Load, url: &str, runs: &mut Runs) -> anyhow::Result<()> {
        let mut command = self.looped("write", load, url);
        command.arg(if self.atomic { "run" } else { "batch" });
        let log = bench.path("peer.log");
        process::run(&command, &log)?;
        let said = fs::read_to_string(&log)?;
        let (wall, cpu) = said.trim().split_once(' ').context("the bare loop printed no times")?;
        runs.bare.push(wall.parse()?);
        runs.bare_cpu.push(cpu.parse()?);
        Ok(())
    }

    fn importer(
        &self,
        bench: &Bench,
        load: Load,
        url: &str,
        state: &State,
        service: &Service,
        runs: &mut Runs,
    ) -> anyhow::Result<()> {
        service.make_items(self.records, load.edition)?;
        service.reset(Conditions::default())?;
        // Without its timestamp, the list is loaded once more.
        state.write(&self.entry(service, url))?;
        let mut command = state.run_once(self.importer, service, "0");
        command.env("SQL_URL", url);
        let before = (service.cpu()?, self.place.cpu()?);
        process::wait_for_start();
        runs.importer.push(process::run(&command, &bench.path("importer.log"))?);
        runs.service.push(service.cpu()? - before.0);
        runs.server.push(self.place.cpu()? - before.1);
        Ok(())
    }

    /// Fails unless the table has all records as the load found them.
    fn verify(&self, bench: &Bench, load: Load, url: &str) -> anyhow::Result<()> {
        process::run(&self.looped("verify", load, url), &bench.path("peer.log")).map(|_| ())
    }

    fn looped(&self, word: &str, load: Load, url: &str) -> Command {
        let mut command = Command::new(self.bare);
        command.args([word, url, &self.records.to_string(), &load.edition.to_string()]);
        command
    }

    /// Returns the state file: the API with changes of docs/rest.md, into a table that the first run creates.
    fn entry(&self, service: &Service, url: &str) -> Value {
        let url = match self.place {
            Place::Sqlite => json!(url),
            Place::Postgres(_) => json!({"env": "SQL_URL"}),
        };
        json!([{
            "list_id": "items",
            "items_per_request": 1000,
            "source": {
                "type": "rest",
                "url": format!("{}/rest/{{list_id}}", service.base()),
                "records": "data",
                "key": "id",
                "changed": "updated_at",
                "since": {"parameter": "updated_since"},
                "paging": {"type": "cursor", "parameter": "cursor", "limit": "limit", "next": "meta.next"},
            },
            "sink": {
                "type": "sql",
                "url": url,
                "table": "items",
                "key": "id",
                "columns": {
                    "id": "bigint",
                    "name": "text",
                    "city": "text",
                    "phone": "varchar(40)",
                    "active": "boolean",
                    "updated_at": "timestamptz",
                },
                "create": true,
                "atomic": self.atomic,
            },
        }])
    }
}

fn recreate(folder: &PathBuf) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}
