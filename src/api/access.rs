//! Who may do what: decides from the head of a request and the addresses of its connection. Pure.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method, Uri, header, uri::Authority};

use super::{
    problem::{FOREIGN, NO_TOKEN, Problem, WRONG_TOKEN},
    token::Token,
};

/// Says how a browser came to send a request (Fetch Metadata Request Headers, W3C).
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Headers with which a proxy says that it passes on a request of somebody else.
const PASSED_ON: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host"];

/// The rules of one process.
#[derive(Debug)]
pub struct Access {
    pub token: Token,
    /// Names besides those of loopback under which the API may be called, in lower case and without a port.
    pub hosts: Vec<String>,
}

/// The addresses of the connection of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub peer: IpAddr,
    pub local: IpAddr,
}

/// What decides on a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub ends: Ends,
}

impl Access {
    /// Decides whether a request is answered. Nobody needs the token to read on loopback; all else needs it. A page of
    /// another site must not use the browser of a person on this machine, so requests that another origin has caused
    /// are refused, and also those under a name that may be anyone's (DNS rebinding).
    ///
    /// # Errors
    ///
    /// The request is refused; the problem says why.
    pub fn decide(&self, asked: &Asked) -> Result<(), Problem> {
        let host = self.host(asked)?;
        self.check_origin(asked, &host)?;
        match token(asked.headers) {
            Some(text) if self.token.is(text) => Ok(()),
            Some(_) => {
                Err(Problem::new(WRONG_TOKEN, "the token in `Authorization` is not the one of this importer"))
            }
            None if is_reading(asked.method) && is_near(asked, &host) => Ok(()),
            None => Err(Problem::new(
                NO_TOKEN,
                "send the token of this importer in the header `Authorization: Bearer TOKEN`",
            )),
        }
    }

    /// Returns the name under which the API is called, if it may be called so.
    fn host(&self, asked: &Asked) -> Result<Authority, Problem> {
        let mut named = asked.headers.get_all(header::HOST).iter();
        let refused = || {
            let detail = "the `Host` of the request is neither loopback nor in `IMPORTER_HOSTS`; add the name that callers use";
            Problem::new(FOREIGN, detail)
        };
        let (Some(host), None) = (named.next(), named.next()) else { return Err(refused()) };
        let host: Authority = host.as_bytes().try_into().map_err(|_| refused())?;
        // A request may name a host in its target too.
        for name in [Some(&host), asked.uri.authority()].into_iter().flatten() {
            let is_known = is_loopback(name.host()) || self.hosts.contains(&name.host().to_ascii_lowercase());
            if !is_known || name.as_str().contains('@') {
                return Err(refused());
            }
        }
        Ok(host)
    }

    fn check_origin(&self, asked: &Asked, host: &Authority) -> Result<(), Problem> {
        let is_own = |origin: &str| {
            let name = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
            name.is_some_and(|name| name.eq_ignore_ascii_case(host.as_str()))
        };
        let mut origins = asked.headers.get_all(header::ORIGIN).iter();
        if !origins.all(|origin| origin.to_str().is_ok_and(is_own)) {
            return Err(Problem::new(
                FOREIGN,
                "the `Origin` of the request is another one than that of the API",
            ));
        }
        let mut sites = asked.headers.get_all(SITE).iter();
        match sites.all(|site| ["same-origin", "none"].iter().any(|own| site == own)) {
            true => Ok(()),
            false => {
                Err(Problem::new(FOREIGN, "a page of another site has caused the request (`Sec-Fetch-Site`)"))
            }
        }
    }
}

/// Returns the token in a request; an empty text if it is there in another form.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next()?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len()).unwrap_or((value, b""));
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer ") && all.next().is_none();
    Some(if is_bearer { token.trim_ascii() } else { b"" })
}

fn is_reading(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

/// Returns whether a request comes from this machine, as far as can be seen: a proxy on this machine passes on what
/// others ask for.
fn is_near(asked: &Asked, host: &Authority) -> bool {
    let is_passed_on = PASSED_ON.iter().any(|name| asked.headers.contains_key(*name));
    let Ends { peer, local } = asked.ends;
    [peer, local].iter().all(|end| end.to_canonical().is_loopback())
        && is_loopback(host.host())
        && !is_passed_on
}

/// Returns whether a name in an address is one of this machine for itself.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Returns the names in the value of `IMPORTER_HOSTS`, which are separated by commas or spaces.
///
/// # Errors
///
/// The first name that is none.
pub fn hosts(text: &str) -> Result<Vec<String>, String> {
    let names = text.split([',', ' ', '\n']).filter(|name| !name.is_empty());
    let checked = names.map(|name| {
        let is_name = Authority::try_from(name).is_ok_and(|host| host.host() == name);
        if is_name { Ok(name.to_ascii_lowercase()) } else { Err(name.to_owned()) }
    });
    checked.collect()
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
