//! The errors of the API, in the form of RFC 9457 (`application/problem+json`).

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// An error as its caller gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Name of the kind of error, which programs compare.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind of error as a person reads it.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, and what to do.
    pub detail: String,
}

/// The kinds of errors: name, title and status. The description of the API lists them.
pub type Kind = (&'static str, &'static str, StatusCode);

pub const BAD_QUERY: Kind = ("urn:importer:bad-query", "The query is not valid", StatusCode::BAD_REQUEST);
pub const NO_TOKEN: Kind = ("urn:importer:no-token", "A token is needed", StatusCode::UNAUTHORIZED);
pub const WRONG_TOKEN: Kind = ("urn:importer:wrong-token", "The token is wrong", StatusCode::UNAUTHORIZED);
pub const FOREIGN: Kind = ("urn:importer:foreign", "The request is refused", StatusCode::FORBIDDEN);
pub const UNKNOWN_PATH: Kind = ("urn:importer:unknown-path", "There is no such path", StatusCode::NOT_FOUND);
pub const UNKNOWN_LIST: Kind = ("urn:importer:unknown-list", "There is no such list", StatusCode::NOT_FOUND);
pub const UNKNOWN_RUN: Kind = ("urn:importer:unknown-run", "There is no such run", StatusCode::NOT_FOUND);
pub const WRONG_METHOD: Kind =
    ("urn:importer:wrong-method", "The path has no such method", StatusCode::METHOD_NOT_ALLOWED);
pub const TOO_LARGE: Kind =
    ("urn:importer:too-large", "The body is too large", StatusCode::PAYLOAD_TOO_LARGE);
pub const LONG_HEAD: Kind = (
    "urn:importer:long-head",
    "The head of the request is too large",
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
);
pub const BUSY: Kind = ("urn:importer:busy", "Too many requests at a time", StatusCode::SERVICE_UNAVAILABLE);
pub const STOPPING: Kind = ("urn:importer:stopping", "importer is stopping", StatusCode::SERVICE_UNAVAILABLE);
pub const NOT_READY: Kind =
    ("urn:importer:not-ready", "importer is not ready", StatusCode::SERVICE_UNAVAILABLE);
pub const UNREADABLE: Kind =
    ("urn:importer:unreadable", "A file can't be read", StatusCode::INTERNAL_SERVER_ERROR);

impl Problem {
    pub fn new((kind, title, status): Kind, detail: impl Into<String>) -> Self {
        Problem { kind, title, status: status.as_u16(), detail: detail.into() }
    }

    /// The controller has ended.
    pub fn stopping() -> Self {
        Problem::new(STOPPING, "importer is stopping; repeat the request after the next start")
    }

    /// The controller does not answer.
    pub fn hangs() -> Self {
        Problem::new(NOT_READY, "importer did not answer in time; look at its log")
    }

    /// The state file has no such list.
    pub fn unknown_list(list: &str) -> Self {
        let detail = format!("the state file has no entry of the list {list:?}; GET /api/v1/lists names all");
        Problem::new(UNKNOWN_LIST, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Four texts and a number have a JSON form.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
