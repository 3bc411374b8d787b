//! The router of the API: the rules of access first, then the paths of the table.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{RawPathParams, RawQuery, Request, State, rejection::RawPathParamsRejection},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use http::{Method, header};
use tokio::time::timeout;

use super::{
    Api,
    access::{Asked, Ends},
    call::Call,
    problem::{FOREIGN, LONG_HEAD, Problem, TOO_LARGE, UNKNOWN_PATH, WRONG_METHOD},
    reads::Answer,
    route::{self, Route},
    routes::ROUTES,
};

/// Maximum time of a request that waits for no run.
const LIMIT: Duration = Duration::from_secs(30);
/// Maximum size of the head of a request in bytes. The server holds at most some 32 KB more at a time.
const HEAD: usize = 32 << 10;
/// Maximum size of a body in bytes.
const BODY: u64 = 64 << 10;

/// Returns the router of all paths, behind the rules of access. Each request has the [`Ends`] of its connection as an
/// extension.
pub fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for route in &ROUTES {
        let filter = match route.method {
            route::Method::Get => MethodFilter::GET,
            route::Method::Post => MethodFilter::POST,
        };
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
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if fields + uri.to_string().len() > HEAD {
        return Problem::new(LONG_HEAD, format!("a head has at most {HEAD} bytes")).into_response();
    }
    if let Err(problem) = api.access.decide(&Asked { method, uri, headers, ends }) {
        return problem.into_response();
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > BODY) {
        return Problem::new(TOO_LARGE, format!("a body has at most {BODY} bytes")).into_response();
    }
    next.run(request).await
}
