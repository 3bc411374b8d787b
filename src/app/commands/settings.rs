//! `importer settings`: the variables of the environment that importer reads, and where each value comes from. Shows
//! no credential.

use std::io::{Write, stdout};

use serde_json::{Value, json};

use crate::{
    app::{
        environment, ready,
        references::{owner, specs},
        variables::{self, GENERAL, Read},
        wiring::VOCABULARY,
    },
    base::spec::Variable,
    cli::{self, exit},
    net::{Environment, environment::FILE},
    state::{Snapshot, layout::NAME, read},
};

/// Where a value comes from.
enum Origin {
    Environment,
    /// A file, by its path.
    File(String),
    Default,
    /// Nothing: the variable is not set, and has no default.
    None,
    /// A value that can't be used, and why.
    Invalid(String),
}

/// A variable, and what it is set to.
struct Shown {
    name: String,
    /// Type of the adapter that declares it.
    adapter: Option<&'static str>,
    origin: Origin,
    /// The value, unless it is or may be a secret.
    value: Option<String>,
    /// What may be a mistake, such as a token that replaces a login.
    warning: Option<String>,
}

/// Prints the variables that the adapters and the state file ask for, and returns the exit code.
///
/// # Errors
///
/// The state file exists and can't be read; with `--names`, its accounts and references are left out instead.
pub fn run(options: &cli::Settings) -> anyhow::Result<u8> {
    let path = options.state.join(NAME);
    let snapshot = match read::load(&path, VOCABULARY) {
        Ok(snapshot) => Some(snapshot),
        Err(_) if options.names || !path.exists() => None,
        Err(fault) => return Err(fault.into()),
    };
    if options.names {
        for name in variables::names(snapshot.as_ref()) {
            writeln!(stdout(), "{name}")?;
        }
        return Ok(exit::DONE);
    }
    let mut shown = all(snapshot.as_ref(), &environment());
    if let Some(snapshot) = &snapshot {
        for (_, text) in ready::of(&snapshot.entries, &options.state)?.warnings {
            let variable = shown.iter_mut().find(|shown| text.starts_with(&format!("`{}`", shown.name)));
            variable.into_iter().for_each(|variable| variable.warning = Some(text.clone()));
        }
    }
    match options.json {
        true => writeln!(stdout(), "{}", Value::from_iter(shown.iter().map(Shown::json)))?,
        false => print(&shown)?,
    }
    let invalid = shown.iter().any(|shown| matches!(shown.origin, Origin::Invalid(_)));
    Ok(if invalid { exit::UNUSABLE } else { exit::DONE })
}

fn all(snapshot: Option<&Snapshot>, environment: &Environment) -> Vec<Shown> {
    let declared = specs().flat_map(|spec| variables::of_adapter(spec, snapshot));
    let mut read: Vec<Read> = declared.collect();
    let referred = snapshot.map(variables::referred).unwrap_or_default();
    read.extend(referred.into_iter().filter(|other| owner(&other.name).is_none()));
    let adapters = read.iter().map(|read| Shown::of(&read.name, environment));
    adapters.chain(GENERAL.iter().map(|general| Shown::general(general, environment))).collect()
}

impl Shown {
    fn of(name: &str, environment: &Environment) -> Self {
        let declared = owner(name);
        let shown = Shown::read(name, declared.map(|(_, variable)| variable), environment);
        Shown { adapter: declared.map(|(spec, _)| spec.kind), ..shown }
    }

    fn general(variable: &Variable, environment: &Environment) -> Self {
        if variables::has_file(variable) {
            return Shown::read(variable.name, Some(variable), environment);
        }
        let value = environment.plain(variable.name);
        let origin = if value.is_some() { Origin::Environment } else { Origin::Default };
        let value = value.or(variable.default.map(str::to_owned));
        Shown { name: variable.name.to_owned(), adapter: None, origin, value, warning: None }
    }

    fn read(name: &str, declared: Option<&Variable>, environment: &Environment) -> Self {
        let open = declared.filter(|variable| !variable.credential);
        let read = environment.read(name, false);
        let origin = match (&read, environment.plain(&format!("{name}{FILE}"))) {
            (Err(refused), _) => Origin::Invalid(refused.to_string()),
            (Ok(Some(_)), Some(path)) => Origin::File(path),
            (Ok(Some(_)), None) => Origin::Environment,
            (Ok(None), _) if open.is_some_and(|variable| variable.default.is_some()) => Origin::Default,
            (Ok(None), _) => Origin::None,
        };
        // A variable that no adapter declares may hold a secret.
        let value =
            open.and_then(|variable| read.ok().flatten().or_else(|| variable.default.map(str::to_owned)));
        Shown { name: name.to_owned(), adapter: None, origin, value, warning: None }
    }

    fn json(&self) -> Value {
        let (from, detail) = match &self.origin {
            Origin::Environment => (json!("environment"), Value::Null),
            Origin::File(path) => (json!("file"), json!(path)),
            Origin::Default => (json!("default"), Value::Null),
            Origin::None => (Value::Null, Value::Null),
            Origin::Invalid(why) => (json!("invalid"), json!(why)),
        };
        json!({
            "name": self.name, "adapter": self.adapter, "from": from, "detail": detail, "value": self.value,
            "warning": self.warning,
        })
    }

    fn line(&self) -> String {
        let value = self.value.as_deref().unwrap_or("set");
        match &self.origin {
            Origin::Environment => format!("{value}  (environment)"),
            Origin::File(path) => format!("{value}  (file {path})"),
            Origin::Default => format!("{value}  (default)"),
            Origin::None => "not set".to_owned(),
            Origin::Invalid(why) => format!("invalid: {why}"),
        }
    }
}

fn print(shown: &[Shown]) -> std::io::Result<()> {
    let width = shown.iter().map(|shown| shown.name.len()).max().unwrap_or_default();
    let mut before = None;
    for variable in shown {
        let heading = variable.adapter.unwrap_or("other");
        if before.replace(heading) != Some(heading) {
            writeln!(stdout(), "{heading}")?;
        }
        writeln!(stdout(), "  {:width$}  {}", variable.name, variable.line())?;
        if let Some(warning) = &variable.warning {
            writeln!(stdout(), "  {:width$}  warning: {warning}", "")?;
        }
    }
    Ok(())
}
