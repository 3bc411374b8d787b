//! Where references may stand, how they are read, and what is refused.

use serde_json::json;

use super::*;

const NESTED: &[Setting] = &[
    Setting::new("path", ValueKind::Text, ""),
    Setting::new(
        "words",
        ValueKind::List(&ValueKind::Either(&[ValueKind::Flag, ValueKind::Null, ValueKind::Text])),
        "",
    ),
];
const FIELD: &[Setting] =
    &[Setting::new("from", ValueKind::Text, ""), Setting::new("value", ValueKind::Any, "")];
static KNOWN: &[Setting] = &[
    Setting::new("days", ValueKind::Whole { least: 0, most: Some(366) }, ""),
    Setting::new("drafts", ValueKind::Flag, ""),
    Setting::new("rate", ValueKind::Number { least: 0.5, most: 10.0 }, "").pace(),
    Setting::new("method", ValueKind::Word(&["POST", "PUT"]), ""),
    Setting::new("url", ValueKind::Text, "").private(),
    Setting::new("headers", ValueKind::Map(&ValueKind::Text), "").private(),
    Setting::new(
        "accept",
        ValueKind::List(&ValueKind::Either(&[
            ValueKind::Whole { least: 200, most: Some(599) },
            ValueKind::Text,
        ])),
        "",
    ),
    Setting::new("results", ValueKind::Object(NESTED), ""),
    Setting::new(
        "fields",
        ValueKind::Map(&ValueKind::Either(&[ValueKind::Text, ValueKind::Object(FIELD)])),
        "",
    ),
    Setting::new("token", ValueKind::Text, "").credential("ACME_TOKEN"),
    Setting::new("store", ValueKind::Text, "").credential("ACME_STORE").or_literal("file:"),
];

/// Knows some variables and files, and keeps what it is told.
#[derive(Default)]
struct Texts {
    credentials: Vec<(String, String)>,
    replaced: Vec<String>,
}

impl Lookup for Texts {
    type Error = String;

    fn text(&mut self, place: &Place, reference: &Reference) -> Result<Option<String>, String> {
        let known = [
            ("DAYS", "3"),
            ("MANY", "400"),
            ("YES", "true"),
            ("RATE", "0.5"),
            ("PUT", "PUT"),
            ("STATUS", "503"),
            ("LIST", "[200, \"500-599\"]"),
            ("NULL", "null"),
        ];
        match reference {
            Reference::Env { name, default } => {
                let text = known.iter().find(|(known, _)| known == name).map(|(_, text)| (*text).to_owned());
                match (text, default) {
                    (None, None) => Err(format!("{name} of {}", place.path)),
                    (text, _) => Ok(text),
                }
            }
            Reference::File(name) => Ok(Some(format!("content of {name}"))),
        }
    }

    fn mismatch(&self, place: &Place, _: &Reference, expected: &str) -> String {
        format!("{} must be {expected}", place.path)
    }

    fn variable(&self, name: &str) -> String {
        name.to_owned()
    }

    fn credential(&mut self, place: &Place, text: String) {
        self.credentials.push((place.path.clone(), text));
    }

    fn replaced(&mut self, place: &Place, _: &Reference, value: &Value) {
        let Place { path, secrecy, pace, text } = place;
        self.replaced.push(format!("{path} {secrecy:?} {pace} {text} {value}"));
    }
}

fn resolved(settings: Value) -> (Result<Value, Failure<String>>, Texts) {
    let mut object = settings.as_object().unwrap().clone();
    let (known, mut texts): (Vec<&'static Setting>, _) = (KNOWN.iter().collect(), Texts::default());
    let result = resolve(&mut object, &known, &mut texts).map(|()| Value::Object(object));
    (result, texts)
}

#[test]
fn a_reference_is_replaced_by_a_value_of_the_setting_s_type() {
    for (settings, value) in [
        (json!({"days": {"env": "DAYS"}}), json!({"days": 3})),
        (json!({"days": {"env": "DAYS", "default": 9}}), json!({"days": 3})),
        (json!({"days": {"env": "NONE", "default": 9}}), json!({"days": 9})),
        (json!({"drafts": {"env": "YES"}}), json!({"drafts": true})),
        (json!({"rate": {"env": "RATE"}}), json!({"rate": 0.5})),
        (json!({"method": {"env": "PUT"}}), json!({"method": "PUT"})),
        (json!({"url": {"env": "DAYS"}}), json!({"url": "3"})),
        (json!({"url": {"file": "a/b"}}), json!({"url": "content of a/b"})),
        (json!({"accept": {"env": "LIST"}}), json!({"accept": [200, "500-599"]})),
        (json!({"accept": [{"env": "STATUS"}, 200]}), json!({"accept": [503, 200]})),
        (json!({"results": {"path": {"env": "PUT"}}}), json!({"results": {"path": "PUT"}})),
        (
            json!({"results": {"words": [{"env": "YES"}, {"env": "NULL"}, {"env": "PUT"}]}}),
            json!({"results": {"words": [true, null, "PUT"]}}),
        ),
        (json!({"headers": {"X-A": {"env": "PUT"}}}), json!({"headers": {"X-A": "PUT"}})),
        (json!({"fields": {"a": {"env": "PUT"}}}), json!({"fields": {"a": "PUT"}})),
        (json!({"fields": {"a": {"value": {"env": "DAYS"}}}}), json!({"fields": {"a": {"value": "3"}}})),
    ] {
        assert_eq!(resolved(settings.clone()).0, Ok(value), "{settings}");
    }
}

/// Where the user chooses the names, `env` and `file` are names; a constant may contain them.
#[test]
fn what_only_looks_like_a_reference_stays() {
    for settings in [
        json!({"headers": {"env": "prod"}}),
        json!({"headers": {"file": "a"}}),
        json!({"fields": {"env": "environment", "file": "path"}}),
        json!({"fields": {"a": {"value": {"env": "prod", "kind": "x"}}}}),
        json!({"fields": {"a": {"value": {"inner": {"env": "PUT"}}}}}),
        json!({"fields": {"a": {"value": [{"env": "PUT"}]}}}),
        json!({"url": "{\"env\": \"PUT\"}"}),
        json!({"days": "wrong", "drafts": 1, "results": 5, "headers": null}),
    ] {
        assert_eq!(resolved(settings.clone()).0, Ok(settings));
    }
}

#[test]
fn a_reference_that_can_t_be_used_is_refused() {
    let lookup = |text: &str| Failure::Lookup(text.to_owned());
    let form = |path: &str| {
        Failure::Invalid(format!(
            "`{path}` must be a value, or a reference {{\"env\": \"NAME\"}}, {{\"env\": \"NAME\", \"default\": …}} or {{\"file\": \"NAME\"}}"
        ))
    };
    for (settings, failure) in [
        (json!({"days": {"env": "NONE"}}), lookup("NONE of days")),
        (json!({"days": {"env": "PUT"}}), lookup("days must be a whole number from 0 to 366")),
        (json!({"days": {"env": "MANY"}}), lookup("days must be a whole number from 0 to 366")),
        (json!({"days": {"file": "a"}}), lookup("days must be a whole number from 0 to 366")),
        (json!({"drafts": {"env": "DAYS"}}), lookup("drafts must be true or false")),
        (json!({"rate": {"env": "DAYS", "default": 1, "x": 1}}), form("rate")),
        (json!({"rate": {"env": "MANY"}}), lookup("rate must be a number from 0.5 to 10")),
        (json!({"method": {"env": "DAYS"}}), lookup("method must be one of POST, PUT")),
        (json!({"accept": {"env": "DAYS"}}), lookup("accept must be a JSON array")),
        (json!({"url": {"env": 5}}), form("url")),
        (json!({"url": {"env": "DAYS", "file": "a"}}), form("url")),
        (json!({"url": {"file": "a", "default": "b"}}), form("url")),
        (json!({"results": {"path": {"env": null}}}), form("results.path")),
    ] {
        assert_eq!(resolved(settings.clone()).0, Err(failure), "{settings}");
    }
}

#[test]
fn a_credential_setting_may_have_literals_that_are_no_credential() {
    let (result, texts) = resolved(json!({"store": "file:a"}));
    assert_eq!((result, texts.credentials.len()), (Ok(json!({"store": "file:a"})), 0));
    let (result, texts) = resolved(json!({"store": {"env": "PUT"}}));
    assert_eq!((result, texts.credentials), (Ok(json!({})), vec![("store".into(), "PUT".into())]));
    let why = "`store` must not be in the state file; write \"store\": {\"env\": \"ACME_STORE\"} and set that variable";
    for value in [json!("acme:a"), json!(["file:a"]), json!({"env": "PUT", "default": "file:a"})] {
        assert_eq!(resolved(json!({"store": value})).0, Err(Failure::Invalid(why.to_owned())));
    }
}

#[test]
fn a_credential_is_a_reference_and_leaves_the_settings() {
    let (result, texts) = resolved(json!({"token": {"env": "PUT"}, "url": "a"}));
    assert_eq!((result, texts.credentials), (Ok(json!({"url": "a"})), vec![("token".into(), "PUT".into())]));
    let (result, texts) = resolved(json!({"token": {"file": "acme"}}));
    assert_eq!((result, &texts.credentials[0].1[..]), (Ok(json!({})), "content of acme"));
    assert_eq!(texts.replaced, [""; 0], "no digest contains a credential");
    for value in [
        json!("s3cr3t"),
        json!(null),
        json!(5),
        json!({"env": "PUT", "default": "s3cr3t"}),
        json!({"value": "s3cr3t"}),
        json!(["s3cr3t"]),
    ] {
        let why = "`token` must not be in the state file; write \"token\": {\"env\": \"ACME_TOKEN\"} and set that variable";
        assert_eq!(resolved(json!({"token": value})).0, Err(Failure::Invalid(why.to_owned())));
    }
}

#[test]
fn an_unknown_setting_at_any_depth_is_named_with_the_nearest_or_all() {
    for (settings, why) in [
        (json!({"dayz": 1}), "unknown setting `dayz`; did you mean `days`?"),
        (json!({"results": {"pth": "a"}}), "unknown setting `results.pth`; did you mean `results.path`?"),
        (
            json!({"results": {"other": "a"}}),
            "unknown setting `results.other`, expected one of `path`, `words`",
        ),
        (
            json!({"fields": {"a": {"form": "b"}}}),
            "unknown setting `fields.a.form`; did you mean `fields.a.from`?",
        ),
    ] {
        assert_eq!(resolved(settings).0, Err(Failure::Invalid(why.to_owned())));
    }
    let Err(Failure::Invalid(why)) = resolved(json!({"something": 1})).0 else { panic!() };
    assert!(why.starts_with("unknown setting `something`, expected one of `days`, `drafts`, "), "{why}");
    assert!(why.ends_with("`token`, `store`"), "{why}");
}

#[test]
fn the_caller_learns_what_was_replaced_where() {
    let settings = json!({"url": {"env": "PUT"}, "rate": {"env": "RATE"}, "headers": {"A": {"file": "b"}},
        "accept": [{"env": "STATUS"}]});
    assert_eq!(
        resolved(settings).1.replaced,
        [
            "accept.0 Open false true 503",
            "headers.A Private false true \"content of b\"",
            "rate Open true false 0.5",
            "url Private false true \"PUT\"",
        ]
    );
}
