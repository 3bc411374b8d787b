//! Sends contacts to Ometria's push endpoint.
//! <https://support.ometria.com/hc/en-gb/articles/360011617238-Push-API>

pub mod rules;

use futures::future::BoxFuture;
use http::HeaderName;
use serde::Deserialize;
use serde_json::{Map, Value};

use self::rules::Examined;
use super::{
    Checked, DeferredErrors, Delivery, LatestErrors, Prepared, Receipt, Rejection, Sink, SinkContext,
    SinkSpec, array,
};
use crate::{
    base::{
        adapter::{Chosen, NoSettings},
        fault::Fault,
        record::Payload,
        secret::Secret,
        spec::{Spec, Variable},
    },
    net::{
        Account, AccountClients, Environment, Http, RateLimiter, Refused, Response, Unopened, answer,
        auth::Auth,
        classify::{Rule, Rules, Verdict},
    },
};

/// Records per request: <https://docs.ometria.com/docs/ometria-data-api-introduction>.
const MAX_RECORDS: usize = 100;
/// Number of deferred errors that Ometria lists, the latest ones:
/// <https://docs.ometria.com/docs/list-errors>.
const MAX_ERRORS: usize = 100;
/// Batches in flight per list: enough for eight requests per second if a response takes a second.
const IN_FLIGHT: usize = 8;

/// <https://support.ometria.com/hc/en-gb/articles/360011293458-How-does-Ometria-subscribe-and-unsubscribe-contacts->
const CAUTION: &str = "contacts that arrive as subscribed can start a welcome campaign in Ometria, for everyone on the list; if \
     one is running there, stop importer, pause the campaign, and start again";

/// Statuses that refuse the content of a batch: Ometria refuses the whole batch for one invalid record, and
/// names none. All other statuses concern the account, the address, the form of the request, or a temporary
/// condition.
const RULES: [Rule; 5] = [
    // Bad request: <https://docs.ometria.com/docs/ometria-data-api-introduction>.
    Rule::status(400, Verdict::ContentRefused),
    // Conflict: <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.10>.
    Rule::status(409, Verdict::ContentRefused),
    // Content too large: <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.14>.
    Rule::status(413, Verdict::ContentRefused),
    // Unprocessable content: <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.21>.
    Rule::status(422, Verdict::ContentRefused),
    // Unavailable for legal reasons: <https://www.rfc-editor.org/rfc/rfc7725#section-3>.
    Rule::status(451, Verdict::ContentRefused),
];

pub const SPEC: Spec = Spec {
    variables: &[KEY, URL, RATE],
    takes: Some("contacts"),
    ..Spec::new("ometria", "Contacts of Ometria, by its push endpoint.")
};

const KEY: Variable = Variable::new("OMETRIA_APIKEY", "API key of the Ometria account").credential();
const URL: Variable = Variable::new("OMETRIA_URL", "base URL").default("https://api.ometria.com/v2");
/// By default the push requests per second that Ometria allows:
/// <https://docs.ometria.com/docs/ometria-data-api-introduction>.
const RATE: Variable =
    Variable::new("OMETRIA_RATE", "requests per second to Ometria; 0 finds the limit").default("8");
/// Simultaneous requests of the account: twice the batches in flight of one list.
const CONNECTIONS: usize = 16;
/// Free places in Ometria's queue below which the rate falls.
const PLENTY: f64 = 10_000.0;

/// Reads the account from the environment: <https://docs.ometria.com/docs/push-endpoint>.
pub fn account(environment: &Environment) -> Result<(Account, RateLimiter), Refused> {
    let key = environment.key(&KEY)?;
    let base = environment.url(&URL)?;
    let rate = environment.number(
        &RATE,
        |rate: &f64| *rate == 0.0 || (0.001..=1000.0).contains(rate),
        "a number of requests per second, such as 8 or 0.5, or 0 for a limit that importer finds",
    )?;
    let account = Account {
        service: SPEC.kind.into(),
        key_name: environment.name(&KEY).into(),
        key_hint: None,
        url_name: environment.name(&URL).into(),
        base,
        auth: Auth::Header { name: HeaderName::from_static("x-ometria-auth"), key },
        secrets: vec![],
        rules: Rules::new(&RULES),
        room: Some((HeaderName::from_static("x-queuesize-remaining"), PLENTY)),
    };
    Ok((account, RateLimiter::searching(CONNECTIONS, rate)))
}

/// The push endpoint of one account.
pub struct Ometria {
    http: Http,
    list_id: String,
}

impl Ometria {
    pub fn open(chosen: &Chosen, wanted: SinkContext, accounts: &AccountClients) -> Result<Self, Unopened> {
        let NoSettings {} = chosen.settings(SPEC.settings)?;
        Ok(Ometria::new(accounts.client(SPEC.kind, account)?.open(wanted.caller), wanted.list_id))
    }

    /// Makes the sink. `list_id` is the list that the contacts come from, for messages.
    pub fn new(http: Http, list_id: &str) -> Self {
        Ometria { http, list_id: list_id.to_owned() }
    }
}

impl Sink for Ometria {
    /// Deletions are ignored: opting out a contact takes its id and its collection, and a deleted record has
    /// only its key.
    fn spec(&self) -> SinkSpec {
        let (destination, address) = (Secret::new(self.http.account()), self.http.address());
        SinkSpec { caution: Some(CAUTION), ..SinkSpec::new(destination, address, MAX_RECORDS, IN_FLIGHT) }
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        // Deletions are ignored, so every payload has a body.
        let Some(body) = &payload.body else { return Err(Rejection::new("not_an_object")) };
        let Examined { refusal, opts_out, opts_in } = rules::examine(body.value());
        match refusal {
            Some(reason) => Err(Rejection { opts_out, ..Rejection::new(reason) }),
            None => Ok(Prepared { opts_out, opts_in, ..Prepared::new(&payload.key, body.clone()) }),
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<Checked, Fault>> {
        Box::pin(async move { self.latest().await.map(|_| Checked::default()) })
    }

    fn deferred_errors(&self) -> Option<&dyn DeferredErrors> {
        Some(self)
    }

    /// Ometria merges an accepted record into the stored one by its id, so a repetition changes nothing.
    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        Box::pin(async move {
            let request = self.http.post(&["push"], array(batch).into());
            let list = self.list_id.escape_debug();
            let (count, service) = (batch.len(), self.http.service());
            let doing = format!("could not push {count} contacts of list `{list}` to {service}");
            let answer = self.http.call(&doing, request, |response| accepted(response, batch.len())).await;
            answer.map(Delivery::accepted)
        })
    }
}

impl DeferredErrors for Ometria {
    /// <https://docs.ometria.com/docs/list-errors>
    fn latest(&self) -> BoxFuture<'_, Result<LatestErrors, Fault>> {
        Box::pin(async move {
            let request = self.http.get(&["push", "_errors"], &[]);
            let doing = format!("could not read {}'s validation errors", self.http.service());
            let read = |response: &Response| deferred_errors(response, |text| self.http.redacted(text));
            self.http.call_aside(&doing, request, read).await
        })
    }
}

/// Reads the list of deferred errors.
fn deferred_errors(response: &Response, redact: impl Fn(&str) -> String) -> Result<LatestErrors, Fault> {
    /// One error of the list. A field of an unexpected type must not hide the other errors.
    #[derive(Deserialize)]
    struct LateError {
        #[serde(default)]
        error_message: Value,
        #[serde(default)]
        error_path: Value,
    }
    let text = |value: &Value| redact(value.as_str().unwrap_or_default());
    let errors: Vec<LateError> = serde_json::from_slice(response.body()).map_err(broken)?;
    let mut found = LatestErrors { full: errors.len() >= MAX_ERRORS, ..LatestErrors::default() };
    for LateError { error_message, error_path } in errors {
        let kind = format!("{}: {}", text(&error_path), text(&error_message));
        *found.kinds.entry(kind).or_default() += 1;
    }
    Ok(found)
}

/// The error's own text may quote a value, so the message contains only its position.
fn broken(error: serde_json::Error) -> Fault {
    Fault::retry("ometria's response can't be read").because(format!(
        "unexpected JSON at line {} column {}",
        error.line(),
        error.column()
    ))
}

/// Reads the result of a batch. "OK" means received; the response counts refused records without naming them.
///
/// # Errors
///
/// * [`Fault::TooLarge`]: some records were refused.
/// * [`Fault::Retryable`]: the response does not confirm that the batch was accepted.
fn accepted(response: &Response, sent: usize) -> Result<Receipt, Fault> {
    let answer: Map<String, Value> = serde_json::from_slice(response.body()).map_err(broken)?;
    // Another client reads the counts from `data` and looks for `success`:
    // <https://github.com/rudderlabs/rudder-transformer/blob/develop/src/v0/destinations/ometria/networkResponseHandler.js>.
    let data = answer.get("data").and_then(Value::as_object);
    let field = |name| answer.get(name).or_else(|| data?.get(name)).unwrap_or(&Value::Null);
    let (accepted, rejected) = (count(field("accepted"), sent)?, count(field("rejected"), sent)?);
    let [status, success] = ["status", "success"].map(field);
    let failed = answer::reports_error(field("error"), field("errors"), success)
        || [status, field("response")].into_iter().any(|value| answer::error_word(value).is_some())
        || status.as_u64().is_some_and(|status| status >= 400);
    let request_id = field("request_id").as_str().map(str::to_owned);
    let short = accepted.map_or(0, |accepted| sent - accepted);
    let refused = rejected.unwrap_or(0).max(if failed { 0 } else { short });
    if refused > 0 {
        let fault = Fault::list(format!("ometria rejected {refused} of {sent} contacts"));
        return Err(match fault.request_id(request_id) {
            Fault::List(problem) => Fault::TooLarge(problem),
            fault => fault,
        });
    }
    let ok = status.as_str().is_some_and(|status| status.trim().eq_ignore_ascii_case("ok"));
    match !failed && (accepted == Some(sent) || ok || success == &Value::Bool(true)) {
        true => Ok(Receipt { request_id }),
        false => Err(unsure()),
    }
}

/// Returns a count of records, or `None` if the field is missing.
///
/// # Errors
///
/// The value is not a number, or exceeds the number of records sent: the response is unreliable.
fn count(value: &Value, sent: usize) -> Result<Option<usize>, Fault> {
    let number =
        value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|number| *number <= sent);
    if value.is_null() { Ok(None) } else { number.map(Some).ok_or_else(unsure) }
}

fn unsure() -> Fault {
    Fault::retry("ometria's response does not confirm that it accepted the contacts")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::redact;

    #[test]
    fn deferred_errors_are_counted_by_kind_and_contain_no_personal_data() {
        let body = r#"[{"error_message": "\"Ada\" is not a name", "error_path": "root > firstname"},
            {"error_message": "\"Grace\" is not a name", "error_path": "root > firstname"}, {},
            {"error_message": null, "error_path": 7}]"#;
        let found = deferred_errors(&Response::new(body.into()), redact::line).unwrap();
        let kinds: Vec<(&str, u64)> =
            found.kinds.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(kinds, [(": ", 2), ("root > firstname: \"…\" is not a name", 2)]);
        assert!(!found.full);
        let many = format!("[{}]", vec!["{}"; 100].join(","));
        assert!(deferred_errors(&Response::new(many.into()), redact::line).unwrap().full);
        assert!(deferred_errors(&Response::new("{}".into()), redact::line).is_err());
    }
}
