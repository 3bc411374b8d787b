//! Settings from the environment, by name: of one account, from the variable itself or from the file that it names.
//! An error names the variable, and never contains its value.

use std::{path::Path, sync::Arc};

use url::Url;

use super::files;
use crate::base::{secret::Secret, spec::Variable};

type Get = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Ending of the variable that names a file with the value.
pub const FILE: &str = "_FILE";

/// Stands for a missing key if no request will be sent.
pub const PLACEHOLDER: &str = "missing-xx1";

/// Source of the settings of one account.
#[derive(Clone)]
pub struct Environment {
    get: Get,
    /// The names of the variables that are set; empty if the creator of the environment did not pass them.
    names: Arc<[String]>,
    /// The account, whose variables end in its name; `None` for the variables without a suffix.
    account: Option<String>,
    /// Whether a missing key gets a placeholder, because no request will be sent.
    without_keys: bool,
}

/// An unusable setting of the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A credential is missing or malformed.
    #[error(
        "`{name}` {why}; set it in .env or the environment, or try importer without keys: ./run.sh demo, or importer demo"
    )]
    Key { name: String, why: String },
    /// A credential is set in a way that can't be used.
    #[error("`{name}` {why}")]
    Credential { name: String, why: String },
    #[error("`{name}` {why}")]
    Value { name: String, why: String },
}

/// Why an adapter can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// The settings of the entry are invalid.
    #[error("{0}")]
    Settings(String),
    /// The settings of the account are missing or invalid.
    #[error(transparent)]
    Account(#[from] Refused),
}

impl From<String> for Unopened {
    fn from(why: String) -> Self {
        Unopened::Settings(why)
    }
}

impl Environment {
    /// Looks the settings up with `get`.
    pub fn new(get: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Environment { get: Arc::new(get), names: Arc::default(), account: None, without_keys: false }
    }

    /// Adds the names of the variables that are set.
    pub fn with_names(self, names: impl Iterator<Item = String>) -> Self {
        Environment { names: names.collect(), ..self }
    }

    /// Returns the names of the variables that are set; empty if the creator of the environment did not pass them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Replaces every missing key by a placeholder, for commands that send no request.
    pub fn without_keys(self) -> Self {
        Environment { without_keys: true, ..self }
    }

    /// Returns the settings of an account. A variable without the suffix does not count for it.
    pub fn of(&self, account: Option<&str>) -> Self {
        Environment { account: account.map(str::to_owned), ..self.clone() }
    }

    /// Returns the account; `None` for the variables without a suffix.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Returns the name of a variable of this account.
    pub fn name(&self, variable: &Variable) -> String {
        variable.of(self.account())
    }

    /// Returns whether a missing key gets a placeholder, because no request will be sent.
    pub fn needs_no_keys(&self) -> bool {
        self.without_keys
    }

    /// Returns the value of the variable with exactly this name, trimmed. An empty variable counts as absent.
    pub fn plain(&self, name: &str) -> Option<String> {
        (self.get)(name).map(trimmed).filter(|value| !value.is_empty())
    }

    /// Returns the value of the variable with exactly this name, trimmed, or the content of the file that its variant
    /// with [`FILE`] names. An empty variable counts as absent.
    ///
    /// # Errors
    ///
    /// Both variants are set, or the file can't be read or is empty. `credential` decides on the kind of the error.
    pub fn read(&self, name: &str, credential: bool) -> Result<Option<String>, Refused> {
        let refused = |name: &str, why: String| match credential {
            true => Refused::Credential { name: name.to_owned(), why },
            false => Refused::Value { name: name.to_owned(), why },
        };
        let file = format!("{name}{FILE}");
        match (self.plain(name), self.plain(&file)) {
            (value, None) => Ok(value),
            (Some(_), Some(_)) => {
                Err(refused(name, format!("and `{file}` are both set; remove one of them")))
            }
            (None, Some(path)) => {
                let wrong = |why: &str| {
                    refused(&file, format!("names `{path}`, which {why}; correct the path or the file"))
                };
                let text = files::read(Path::new(&path)).map(trimmed).map_err(|why| wrong(&why))?;
                if text.is_empty() { Err(wrong("is empty")) } else { Ok(Some(text)) }
            }
        }
    }

    /// Returns a setting of the account, trimmed; `None` if it is not set.
    ///
    /// # Errors
    ///
    /// The variable can't be read; see [`Self::read`].
    pub fn text(&self, variable: &Variable) -> Result<Option<String>, Refused> {
        self.read(&self.name(variable), variable.credential)
    }

    /// Returns a password, or another credential that may have any character but control characters.
    ///
    /// # Errors
    ///
    /// The variable is not set, can't be read, or contains a control character.
    pub fn secret(&self, variable: &Variable) -> Result<Secret, Refused> {
        let missing = || self.without_keys.then(|| PLACEHOLDER.to_owned());
        let name = self.name(variable);
        match self.text(variable)?.or_else(missing) {
            Some(text) => checked_secret(&name, Secret::new(text)),
            None => Err(Refused::Key { name, why: "is not set".to_owned() }),
        }
    }

    /// Returns a key.
    ///
    /// # Errors
    ///
    /// The variable is not set, can't be read, or contains a character other than visible ASCII.
    pub fn key(&self, variable: &Variable) -> Result<Secret, Refused> {
        checked_key(&self.name(variable), self.secret(variable)?)
    }

    /// Returns a base address, by default that of the variable.
    ///
    /// # Errors
    ///
    /// The variable can't be read, or is not an http(s) address, or one that contains a user, a password or a query.
    pub fn url(&self, variable: &Variable) -> Result<Url, Refused> {
        self.url_or(variable, variable.default.unwrap_or_default())
    }

    /// Returns a base address, by default `default`.
    ///
    /// # Errors
    ///
    /// Those of [`Self::url`].
    pub fn url_or(&self, variable: &Variable, default: &str) -> Result<Url, Refused> {
        let text = self.text(variable)?.unwrap_or_else(|| default.to_owned());
        let refused = |why: &str| Refused::Value { name: self.name(variable), why: why.to_owned() };
        if text.contains('@') {
            return Err(refused(
                "must not contain a user or a password; remove them, the key is sent in a header",
            ));
        }
        let usable =
            |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
        let url = Url::parse(&text).ok().filter(usable);
        url.ok_or_else(|| {
            refused("is not a valid address; use one such as https://host/path, without a query")
        })
    }

    /// Returns a number that satisfies `fit`, by default that of the variable.
    ///
    /// # Errors
    ///
    /// The variable can't be read, or is not such a number. The message contains `must`, which describes the valid
    /// ones.
    pub fn number<T: std::str::FromStr>(
        &self,
        variable: &Variable,
        fit: impl Fn(&T) -> bool,
        must: &str,
    ) -> Result<T, Refused> {
        let text = self.text(variable)?;
        let text = text.as_deref().or(variable.default).unwrap_or_default();
        let refused = || Refused::Value { name: self.name(variable), why: format!("must be {must}") };
        text.parse().ok().filter(fit).ok_or_else(refused)
    }
}

fn trimmed(text: String) -> String {
    text.trim().to_owned()
}

/// Returns a credential if it has no control character. `name` says in the error where the credential is from.
pub fn checked_secret(name: &str, secret: Secret) -> Result<Secret, Refused> {
    checked(name, secret, |c| !c.is_control())
}

/// Returns a credential if it has visible ASCII characters only. `name` says in the error where it is from.
pub fn checked_key(name: &str, secret: Secret) -> Result<Secret, Refused> {
    checked(name, secret, |c| c.is_ascii_graphic())
}

fn checked(name: &str, secret: Secret, valid: impl Fn(char) -> bool) -> Result<Secret, Refused> {
    match secret.reveal().chars().all(valid) {
        true => Ok(secret),
        false => Err(Refused::Key {
            name: name.to_owned(),
            why: "contains a character that is invalid in a key".to_owned(),
        }),
    }
}

/// Whether requests to this address stay on this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes its files")]
mod tests {
    use std::fs;

    use super::*;

    const KEY: Variable = Variable::new("ACME_KEY", "").credential();
    const URL: Variable = Variable::new("ACME_URL", "").default("https://acme.example/v1");
    const RATE: Variable = Variable::new("ACME_RATE", "").default("8");

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment::new(move |name| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    fn key(environment: &Environment) -> Result<String, String> {
        environment.key(&KEY).map(|key| key.reveal().to_owned()).map_err(|refused| refused.to_string())
    }

    #[test]
    fn an_account_has_its_own_variables_and_never_the_key_of_another() {
        let both = environment(&[
            ("ACME_KEY", "plain"),
            ("ACME_KEY_EU", "eu"),
            ("ACME_URL", "https://plain.example"),
            ("ACME_RATE", "2"),
        ]);
        let (eu, us) = (both.of(Some("eu")), both.of(Some("us")));
        assert_eq!((key(&both).as_deref(), key(&eu).as_deref()), (Ok("plain"), Ok("eu")));
        assert!(key(&us).unwrap_err().starts_with("`ACME_KEY_US` is not set; set it in .env"));
        // Numbers and addresses have their defaults.
        let rate = |environment: &Environment| environment.number(&RATE, |_: &f64| true, "").unwrap();
        assert_eq!((rate(&both), rate(&eu)), (2.0, 8.0));
        let url = |environment: &Environment| environment.url(&URL).unwrap().to_string();
        assert_eq!((&url(&both)[..], &url(&eu)[..]), ("https://plain.example/", "https://acme.example/v1"));
        assert_eq!(both.of(Some("eu")).of(None).account(), None);
    }

    #[test]
    fn a_value_may_be_in_a_file_and_an_error_names_the_variable_and_the_path_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("key"), "s3cr3t\n").unwrap();
        fs::write(path("blank"), " \n").unwrap();
        fs::write(path("lines"), "s3cr3t\nsecond").unwrap();
        fs::write(path("rate"), "4\n").unwrap();
        let of = |name: &str, file: &str| environment(&[(name, &path(file))]);
        assert_eq!(key(&of("ACME_KEY_FILE", "key")).as_deref(), Ok("s3cr3t"));
        assert_eq!(key(&of("ACME_KEY_EU_FILE", "key").of(Some("eu"))).as_deref(), Ok("s3cr3t"));
        assert_eq!(of("ACME_RATE_FILE", "rate").number(&RATE, |_: &u8| true, ""), Ok(4));
        for (file, why) in
            [("absent", "can't be read: no such file"), ("blank", "is empty"), ("", "is not a regular file")]
        {
            let named = path(file);
            let expected =
                format!("`ACME_KEY_FILE` names `{named}`, which {why}; correct the path or the file");
            assert_eq!(key(&of("ACME_KEY_FILE", file)), Err(expected));
        }
        let lines = key(&of("ACME_KEY_FILE", "lines")).unwrap_err();
        assert!(lines.starts_with("`ACME_KEY` contains a character that is invalid"), "{lines}");
        assert!(!lines.contains("s3cr3t"));
        let both = environment(&[("ACME_KEY", "a"), ("ACME_KEY_FILE", &path("key"))]);
        assert_eq!(
            key(&both).unwrap_err(),
            "`ACME_KEY` and `ACME_KEY_FILE` are both set; remove one of them"
        );
        assert!(matches!(both.key(&KEY), Err(Refused::Credential { .. })));
        let empty = environment(&[("ACME_KEY", "a"), ("ACME_KEY_FILE", "")]);
        assert_eq!(key(&empty).as_deref(), Ok("a"));
    }
}
