//! What a world has left behind, as sections of lines.

use std::collections::BTreeMap;

use jsonc_parser::{CollectOptions, ParseOptions};
use serde_json::Value;

use super::{
    files::{digest, fates, names, written},
    line::reduced,
};
use crate::support::{OUT, World};

/// The record of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record(pub Vec<Section>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub name: &'static str,
    pub lines: Vec<String>,
}

impl Record {
    pub fn of(world: &World) -> Self {
        let folder = world.folder.path();
        let section = |name, lines| Section { name, lines };
        Record(vec![
            section("runs", world.ended()),
            section("requests", requests(world)),
            section("sink", [contacts(world), written(&folder.join(OUT))].concat()),
            section("fates", fates(folder)),
            section("stamps", stamps(&world.state())),
            section("state file", world.state().lines().map(|line| format!("{line:?}")).collect()),
            section("files", names(folder)),
            section("log", log(world)),
        ])
    }
}

/// Returns each request with its number of occurrences. A digest replaces the long list of requested fields.
fn requests(world: &World) -> Vec<String> {
    let seen = world.requests().into_iter().map(|(request, count)| {
        let request = request.split('&').map(|part| match part.split_once("fields=") {
            Some((before, fields)) => format!("{before}fields={}", short(fields)),
            None => part.to_owned(),
        });
        (request.collect::<Vec<_>>().join("&"), count)
    });
    counted(seen)
}

fn short(text: &str) -> String {
    format!("{:x}", md5::compute(text))[..8].to_owned()
}

/// Every contact at Ometria: collection, id, consent, and a digest of all of it.
fn contacts(world: &World) -> Vec<String> {
    let ometria = world.sandbox.ometria();
    let contacts = ometria.contacts().iter().map(|((collection, id), contact)| {
        let consent = contact.get("marketing_optin").and_then(Value::as_str).unwrap_or("-");
        format!("{collection} {id} {consent} {}", digest(&Value::Object(contact.clone())))
    });
    contacts.collect()
}

/// The three fields that importer writes, of every entry.
fn stamps(state: &str) -> Vec<String> {
    let entries: Value = jsonc(state).unwrap_or_default();
    let entries = entries.as_array().cloned().unwrap_or_default();
    let field = |entry: &Value, name: &str| format!("{name} {}", entry[name]);
    let stamp = |entry: &Value| {
        ["list_id", "latest_timestamp", "elapsed_seconds", "total_updates"]
            .map(|name| field(entry, name))
            .join(", ")
    };
    entries.iter().map(stamp).collect()
}

fn jsonc(text: &str) -> Option<Value> {
    let parsed = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default());
    parsed.ok()?.value.map(Value::from)
}

/// Returns the reduced lines of the log, each with its number of occurrences.
fn log(world: &World) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for line in world.log() {
        *counts.entry(reduced(&line)).or_insert(0) += 1;
    }
    counted(counts)
}

fn counted(counts: impl IntoIterator<Item = (String, u64)>) -> Vec<String> {
    counts.into_iter().map(|(what, count)| format!("{count} x {what}")).collect()
}
