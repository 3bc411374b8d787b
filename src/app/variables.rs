//! The variables of the environment that importer reads: those of the adapters, of the accounts and references of a
//! state file, and its own.

use std::collections::BTreeSet;

use serde_json::Value;

use super::references::{OWN, SECRETS, owner, specs};
use crate::{
    base::{
        account::is_account,
        reference::Reference,
        spec::{ACCOUNT, Spec, Variable},
    },
    net::environment::FILE,
    state::{Entry, Snapshot},
};

/// The level of the log.
const LEVEL: Variable = Variable::new("RUST_LOG", "error, warn, info or debug").default("info");
/// Where the HTTP API listens.
pub const LISTEN: Variable =
    Variable::new("IMPORTER_LISTEN", "address on which go serves the HTTP API, such as 127.0.0.1:5000");
/// The token of the HTTP API.
pub const TOKEN: Variable =
    Variable::new("IMPORTER_API_TOKEN", "token for changes by the HTTP API, made at the start if absent")
        .credential();
/// Under which names the HTTP API may be called.
pub const HOSTS: Variable =
    Variable::new("IMPORTER_HOSTS", "hosts, besides loopback, under which the HTTP API is called");

/// Variables that belong to no adapter.
pub const GENERAL: [Variable; 5] = [SECRETS, LEVEL, LISTEN, TOKEN, HOSTS];

/// Returns whether a variable that belongs to no adapter has a variant that names a file.
pub fn has_file(variable: &Variable) -> bool {
    ![SECRETS.name, LEVEL.name].contains(&variable.name)
}

/// A variable that importer reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// Name, with the suffix of an account if it has one.
    pub name: String,
    /// Whether it has a variant that names a file.
    pub has_file: bool,
}

impl Read {
    fn new(name: String) -> Self {
        Read { name, has_file: true }
    }

    /// Returns the names of the variable and of its variant.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let file = self.has_file.then(|| format!("{}{FILE}", self.name));
        [self.name.clone()].into_iter().chain(file)
    }
}

/// Formats the variables for the help.
pub fn help() -> String {
    let declared = specs().flat_map(|spec| spec.variables).chain(&GENERAL);
    let rows: Vec<(&str, String)> = declared
        .map(|variable| {
            let default = variable.default.map(|default| format!(" [default: {default}]"));
            (variable.name, format!("{}{}", variable.about, default.unwrap_or_default()))
        })
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let rows: Vec<String> = rows.iter().map(|(name, about)| format!("  {name:width$}  {about}\n")).collect();
    format!(
        "Environment variables:\n{}\nAn account has its own variables, which end in its name: MAILCHIMP_APIKEY_ACME for \"account\": \"acme\".\nNAME_FILE \
         names a file with the value of NAME, for each of them but {} and {}.\n",
        rows.concat(),
        SECRETS.name,
        LEVEL.name
    )
}

/// Returns the variables of an adapter, for every account that the entries of a state file use.
pub fn of_adapter(spec: &Spec, snapshot: Option<&Snapshot>) -> Vec<Read> {
    let mut accounts: BTreeSet<Option<String>> = BTreeSet::from([None]);
    for said in snapshot.iter().flat_map(|snapshot| &snapshot.entries).flat_map(parts) {
        // An entry without a type has no account.
        if said["type"] == spec.kind {
            let account = said[ACCOUNT].as_str().filter(|name| is_account(name));
            accounts.insert(account.map(str::to_owned));
        }
    }
    let of = |account: &Option<String>| {
        spec.variables.iter().map(|variable| Read::new(variable.of(account.as_deref()))).collect::<Vec<_>>()
    };
    accounts.iter().flat_map(of).collect()
}

/// Returns the variables to which the entries of a state file refer, without those that they must not read.
pub fn referred(snapshot: &Snapshot) -> BTreeSet<Read> {
    let mut names = BTreeSet::new();
    snapshot.entries.iter().flat_map(parts).for_each(|said| collect(said, &mut names));
    names.into_iter().filter(|name| is_readable(name)).map(Read::new).collect()
}

/// Returns the names of all variables that a container needs for a state file.
pub fn names(snapshot: Option<&Snapshot>) -> BTreeSet<String> {
    let declared = specs().flat_map(|spec| of_adapter(spec, snapshot));
    let read = declared.chain(snapshot.map(referred).unwrap_or_default());
    let general =
        GENERAL.iter().map(|variable| Read { name: variable.name.to_owned(), has_file: has_file(variable) });
    read.chain(general).flat_map(|read| read.names().collect::<Vec<_>>()).collect()
}

/// Returns whether a reference may read a variable, as far as its name decides.
fn is_readable(name: &str) -> bool {
    let plain = name.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_');
    plain && !name.ends_with(FILE) && (owner(name).is_some() || name.starts_with(OWN))
}

fn parts(entry: &Entry) -> [&Value; 4] {
    [&entry.source.value, &entry.mapping.value, &entry.sink.value, &entry.notify.value]
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    if let Some(Reference::Env { name, .. }) = Reference::read(value) {
        names.insert(name);
    }
    match value {
        Value::Object(object) => object.values().for_each(|value| collect(value, names)),
        Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}
