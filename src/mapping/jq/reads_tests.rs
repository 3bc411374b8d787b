//! Fields that expressions read, and a comparison with the whole record as input.

use proptest::prelude::*;
use serde_json::json;

use super::super::{Jq, tests::outcome};
use super::*;

fn shown(code: &str) -> Option<String> {
    fields(code).map(|fields| fields.into_iter().collect::<Vec<_>>().join(" "))
}

#[test]
fn the_fields_that_an_expression_names_are_found() {
    for (code, expected) in [
        (".a", "a"),
        (".a.b[0].c", "a"),
        (".[\"a b\"]?", "a b"),
        ("{a, \"b\": .c, (.d): 1, \"e\\(.f)\": [.g[].h]}", "a c d f g"),
        ("{$x}", ""),
        (".a | keys, length, .", "a"),
        (".a as $x | .b as [$y] | {$x, $y, c}", "a b c"),
        (".a // .b", "a b"),
        ("if .a then .b elif .c then 1 else empty end", "a b c"),
        ("reduce .a[] as $x (.b; . + $x)", "a b"),
        ("try .a catch .", "a"),
        ("first(.a[], .b)", "a b"),
        ("def f: keys; {a: (.b | f)}", "b"),
        (".a[.b:.c]", "a b c"),
        ("-.a + 2 * .b == .c and .d", "a b c d"),
        ("\"x \\(.a)\"", "a"),
        ("label $out | .a | ., break $out", "a"),
    ] {
        assert_eq!(shown(code).as_deref(), Some(expected), "{code}");
    }
}

#[test]
fn an_expression_that_may_read_any_field_is_recognized() {
    for code in [
        ".",
        "..",
        ".[]",
        "keys",
        "to_entries",
        ". as $r | $r.a",
        ". | .a",
        "{a, b: .}",
        ".a = 1",
        ".a |= 1",
        ".a += 1",
        "if .a then .b end",
        "select(.a)",
        "@json",
        "@text \"\\(.a)\"",
        "[.a, length]",
        ".[.a]",
        "del(.a)",
        "reduce .a[] as $x (.; .b)",
        "def f: .; f",
        "def first(f): .; first(.a)",
        ". as {a: $x} | $x",
        "{(keys[0])}",
        "getpath([\"a\"])",
        "input",
        ".a[keys[0]]",
        "(. | .a) // .b",
        "limit(1; .)",
        "{\"a\\(.b)\"}",
        "no closing (",
    ] {
        assert_eq!(shown(code), None, "{code}");
    }
}

/// Expressions of all forms over the fields `a` to `d`.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            ".a", ".b.x", ".c[0]", ".c[]?", ".d?", "1", "\"t\"", "null", ".", "keys", "empty"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l} | {r})")),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l}, {r})")),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l} // {r})")),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l} as $x | [{r}, $x])")),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("{{a, z: {l}, y: [{r}]}}")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(c, t, e)| format!("(if {c} then {t} else {e} end)")),
            (inner.clone(), inner.clone()).prop_map(|(c, t)| format!("(if {c} then {t} end)")),
            (inner.clone(), inner.clone()).prop_map(|(i, f)| format!("(reduce ({i}) as $x ({f}; [., $x]))")),
            inner.clone().prop_map(|t| format!("(try ({t}) catch \"no\")")),
            inner.clone().prop_map(|t| format!("first({t})")),
            inner.clone().prop_map(|t| format!("\"s \\({t})\"")),
            inner.prop_map(|t| format!("select({t})")),
        ]
    })
}

proptest! {
    /// Whatever an expression does, other fields of the record change nothing if it does not read them.
    #[test]
    fn without_the_other_fields_the_result_is_the_same(code in expressions()) {
        let Ok(mut jq) = Jq::of(&code) else { return Ok(()) };
        let record = json!({"z0": 1, "a": {"k": 1}, "b": {"x": [2, 3]}, "c": [4, 5], "d": "six", "other": [7]});
        let pruned = outcome(&jq, &record);
        jq.reads = None;
        prop_assert_eq!(pruned, outcome(&jq, &record), "{}", code);
    }
}
