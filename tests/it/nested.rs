//! Answers and records that nest 100,000 levels: every reader of another side's JSON refuses them, and none of them
//! overflows the stack.

use std::{path::Path, sync::Arc};

use importer::{base::adapter::Chosen, base::fault::Fault, net::Caller, source};
use serde_json::{Value, json};

use crate::contract::{Always, doors, prepared, read, settings, sink, source_settings};

const LEVELS: usize = 100_000;

/// Returns a text that nests deeply: within `before` and `after`, opened by `open` and closed by `close` at each level.
fn nested(before: &str, open: &str, close: &str, after: &str) -> &'static str {
    format!("{before}{}1{}{after}", open.repeat(LEVELS), close.repeat(LEVELS)).leak()
}

async fn answer(settings: &Value, body: &'static str) -> Result<(), Fault> {
    let context = source::SourceContext { list_id: "shifts", fields: None, caller: Caller::new("a", false) };
    let doors = doors(Arc::new(Always(200, body)), &[]);
    let opened = source::open(Chosen::of(settings, ""), context, &doors).unwrap();
    read(opened.source.as_ref()).await
}

#[tokio::test(start_paused = true)]
async fn a_source_refuses_an_answer_that_nests_too_deeply() {
    let mut sources: Vec<Value> = ["mailchimp", "when_i_work", "rest"].map(source_settings).into();
    if cfg!(feature = "jq") {
        let mut by_expression = source_settings("rest");
        by_expression["records"] = json!({"jq": ".. | objects"});
        sources.push(by_expression);
    }
    for settings in sources {
        for body in [
            nested("", "[", "]", ""),
            nested("", "{\"a\":", "}", ""),
            // In a record, in a field that nobody reads, and where the response reports an error.
            nested(r#"{"data": [{"id": 1, "a": "#, "[", "]", "}]}"),
            nested(r#"{"shifts": [{"id": 1, "a": "#, "[", "]", "}]}"),
            nested(r#"{"members": [{"id": "1", "a": "#, "[", "]", r#"}], "total_items": 1}"#),
            nested(r#"{"data": [], "members": [], "shifts": [], "total_items": 0, "a": "#, "[", "]", "}"),
            nested(
                r#"{"data": [], "members": [], "shifts": [], "total_items": 0, "errors": "#,
                "[",
                "]",
                "}",
            ),
            // A response that has to be repaired.
            nested("[\"\u{1}\", ", "[", "]", "]"),
        ] {
            let why = answer(&settings, body).await.unwrap_err().to_string();
            assert!(why.contains("it nests more than 127 levels"), "{settings}: {why}");
        }
        // Cut off, it is refused in either way.
        assert!(answer(&settings, "[".repeat(LEVELS).leak()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_survives_an_answer_that_nests_too_deeply() {
    for kind in ["ometria", "http"] {
        for body in [
            nested("", "[", "]", ""),
            nested(r#"{"status": "OK", "errors": "#, "{\"a\":", "}", "}"),
            nested(r#"{"error": "#, "[", "]", "}"),
        ] {
            for status in [200, 400, 500] {
                let doors = doors(Arc::new(Always(status, body)), &[]);
                let sink = sink(settings(kind), Path::new("."), &doors).sink;
                let delivered = sink.deliver(&prepared(sink.as_ref(), 2)).await;
                assert!(delivered.is_err(), "{kind} {status} {body:.40}");
            }
        }
    }
}
