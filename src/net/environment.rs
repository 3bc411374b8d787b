//! Settings from the environment, by name. An error names the variable, and never contains its value.

use url::Url;

use crate::base::secret::Secret;

type Get = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Source of the settings.
pub struct Environment {
    get: Get,
    /// Whether a missing key gets a placeholder, because no request will be sent.
    without_keys: bool,
}

/// An unusable setting of the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "`{name}` {why}; set it in .env or the environment, or try importer without keys: ./run.sh demo, or importer demo"
    )]
    Key { name: &'static str, why: &'static str },
    #[error("`{name}` {why}")]
    Value { name: &'static str, why: String },
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

const STRANGE: &str = "contains a character that is invalid in a key";

impl Environment {
    /// Looks the settings up with `get`.
    pub fn new(get: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Environment { get: Box::new(get), without_keys: false }
    }

    /// Replaces every missing key by a placeholder, for commands that send no request.
    pub fn without_keys(self) -> Self {
        Environment { without_keys: true, ..self }
    }

    /// Returns a setting, trimmed. An empty variable counts as absent.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Returns a key or a password.
    ///
    /// # Errors
    ///
    /// [`Refused::Key`]: the variable is not set, or contains a control character.
    pub fn secret(&self, name: &'static str) -> Result<Secret, Refused> {
        let missing = || self.without_keys.then(|| "missing-xx1".to_owned());
        let text = self.text(name).or_else(missing).ok_or(Refused::Key { name, why: "is not set" })?;
        match text.chars().any(char::is_control) {
            false => Ok(Secret::new(text)),
            true => Err(Refused::Key { name, why: STRANGE }),
        }
    }

    /// Returns a key.
    ///
    /// # Errors
    ///
    /// [`Refused::Key`]: the variable is not set, or contains a character other than visible ASCII.
    pub fn key(&self, name: &'static str) -> Result<Secret, Refused> {
        let key = self.secret(name)?;
        match key.reveal().chars().all(|c| c.is_ascii_graphic()) {
            true => Ok(key),
            false => Err(Refused::Key { name, why: STRANGE }),
        }
    }

    /// Returns a base address, or `default` if the variable is not set.
    ///
    /// # Errors
    ///
    /// [`Refused::Value`]: not an http(s) address, or one that contains a user, a password or a query.
    pub fn url(&self, name: &'static str, default: &str) -> Result<Url, Refused> {
        let text = self.text(name).unwrap_or_else(|| default.to_owned());
        let refused = |why: &str| Refused::Value { name, why: why.to_owned() };
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

    /// Returns a number that satisfies `fit`, or `default` if the variable is not set.
    ///
    /// # Errors
    ///
    /// [`Refused::Value`]: not such a number. The message contains `must`, which describes the valid ones.
    pub fn number<T: std::str::FromStr>(
        &self,
        name: &'static str,
        default: T,
        fit: impl Fn(&T) -> bool,
        must: &str,
    ) -> Result<T, Refused> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse().ok().filter(fit).ok_or_else(|| Refused::Value { name, why: format!("must be {must}") })
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
