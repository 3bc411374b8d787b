//! A path of the API: what is declared of it, and how it answers.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{
    Api,
    call::{Call, Parameter},
    problem::{BAD_QUERY, FOREIGN, Kind, LONG_HEAD, NO_TOKEN, NOT_READY, STOPPING, TOO_LARGE, WRONG_TOKEN},
    reads::Answer,
};

/// The methods of the API. `HEAD` is `GET` without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// A path of the API.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// What it returns or does.
    pub about: &'static str,
    pub parameters: &'static [Parameter],
    /// Type of the content of the answers that are no problems.
    pub content: &'static str,
    /// These answers, each with its status and what it means.
    pub answers: &'static [(u16, &'static str)],
    /// Problems besides [`COMMON`].
    pub problems: &'static [Kind],
    /// Whether the answer may wait for the end of runs.
    pub waits: bool,
    pub run: fn(Arc<Api>, Call) -> BoxFuture<'static, Answer>,
}

/// The problems of every path.
const COMMON: [Kind; 8] =
    [BAD_QUERY, NO_TOKEN, WRONG_TOKEN, FOREIGN, TOO_LARGE, LONG_HEAD, STOPPING, NOT_READY];

impl Method {
    /// Returns the name of the method as requests spell it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

impl Route {
    /// Returns all problems with which the path may answer.
    pub fn problems(&self) -> impl Iterator<Item = Kind> {
        COMMON.iter().chain(self.problems).copied()
    }
}
