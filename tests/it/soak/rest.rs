//! Worlds of the source `rest`: an API of one of four kinds changes while it is read, the service has faults, and the
//! program is cut off. The records go to a file or, with the feature `sql`, to a table.

#[cfg(feature = "sql")]
use std::path::Path;
use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use importer::{
    controller::Verdict,
    sandbox::{
        Faults,
        rest::{Rest, Warehouse},
    },
};
use serde_json::{Value, json};
#[cfg(feature = "sql")]
use sqlx::{Connection, Row, SqliteConnection};
use tokio::time::sleep;

use crate::support::{World, hours};

const HOST: &str = "https://rest.example.org/rest";
const FILE: &str = "items.ndjson";
#[cfg(feature = "sql")]
const DATABASE: &str = "items.db";

/// The paging of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Offset,
    Page,
    Cursor,
    Link,
}

impl Kind {
    /// Returns the settings of the source.
    fn source(self) -> Value {
        let (path, paging, more) = match self {
            Kind::Offset => {
                let paging = json!({"type": "offset", "parameter": "offset", "limit": "limit"});
                ("offset", paging, json!({"records": "items", "total": "total"}))
            }
            Kind::Page => {
                let paging = json!({"type": "page", "parameter": "page", "limit": "per_page"});
                ("page", paging, json!({"records": "data", "total": "meta.total"}))
            }
            Kind::Cursor => {
                let paging =
                    json!({"type": "cursor", "parameter": "cursor", "limit": "limit", "next": "meta.next"});
                let since = json!({"parameter": "updated_since"});
                let more =
                    json!({"records": "data", "changed": "updated_at", "deleted": "deleted", "since": since});
                ("cursor", paging, more)
            }
            Kind::Link => ("link", json!({"type": "link", "limit": "per_page"}), json!({})),
        };
        let mut source =
            json!({"type": "rest", "url": format!("{HOST}/items/{path}"), "key": "id", "paging": paging});
        merge(&mut source, more);
        source
    }

    /// Returns whether a run finds every record that exists while it lasts, although others are removed. Numbered
    /// pages can't overlap.
    fn is_gapless(self) -> bool {
        matches!(self, Kind::Offset | Kind::Cursor)
    }
}

/// Where the records of a world go.
#[derive(Debug, Clone, Copy)]
pub enum Output {
    /// Lines in a file.
    Lines,
    /// A table of SQLite.
    #[cfg(feature = "sql")]
    Table { atomic: bool },
}

impl Output {
    /// Returns the settings of the sink.
    fn sink(self) -> Value {
        match self {
            Output::Lines => json!({"type": "ndjson", "path": format!("out/{FILE}")}),
            #[cfg(feature = "sql")]
            Output::Table { atomic } => json!({
                "type": "sql", "url": format!("sqlite:out/{DATABASE}"), "table": "items", "key": "id", "create": true,
                "columns": {"id": "bigint", "name": "text"}, "atomic": atomic,
            }),
        }
    }

    /// Returns the names of the records that the sink has, by id.
    fn held(self, world: &World) -> BTreeMap<u64, String> {
        match self {
            Output::Lines => lines(world),
            #[cfg(feature = "sql")]
            Output::Table { .. } => rows(&world.folder.path().join("out").join(DATABASE)),
        }
    }
}

fn lines(world: &World) -> BTreeMap<u64, String> {
    let mut held = BTreeMap::new();
    for line in world.out(FILE) {
        match line["id"].as_u64() {
            Some(id) => held.insert(id, line["name"].as_str().unwrap().to_owned()),
            None => held.remove(&line["key"].as_str().unwrap().parse().unwrap()),
        };
    }
    held
}

/// Reads the table in a thread of its own, for whose time the clock of the world stands still.
#[cfg(feature = "sql")]
fn rows(file: &Path) -> BTreeMap<u64, String> {
    // The first batch makes the file, and an API may have no record.
    if !file.exists() {
        return BTreeMap::new();
    }
    let url = format!("sqlite://{}", file.display());
    let read = async move {
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let rows = sqlx::query("SELECT id, name FROM items").fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| (row.get::<i64, _>(0) as u64, row.get(1))).collect()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || runtime.block_on(read)).join().unwrap()
}

fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// Lives through the world of a seed. Afterwards no record is missing or outdated.
pub async fn live(seed: u64, output: Output) {
    let mut random = Rng::with_seed(seed);
    // The program's own chance, too: the waits before it tries again.
    fastrand::seed(seed);
    let kind = [Kind::Offset, Kind::Page, Kind::Cursor, Kind::Link][random.usize(..4)];
    println!("seed {seed}: {kind:?}, {output:?}");
    let world = World::new().with_state(&state(kind, output, &mut random));
    {
        let mut rest = world.sandbox.rest();
        rest.invent(random.u64(..150), seed, world.clock.now());
        rest.set_cap((random.u8(..4) == 0).then(|| random.usize(2..20)));
        rest.set_life(TimeDelta::seconds(random.i64(5..600)));
    }
    let faults = Faults { seed, edits_per_second: 0.0, troubles: 0.15 * random.f64(), ..Faults::default() };
    for _ in 0..2 {
        world.sandbox.misbehave(faults.clone());
        import(&world, kind, output, &mut random, true).await;
        world.sandbox.behave();
        sleep(hours(3)).await;
    }
    import(&world, kind, output, &mut random, false).await;
    assert_equal(&world, kind, output);
}

fn state(kind: Kind, output: Output, random: &mut Rng) -> String {
    let mut source = kind.source();
    let login = json!({"token": {"url": format!("{HOST}/auth"), "grant": "password"}});
    let auth = [json!("bearer"), json!("basic"), json!({"header": "X-Api-Key"}), login];
    merge(&mut source, json!({"auth": auth[random.usize(..4)]}));
    let items = [3, 10, 40][random.usize(..3)];
    json!([{
        "list_id": "items", "source": source, "sink": output.sink(), "items_per_request": items, "allow_mass_change": true,
    }])
    .to_string()
}

/// Runs importer until a run completes. If `busy`, records change meanwhile, and attempts are cut off at random.
async fn import(world: &World, kind: Kind, output: Output, random: &mut Rng, busy: bool) {
    let mut editor = Rng::with_seed(random.u64(..));
    // A run that was cut off goes on with its window, so what came in later is for the next run.
    let before = current(world);
    for _ in 0..200 {
        let cut = (busy && random.bool()).then(|| Duration::from_millis(random.u64(50..3000)));
        let run = async {
            tokio::select! {
                biased;
                verdict = world.once() => Some(verdict),
                () = sleep(cut.unwrap_or(hours(1000))) => None,
            }
        };
        let edits = async {
            loop {
                sleep(Duration::from_millis(editor.u64(200..4000))).await;
                if busy {
                    edit(&mut world.sandbox.rest(), world.clock.now(), &mut editor);
                }
            }
        };
        let ended = tokio::select! {
            biased;
            ended = run => ended,
            () = edits => None,
        };
        match ended {
            Some(Ok(Verdict::Done)) => {
                if kind.is_gapless() {
                    assert_none_is_missing(world, output, &before);
                }
                return;
            }
            Some(Err(fault)) => panic!("{fault}"),
            // The run was cut off, or the service did not recover in time.
            Some(Ok(_)) | None => sleep(Duration::from_secs(random.u64(1..90))).await,
        }
    }
    panic!("never comes to its end: {:?}", world.log());
}

/// Changes, adds or removes a record.
pub fn edit(rest: &mut Rest, now: DateTime<Utc>, random: &mut Rng) {
    let ids: Vec<u64> = rest.warehouses().filter(|one| !one.deleted).map(|one| one.id).collect();
    let id = random.choice(ids);
    match (id, random.u8(..4)) {
        (None, _) | (_, 0) => {
            rest.invent(1, random.u64(..), now);
            let added = rest.warehouses().map(|one| one.id).last().unwrap();
            // An invented one seems to be older, and would not be listed as a change.
            rest.edit(added, now, |_| {});
        }
        (Some(id), 1) => rest.edit(id, now, |one| one.deleted = true),
        (Some(id), _) => {
            let name = format!("Renamed {}", random.u16(..));
            rest.edit(id, now, |one| one.name = name);
        }
    }
}

/// Returns the records that the API lists, by id.
fn current(world: &World) -> BTreeMap<u64, Warehouse> {
    let rest = world.sandbox.rest();
    rest.warehouses().filter(|one| !one.deleted).map(|one| (one.id, one.clone())).collect()
}

/// Checks that the sink has every record that has not changed since `before`.
fn assert_none_is_missing(world: &World, output: Output, before: &BTreeMap<u64, Warehouse>) {
    let (held, now) = (output.held(world), current(world));
    for (id, warehouse) in before.iter().filter(|(id, warehouse)| now.get(id) == Some(warehouse)) {
        assert_eq!(held.get(id), Some(&warehouse.name), "{id}");
    }
}

/// Checks that the sink has all records as they are. A deletion without a mark is not noticed.
fn assert_equal(world: &World, kind: Kind, output: Output) {
    let (mut held, now) = (output.held(world), current(world));
    if kind != Kind::Cursor {
        held.retain(|id, _| now.contains_key(id));
    }
    let now: BTreeMap<u64, String> = now.into_iter().map(|(id, warehouse)| (id, warehouse.name)).collect();
    assert_eq!(held, now);
}

/// The worlds of `soak_of_rest_apis`, with a table of SQLite; every other one has one transaction for each pass.
#[cfg(feature = "sql")]
#[tokio::test(start_paused = true)]
async fn soak_of_rest_apis_into_sql() {
    let from = super::number("SOAK_FROM", 1);
    for seed in from..from + super::number("SOAK_SEEDS", 24) {
        live(seed, Output::Table { atomic: seed % 2 == 0 }).await;
    }
}
