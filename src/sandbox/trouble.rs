//! What can become of one request instead of its answer.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::answer;
use crate::net::{Response, TransportError, transport::LONGEST};

/// One answer gone wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Refused with this status, a JSON body, and `Retry-After` if given.
    Status(u16, Option<&'static str>),
    /// Not carried out: this status and this body, of type HTML.
    Html(u16, &'static str),
    /// The request is carried out, the answer stops in the middle and looks whole.
    Truncated,
    /// The request is carried out, the answer is whole and not quite JSON.
    Malformed,
    /// The request is not carried out; the answer has a good status and reports an error in its body.
    ErrorBody,
    /// The request is carried out, the connection is reset before the answer.
    Reset,
    /// Not carried out: the connection is reset.
    ResetBefore,
    /// The request is carried out, the connection ends in the middle of the answer.
    CutOff,
    /// Nothing is heard for as long as a client waits.
    Stall { carried_out: bool },
    /// The request is carried out, the answer takes its time.
    Slow,
}

/// What becomes of a request, as the wire sees it.
pub(super) enum Outcome {
    Whole(Response),
    /// The transfer of this answer breaks in the middle.
    Half(Response),
    Nothing(TransportError),
}

const STATUSES: [u16; 5] = [429, 500, 502, 503, 504];
const RETRY_AFTER: [&str; 5] = ["1", "2", "3", "4", "5"];
const PAGE: &str = "<html><body><h1>Please try again later</h1></body></html>";
/// What a slow answer takes longer than ten usual ones.
const SLOW: Duration = Duration::from_secs(3);

impl Trouble {
    /// One of all that pass by themselves.
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

    /// What is answered instead, if the request is not carried out.
    pub(super) fn instead(&self) -> Option<Response> {
        match self {
            Trouble::Status(status, retry_after) => Some(refusal(*status, *retry_after)),
            Trouble::Html(status, body) => Some(html(*status, body)),
            Trouble::ErrorBody => Some(answer(200, &json!({"status": "error", "error": "busy"}))),
            // Nobody hears this one.
            Trouble::ResetBefore | Trouble::Stall { carried_out: false } => Some(Response::default()),
            _ => None,
        }
    }

    /// How long it holds up an answer that usually takes `latency`.
    pub(super) fn delay(&self, latency: Duration) -> Duration {
        match self {
            Trouble::Stall { .. } => LONGEST,
            Trouble::Slow => latency * 9 + SLOW,
            _ => Duration::ZERO,
        }
    }

    /// What is left of an answer.
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

/// One comma too many, right before the end.
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
