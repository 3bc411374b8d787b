//! `kill -9` at random moments of runs from a REST API into PostgreSQL, many times.

use std::{cell::RefCell, collections::BTreeSet, fs, sync::Arc, time::Duration};

use fastrand::Rng;
use importer::{
    base::clock::{Clock, SystemClock},
    sandbox::rest,
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row, query, raw_sql};
use tokio::{process::Command, time::sleep};

use crate::{
    loopback::{Loopback, Running, finish},
    soak::rest::edit,
    sql::server::{Server, database},
};

const WAREHOUSES: u64 = 300;
/// More than are changed before the end of the test, since a change repairs a row that was lost.
const CHANGING: u64 = 3000;
const KILLS: u32 = 100;
/// Delay of each response. It makes runs longer without load.
const LATENCY: Duration = Duration::from_millis(3);
/// Beginning of the text that all records of the API have in common.
const GENERATION: &str = "generation ";
const TABLE: &str =
    "CREATE TABLE warehouses (id bigint PRIMARY KEY, name text, city text, phone text, active boolean)";

/// The API, the database, and the chance that decides about them.
struct Place {
    loopback: Loopback,
    url: String,
    random: Rng,
    /// Upper bound of the time from the beginning of a run to the kill, in milliseconds. It follows the time that runs
    /// take, so that the kills meet all parts of a run.
    longest: u64,
    /// Runs that ended before they were killed.
    ended: u32,
    _server: Arc<Server>,
}

impl Place {
    /// Returns a place in which an entry reads `path`; `None` without PostgreSQL.
    async fn new(path: &str, source: Value, atomic: bool, warehouses: u64) -> Option<Self> {
        let (server, url) = database().await?;
        raw_sql(TABLE).execute(&mut PgConnection::connect(&url).await.unwrap()).await.unwrap();
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let loopback = Loopback::start(LATENCY, "[]").await;
        let now = SystemClock.now();
        loopback.sandbox.rest().invent(warehouses, seed, now);
        let mut entry = json!({
            "list_id": "warehouses", "every": "1s", "overlap": "1s", "items_per_request": 50, "allow_mass_change": true,
            "source": {
                "type": "rest", "url": format!("http://127.0.0.1:{}/rest/items/{path}", loopback.port), "auth": "bearer",
                "key": "id",
            },
            "sink": {
                "type": "sql", "url": {"env": "SQL_URL"}, "table": "warehouses", "key": "id", "atomic": atomic,
            },
        });
        entry["source"].as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        fs::write(loopback.folder.path().join("state.json"), json!([entry]).to_string()).unwrap();
        let random = Rng::with_seed(seed);
        Some(Place { loopback, url, random, longest: 100, ended: 0, _server: server })
    }

    fn command(&self) -> Command {
        let mut command = self.loopback.command(&["go", "--once"]);
        let host = format!("http://127.0.0.1:{}", self.loopback.port);
        command.envs([("REST_HOSTS", host.as_str()), ("REST_TOKEN", rest::KEY), ("SQL_URL", &self.url)]);
        command.env("RUST_LOG", "info");
        command
    }

    /// Gives all records of the API a new generation.
    fn begin(&self, generation: u32) {
        let mut rest = self.loopback.sandbox.rest();
        for id in 1..=WAREHOUSES {
            rest.edit(id, SystemClock.now(), |one| one.city = format!("{GENERATION}{generation}"));
        }
    }

    /// Starts a run, and kills the program at a random moment of it. Returns whether that was before its end.
    async fn kill(&mut self) -> bool {
        let mut running = Running::start(self.command());
        running.wait_for(", firing ").await;
        sleep(Duration::from_millis(self.random.u64(..self.longest))).await;
        let ended = running.child.try_wait().unwrap();
        running.child.start_kill().unwrap();
        running.child.wait().await.unwrap();
        if let Some(status) = ended {
            assert!(status.success(), "{status}");
            self.longest = (self.longest * 2 / 3).max(40);
            self.ended += 1;
            // Now the list is due again.
            sleep(Duration::from_secs(1)).await;
            return false;
        }
        self.longest += self.longest / 32;
        true
    }

    /// Lets a run end.
    async fn finish(&self) {
        let (code, _, log) = finish(self.command()).await;
        assert_eq!(code, 0, "{log}");
    }

    /// Checks that the table has each record of the API as it is, and no other.
    async fn assert_equal(&self) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let rows = query("SELECT id, name, city, phone, active FROM warehouses").fetch_all(&mut connection);
        let rows = rows.await.unwrap().into_iter().map(|row| {
            (row.get::<i64, _>(0) as u64, row.get(1), row.get(2), row.get::<Option<String>, _>(3), row.get(4))
        });
        let held: BTreeSet<(u64, String, String, Option<String>, bool)> = rows.collect();
        let rest = self.loopback.sandbox.rest();
        let listed = rest.warehouses().filter(|one| !one.deleted).cloned();
        let listed: BTreeSet<_> =
            listed.map(|one| (one.id, one.name, one.city, one.phone, one.active)).collect();
        let difference: Vec<_> = held.symmetric_difference(&listed).collect();
        assert!(difference.is_empty(), "{difference:?}");
    }
}

/// Looks at the table again and again. Whenever it does, all rows are there, all of one generation, which is none
/// before the last one in `seen`. Adds it there.
async fn watch(url: &str, mut random: Rng, seen: &RefCell<BTreeSet<u32>>) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    loop {
        let rows = query("SELECT city, count(*) FROM warehouses GROUP BY city").fetch_all(&mut connection);
        let rows: Vec<(String, i64)> =
            rows.await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
        let [(city, count)] = &rows[..] else { panic!("half of a run is visible: {rows:?}") };
        let generation = city.strip_prefix(GENERATION).unwrap().parse().unwrap();
        assert_eq!(*count as u64, WAREHOUSES, "{rows:?}");
        let last = seen.borrow().last().copied();
        assert!(last.is_none_or(|last| last <= generation), "{rows:?} after generation {last:?}");
        seen.borrow_mut().insert(generation);
        sleep(Duration::from_millis(random.u64(..20))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_atomic_no_half_run_is_visible_although_100_runs_are_killed() {
    let paging = json!({"type": "offset", "parameter": "offset", "limit": "limit"});
    let source = json!({"records": "items", "total": "total", "paging": paging});
    let Some(mut place) = Place::new("offset", source, true, WAREHOUSES).await else { return };
    place.begin(0);
    place.finish().await;
    let (url, random, seen) = (place.url.clone(), place.random.fork(), RefCell::default());
    let (mut generation, mut killed) = (0, 0);
    let kills = async {
        while killed < KILLS {
            generation += 1;
            place.begin(generation);
            killed += u32::from(place.kill().await);
        }
    };
    tokio::select! {
        () = kills => {}
        () = watch(&url, random, &seen) => {}
    }
    let seen = seen.into_inner();
    println!(
        "{} runs ended, {} generations became visible; up to {} ms",
        place.ended,
        seen.len(),
        place.longest
    );
    assert!(seen.len() > 3, "hardly anything was committed: {seen:?}");
    place.finish().await;
    place.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_100_kills_the_table_has_the_records_of_an_api_that_changes() {
    let paging = json!({"type": "cursor", "parameter": "cursor", "limit": "limit", "next": "meta.next"});
    let source = json!({
        "records": "data", "changed": "updated_at", "deleted": "deleted", "since": {"parameter": "updated_since"},
        "paging": paging,
    });
    let Some(mut place) = Place::new("cursor", source, false, CHANGING).await else { return };
    let (sandbox, mut random) = (Arc::clone(&place.loopback.sandbox), place.random.fork());
    let edits = async {
        loop {
            edit(&mut sandbox.rest(), SystemClock.now(), &mut random);
            sleep(Duration::from_millis(random.u64(..40))).await;
        }
    };
    let mut killed = 0;
    let kills = async {
        while killed < KILLS {
            killed += u32::from(place.kill().await);
        }
    };
    tokio::select! {
        () = kills => {}
        () = edits => {}
    }
    println!("{} runs ended; up to {} ms", place.ended, place.longest);
    // A run ends its window at a whole second, and the interrupted one has had its window before the last edits.
    for _ in 0..2 {
        sleep(Duration::from_secs(2)).await;
        place.finish().await;
    }
    place.assert_equal().await;
}
