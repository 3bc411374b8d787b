//! Texts of an entry that may be secrets, and the addresses that may get the credentials. Pure.

use url::{Position, Url, form_urlencoded};

use super::Endpoint;
use crate::{base::secret::Secret, net::environment::is_loopback};

/// Least number of characters of a path segment that may be a secret. Shorter ones, such as `hooks`, are words.
const SEGMENT: usize = 8;
/// Least number of characters of a query, a query value or a header value that may be a secret.
const VALUE: usize = 4;

/// Returns the texts of an entry that no message may contain: the path, its longer segments, the query and its
/// values, and the values of headers, each as sent and percent-decoded.
pub fn of(endpoint: &Endpoint) -> Vec<Secret> {
    // The values that the entry sets are sensitive; the defaults are not.
    let headers = endpoint.headers.values().filter(|value| value.is_sensitive());
    let headers: Vec<_> = headers.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let path = endpoint.url.path();
    let paths = [path, path.trim_end_matches('/')].into_iter().filter(|path| path.len() > 1);
    let segments = path.split('/').filter(|segment| is_long(segment, SEGMENT));
    let query = endpoint.url.query().unwrap_or_default();
    // A parameter without a value may be a key by itself.
    let parameters = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    let headers = headers.iter().map(|value| value.trim());
    let values = [query].into_iter().chain(parameters).chain(headers).filter(|value| is_long(value, VALUE));
    let mut texts: Vec<String> = paths.chain(segments).chain(values).flat_map(spellings).collect();
    texts.sort_unstable();
    texts.dedup();
    texts.into_iter().map(Secret::new).collect()
}

/// Returns whether a text has at least this number of characters.
fn is_long(text: &str, least: usize) -> bool {
    text.chars().count() >= least
}

/// Returns a text as sent, percent-decoded, and decoded like a form, in which a plus sign is a space.
fn spellings(text: &str) -> [String; 3] {
    let decoded = |text: &str| {
        let text = text.replace('&', "%26").replace('=', "%3D");
        form_urlencoded::parse(text.as_bytes()).map(|(name, _)| name.into_owned()).collect::<String>()
    };
    [text.to_owned(), decoded(&text.replace('+', "%2B")), decoded(text)]
}

/// Returns whether a host or an address that the environment names permits the credentials for requests to `url`.
/// A host permits encrypted requests, and unencrypted ones on this machine; an address permits its scheme.
pub fn permits(named: &str, url: &Url) -> bool {
    let scheme = if is_loopback(url) { url.scheme() } else { "https" };
    let address = if named.contains("://") { named.to_owned() } else { format!("{scheme}://{named}") };
    Url::parse(&address).is_ok_and(|address| {
        // Rejects a path or a query: the check compares origins only and could not enforce them.
        let plain = address[Position::AfterPath..].is_empty() && address.path() == "/";
        let anonymous = address.username().is_empty() && address.password().is_none();
        plain && anonymous && address.origin() == url.origin()
    })
}
