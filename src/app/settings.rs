//! The settings of the environment, read once at the start.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, header};
use url::Url;

use crate::{base::secret::Secret, cli::exit, net::Account};

/// Mailchimp's limit of simultaneous connections: <https://mailchimp.com/developer/marketing/docs/fundamentals/#api-limits>.
const MAX_CONNECTIONS: usize = 10;
/// Fewer than the limit, since other programs may use the account.
const CONNECTIONS: usize = 8;
/// Ometria's limit of push requests a second: <https://docs.ometria.com/docs/ometria-data-api-introduction>.
const RATE: f64 = 8.0;

pub struct Settings {
    pub mailchimp: Account,
    /// Requests at once, 1 to 10.
    pub mailchimp_connections: usize,
    pub ometria: Account,
    /// Requests a second; 0 is no limit.
    pub ometria_rate: f64,
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(
        "`{name}` {why}; put it into .env or the environment, or try importer without keys: ./run.sh demo, or importer demo"
    )]
    Key { name: &'static str, why: &'static str },
    #[error("`{name}` {why}")]
    Value { name: &'static str, why: String },
}

impl Refused {
    pub fn exit_code(&self) -> u8 {
        match self {
            Refused::Key { .. } => exit::NO_KEY,
            Refused::Value { .. } => exit::UNUSABLE,
        }
    }
}

impl Settings {
    /// Reads the variables through `get`. An empty variable counts as absent.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, Refused> {
        let get = |name| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        Ok(Settings {
            mailchimp: mailchimp(&get)?,
            mailchimp_connections: connections(get("MAILCHIMP_CONNECTIONS"))?,
            ometria: ometria(&get)?,
            ometria_rate: rate(get("OMETRIA_RATE"))?,
        })
    }

    /// What can be used, but should be known.
    pub fn warnings(&self) -> Vec<String> {
        [("MAILCHIMP_URL", &self.mailchimp.base), ("OMETRIA_URL", &self.ometria.base)]
            .into_iter()
            .filter(|(_, url)| url.scheme() == "http" && !is_loopback(url))
            .map(|(name, _)| format!("`{name}` is not https: the key and the members travel unprotected"))
            .collect()
    }
}

fn mailchimp(get: &impl Fn(&'static str) -> Option<String>) -> Result<Account, Refused> {
    const NAME: &str = "MAILCHIMP_APIKEY";
    let key = key(NAME, get(NAME))?;
    let base = match get("MAILCHIMP_URL") {
        Some(url) => base("MAILCHIMP_URL", &url)?,
        None => {
            let center = data_center(&key).ok_or(Refused::Key {
                name: NAME,
                why: "does not end in its data center, such as -us21 (copy the whole key, or set `MAILCHIMP_URL`)",
            })?;
            base("MAILCHIMP_URL", &format!("https://{center}.api.mailchimp.com/3.0"))?
        }
    };
    // Basic authentication: any user name, the key as the password.
    let credentials = format!("Basic {}", STANDARD.encode(format!("importer:{key}")));
    account(("mailchimp", NAME, "MAILCHIMP_URL"), base, key, header::AUTHORIZATION, &credentials)
}

fn ometria(get: &impl Fn(&'static str) -> Option<String>) -> Result<Account, Refused> {
    const NAME: &str = "OMETRIA_APIKEY";
    let key = key(NAME, get(NAME))?;
    let url = get("OMETRIA_URL").unwrap_or_else(|| "https://api.ometria.com/v2".into());
    let credentials = key.clone();
    account(
        ("ometria", NAME, "OMETRIA_URL"),
        base("OMETRIA_URL", &url)?,
        key,
        HeaderName::from_static("x-ometria-auth"),
        &credentials,
    )
}

fn account(
    (service, key_name, url_name): (&'static str, &'static str, &'static str),
    base: Url,
    key: String,
    header: HeaderName,
    credentials: &str,
) -> Result<Account, Refused> {
    let credentials = HeaderValue::from_str(credentials)
        .map_err(|_| Refused::Key { name: key_name, why: "holds a character that no key has" })?;
    Ok(Account { service, key_name, url_name, base, key: Secret::new(key), header, credentials })
}

fn key(name: &'static str, value: Option<String>) -> Result<String, Refused> {
    let key = value.ok_or(Refused::Key { name, why: "is not set" })?;
    let ordinary = key.chars().all(|c| c.is_ascii_graphic());
    if ordinary { Ok(key) } else { Err(Refused::Key { name, why: "holds a character that no key has" }) }
}

/// The label behind the key's last hyphen. It becomes part of a host's name, so nothing but letters and digits will do.
fn data_center(key: &str) -> Option<&str> {
    let (_, center) = key.rsplit_once('-')?;
    let letters = center.trim_end_matches(|c: char| c.is_ascii_digit());
    let named = (1..=5).contains(&letters.len()) && letters.chars().all(|c| c.is_ascii_lowercase());
    (named && letters.len() < center.len()).then_some(center)
}

fn base(name: &'static str, text: &str) -> Result<Url, Refused> {
    let refused = |why: String| Refused::Value { name, why };
    if text.contains('@') {
        return Err(refused("must not hold a user or a password; the key is sent in a header".into()));
    }
    let usable =
        |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    let url = Url::parse(text).ok().filter(usable);
    url.ok_or_else(|| refused("is no address such as https://host/path, without a query".into()))
}

fn connections(value: Option<String>) -> Result<usize, Refused> {
    let Some(text) = value else { return Ok(CONNECTIONS) };
    text.parse().ok().filter(|number| (1..=MAX_CONNECTIONS).contains(number)).ok_or_else(|| Refused::Value {
        name: "MAILCHIMP_CONNECTIONS",
        why: format!("must be a whole number from 1 to {MAX_CONNECTIONS}"),
    })
}

fn rate(value: Option<String>) -> Result<f64, Refused> {
    let Some(text) = value else { return Ok(RATE) };
    let rate = text.parse().ok().filter(|rate| *rate == 0.0 || (0.001..=1000.0).contains(rate));
    rate.ok_or_else(|| Refused::Value {
        name: "OMETRIA_RATE",
        why: "must be requests a second, such as 8 or 0.5, or 0 for no limit".into(),
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Refused> {
        let keys = [("MAILCHIMP_APIKEY", "0123abcd-us21"), ("OMETRIA_APIKEY", "abc")];
        Settings::read(|name| {
            let found = variables.iter().chain(&keys).find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn refusal(name: &str, value: &str) -> (u8, String) {
        let refused = read(&[(name, value)]).err().unwrap();
        (refused.exit_code(), refused.to_string())
    }

    #[test]
    fn two_keys_are_enough_and_the_data_center_comes_from_the_suffix() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.mailchimp.base.as_str(), "https://us21.api.mailchimp.com/3.0");
        assert_eq!(settings.ometria.base.as_str(), "https://api.ometria.com/v2");
        assert_eq!((settings.mailchimp_connections, settings.ometria_rate), (8, 8.0));
        assert_eq!(settings.warnings(), Vec::<String>::new());
    }

    #[test]
    fn a_missing_or_malformed_key_is_named_with_a_way_to_try_without() {
        for (name, value) in [
            ("MAILCHIMP_APIKEY", ""),
            ("MAILCHIMP_APIKEY", "0123abcd"),
            ("MAILCHIMP_APIKEY", "0123abcd-"),
            ("MAILCHIMP_APIKEY", "0123abcd-21"),
            ("MAILCHIMP_APIKEY", "0123abcd-us21.example.com/"),
            ("MAILCHIMP_APIKEY", "0123 abcd-us21"),
            ("OMETRIA_APIKEY", "  "),
            ("OMETRIA_APIKEY", "a\nb"),
        ] {
            let (code, text) = refusal(name, value);
            assert_eq!(code, exit::NO_KEY, "{name}={value}");
            assert!(text.contains(name) && text.contains("./run.sh demo"), "{text}");
            assert!(value.trim().is_empty() || !text.contains(value), "{text}");
        }
    }

    #[test]
    fn a_key_without_its_data_center_will_do_where_the_address_is_given() {
        let url = ("MAILCHIMP_URL", "http://127.0.0.1:9001/3.0");
        let settings = read(&[("MAILCHIMP_APIKEY", "0123abcd"), url]).unwrap();
        assert_eq!(settings.mailchimp.base.as_str(), url.1);
        assert_eq!(settings.warnings(), Vec::<String>::new());
    }

    #[test]
    fn a_value_out_of_range_names_the_variable_and_the_range() {
        for (name, value) in [
            ("MAILCHIMP_CONNECTIONS", "0"),
            ("MAILCHIMP_CONNECTIONS", "11"),
            ("MAILCHIMP_CONNECTIONS", "many"),
            ("OMETRIA_RATE", "-1"),
            ("OMETRIA_RATE", "NaN"),
            ("OMETRIA_RATE", "inf"),
            ("MAILCHIMP_URL", "us21"),
            ("OMETRIA_URL", "ftp://example.com"),
        ] {
            let (code, text) = refusal(name, value);
            assert_eq!(code, exit::UNUSABLE, "{name}={value}");
            assert!(text.contains(name) && !text.contains(&format!("{value:?}")), "{text}");
        }
        let settings = read(&[("MAILCHIMP_CONNECTIONS", "10"), ("OMETRIA_RATE", "0")]).unwrap();
        assert_eq!((settings.mailchimp_connections, settings.ometria_rate), (10, 0.0));
    }

    #[test]
    fn an_address_with_a_password_is_refused_without_showing_it() {
        let (code, text) = refusal("MAILCHIMP_URL", "https://ada:s3cr3t@host/3.0");
        assert!(
            code == exit::UNUSABLE && text.contains("MAILCHIMP_URL") && !text.contains("s3cr3t"),
            "{text}"
        );
    }

    #[test]
    fn an_address_without_tls_that_is_not_this_machine_is_warned_of() {
        let settings = read(&[("OMETRIA_URL", "http://ometria.example/v2")]).unwrap();
        let warnings = settings.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("OMETRIA_URL"), "{warnings:?}");
    }
}
