//! Addresses of next pages: finds them in `Link` headers, and stores them without what the entry adds to every
//! request. Pure.

use http::{HeaderMap, header::LINK};
use url::Url;

use crate::base::fault::Fault;

/// Returns the target of the first link with the relation `next` in the headers `Link` (RFC 8288, section 3).
/// `service` is the name of the service in messages.
///
/// # Errors
///
/// [`Fault::Retryable`]: no such link was found, and a part of the headers can't be read. It may name a next page.
pub fn linked(headers: &HeaderMap, service: &str) -> Result<Option<String>, Fault> {
    let mut is_whole = true;
    for value in headers.get_all(LINK) {
        let (links, whole) = links(&String::from_utf8_lossy(value.as_bytes()));
        is_whole &= whole;
        match links.into_iter().find(|(_, relation)| is_next(relation)) {
            Some((target, _)) if !target.contains(char::REPLACEMENT_CHARACTER) => return Ok(Some(target)),
            Some(_) => is_whole = false,
            None => {}
        }
    }
    match is_whole {
        true => Ok(None),
        false => {
            Err(Fault::retry(format!("{service}'s header `Link` can't be read, and may name a next page"))
                .hint("if this persists, report this to the operator of the source"))
        }
    }
}

fn is_next(relation: &str) -> bool {
    relation.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
}

/// Returns the target and the relation of each link in a header, up to the first one that can't be read, and whether
/// all of the header was read.
fn links(mut text: &str) -> (Vec<(String, String)>, bool) {
    let mut found = vec![];
    loop {
        text = text.trim_start_matches([',', ' ', '\t']);
        if text.is_empty() {
            return (found, true);
        }
        let Some((target, mut rest)) = text.strip_prefix('<').and_then(|rest| rest.split_once('>')) else {
            return (found, false);
        };
        let mut relation = None;
        while let Some((name, value, after)) = parameter(rest) {
            // Of several relations, the first counts.
            if name.eq_ignore_ascii_case("rel") {
                relation.get_or_insert(value);
            }
            rest = after;
        }
        found.push((target.to_owned(), relation.unwrap_or_default()));
        text = rest.trim_start();
        if !text.is_empty() && !text.starts_with(',') {
            return (found, false);
        }
    }
}

/// Reads `; name=value`, or `; name="value"`. Returns the rest of the text, too; it begins with the quotation mark of a
/// value if that has no end.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start().strip_prefix(';')?.trim_start();
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = (text[..end].trim(), &text[end..]);
    let Some(rest) = rest.strip_prefix('=') else { return Some((name, String::new(), rest)) };
    let rest = rest.trim_start();
    match rest.strip_prefix('"') {
        None => {
            let end = rest.find([';', ',']).unwrap_or(rest.len());
            Some((name, rest[..end].trim().to_owned(), &rest[end..]))
        }
        Some(quoted) => {
            let (mut value, mut escaped) = (String::new(), false);
            for (at, c) in quoted.char_indices() {
                match (escaped, c) {
                    (false, '"') => return Some((name, value, &quoted[at + 1..])),
                    (false, '\\') => escaped = true,
                    _ => {
                        value.push(c);
                        escaped = false;
                    }
                }
            }
            Some((name, value, rest))
        }
    }
}

/// The parameters that an entry sets for every request: names and values.
pub type Own = [(String, String)];

/// Returns the address of a next page, which `named` names relative to `request`, without its origin and without the
/// parameters that the entry sets: a checkpoint has no secret.
///
/// # Errors
///
/// [`Fault::List`]: the text is no address, or one of another origin, to which the credentials must not be sent.
pub fn stored(named: &str, request: &Url, own: &Own) -> Result<String, Fault> {
    let hint = "correct `paging`, or report this to the operator of the source";
    let mut url = request
        .join(named)
        .map_err(|_| Fault::list("the address of the next page is not valid").hint(hint))?;
    if url.origin() != request.origin() {
        return Err(
            Fault::list("the next page is on another host, to which the credentials are not sent").hint(hint)
        );
    }
    url.set_fragment(None);
    let is_own = |name: &str, value: &str| own.iter().any(|(own, text)| own == name && text == value);
    if url.query_pairs().any(|(name, value)| is_own(&name, &value)) {
        let rest: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        url.query_pairs_mut().clear().extend_pairs(rest.iter().filter(|(name, value)| !is_own(name, value)));
    }
    let query = url.query().filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
    Ok(format!("{}{}", url.path(), query.unwrap_or_default()))
}

/// Returns the address that [`stored`] returned, with the origin of `request` and the parameters of the entry that it
/// does not have.
///
/// # Errors
///
/// [`Fault::List`]: the position in the checkpoint is damaged.
pub fn restored(stored: &str, request: &Url, own: &Own) -> Result<Url, Fault> {
    let (path, query) = stored.split_once('?').map_or((stored, None), |(path, query)| (path, Some(query)));
    if !path.starts_with('/') {
        return Err(super::misfit());
    }
    // Joined, a path that begins with two slashes would be another host.
    let mut url = request.clone();
    url.set_path(path);
    url.set_query(query);
    url.set_fragment(None);
    let names: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    let missing: Vec<_> = own.iter().filter(|(name, _)| !names.contains(name)).collect();
    if !missing.is_empty() {
        url.query_pairs_mut().extend_pairs(missing);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_next_page_is_found_in_every_form_of_a_link_header() {
        for (headers, expected) in [
            (&[r#"<https://h/a?page=2>; rel="next""#][..], Some("https://h/a?page=2")),
            (
                &[r#"<https://h/a?page=1>; rel="first", <https://h/a?x=1,2;3>; rel="next""#],
                Some("https://h/a?x=1,2;3"),
            ),
            (&["</a?page=2>;rel=next;title=x"], Some("/a?page=2")),
            (&[r#"</a>; REL="last Next""#], Some("/a")),
            (
                &[r#"</a>; title="a, <b>; rel=\"next\""; rel="prev""#, r#"</c> ; foo ; rel = "next""#],
                Some("/c"),
            ),
            (&[r#"</a>; rel="prev"; rel="next""#], None),
            (&[r#"</a>; rel="nextish""#], None),
            (&[r#"</a>; rel="first""#], None),
            (&[r#"</a>; rel="next"#], Some("/a")),
            (&[r#"</a>; title="Übersicht"; rel="prev", </b>; rel="next""#], Some("/b")),
            (&[r#"</Übersicht?page=2>; rel="next""#], Some("/Übersicht?page=2")),
            (&[r#", </a>; rel="prev" , , </b>; rel=next ,"#], Some("/b")),
            (&["</a", r#"</b>; rel="next""#], Some("/b")),
            (&[""], None),
            (&[], None),
        ] {
            let mut map = HeaderMap::new();
            headers
                .iter()
                .for_each(|text| _ = map.append(LINK, HeaderValue::from_bytes(text.as_bytes()).unwrap()));
            assert_eq!(linked(&map, "h").unwrap().as_deref(), expected, "{headers:?}");
        }
    }

    /// The header may name a next page.
    #[test]
    fn a_link_header_that_cannot_be_read_does_not_end_a_listing() {
        for text in [
            &b"</a"[..],
            b"rel=next",
            b"/a; rel=next",
            b"</a> rel=\"next\"",
            b"</a\xff>; rel=\"next\"",
            b"</a>; rel=prev, /b; rel=next",
        ] {
            let mut map = HeaderMap::new();
            map.append(LINK, HeaderValue::from_bytes(text).unwrap());
            let fault = linked(&map, "h").unwrap_err();
            assert!(matches!(fault, Fault::Retryable { .. }));
            assert!(fault.to_string().starts_with("h's header `Link` can't be read"), "{text:?}: {fault}");
        }
    }

    #[test]
    fn a_next_page_is_stored_without_its_origin_and_the_entrys_parameters() {
        let request = Url::parse("https://h.example/api/items?key=s3cr3t&page=1").unwrap();
        let own = [("key".to_owned(), "s3cr3t".to_owned())];
        for (named, expected, again) in [
            ("/api/items?page=2", "/api/items?page=2", "/api/items?page=2&key=s3cr3t"),
            ("?page=2&key=s3cr3t", "/api/items?page=2", "/api/items?page=2&key=s3cr3t"),
            ("https://h.example:443/x?key=other", "/x?key=other", "/x?key=other"),
            ("https://H.example/x?after=a%2Fb#c", "/x?after=a%2Fb", "/x?after=a%2Fb&key=s3cr3t"),
            ("next?key=s3cr3t", "/api/next", "/api/next?key=s3cr3t"),
            ("https://h.example//x/y?page=2", "//x/y?page=2", "//x/y?page=2&key=s3cr3t"),
        ] {
            let found = stored(named, &request, &own).unwrap();
            assert_eq!(found, expected, "{named}");
            let url = restored(&found, &request, &own).unwrap();
            assert_eq!(url.as_str(), format!("https://h.example{again}"));
        }
    }

    #[test]
    fn a_next_page_elsewhere_is_an_error() {
        let request = Url::parse("https://h.example/api").unwrap();
        for named in [
            "http://h.example/api",
            "https://h.example:444/",
            "//evil.example/",
            "https://h.example@evil.example/",
            "javascript:x",
        ] {
            let fault = stored(named, &request, &[]).unwrap_err();
            assert!(fault.to_string().contains("on another host"), "{named}: {fault}");
        }
        assert!(stored("https://", &request, &[]).is_err());
        let url = restored("//evil.example/", &request, &[]).unwrap();
        assert_eq!(url.as_str(), "https://h.example//evil.example/", "the origin stays");
        assert!(restored("https://evil.example/", &request, &[]).is_err());
    }
}
