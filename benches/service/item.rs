//! A record of the REST API of the bench. The bare loop of the sink `sql` writes the same ones.

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::{Value, json};

const CITIES: [&str; 8] = ["Porto", "Malmö", "Leeds", "Graz", "Århus", "Nantes", "Torino", "Gdańsk"];
const NAMES: [&str; 8] = ["North", "Harbor", "Mill Lane", "Old Town", "Station", "Riverside", "Park", "East"];
/// Time of the first change, in seconds since 1970. All records are older than any run.
const FIRST: i64 = 1_760_000_000;

/// Returns a record. Each edition of a record differs from the others.
pub fn item(number: u64, edition: u64) -> Value {
    let mut random = Rng::with_seed(number);
    let pick = |texts: &[&'static str], at: u64| texts[(at % texts.len() as u64) as usize];
    let seconds = FIRST + (number % 1_000_000) as i64;
    let changed =
        DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default() + TimeDelta::days(edition as i64);
    json!({
        "id": number,
        "name": format!("{} {}", pick(&NAMES, random.u64(..)), random.u32(100..100_000)),
        "city": pick(&CITIES, number + edition),
        "phone": format!("+44 20 7{:03} {:04}", random.u32(..1000), random.u32(..10_000)),
        "active": random.bool(),
        "updated_at": changed.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}
