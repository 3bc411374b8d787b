//! The source `rest`: requests for single records, for values of the context and for a token, which no listing rule
//! applies to.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, header};
use importer::{
    base::{adapter::Chosen, fault::Fault, record::Record},
    net::{Caller, Request, Response, Transport, TransportError},
    source,
};
use serde_json::{Value, json};

use crate::contract::doors;

const HOST: &str = "https://rest.example.org";
const ME: &str = r#"{"id": 17}"#;
const TOKEN: &str = r#"{"access_token": "t-s3cr3t"}"#;
const FOUND: &str = r#"{"id": 7, "name": "North"}"#;

/// Answers the requests below each path with a status and a body.
struct Paths(Vec<(&'static str, u16, &'static str)>);

impl Transport for Paths {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let path = request.uri().path();
        let (_, status, body) = self.0.iter().find(|(begin, ..)| path.starts_with(begin)).unwrap();
        let mut response = Response::new(Bytes::from_static(body.as_bytes()));
        *response.status_mut() = (*status).try_into().unwrap();
        let date = HeaderValue::from_static("Sat, 21 Nov 2026 12:00:00 GMT");
        response.headers_mut().insert(header::DATE, date);
        Box::pin(async { Ok(response) })
    }
}

/// Looks the record 7 up, with settings in addition, at a service that logs in, has a context and answers so.
async fn find(more: Value, answers: [(u16, &'static str); 3]) -> Result<Option<Record>, Fault> {
    let mut settings = json!({
        "type": "rest", "url": format!("{HOST}/items/{{me}}"), "key": "id", "item": format!("{HOST}/item/{{key}}"),
        "auth": {"token": {"url": format!("{HOST}/auth")}},
        "context": [{"url": format!("{HOST}/me"), "values": {"me": "id"}}],
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let paths = ["/auth", "/me", "/item/"].into_iter().zip(answers);
    let paths = Paths(paths.map(|(path, (status, body))| (path, status, body)).collect());
    let variables = &[("REST_TOKEN", ""), ("REST_USER", "u"), ("REST_PASSWORD", "p")];
    let doors = doors(Arc::new(paths), variables);
    let wanted = source::SourceContext { list_id: "a", fields: None, caller: Caller::new("a", false) };
    let source = source::open(Chosen::of(&settings, ""), wanted, &doors).unwrap().source;
    source.lookup().unwrap().find("7").await
}

/// Replay sends a deletion for a record that is gone.
#[tokio::test(start_paused = true)]
async fn only_the_service_itself_reports_that_a_record_is_gone() {
    const GONE: &str = r#"{"error": "Not found"}"#;
    for (login, context, item, expected) in [
        ((200, TOKEN), (200, ME), (200, FOUND), Some(true)),
        ((200, TOKEN), (200, ME), (404, GONE), Some(false)),
        ((200, TOKEN), (200, ME), (410, "{}"), Some(false)),
        ((200, TOKEN), (200, ME), (404, "<html>no such route</html>"), None),
        ((200, TOKEN), (200, ME), (410, ""), None),
        ((200, TOKEN), (404, GONE), (404, GONE), None),
        ((200, TOKEN), (410, GONE), (200, FOUND), None),
        ((404, GONE), (200, ME), (200, FOUND), None),
        ((410, GONE), (200, ME), (200, FOUND), None),
    ] {
        let found = find(json!({}), [login, context, item]).await;
        let shown = found.as_ref().ok().map(Option::is_some);
        assert_eq!(shown, expected, "{login:?} {context:?} {item:?}: {found:?}");
    }
    let fault = find(json!({}), [(200, TOKEN), (200, ME), (404, "<html>")]).await.unwrap_err().to_string();
    let why =
        "could not read a record: rest.example.org returned 404 without JSON, so the record may still exist";
    assert!(fault.starts_with(why) && fault.ends_with("if this persists, check `item`)"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn a_record_and_the_context_are_not_judged_by_the_rules_of_listings() {
    const ERRS: &str = r#"{"id": 7, "error": "last import failed", "errors": ["x"], "success": false}"#;
    for (more, context, item, expected) in [
        (json!({"empty": [404]}), (200, ME), (404, "{}"), Ok(None)),
        (json!({}), (200, ME), (200, ERRS), Ok(Some("7"))),
        (json!({}), (200, ERRS), (200, FOUND), Ok(Some("7"))),
        (json!({"empty": [404]}), (404, ME), (200, FOUND), Err("returned 404 not found")),
        (json!({}), (204, ""), (200, FOUND), Err("response has no content")),
        (json!({}), (200, ME), (200, r#"{"error": "no quota"}"#), Err("response reports an error: no quota")),
        (
            json!({}),
            (200, r#"{"error": "no quota"}"#),
            (200, FOUND),
            Err("response reports an error: no quota"),
        ),
    ] {
        let found = find(more.clone(), [(200, TOKEN), context, item]).await;
        match (&found, expected) {
            (Ok(found), Ok(key)) => {
                assert_eq!(found.as_ref().map(|one| one.key.as_str()), key, "{more} {item:?}")
            }
            (Err(fault), Err(why)) => assert!(fault.to_string().contains(why), "{more} {item:?}: {fault}"),
            _ => panic!("{more} {context:?} {item:?}: {found:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_message_quotes_an_answer_that_reports_no_error() {
    for (login, context, item) in [
        (r#"{"message": "t-s3cr3t"}"#, ME, FOUND),
        (r#"{"success": false, "message": "t-s3cr3t"}"#, ME, FOUND),
        (TOKEN, r#"{"title": "Dr Ada Lovelace s3cr3t"}"#, FOUND),
        (TOKEN, ME, r#"{"title": "Dr Ada Lovelace s3cr3t"}"#),
    ] {
        let fault = find(json!({}), [(200, login), (200, context), (200, item)]).await.unwrap_err();
        let shown = fault.to_string();
        assert!(!shown.contains("s3cr3t") && !shown.contains("Lovelace"), "{shown}");
    }
}
