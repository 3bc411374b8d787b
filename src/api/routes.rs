//! The paths of the API: one table, from which its router and its description are made.

use http::StatusCode;

use super::{
    call::{Kind, Parameter},
    openapi,
    problem::{BUSY, UNKNOWN_LIST, UNKNOWN_RUN, UNREADABLE},
    reads::{self, json_of},
    route::{Method, Route},
    syncs,
};

const LIST: Parameter = Parameter {
    name: "list",
    about: "the `list_id` of one or more entries; all lists if absent",
    kind: Kind::Text,
};

/// What most paths have in common.
const READ: Route = Route {
    method: Method::Get,
    path: "",
    about: "",
    parameters: &[],
    content: "application/json",
    answers: &[(200, "the present")],
    problems: &[],
    waits: false,
    run: |_, _| Box::pin(async { json_of(StatusCode::OK, &()) }),
};

/// All paths.
pub static ROUTES: [Route; 11] = [
    Route {
        path: "/api/v1/status",
        about: "what each entry does, its progress, and what waits for a person",
        run: |api, call| Box::pin(reads::status(api, call)),
        ..READ
    },
    Route {
        path: "/api/v1/lists",
        about: "the entries of the status, by list",
        run: |api, call| Box::pin(reads::lists(api, call)),
        ..READ
    },
    Route {
        path: "/api/v1/runs",
        about: "the runs on record, the latest one first",
        parameters: &[
            LIST,
            Parameter { name: "limit", about: "number of runs on a page", kind: Kind::Number(1..=1000, 20) },
            Parameter { name: "cursor", about: "the `next` of the page before", kind: Kind::Text },
        ],
        problems: &[UNKNOWN_LIST, UNREADABLE],
        run: |api, call| Box::pin(reads::runs(api, call)),
        ..READ
    },
    Route {
        path: "/api/v1/runs/{id}",
        about: "one run",
        problems: &[UNKNOWN_RUN, UNREADABLE],
        run: |api, call| Box::pin(reads::run(api, call)),
        ..READ
    },
    Route {
        path: "/api/v1/rejected",
        about: "numbers of the rejected records that wait, by delivery and reason",
        parameters: &[LIST],
        problems: &[UNKNOWN_LIST, UNREADABLE],
        run: |api, call| Box::pin(reads::rejected(api, call)),
        ..READ
    },
    Route {
        method: Method::Post,
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
        answers: &[(200, "the runs have ended"), (202, "what the request has led to, with `wait=false`")],
        problems: &[UNKNOWN_LIST, BUSY],
        waits: true,
        run: |api, call| Box::pin(syncs::sync(api, call)),
        ..READ
    },
    Route {
        method: Method::Post,
        path: "/api/v1/lists/{id}/stop",
        about: "ends the runs of a list, which then waits for a request",
        answers: &[(200, "the runs that have ended")],
        problems: &[UNKNOWN_LIST, BUSY],
        waits: true,
        run: |api, call| Box::pin(syncs::stop(api, call)),
        ..READ
    },
    Route {
        path: "/metrics",
        about: "figures for Prometheus",
        content: "text/plain",
        run: |api, call| Box::pin(reads::metrics(api, call)),
        ..READ
    },
    Route {
        path: "/health/live",
        about: "whether the program and its controller answer",
        run: |api, call| Box::pin(reads::live(api, call)),
        ..READ
    },
    Route {
        path: "/health/ready",
        about: "whether lists can run",
        run: |api, call| Box::pin(reads::ready(api, call)),
        ..READ
    },
    Route {
        path: "/openapi.json",
        about: "this description",
        run: |_, _| Box::pin(async { json_of(StatusCode::OK, &openapi::document(&ROUTES)) }),
        ..READ
    },
];
