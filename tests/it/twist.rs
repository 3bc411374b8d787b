//! A transport between the program and the sandbox that changes the sandbox's responses.

use std::sync::Arc;

use futures::future::BoxFuture;
use importer::{
    net::{Request, Response, Transport, TransportError},
    sandbox::Sandbox,
};
use serde_json::Value;

/// Passes every response through a function.
pub struct Twist<F>(pub Arc<Sandbox>, pub F);

impl<F: Fn(&Request, Response) -> Response + Send + Sync> Transport for Twist<F> {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let response = self.0.handle(request.clone()).await?;
            Ok((self.1)(&request, response))
        })
    }
}

/// Returns the same response with another body.
pub fn with_body(mut response: Response, body: impl Into<Vec<u8>>) -> Response {
    *response.body_mut() = body.into().into();
    response
}

/// Changes every member in a successful response of Mailchimp: those of a page, or the only one.
pub fn each_member(response: Response, change: impl Fn(&mut Value)) -> Response {
    let Ok(mut body) = serde_json::from_slice::<Value>(response.body()) else { return response };
    if !response.status().is_success() {
        return response;
    }
    match body.get_mut("members").and_then(Value::as_array_mut) {
        Some(members) => members.iter_mut().for_each(change),
        None => change(&mut body),
    }
    with_body(response, body.to_string())
}
