//! Rows 5 and 11: other mappings, into a file. All members are read in pages of 1,000, since each batch is on disk before
//! it counts.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::ensure;
use serde_json::{Map, Value, json};

use crate::{
    bench::Bench,
    figure::{Figure, Goal, Unit},
    process::Usage,
    programs,
    service::Conditions,
    sides::{memory, walls},
    state::{State, entry},
};

const MEMBERS: u64 = 100_000;
/// Paths of the mapping `fields`.
const PATHS: [&str; 30] = [
    "id",
    "email_address",
    "unique_email_id",
    "contact_id",
    "full_name",
    "web_id",
    "email_type",
    "status",
    "consents_to_one_to_one_messaging",
    "merge_fields.FNAME",
    "merge_fields.LNAME",
    "merge_fields.PHONE",
    "merge_fields.BIRTHDAY",
    "merge_fields.COMPANY",
    "merge_fields.ADDRESS.city",
    "merge_fields.ADDRESS.country",
    "stats.avg_open_rate",
    "stats.avg_click_rate",
    "ip_opt",
    "timestamp_signup",
    "timestamp_opt",
    "member_rating",
    "last_changed",
    "language",
    "vip",
    "location.country_code",
    "location.timezone",
    "source",
    "tags_count",
    "tags.0.name",
];
const EXPRESSION: &str = "{id: .contact_id, mail: .email_address, first: .merge_fields.FNAME, last: .merge_fields.LNAME, \
    phone: .merge_fields.PHONE, status, changed: .last_changed, since: (.timestamp_signup // .timestamp_opt), \
    country: .location.country_code, tags: [.tags[].name]}";

pub fn as_is(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let program = bench.programs.importer.clone();
    let runs = runs(bench, &program, json!("as_is"))?;
    let speeds = walls(&runs).into_iter().map(|wall| MEMBERS as f64 / wall).collect();
    let speed = Goal::AtLeast { must: 150_000.0, aim: 300_000.0 };
    let space = Goal::AtMost { must: 64.0, aim: 40.0 };
    Ok(vec![
        Figure::new(5, "unfiltered members, `as_is` to NDJSON: records", Unit::PerSecond, speed, speeds),
        Figure::new(
            5,
            "unfiltered members, `as_is` to NDJSON: memory",
            Unit::Megabytes,
            space,
            memory(&runs),
        ),
    ])
}

pub fn mappings(bench: &mut Bench) -> anyhow::Result<Vec<Figure>> {
    let fields: Map<String, Value> =
        PATHS.iter().map(|path| (path.replace('.', "_").to_lowercase(), json!(path))).collect();
    let program = bench.programs.importer.clone();
    let cpu = |runs: Vec<Usage>| runs.iter().map(|usage| usage.cpu).collect();
    let measured = runs(bench, &program, json!({"type": "fields", "fields": fields}))?;
    let goal = Goal::AtMost { must: 0.5, aim: 0.25 };
    let of_fields =
        Figure::new(11, "`fields` with 30 fields: CPU per 100,000", Unit::Seconds, goal, cpu(measured));
    let case = "`jq` with a ten-field object: CPU per 100,000";
    let with_jq = programs::importer(&bench.folder, &["jq"])?;
    let expression = json!({"type": "jq", "expression": EXPRESSION});
    let of_jq = match runs(bench, &with_jq, expression) {
        Ok(measured) => {
            let goal = Goal::AtMost { must: 2.5, aim: 1.2 };
            Figure::new(11, case, Unit::Seconds, goal, cpu(measured))
        }
        Err(_) if env::var_os("BENCH_IMPORTER").is_some() => {
            Figure::not_run(11, case, "the program has no `jq`")
        }
        Err(error) => return Err(error),
    };
    Ok(vec![of_fields, of_jq])
}

/// Loads all members into a file, again and again.
fn runs(bench: &mut Bench, program: &Path, mapping: Value) -> anyhow::Result<Vec<Usage>> {
    let service = bench.service(MEMBERS, 0)?;
    let entries = entry(json!({"mapping": mapping, "sink": "ndjson", "items_per_request": 1000}));
    let fresh = || State::fresh(bench.path("state"), &entries);
    let state = fresh()?;
    bench.rehearse(program, &state, &service)?;
    let lines = lines_below(&state.folder.join("out"))?;
    ensure!(lines == MEMBERS, "{lines} of {MEMBERS} lines were written");
    (0..bench.runs).map(|_| bench.load_with(program, &fresh()?, &service, Conditions::default())).collect()
}

fn lines_below(folder: &Path) -> anyhow::Result<u64> {
    let mut lines = 0;
    for file in fs::read_dir(folder)? {
        lines += BufReader::new(File::open(file?.path())?).split(b'\n').count();
    }
    Ok(lines as u64)
}
