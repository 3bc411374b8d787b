//! Failures of a single request.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::answer;
use crate::net::{Response, TransportError, transport::LONGEST};

/// A way in which a request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The request is not carried out: this status with a JSON body, and `Retry-After` if given.
    Status(u16, Option<&'static str>),
    /// The request is not carried out: this status with an HTML body.
    Html(u16, &'static str),
    /// The request is carried out. The response ends in the middle and looks complete.
    Truncated,
    /// The request is carried out. The response is complete and not quite JSON.
    Malformed,
    /// The request is not carried out. The response has the status 200 and reports an error in its body.
    ErrorBody,
    /// The request is carried out. The connection is reset before the response.
    Reset,
    /// The request is not carried out. The connection is reset.
    ResetBefore,
    /// The request is carried out. The connection ends in the middle of the response.
    CutOff,
    /// No response arrives within the client's time limit.
    Stall { carried_out: bool },
    /// The request is carried out. The response is late.
    Slow,
}

/// Result of a request, as the transport sees it.
pub(super) enum Outcome {
    /// A complete response.
    Whole(Response),
    /// A response whose transfer breaks off in the middle.
    Half(Response),
    /// No response.
    Nothing(TransportError),
}

const STATUSES: [u16; 5] = [429, 500, 502, 503, 504];
const RETRY_AFTER: [&str; 5] = ["1", "2", "3", "4", "5"];
const PAGE: &str = "<html><body><h1>Please try again later</h1></body></html>";
/// Time that a late response takes in addition to ten times the latency.
const SLOW: Duration = Duration::from_secs(3);

impl Trouble {
    /// Returns a random trouble, one that is temporary.
    pub(super) fn any(chance: &mut Rng) -> Self {
        match chance.u8(..11) {
            0..2 => {
                let after = chance.bool().then(|| RETRY_AFTER[chance.usize(..RETRY_AFTER.len())]);
                Trouble::Status(STATUSES[chance.usize(..STATUSES.len())], after)
            }
            2 => Trouble::Html(if chance.bool() { 403 } else { 503 }, PAGE),
            3 => Trouble::Truncated,
            4 => Trouble::Malformed,
            5 => Trouble::Reset,
            6 => Trouble::ResetBefore,
            7 => Trouble::CutOff,
            8 => Trouble::Stall { carried_out: chance.bool() },
            9 => Trouble::ErrorBody,
            _ => Trouble::Slow,
        }
    }

    /// Returns the response in place of the service's, if the request is not carried out.
    pub(super) fn instead(&self) -> Option<Response> {
        match self {
            Trouble::Status(status, retry_after) => Some(refusal(*status, *retry_after)),
            Trouble::Html(status, body) => Some(html(*status, body)),
            Trouble::ErrorBody => Some(answer(200, &json!({"status": "error", "error": "busy"}))),
            // This response never arrives.
            Trouble::ResetBefore | Trouble::Stall { carried_out: false } => Some(Response::default()),
            _ => None,
        }
    }

    /// Returns the additional delay of a response that otherwise takes `latency`.
    pub(super) fn delay(&self, latency: Duration) -> Duration {
        match self {
            Trouble::Stall { .. } => LONGEST,
            Trouble::Slow => latency * 9 + SLOW,
            _ => Duration::ZERO,
        }
    }

    /// Applies the trouble to a response.
    pub(super) fn spoil(&self, mut response: Response) -> Outcome {
        let body = response.body_mut();
        match self {
            Trouble::Truncated => body.truncate(body.len() / 2),
            Trouble::Malformed => *body = malformed(body),
            Trouble::CutOff => return Outcome::Half(response),
            Trouble::Stall { .. } => return Outcome::Nothing(TransportError::TimedOut),
            Trouble::Reset | Trouble::ResetBefore => {
                return Outcome::Nothing(TransportError::Broken("connection reset by peer".into()));
            }
            Trouble::Status(..) | Trouble::Html(..) | Trouble::ErrorBody | Trouble::Slow => {}
        }
        Outcome::Whole(response)
    }
}

/// Inserts one comma too many, right before the end.
fn malformed(body: &[u8]) -> Bytes {
    match body.split_last() {
        Some((last, rest)) => [rest, b",", &[*last]].concat().into(),
        None => Bytes::new(),
    }
}

fn refusal(status: u16, retry_after: Option<&'static str>) -> Response {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut response = answer(status, &json!({"title": title, "status": status}));
    if let Some(after) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(after));
    }
    response
}

fn html(status: u16, body: &'static str) -> Response {
    let mut response = answer(status, &Value::Null);
    *response.body_mut() = Bytes::from_static(body.as_bytes());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}
