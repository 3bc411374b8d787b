//! The description of the API in the form of OpenAPI 3.1, made from the table of its paths. Pure.

use serde_json::{Map, Value, json};

use super::{
    call::{Kind, Parameter},
    route::{Method, Route},
};

/// Describes these paths.
pub fn document(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let of_path = paths.entry(route.path).or_insert_with(|| json!({}));
        of_path[route.method.name().to_ascii_lowercase()] = operation(route);
    }
    let text = json!({ "type": "string" });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "importer", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": { "type": text, "title": text, "status": { "type": "integer" }, "detail": text },
            } },
        },
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route.path.contains("{id}").then(|| {
        json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
    });
    let parameters: Vec<Value> = in_path.into_iter().chain(route.parameters.iter().map(parameter)).collect();
    let mut responses = Map::new();
    let kind = route.content;
    for (status, about) in route.answers {
        let content = json!({ kind: { "schema": { "type": if kind == "application/json" { "object" } else { "string" } } } });
        responses.insert(status.to_string(), json!({ "description": about, "content": content }));
    }
    for (_, title, status) in route.problems() {
        let problem =
            json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        let response = responses
            .entry(status.as_str())
            .or_insert_with(|| json!({ "description": "", "content": problem }));
        let before = response["description"].as_str().unwrap_or_default();
        let about = if before.is_empty() { title.to_owned() } else { format!("{before}; {title}") };
        response["description"] = about.into();
    }
    // Reading from this machine needs no token.
    let needed = json!({ "token": [] });
    let security = if route.method == Method::Get { json!([{}, needed]) } else { json!([needed]) };
    json!({ "summary": route.about, "parameters": parameters, "responses": responses, "security": security })
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match &parameter.kind {
        Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::Number(range, default) => {
            json!({ "type": "integer", "minimum": range.start(), "maximum": range.end(), "default": default })
        }
        Kind::Flag(default) => json!({ "type": "boolean", "default": default }),
    };
    json!({ "name": parameter.name, "in": "query", "description": parameter.about, "schema": schema })
}
