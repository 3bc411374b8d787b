//! Pages of the warehouses, by each kind of paging.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde_json::{Value, json};

use super::{Rest, Warehouse, answer, time};
use crate::{
    base::time as times,
    net::{Request, Response},
};

/// Records of a response to a request without a limit, and upper bound of the limit.
const DEFAULT: usize = 20;
const MOST: usize = 1000;

/// Responds with a page. Stricter than most services: rejects unknown parameters, so that a typing error shows.
pub fn respond(rest: &Rest, kind: &str, request: &Request) -> Response {
    let text = request.uri().query().unwrap_or_default();
    let query = Query(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect());
    let (known, page): (&[&str], Paging) = match kind {
        "offset" => (&["offset", "limit"], by_offset),
        "page" => (&["page", "per_page"], by_page),
        "cursor" => (&["cursor", "limit", "updated_since"], by_cursor),
        "link" => (&["page", "per_page"], by_link),
        _ => return answer(404, &json!({"error": "Not found"})),
    };
    if let Some(name) = query.0.keys().find(|name| !known.contains(&name.as_str())) {
        return answer(400, &json!({"error": format!("The parameter {name} is unknown.")}));
    }
    page(rest, &query, request).unwrap_or_else(|why| answer(400, &json!({"error": why})))
}

type Paging = fn(&Rest, &Query, &Request) -> Result<Response, String>;

/// The parameters of a request.
struct Query(BTreeMap<String, String>);

impl Query {
    fn number(&self, name: &str, default: usize) -> Result<usize, String> {
        let Some(text) = self.0.get(name) else { return Ok(default) };
        text.parse().map_err(|_| format!("{name} is not a number."))
    }

    /// Returns the number of records to return.
    fn limit(&self, name: &str, rest: &Rest) -> Result<usize, String> {
        let asked = self.number(name, DEFAULT)?.clamp(1, MOST);
        Ok(rest.cap.map_or(asked, |cap| asked.min(cap)))
    }
}

/// Returns the records that a list without deletions has, by id.
fn listed(rest: &Rest) -> Vec<&Warehouse> {
    rest.warehouses.values().filter(|warehouse| !warehouse.deleted).collect()
}

fn slice(listed: &[&Warehouse], offset: usize, limit: usize) -> Vec<Value> {
    listed.iter().skip(offset).take(limit).map(|warehouse| warehouse.json()).collect()
}

fn by_offset(rest: &Rest, query: &Query, _: &Request) -> Result<Response, String> {
    let (offset, limit) = (query.number("offset", 0)?, query.limit("limit", rest)?);
    let listed = listed(rest);
    Ok(answer(200, &json!({"items": slice(&listed, offset, limit), "total": listed.len()})))
}

/// Returns the page's number, from 1 on, its records, the number of pages, and that of all records.
fn numbered(rest: &Rest, query: &Query) -> Result<(usize, Vec<Value>, usize, usize), String> {
    let (page, size) = (query.number("page", 1)?, query.limit("per_page", rest)?);
    let before = page.checked_sub(1).ok_or("page begins at 1.")?;
    let listed = listed(rest);
    Ok((page, slice(&listed, before.saturating_mul(size), size), listed.len().div_ceil(size), listed.len()))
}

fn by_page(rest: &Rest, query: &Query, _: &Request) -> Result<Response, String> {
    let (page, records, pages, total) = numbered(rest, query)?;
    Ok(answer(200, &json!({"data": records, "meta": {"page": page, "pages": pages, "total": total}})))
}

/// Names the next page in the header `Link` (RFC 8288).
fn by_link(rest: &Rest, query: &Query, request: &Request) -> Result<Response, String> {
    let (page, records, pages, _) = numbered(rest, query)?;
    let mut response = answer(200, &Value::Array(records));
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let scheme = request.uri().scheme_str().unwrap_or("http");
    let size = query.limit("per_page", rest)?;
    let address = |page: usize| {
        let host = host.unwrap_or("localhost");
        format!("<{scheme}://{host}/rest/items/link?page={page}&per_page={size}>")
    };
    let mut links = vec![format!("{}; rel=\"first\"", address(1))];
    if page < pages {
        links.push(format!("{}; rel=\"next\"", address(page + 1)));
    }
    if let Ok(link) = HeaderValue::try_from(links.join(", ")) {
        response.headers_mut().insert("link", link);
    }
    Ok(response)
}

/// Lists the records by time of change, deleted ones included. A cursor is opaque, and names the last record.
fn by_cursor(rest: &Rest, query: &Query, _: &Request) -> Result<Response, String> {
    let limit = query.limit("limit", rest)?;
    let since =
        query.0.get("updated_since").map(|text| times::parse(text).ok_or("updated_since is not a time."));
    let since = since.transpose()?;
    let after = query.0.get("cursor").map(|text| place(text).ok_or("The cursor is invalid.")).transpose()?;
    let mut found: Vec<&Warehouse> = rest.warehouses.values().collect();
    found.retain(|warehouse| since.is_none_or(|since| warehouse.updated >= since));
    found.retain(|warehouse| after.is_none_or(|after| (warehouse.updated.timestamp(), warehouse.id) > after));
    found.sort_by_key(|warehouse| (warehouse.updated, warehouse.id));
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found
        .last()
        .filter(|_| more)
        .map(|last| URL_SAFE_NO_PAD.encode(format!("{} {}", last.updated.timestamp(), last.id)));
    let records: Vec<Value> = found.iter().map(|warehouse| warehouse.json()).collect();
    let at = found.last().map(|last| time(last.updated));
    Ok(answer(200, &json!({"data": records, "meta": {"next": next, "last": at}})))
}

fn place(cursor: &str) -> Option<(i64, u64)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (seconds, id) = text.split_once(' ')?;
    Some((seconds.parse().ok()?, id.parse().ok()?))
}
