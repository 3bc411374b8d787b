//! The paths of the API: one table, from which the router is made.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{RawPathParams, RawQuery, Request, State, rejection::RawPathParamsRejection},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use futures::future::BoxFuture;
use http::{Method, header};
use tokio::time::timeout;

use super::{
    Api,
    access::{Asked, Ends},
    call::{Call, Kind, Parameter},
    problem::{FOREIGN, Problem, TOO_LARGE, UNKNOWN_PATH, WRONG_METHOD},
    reads::{self, Answer},
    syncs,
};

/// Maximum time of a request that waits for no run.
const LIMIT: Duration = Duration::from_secs(30);
/// Maximum size of a body in bytes.
const BODY: u64 = 64 << 10;

/// A path of the API.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// What it returns or does, for the description of the API.
    pub about: &'static str,
    pub parameters: &'static [Parameter],
    /// Whether the answer may wait for the end of runs.
    waits: bool,
    run: fn(Arc<Api>, Call) -> BoxFuture<'static, Answer>,
}

const LIST: Parameter = Parameter {
    name: "list",
    about: "the `list_id` of one or more entries; all lists if absent",
    kind: Kind::Text,
};

/// All paths.
pub static ROUTES: [Route; 9] = [
    Route {
        method: Method::GET,
        path: "/api/v1/status",
        about: "what each entry does, its progress, and what waits for a person",
        parameters: &[],
        waits: false,
        run: |api, call| Box::pin(reads::status(api, call)),
    },
    Route {
        method: Method::GET,
        path: "/api/v1/lists",
        about: "the same by list",
        parameters: &[],
        waits: false,
        run: |api, call| Box::pin(reads::lists(api, call)),
    },
    Route {
        method: Method::GET,
        path: "/api/v1/runs",
        about: "the runs on record, the latest one first",
        parameters: &[
            LIST,
            Parameter { name: "limit", about: "number of runs on a page", kind: Kind::Number(1..=1000, 20) },
            Parameter { name: "cursor", about: "the `next` of the page before", kind: Kind::Text },
        ],
        waits: false,
        run: |api, call| Box::pin(reads::runs(api, call)),
    },
    Route {
        method: Method::GET,
        path: "/api/v1/runs/{id}",
        about: "one run",
        parameters: &[],
        waits: false,
        run: |api, call| Box::pin(reads::run(api, call)),
    },
    Route {
        method: Method::GET,
        path: "/api/v1/rejected",
        about: "numbers of the rejected records that wait, by list and reason",
        parameters: &[LIST],
        waits: false,
        run: |api, call| Box::pin(reads::rejected(api, call)),
    },
    Route {
        method: Method::POST,
        path: "/api/v1/sync",
        about: "syncs a list, or all enabled lists",
        parameters: &[
            LIST,
            Parameter {
                name: "wait",
                about: "whether the answer comes when the runs have ended",
                kind: Kind::Flag(true),
            },
        ],
        waits: true,
        run: |api, call| Box::pin(syncs::sync(api, call)),
    },
    Route {
        method: Method::POST,
        path: "/api/v1/lists/{id}/stop",
        about: "ends the runs of a list, which then waits for a request",
        parameters: &[],
        waits: true,
        run: |api, call| Box::pin(syncs::stop(api, call)),
    },
    Route {
        method: Method::GET,
        path: "/health/live",
        about: "whether the program answers",
        parameters: &[],
        waits: false,
        run: |api, call| Box::pin(reads::live(api, call)),
    },
    Route {
        method: Method::GET,
        path: "/health/ready",
        about: "whether lists can run",
        parameters: &[],
        waits: false,
        run: |api, call| Box::pin(reads::ready(api, call)),
    },
];

/// Returns the router of all paths, behind the rules of access. Each request has the [`Ends`] of its connection as an
/// extension.
pub fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for route in &ROUTES {
        let filter = if route.method == Method::POST { MethodFilter::POST } else { MethodFilter::GET };
        let handler = move |State(api): State<Arc<Api>>, path: Path, RawQuery(query): RawQuery| async move {
            respond(route, api, path, query.unwrap_or_default()).await
        };
        router = router.route(route.path, on(filter, handler));
    }
    router
        .fallback(async || Problem::new(UNKNOWN_PATH, "docs/api.md lists the paths of the API"))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&api), guard))
        .with_state(api)
}

/// The parts of a path that stand for ids.
type Path = Result<RawPathParams, RawPathParamsRejection>;

async fn respond(route: &'static Route, api: Arc<Api>, path: Path, query: String) -> Answer {
    let unknown =
        |_| Problem::new(UNKNOWN_PATH, "the path is not UTF-8; docs/api.md lists the paths of the API");
    let id = path.map_err(unknown)?.iter().next().map(|(_, id)| id.to_owned()).unwrap_or_default();
    let call = Call::read(id, &query, route.parameters)?;
    let answer = (route.run)(api, call);
    match route.waits {
        true => answer.await,
        false => timeout(LIMIT, answer).await.map_err(|_| Problem::hangs())?,
    }
}

async fn wrong_method(method: Method) -> Problem {
    Problem::new(WRONG_METHOD, format!("this path has no {method}; the header `Allow` names its methods"))
}

/// Lets only those requests through that the rules of access permit.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let Some(ends) = request.extensions().get::<Ends>().copied() else {
        return Problem::new(FOREIGN, "the request has no connection").into_response();
    };
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    if let Err(problem) = api.access.decide(&Asked { method, uri, headers, ends }) {
        return problem.into_response();
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > BODY) {
        return Problem::new(TOO_LARGE, format!("a body has at most {BODY} bytes")).into_response();
    }
    next.run(request).await
}
