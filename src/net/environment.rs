//! The settings of the environment, by name. An adapter asks for what its account needs; what is missing or wrong is named.

use http::HeaderValue;
use url::Url;

use crate::base::secret::Secret;

type Get = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where settings are looked up.
pub struct Environment {
    get: Get,
    /// Whether nobody will be asked anything, so that keys are not needed.
    without_keys: bool,
}

/// Why the settings can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "`{name}` {why}; put it into .env or the environment, or try importer without keys: ./run.sh demo, or importer demo"
    )]
    Key { name: &'static str, why: &'static str },
    #[error("`{name}` {why}")]
    Value { name: &'static str, why: String },
}

/// Why an adapter can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// For what the entry says of it.
    #[error("{0}")]
    Settings(String),
    /// For what the environment says of its account.
    #[error(transparent)]
    Account(#[from] Refused),
}

impl From<String> for Unopened {
    fn from(why: String) -> Self {
        Unopened::Settings(why)
    }
}

const STRANGE: &str = "holds a character that no key has";

impl Environment {
    pub fn new(get: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Environment { get: Box::new(get), without_keys: false }
    }

    /// As if every key that is missing were there.
    pub fn without_keys(self) -> Self {
        Environment { without_keys: true, ..self }
    }

    /// An empty variable counts as absent.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// A key or a password.
    pub fn secret(&self, name: &'static str) -> Result<Secret, Refused> {
        let missing = || self.without_keys.then(|| "missing-xx1".to_owned());
        let text = self.text(name).or_else(missing).ok_or(Refused::Key { name, why: "is not set" })?;
        match text.chars().any(char::is_control) {
            false => Ok(Secret::new(text)),
            true => Err(Refused::Key { name, why: STRANGE }),
        }
    }

    /// A key: visible ASCII.
    pub fn key(&self, name: &'static str) -> Result<Secret, Refused> {
        let key = self.secret(name)?;
        match key.reveal().chars().all(|c| c.is_ascii_graphic()) {
            true => Ok(key),
            false => Err(Refused::Key { name, why: STRANGE }),
        }
    }

    /// A base address; without the variable `default`.
    pub fn url(&self, name: &'static str, default: &str) -> Result<Url, Refused> {
        let text = self.text(name).unwrap_or_else(|| default.to_owned());
        let refused = |why: &str| Refused::Value { name, why: why.to_owned() };
        if text.contains('@') {
            return Err(refused("must not hold a user or a password; the key is sent in a header"));
        }
        let usable =
            |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
        let url = Url::parse(&text).ok().filter(usable);
        url.ok_or_else(|| refused("is no address such as https://host/path, without a query"))
    }

    /// A number that is `fit`; without the variable `default`. `must`: what it must be.
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

/// The value of a header that carries a key, which no log shows.
pub fn credentials(name: &'static str, text: &str) -> Result<HeaderValue, Refused> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Refused::Key { name, why: STRANGE })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether what is sent there stays on this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
