//! Responses whose bodies are slices of texts that exist already.

use std::{
    array,
    convert::Infallible,
    iter::Flatten,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};

/// A body of up to three parts, which hyper writes in one call.
pub struct Parts {
    parts: Flatten<array::IntoIter<Option<Bytes>, 3>>,
    left: u64,
}

impl Parts {
    fn new(parts: [Option<Bytes>; 3]) -> Self {
        let left = parts.iter().flatten().map(|part| part.len() as u64).sum();
        Parts { parts: parts.into_iter().flatten(), left }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.next();
        self.left -= part.as_ref().map_or(0, |part| part.len() as u64);
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

pub fn text(status: u16, text: String) -> Response<Parts> {
    json(status, [Some(text.into()), None, None])
}

pub fn json(status: u16, parts: [Option<Bytes>; 3]) -> Response<Parts> {
    let mut response = Response::new(Parts::new(parts));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
