//! The pages of the REST APIs, read as a client reads them.

use http::header;

use super::*;
use crate::base::time;

const NOON: &str = "2026-11-21T12:00:00";

fn noon() -> DateTime<Utc> {
    time::parse(NOON).unwrap()
}

/// An account with seven warehouses, of which one is deleted.
fn seven() -> Rest {
    let mut rest = Rest::default();
    rest.invent(7, 1, noon());
    rest.edit(3, noon(), |warehouse| warehouse.deleted = true);
    rest
}

fn get(rest: &mut Rest, path: &str) -> (u16, Value, String) {
    let request = http::Request::get(format!("http://host/rest/{path}")).header("x-api-key", KEY);
    let response = rest.respond(&request.body(bytes::Bytes::new()).unwrap(), noon());
    let link = response.headers().get(header::LINK).map_or("", |link| link.to_str().unwrap());
    let body = serde_json::from_slice(response.body()).unwrap();
    (response.status().as_u16(), body, link.to_owned())
}

fn ids(records: &Value) -> Vec<u64> {
    records.as_array().unwrap().iter().map(|record| record["id"].as_u64().unwrap()).collect()
}

#[test]
fn every_kind_of_page_lists_every_warehouse_once() {
    let mut rest = seven();
    let (mut by_offset, mut by_page, mut by_link) = (vec![], vec![], vec![]);
    for number in 0..4 {
        let (_, page, _) = get(&mut rest, &format!("items/offset?offset={}&limit=2", 2 * number));
        by_offset.extend(ids(&page["items"]));
        let (_, page, _) = get(&mut rest, &format!("items/page?page={}&per_page=2", number + 1));
        by_page.extend(ids(&page["data"]));
    }
    let mut path = "items/link?per_page=2".to_owned();
    loop {
        let (_, page, link) = get(&mut rest, &path);
        by_link.extend(ids(&page));
        let next = link.split(", ").find(|link| link.ends_with("rel=\"next\""));
        let Some(next) = next else { break };
        path = next.split(['<', '>']).nth(1).unwrap().replace("http://host/rest/", "");
    }
    for listed in [by_offset, by_page, by_link] {
        assert_eq!(listed, [1, 2, 4, 5, 6, 7]);
    }
}

#[test]
fn a_cursor_lists_the_changes_since_a_time_with_deletions() {
    let mut rest = seven();
    let mut all = vec![];
    let mut path = "items/cursor?limit=3".to_owned();
    loop {
        let (_, page, _) = get(&mut rest, &path);
        all.extend(ids(&page["data"]));
        let Some(next) = page["meta"]["next"].as_str() else { break };
        path = format!("items/cursor?limit=3&cursor={next}");
    }
    assert_eq!(all.last(), Some(&3), "the latest change comes last");
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4, 5, 6, 7]);
    let (_, page, _) = get(&mut rest, "items/cursor?updated_since=2026-11-21T12:00:00Z");
    assert_eq!((ids(&page["data"]), &page["data"][0]["deleted"]), (vec![3], &json!(true)));
}

#[test]
fn a_token_is_valid_until_it_expires_or_is_revoked() {
    let mut rest = seven();
    let login = |rest: &mut Rest, body: String| {
        let request = http::Request::post("http://host/rest/auth").body(body.into()).unwrap();
        let response = rest.respond(&request, noon());
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        body["access_token"].as_str().map(str::to_owned)
    };
    let permits = |rest: &mut Rest, token: &str, seconds: i64| {
        let request = http::Request::get("http://host/rest/iam/users/me")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(bytes::Bytes::new())
            .unwrap();
        rest.respond(&request, noon() + TimeDelta::seconds(seconds)).status().is_success()
    };
    let form = format!("grant_type=client_credentials&client_id={USER}&client_secret={PASSWORD}");
    let token = login(&mut rest, form).unwrap();
    assert!(permits(&mut rest, &token, 3599) && !permits(&mut rest, &token, 3600));
    let body = json!({"grant_type": "password", "username": USER, "password": PASSWORD}).to_string();
    let token = login(&mut rest, body).unwrap();
    rest.revoke();
    assert!(!permits(&mut rest, &token, 0));
    let wrong = json!({"grant_type": "password", "username": USER, "password": "wrong"}).to_string();
    assert_eq!((login(&mut rest, wrong), rest.logins()), (None, 2));
}

#[test]
fn the_list_below_a_user_has_no_deleted_warehouse() {
    let mut rest = seven();
    let (_, me, _) = get(&mut rest, "iam/users/me");
    let (status, user, _) = get(&mut rest, &format!("iam/users/{}/warehouses", me["id"]));
    assert_eq!((status, ids(&user["warehouses"])), (200, vec![1, 2, 4, 5, 6, 7]));
    assert_eq!(get(&mut rest, "iam/users/18/warehouses").0, 404);
}

#[test]
fn a_response_can_be_replaced_and_unknown_parameters_are_refused() {
    let mut rest = seven();
    rest.respond_instead("/rest/items/", 503, "{}");
    assert_eq!(get(&mut rest, "iam/users/me").0, 200);
    assert_eq!(get(&mut rest, "items/offset").0, 503);
    assert_eq!(get(&mut rest, "items/offset?ofset=1").0, 400);
}

#[test]
fn a_single_warehouse_has_its_address_and_people_change_the_warehouses_if_there_are_faults() {
    let mut rest = seven();
    assert_eq!(get(&mut rest, "items/2").1["id"], 2);
    assert_eq!(get(&mut rest, "items/9").0, 404);
    let before = rest.warehouses.clone();
    rest.live(noon() + TimeDelta::hours(1));
    assert_eq!(rest.warehouses, before, "nobody changes them");
    rest.inhabit(Some(&Faults { edits_per_second: 1.0, ..Faults::default() }), noon());
    rest.live(noon() + TimeDelta::minutes(1));
    let changed = rest.warehouses().filter(|one| before.get(&one.id) != Some(one)).count();
    assert!(changed > 3 && rest.warehouses().all(|one| one.updated <= noon() + TimeDelta::minutes(1)));
    assert!(rest.warehouses.len() > 7 && rest.warehouses().filter(|one| one.deleted).count() > 1);
}
