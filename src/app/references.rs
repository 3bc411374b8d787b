//! Looks up what the settings of an entry refer to, and refuses what they must not read. People who may
//! edit the state file may add lists, but must not read other variables, or send a credential to another service.

use std::{
    cmp::Reverse,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    base::{
        account::of_account,
        adapter::Chosen,
        reference::{Failure, Lookup, Place, Reference, resolve},
        secret::Secret,
        spec::{Catalog, Secrecy, Spec, Variable},
    },
    mapping,
    net::{
        Environment, Refused, Unopened,
        environment::{FILE, PLACEHOLDER},
        files,
    },
    sink, source,
};

/// Beginning of the variables that belong to no adapter and that every setting may read.
pub const OWN: &str = "IMPORTER_VAR_";
/// The variable that names the folder of the files of secrets.
pub const SECRETS: Variable =
    Variable::new("IMPORTER_SECRETS", "folder of the files that settings may refer to")
        .default("/run/secrets");

/// What the references of an entry stand for.
#[derive(Default)]
pub struct Found {
    /// Values that change what is delivered, without credentials and secrets: their places and texts.
    pub delivered: Vec<String>,
    /// Every text, for the redaction of messages.
    texts: Vec<String>,
}

impl Found {
    /// Removes the texts from a message about settings. The state file does not contain them, so a log must not
    /// either.
    pub fn masked(&self, why: Unopened) -> Unopened {
        let Unopened::Settings(message) = why else { return why };
        let mut texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        // Longer texts first: to remove a text within a longer one would leave the rest of the longer one.
        texts.sort_by_key(|text| Reverse(text.len()));
        let masked = texts.into_iter().fold(message, |message, text| {
            let escaped = text.escape_debug().to_string();
            message.replace(text, "…").replace(&escaped, "…")
        });
        Unopened::Settings(masked)
    }

    /// Returns a digest of the values that change what is delivered; empty if there are none.
    pub fn digest(&self) -> String {
        match self.delivered[..] {
            [] => String::new(),
            _ => format!("{:x}", md5::compute(self.delivered.join("\n"))),
        }
    }
}

/// Replaces the references in the settings of an adapter, which is the `part` of an entry: source, mapping or sink.
/// Does nothing if the type is unknown, which its opening reports.
///
/// # Errors
///
/// A setting is unknown, a reference is not permitted, or the environment lacks what it names.
pub fn look_up(
    part: &'static str,
    chosen: &mut Chosen,
    catalog: &Catalog,
    environment: &Environment,
    found: &mut Found,
) -> Result<(), Unopened> {
    let Some(spec) = catalog.spec(&chosen.kind) else { return Ok(()) };
    let mut settings = std::mem::take(&mut chosen.settings);
    let known: Vec<_> = catalog.settings(Some(spec)).collect();
    let looked_up = resolve(&mut settings, &known, &mut Texts { part, spec, environment, chosen, found });
    chosen.settings = settings;
    looked_up.map_err(|failure| match failure {
        Failure::Invalid(why) => Unopened::Settings(format!("{}: {why}", spec.kind)),
        Failure::Lookup(unopened) => unopened,
    })
}

/// Returns the adapter that declares a variable, and the variable; with or without the suffix of an account.
pub fn owner(name: &str) -> Option<(&'static Spec, &'static Variable)> {
    let specs = specs();
    let mut variables = specs.flat_map(|spec| spec.variables.iter().map(move |variable| (spec, variable)));
    variables.find(|(_, variable)| variable.is(name))
}

/// Returns the declarations of all adapters.
pub fn specs() -> impl Iterator<Item = &'static Spec> {
    let catalogs = [&source::CATALOG, &mapping::CATALOG, &sink::CATALOG];
    catalogs.into_iter().flat_map(|catalog| catalog.specs.iter().copied())
}

struct Texts<'a> {
    part: &'static str,
    spec: &'static Spec,
    environment: &'a Environment,
    chosen: &'a mut Chosen,
    found: &'a mut Found,
}

impl Lookup for Texts<'_> {
    type Error = Unopened;

    fn text(&mut self, place: &Place, reference: &Reference) -> Result<Option<String>, Unopened> {
        let credential = matches!(place.secrecy, Secrecy::Credential(_));
        let text = match reference {
            Reference::Env { name, default } => {
                self.permit_variable(place, name)?;
                match self.environment.read(name, credential) {
                    Ok(None) if default.is_none() => Err(self.missing(place, name, credential)),
                    read => read,
                }
            }
            Reference::File(name) => {
                self.permit_file(place, name)?;
                self.file(place, name, credential).map(Some)
            }
        };
        match text {
            Err(_) if credential && self.environment.needs_no_keys() => Ok(Some(PLACEHOLDER.to_owned())),
            text => Ok(text?),
        }
    }

    fn mismatch(&self, place: &Place, reference: &Reference, expected: &str) -> Unopened {
        let Place { path, .. } = place;
        let part = self.part;
        let (name, what) = match reference {
            Reference::Env { name, .. } => (name.clone(), "must"),
            Reference::File(name) => (name.clone(), "is a file whose content must"),
        };
        Refused::Value { name, why: format!("{what} be {expected} for `{part}.{path}`, which refers to it") }
            .into()
    }

    fn variable(&self, name: &str) -> String {
        of_account(name, self.environment.account())
    }

    fn credential(&mut self, place: &Place, text: String) {
        self.found.texts.push(text.clone());
        self.chosen.credentials.insert(place.path.clone(), Secret::new(text));
    }

    fn replaced(&mut self, place: &Place, reference: &Reference, value: &Value) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let from_file = matches!(reference, Reference::File(_));
        if from_file {
            self.chosen.secrets.push(Secret::new(text.clone()));
        } else if !place.pace {
            self.found.delivered.push(format!("{}.{}={text}", self.part, place.path));
        }
        // A text of one or two characters occurs in almost every message, and reveals nothing.
        if text.chars().count() > 2 && value.is_string() {
            self.found.texts.push(text);
        }
    }
}

impl Texts<'_> {
    /// Checks that a setting may read a variable.
    fn permit_variable(&self, place: &Place, name: &str) -> Result<(), String> {
        let (kind, path) = (self.spec.kind, &place.path);
        let plain = name.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_');
        if name.ends_with(FILE) {
            return Err(format!(
                "{kind}: `{path}` refers to `{name}`; leave out `{FILE}`, which importer adds by itself"
            ));
        }
        match owner(name) {
            Some((owner, variable)) if variable.credential => {
                self.permit_credential(place, owner, name, self.is_own(variable, name))
            }
            Some(_) => Ok(()),
            None if plain && name.len() > OWN.len() && name.starts_with(OWN) => Ok(()),
            None => Err(format!(
                "{kind}: `{path}` must not read `{name}`; a reference reads variables that begin with {OWN}, and those of \
                 the adapters, which `importer settings` lists"
            )),
        }
    }

    /// Checks that a setting may read a file: a file is a secret, like the value of a variable that is a credential.
    fn permit_file(&self, place: &Place, name: &str) -> Result<(), String> {
        let (kind, path) = (self.spec.kind, &place.path);
        if !files::is_below(name) {
            return Err(format!(
                "{kind}: `{path}` must name a file below the folder in {}; use a relative path without `..`",
                SECRETS.name
            ));
        }
        if let Some((owner, is_own)) = self.owner_of_file(name) {
            return self.permit_credential(place, owner, name, is_own);
        }
        if place.text && place.secrecy == Secrecy::Open {
            return Err(format!(
                "{kind}: `{path}` must not read a file, since messages and payloads may contain its text; use {{\"env\": \
                 \"{OWN}…\"}}"
            ));
        }
        Ok(())
    }

    /// Returns whether this is the variable of the account whose settings are looked up.
    fn is_own(&self, variable: &Variable, name: &str) -> bool {
        self.environment.name(variable) == name
    }

    /// Returns the adapter whose credential is in the file `name`, and whether the credential is that of the
    /// configured account; `None` if the file is no known credential. The name of the file, or a variable with
    /// its path, decides.
    fn owner_of_file(&self, name: &str) -> Option<(&'static Spec, bool)> {
        let file = self.secrets().join(name);
        let stem = Path::new(name).file_name()?.to_str()?.to_uppercase().replace(['-', '.'], "_");
        let same = |path: &str| {
            let paths = [Path::new(path), &file].map(|path| path.canonicalize().ok());
            paths[0].is_some() && paths[0] == paths[1]
        };
        let credential = |name: &str| owner(name).filter(|(_, variable)| variable.credential);
        let by_variable = self.environment.names().iter().filter_map(|variable| {
            let name = variable.strip_suffix(FILE)?;
            let (spec, variable) = credential(name)?;
            let is_it = self.environment.plain(&format!("{name}{FILE}")).is_some_and(|path| same(&path));
            is_it.then(|| (spec, self.is_own(variable, name)))
        });
        // The name of a file identifies a service, but no account, so the credential counts as that of this account.
        let by_name = credential(&stem).map(|(spec, _)| (spec, true));
        let foreign = by_name.filter(|(spec, _)| spec.kind != self.spec.kind);
        // Precedence: a credential of another service, then of this account, then of another account.
        let precedence = |(spec, is_own): &(&'static Spec, bool)| (spec.kind == self.spec.kind, !is_own);
        by_variable.chain(foreign).min_by_key(precedence).or(by_name)
    }

    /// Checks that a setting may read a credential of the adapter `owner`. `is_own` states whether it belongs to
    /// the configured account.
    fn permit_credential(&self, place: &Place, owner: &Spec, name: &str, is_own: bool) -> Result<(), String> {
        let (kind, path) = (self.spec.kind, &place.path);
        let reason = match self.environment.account() {
            _ if owner.kind != kind => {
                Some(format!("is a credential of {}; refer to another variable or file", owner.kind))
            }
            Some(account) if !is_own => Some(format!(
                "does not belong to the account {account}; refer to a variable or file of this account, or to a \
                 variable that begins with {OWN}"
            )),
            None if !is_own => Some(format!(
                "belongs to an account, but this {part} has no `account`; refer to a variable or file that belongs to \
                 no account, or to a variable that begins with {OWN}",
                part = self.part
            )),
            _ => None,
        };
        if let Some(reason) = reason {
            return Err(format!("{kind}: `{path}` must not read `{name}`, which {reason}"));
        }
        match place.secrecy {
            Secrecy::Credential(_) => Ok(()),
            _ => Err(format!(
                "{kind}: `{path}` must not read `{name}`, since the setting is not for credentials; refer to another \
                 variable or file"
            )),
        }
    }

    fn missing(&self, place: &Place, name: &str, credential: bool) -> Refused {
        let (part, path, name) = (self.part, &place.path, name.to_owned());
        match credential {
            true => Refused::Credential {
                name,
                why: format!("is not set, and `{part}.{path}` refers to it; set it"),
            },
            false => {
                let why = format!(
                    "is not set, and `{part}.{path}` refers to it; set it, or add a `default` to the reference"
                );
                Refused::Value { name, why }
            }
        }
    }

    fn file(&self, place: &Place, name: &str, credential: bool) -> Result<String, Refused> {
        let folder = self.secrets();
        files::read_below(&folder, name)
            .and_then(|text| if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text) })
            .map_err(|why| {
                let (part, path) = (self.part, &place.path);
                let why =
                    format!("(a file in {}, from {}), to which `{part}.{path}` refers, {why}; correct the file or the reference", folder.display(), SECRETS.name);
                let name = name.to_owned();
                if credential { Refused::Credential { name, why } } else { Refused::Value { name, why } }
            })
    }

    fn secrets(&self) -> PathBuf {
        self.environment
            .plain(SECRETS.name)
            .unwrap_or_else(|| SECRETS.default.unwrap_or_default().to_owned())
            .into()
    }
}
