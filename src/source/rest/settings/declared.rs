//! Declares the settings of the source `rest`.

use super::super::auth::TOKEN_MEMBERS;
use crate::{
    base::spec::{Setting, ValueKind},
    net::endpoint::{HEADERS_SETTING, RATE_SETTING, account, statuses::STATUSES},
};

/// Declaration of the settings.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "url",
        ValueKind::Text,
        "Address of the records: http(s), without user and password. {list_id} and names of `context` are replaced.",
    )
    .required()
    .identifies()
    .private(),
    Setting::new("method", ValueKind::Word(&["GET", "POST"]), "Method of the requests.").default("\"GET\""),
    HEADERS_SETTING,
    Setting::new("query", ValueKind::Map(PARAMETER), "Parameters of every request. Names in braces are replaced by their values.")
        .default("{}")
        .identifies()
        .private(),
    Setting::new(
        "body",
        ValueKind::Map(&ValueKind::Any),
        "JSON object that every request of the method POST sends. Names in braces are replaced in its texts.",
    )
    .identifies()
    .private(),
    Setting::new(
        "auth",
        ValueKind::Either(&[
            ValueKind::Word(&["none", "basic", "bearer"]),
            ValueKind::Object(AUTH_MEMBERS),
        ]),
        "Which credentials are sent: none, basic, bearer, {\"header\": \"X-Api-Key\"}, or {\"token\": …} for a token that a login returns.",
    )
    .default("\"none\"")
    .identifies(),
    TOKEN_SETTING,
    USER_SETTING,
    PASSWORD_SETTING,
    Setting::new(
        "context",
        ValueKind::List(&ValueKind::Object(CONTEXT)),
        "Requests before the first page, and the values that later requests and records use.",
    ),
    Setting::new(
        "context_field",
        ValueKind::Text,
        "Field of each record that gets an object of the values of `context`.",
    ),
    Setting::new("records", ValueKind::Either(&[ValueKind::Text, ValueKind::Object(JQ)]), "Path of the array of records, empty if the response is the array; or a jq expression whose results are the records.")
        .default("\"\""),
    Setting::new(
        "item",
        ValueKind::Text,
        "Address of a single record, on the host of `url`; {key} is replaced by the key of the record.",
    )
    .private(),
    Setting::new(
        "key",
        ValueKind::Either(&[ValueKind::Text, ValueKind::List(&ValueKind::Text)]),
        "Path of the key in a record, or paths that are the key together.",
    )
    .required(),
    Setting::new(
        "changed",
        ValueKind::Text,
        "Path of the time of the last change: ISO 8601, RFC 2822, or Unix seconds or milliseconds.",
    ),
    Setting::new("deleted", ValueKind::Text, "Path of a deletion mark: true, a time, a number other than 0, or a text such as yes; an unclear value rejects the record."),
    Setting::new("status", ValueKind::Text, "Path of a short word by which records are counted."),
    Setting::new(
        "since",
        ValueKind::Object(SINCE),
        "Parameter by which the service lists only changes; without it, every run reads all records.",
    ),
    Setting::new("paging", ValueKind::Object(PAGING), "How the records are divided into pages; one page if absent."),
    Setting::new("total", ValueKind::Text, "Path, in a response, of the number of all records of the list."),
    // How answers are judged, and when requests are sent.
    Setting::new("accept", STATUSES, "Statuses of a response with records; 200 to 299 if absent.").pace(),
    Setting::new("empty", STATUSES, "Statuses that mean that there are no records.").default("[204]").pace(),
    Setting::new("retry_on", STATUSES, "Further statuses after which a request is sent again.").pace(),
    RATE_SETTING,
];
const TOKEN_SETTING: Setting = Setting::new(
    account::TOKEN,
    ValueKind::Text,
    "Reference to the token for bearer and header, or to a token that replaces the login.",
)
.credential("REST_TOKEN");
const USER_SETTING: Setting =
    Setting::new(account::USER, ValueKind::Text, "Reference to the user of basic, or of the login.")
        .credential("REST_USER");
const PASSWORD_SETTING: Setting =
    Setting::new(account::PASSWORD, ValueKind::Text, "Reference to the password of basic, or of the login.")
        .credential("REST_PASSWORD");
const PARAMETER: &ValueKind = &ValueKind::Either(&[
    ValueKind::Text,
    ValueKind::Flag,
    ValueKind::Number { least: f64::MIN, most: f64::MAX },
]);
const AUTH_MEMBERS: &[Setting] = &[
    Setting::new("header", ValueKind::Text, "Header of the token."),
    Setting::new("token", ValueKind::Object(TOKEN_MEMBERS), "Request that returns a token."),
];
const CONTEXT: &[Setting] = &[
    Setting::new("url", ValueKind::Text, "Address of the request, on the host of the records.")
        .required()
        .private(),
    Setting::new(
        "values",
        ValueKind::Map(&ValueKind::Text),
        "Names, and the paths of their values in the response.",
    )
    .required(),
];
const JQ: &[Setting] =
    &[Setting::new("jq", ValueKind::Text, "The jq expression; needs the feature jq.").required()];
const SINCE: &[Setting] = &[
    Setting::new("parameter", ValueKind::Text, "Name of the parameter.").required(),
    Setting::new(
        "format",
        ValueKind::Word(&["rfc3339", "seconds", "milliseconds", "date"]),
        "Format of the time.",
    )
    .default("\"rfc3339\""),
];
const PAGING: &[Setting] = &[
    Setting::new("type", ValueKind::Word(&["offset", "page", "cursor", "next", "link"]), "Kind of paging.")
        .required(),
    Setting::new("parameter", ValueKind::Text, "Parameter of the offset, the page or the cursor."),
    Setting::new("limit", ValueKind::Text, "Parameter of the number of records per page."),
    Setting::new("first", ValueKind::Whole { least: 0, most: None }, "Number of the first page.")
        .default("1"),
    Setting::new("next", ValueKind::Text, "Path of the next cursor, or of the address of the next page."),
    Setting::new(
        "in",
        ValueKind::Word(&["query", "body"]),
        "Where the parameters of `paging` and `since` are sent; if absent, in the body of POST and in the query of GET.",
    ),
    Setting::new(
        "short_page",
        ValueKind::Word(&["more", "end"]),
        "Whether more pages can follow one with fewer records than requested.",
    )
    .default("\"more\""),
];
