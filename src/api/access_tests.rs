//! The rules of access, as a table.

use super::*;
use crate::base::secret::Secret;

const TOKEN: &str = "0123456789abcdef";
const NEAR: (&str, &str) = ("127.0.0.1", "127.0.0.1");
const FAR: (&str, &str) = ("192.0.2.7", "192.0.2.1");

/// Returns the status of the answer that a request gets; 200 if it is permitted.
fn decided(method: &str, target: &str, ends: (&str, &str), headers: &[(&str, &str)]) -> u16 {
    let token = Token::new(Secret::new(TOKEN)).unwrap();
    let access = Access { token, hosts: hosts("Lists.Example.org, 192.0.2.1").unwrap() };
    let (method, uri) = (method.parse().unwrap(), target.parse().unwrap());
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let ends = Ends { peer: ends.0.parse().unwrap(), local: ends.1.parse().unwrap() };
    let asked = Asked { method: &method, uri: &uri, headers: &map, ends };
    access.decide(&asked).map_or_else(|problem| problem.status, |()| 200)
}

#[test]
fn reading_on_loopback_is_free_and_all_else_needs_the_token() {
    const OWN: (&str, &str) = ("host", "127.0.0.1:5000");
    const NAMED: (&str, &str) = ("host", "lists.example.org");
    let bearer = ("authorization", "Bearer 0123456789abcdef");
    for (method, ends, headers, status) in [
        ("GET", NEAR, &[OWN][..], 200),
        ("HEAD", NEAR, &[OWN], 200),
        ("GET", ("::1", "::1"), &[("host", "[::1]:5000")], 200),
        ("GET", ("::ffff:127.0.0.1", "::ffff:127.0.0.1"), &[("host", "LocalHost:5000")], 200),
        ("POST", NEAR, &[OWN], 401),
        ("PATCH", NEAR, &[OWN], 401),
        ("DELETE", NEAR, &[OWN], 401),
        ("OPTIONS", NEAR, &[OWN], 401),
        ("POST", NEAR, &[OWN, bearer], 200),
        ("POST", NEAR, &[OWN, ("authorization", "bearer 0123456789abcdef")], 200),
        ("POST", NEAR, &[OWN, ("authorization", "Bearer 0123456789abcdeF")], 401),
        ("POST", NEAR, &[OWN, ("authorization", "Basic 0123456789abcdef")], 401),
        ("POST", NEAR, &[OWN, ("authorization", "0123456789abcdef")], 401),
        ("POST", NEAR, &[OWN, ("authorization", "")], 401),
        ("POST", NEAR, &[OWN, bearer, bearer], 401),
        // A wrong token is refused also where none is needed.
        ("GET", NEAR, &[OWN, ("authorization", "Bearer wrong")], 401),
        // Off loopback, reading is not free.
        ("GET", FAR, &[NAMED], 401),
        ("GET", FAR, &[NAMED, bearer], 200),
        ("POST", FAR, &[NAMED, bearer], 200),
        ("GET", FAR, &[("host", "192.0.2.1:5000"), bearer], 200),
        ("GET", FAR, &[OWN], 401),
        // A proxy on this machine passes on what others ask for.
        ("GET", NEAR, &[NAMED], 401),
        ("GET", NEAR, &[OWN, ("x-forwarded-for", "192.0.2.7")], 401),
        ("GET", NEAR, &[OWN, ("forwarded", "for=192.0.2.7")], 401),
        ("GET", NEAR, &[OWN, ("via", "1.1 proxy")], 401),
        ("GET", NEAR, &[NAMED, ("x-forwarded-for", "192.0.2.7"), bearer], 200),
    ] {
        assert_eq!(decided(method, "/", ends, headers), status, "{method} {ends:?} {headers:?}");
    }
}

#[test]
fn a_page_of_another_site_is_refused_whatever_token_it_has() {
    const OWN: (&str, &str) = ("host", "127.0.0.1:5000");
    for (target, headers, status) in [
        ("/", &[OWN, ("origin", "http://127.0.0.1:5000")][..], 200),
        ("/", &[OWN, ("origin", "http://127.0.0.1:8080")], 403),
        ("/", &[OWN, ("origin", "https://evil.example")], 403),
        ("/", &[OWN, ("origin", "null")], 403),
        ("/", &[OWN, ("origin", "http://127.0.0.1:5000"), ("origin", "null")], 403),
        ("/", &[OWN, ("sec-fetch-site", "same-origin")], 200),
        ("/", &[OWN, ("sec-fetch-site", "none")], 200),
        ("/", &[OWN, ("sec-fetch-site", "same-site")], 403),
        ("/", &[OWN, ("sec-fetch-site", "cross-site")], 403),
        // A name that may lead anywhere, also in the target.
        ("/", &[("host", "evil.example")], 403),
        ("/", &[("host", "localhost.evil.example")], 403),
        ("/", &[("host", "127.0.0.1.evil.example")], 403),
        ("/", &[("host", "a@127.0.0.1")], 403),
        ("/", &[("host", "")], 403),
        ("/", &[], 403),
        ("/", &[OWN, ("host", "127.0.0.1:5000")], 403),
        ("http://evil.example/", &[OWN], 403),
        ("http://127.0.0.1:5000/", &[OWN], 200),
    ] {
        for method in ["GET", "POST"] {
            let bearer = ("authorization", "Bearer 0123456789abcdef");
            let headers = [headers, &[bearer]].concat();
            assert_eq!(decided(method, target, NEAR, &headers), status, "{method} {target} {headers:?}");
        }
    }
}

#[test]
fn the_names_of_hosts_are_checked() {
    let valid = hosts(" a.example,B.example [::1]\n");
    assert_eq!(valid, Ok(["a.example", "b.example", "[::1]"].map(str::to_owned).to_vec()));
    for wrong in ["http://a.example", "a.example:80", "a.example/x", "u@a.example"] {
        assert_eq!(hosts(wrong), Err(wrong.to_owned()));
    }
}
