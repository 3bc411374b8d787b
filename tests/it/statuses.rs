//! Refusals of a push. One for the content splits the batch; others concern the account, the address or the moment.

use http::Method;
use importer::{
    controller::Verdict,
    net::{Request, Response},
};
use serde_json::Value;

use crate::places::dead_letter;
use crate::{
    contract::classed,
    support::World,
    twist::{Twist, with_body},
};

/// Statuses that refuse the content of a batch: bad request, conflict, too large, unprocessable, unavailable for legal reasons.
const CONTENT: [u16; 5] = [400, 409, 413, 422, 451];
/// Statuses of temporary refusals.
const MOMENT: [u16; 4] = [408, 421, 425, 429];

#[tokio::test(start_paused = true)]
async fn every_refusal_is_one_of_the_content_the_moment_or_the_account() {
    for status in (300..=399).chain(400..=499).chain(500..=599) {
        for body in ["", r#"{"error": "no"}"#] {
            let told = classed("ometria", status, body).await;
            let class = told.split(':').next().unwrap();
            let expected = match status {
                _ if CONTENT.contains(&status) => "too large",
                _ if MOMENT.contains(&status) || status >= 500 => "retry",
                // A content delivery network that throttles.
                403 if body.is_empty() => "retry",
                _ => "list",
            };
            assert_eq!(class, expected, "{status} {body}: {told}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_contact_that_is_refused_with_any_of_them_does_not_hold_up_the_others() {
    for status in CONTENT {
        let world = World::new().list("sta1", 80).with_state(r#"[{"list_id": "sta1"}]"#);
        let bad = world.expected("sta1")[3].clone();
        let id = bad.contact_id("sta1");
        let world = world.through(|sandbox| {
            let refuse = id.clone();
            Twist(sandbox, move |request: &Request, response: Response| {
                let pushed = request.method() == Method::POST;
                if !pushed || !String::from_utf8_lossy(request.body()).contains(&refuse) {
                    return response;
                }
                let mut refused = with_body(response, r#"{"error": "A record is not allowed."}"#);
                *refused.status_mut() = status.try_into().unwrap();
                refused
            })
        });
        assert_eq!(world.once().await.unwrap(), Verdict::Done, "{status}");
        assert_eq!(world.logged("1 rejected (1 refused)"), 1, "{status}");
        assert_ne!(world.field("latest_timestamp"), Value::Null, "{status}");
        let expected = world.expected("sta1");
        let others = expected.iter().filter(|member| member.number != bad.number);
        assert!(others.clone().count() > 50);
        assert!(others.clone().all(|member| world.contact("sta1", member).is_some()), "{status}");
        let letter = std::fs::read_to_string(dead_letter(world.folder.path(), "sta1")).unwrap();
        let letter: Value = serde_json::from_str(letter.trim()).unwrap();
        assert_eq!(letter["key"], bad.id(), "{status}");
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.contains(&status.to_string()) && reason.contains("not allowed"), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_account_or_the_address_writes_no_dead_letter() {
    for status in [401, 402, 404, 405, 406, 410, 411, 414, 415, 426, 428, 431] {
        let world = World::new().list("sta2", 30).with_state(r#"[{"list_id": "sta2"}]"#);
        let world = world.through(|sandbox| {
            Twist(sandbox, move |request: &Request, mut response: Response| {
                if request.method() == Method::POST {
                    *response.status_mut() = status.try_into().unwrap();
                }
                response
            })
        });
        assert_eq!(world.once().await.unwrap(), Verdict::Failed, "{status}");
        assert_eq!(world.field("latest_timestamp"), Value::Null, "{status}");
        assert!(!world.folder.path().join("dead-letter").exists(), "{status}");
        assert_eq!(world.pushes().len(), 1, "{status}: it is not pressed on the service");
    }
}
