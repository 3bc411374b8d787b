//! Makes the requests of an entry from its templates. Pure.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Map, Value};
use url::Url;

use super::{
    pages::{Position, restored},
    template::{Template, Values},
};
use crate::{base::fault::Fault, net::Request};

/// Where the parameters of a page are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Query,
    Body,
}

/// What the requests of an entry have.
pub struct Requests {
    pub url: Template,
    pub method: Method,
    pub headers: HeaderMap,
    pub query: Vec<(String, Template)>,
    pub body: Option<Body>,
    pub parameters: Place,
}

/// A JSON value with placeholders in its texts.
pub enum Body {
    Plain(Value),
    Text(Template),
    List(Vec<Body>),
    Object(Vec<(String, Body)>),
}

impl Body {
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// A placeholder has none of the names in `known`.
    pub fn read(value: &Value, known: &[String]) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => {
                Body::Text(Template::read(text, known).map_err(|why| format!("`body`: {why}"))?)
            }
            Value::Array(items) => {
                Body::List(items.iter().map(|item| Body::read(item, known)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| Ok((name.clone(), Body::read(value, known)?));
                Body::Object(fields.iter().map(field).collect::<Result<_, String>>()?)
            }
            plain => Body::Plain(plain.clone()),
        })
    }

    fn filled(&self, values: &Values) -> Result<Value, Fault> {
        Ok(match self {
            Body::Plain(value) => value.clone(),
            Body::Text(text) => text.value(values)?,
            Body::List(items) => items.iter().map(|item| item.filled(values)).collect::<Result<_, _>>()?,
            Body::Object(fields) => {
                let field = |(name, value): &(String, Body)| Ok((name.clone(), value.filled(values)?));
                Value::Object(fields.iter().map(field).collect::<Result<_, Fault>>()?)
            }
        })
    }
}

/// The requests of a run, whose values are known.
pub struct Filled<'a> {
    requests: &'a Requests,
    values: &'a Values,
    /// The address without the parameters of `query`.
    url: Url,
    /// The parameters of `query`.
    pub own: Vec<(String, String)>,
}

/// A request, and the address without the parameters of a page, to which a link of its response is relative.
pub struct Made {
    pub request: Request,
    pub url: Url,
}

impl Requests {
    /// Fills the values of a run in.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: a value can't be used.
    pub fn filled<'a>(&'a self, values: &'a Values) -> Result<Filled<'a>, Fault> {
        let url = address(&self.url, values)?;
        let parameter = |(name, text): &(String, Template)| Ok((name.clone(), text.text(values)?));
        let own = self.query.iter().map(parameter).collect::<Result<_, Fault>>()?;
        Ok(Filled { requests: self, values, url, own })
    }
}

impl Filled<'_> {
    /// Makes the request for a page: with these parameters, or at the address that the page before named.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the position in the checkpoint is damaged, or a value can't be used.
    pub fn page(&self, position: Option<&Position>, parameters: Vec<(String, Value)>) -> Result<Made, Fault> {
        let Requests { method, headers, body, parameters: place, .. } = self.requests;
        let mut url = match position {
            Some(Position::Link(followed)) => {
                restored(followed.value.as_str().unwrap_or_default(), &self.url, &self.own)?
            }
            _ => {
                let mut url = self.url.clone();
                if !self.own.is_empty() {
                    url.query_pairs_mut().extend_pairs(&self.own);
                }
                url
            }
        };
        let mut fields = match body.as_ref().map(|body| body.filled(self.values)).transpose()? {
            Some(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        match place {
            Place::Body => fields.extend(parameters),
            Place::Query if parameters.is_empty() => {}
            Place::Query => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                url.query_pairs_mut()
                    .extend_pairs(parameters.iter().map(|(name, value)| (name, text(value))));
            }
        }
        let body = match *method == Method::POST {
            true => Value::Object(fields).to_string().into(),
            false => Bytes::new(),
        };
        Ok(Made { request: request(method.clone(), &url, headers, body), url })
    }
}

/// Returns the address with the values of a run.
///
/// # Errors
///
/// [`Fault::List`]: a value can't be a part of it.
pub fn address(template: &Template, values: &Values) -> Result<Url, Fault> {
    let text = template.address(values)?;
    Url::parse(&text).map_err(|_| {
        Fault::list(
            "the address is invalid with the values of its placeholders; check `context` and `list_id`",
        )
    })
}

/// Makes a request.
pub fn request(method: Method, url: &Url, headers: &HeaderMap, body: Bytes) -> Request {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // A `Url` with the scheme http(s) is a valid `Uri`; if it were not, the request would fail.
    *request.uri_mut() = url.as_str().parse().unwrap_or_default();
    request.headers_mut().clone_from(headers);
    request
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::json::Json;

    #[test]
    fn a_request_has_the_values_of_the_run_and_the_parameters_of_the_page() {
        let known = ["list_id".to_owned(), "me".to_owned()];
        let template = |text: &str| Template::read(text, &known).unwrap();
        let values: Values = [("list_id", "\"a b\""), ("me", "17")]
            .map(|(name, text)| (name.to_owned(), Json::read(text.to_owned()).unwrap()))
            .into();
        let body = json!({"of": "{me}", "texts": ["{list_id}!", 5], "page": {"size": 1}});
        for (method, body, parameters, address, sent) in [
            (Method::GET, None, Place::Query, "https://h/a%20b?x=1&who=17&offset=20&limit=10", String::new()),
            (
                Method::POST,
                Some(body),
                Place::Body,
                "https://h/a%20b?x=1&who=17",
                json!({"of": 17, "texts": ["a b!", 5], "page": {"size": 1}, "offset": 20, "limit": 10})
                    .to_string(),
            ),
            (
                Method::POST,
                None,
                Place::Query,
                "https://h/a%20b?x=1&who=17&offset=20&limit=10",
                "{}".to_owned(),
            ),
        ] {
            let requests = Requests {
                url: template("https://h/{list_id}?x=1"),
                method: method.clone(),
                headers: HeaderMap::new(),
                query: vec![("who".to_owned(), template("{me}"))],
                body: body.map(|body| Body::read(&body, &known).unwrap()),
                parameters,
            };
            let page = vec![("offset".to_owned(), json!(20)), ("limit".to_owned(), json!(10))];
            let made = requests.filled(&values).unwrap().page(None, page).unwrap();
            assert_eq!((made.request.method(), made.request.uri().to_string().as_str()), (&method, address));
            assert_eq!(String::from_utf8_lossy(made.request.body()), sent);
        }
    }
}
