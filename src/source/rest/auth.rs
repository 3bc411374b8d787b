//! The account at the address of an entry: constant credentials, or a token that a login returns.

mod manual;
mod token;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use serde::Deserialize;
use serde_json::json;
use url::{Url, form_urlencoded};

pub use self::manual::unused_login;
use self::{manual::manual, token::Login};
use super::ADAPTER;
use crate::{
    base::{
        adapter::{Chosen, Span},
        path::Path,
        secret::Secret,
        spec::{Setting, ValueKind},
        time,
    },
    net::{
        Account, AccountClient, AccountClients, RateLimiter, Unopened,
        auth::{Auth, Session},
        endpoint::{
            self, Endpoint,
            account::{Credential, Opening, PASSWORD, TOKEN, USER},
        },
        environment::checked_secret,
    },
};

/// Members of `auth.token`.
pub const TOKEN_MEMBERS: &[Setting] = &[
    Setting::new("url", ValueKind::Text, "Address of the login: http(s), without user and password.")
        .required()
        .private(),
    Setting::new(
        "grant",
        ValueKind::Word(&["password", "client_credentials"]),
        "Grant of OAuth 2; if absent, the login request has only the user and the password.",
    ),
    Setting::new("body", ValueKind::Word(&["json", "form"]), "Form of the request.").default("\"form\""),
    Setting::new(
        "fields",
        ValueKind::Map(&ValueKind::Text),
        "Names of the fields for user and password in the request, if they differ from the defaults.",
    )
    .default("{}"),
    Setting::new(
        "send",
        ValueKind::Map(&ValueKind::Text),
        "Further fields of the request, such as the scope.",
    )
    .default("{}")
    .private(),
    Setting::new("token", ValueKind::Text, "Path of the token in the response.").default("\"access_token\""),
    Setting::new(
        "expires_in",
        ValueKind::Text,
        "Path of the number of seconds for which the token is valid.",
    )
    .default("\"expires_in\""),
    Setting::new("header", ValueKind::Text, "Header in which requests send the token.")
        .default("\"Authorization\""),
    Setting::new("prefix", ValueKind::Text, "Text before the token in the header.").default("\"Bearer \""),
    Setting::new(
        "retry_every",
        ValueKind::Pattern(time::SPAN),
        "Wait between two attempts to log in after a failure; if absent, the waits grow.",
    ),
];

/// The setting `auth`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthSetting {
    None,
    Basic,
    Bearer,
    /// A token in a header of this name.
    Header(String),
    /// A token that a login returns.
    Token(Box<TokenSetting>),
}

/// The setting `auth.token`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSetting {
    url: String,
    grant: Option<Grant>,
    #[serde(default)]
    body: Form,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    #[serde(default)]
    send: BTreeMap<String, String>,
    #[serde(default = "access_token")]
    token: Path,
    #[serde(default = "expires_in")]
    expires_in: Path,
    #[serde(default = "authorization")]
    header: String,
    #[serde(default = "bearer")]
    prefix: String,
    retry_every: Option<Span>,
}

/// The form of the request for a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Json,
    #[default]
    Form,
}

/// A grant of OAuth 2 (RFC 6749, sections 4.3 and 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Grant {
    Password,
    ClientCredentials,
}

fn access_token() -> Path {
    Path::new("access_token".to_owned())
}

fn expires_in() -> Path {
    Path::new("expires_in".to_owned())
}

fn authorization() -> String {
    AUTHORIZATION.to_string()
}

fn bearer() -> String {
    "Bearer ".to_owned()
}

/// A login, as an entry describes it.
pub struct Described {
    url: Url,
    /// Header in which requests send the token.
    header: HeaderName,
    setting: TokenSetting,
}

impl TokenSetting {
    /// Checks the setting.
    ///
    /// # Errors
    ///
    /// A member is invalid. The message names it.
    pub fn described(&self) -> Result<Described, String> {
        let url = endpoint::address("auth.token.url", &self.url)?;
        let header = endpoint::header_of_token(&self.header)?;
        if let Some(name) = self.fields.keys().find(|name| ![USER, PASSWORD].contains(&name.as_str())) {
            return Err(format!(
                "`auth.token.fields`: unknown field `{name}`; only `user` and `password` can be renamed"
            ));
        }
        if !self.prefix.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            return Err(
                "`auth.token.prefix` contains an invalid character; use spaces and visible ASCII characters"
                    .to_owned(),
            );
        }
        Ok(Described { url, header, setting: self.clone() })
    }
}

impl Described {
    /// Returns the names of the user and of the password in the request.
    fn names(&self) -> (&str, &str) {
        let (user, password) = match self.setting.grant {
            Some(Grant::ClientCredentials) => ("client_id", "client_secret"),
            Some(Grant::Password) | None => ("username", "password"),
        };
        let named = |name: &str| self.setting.fields.get(name).map(String::as_str);
        (named(USER).unwrap_or(user), named(PASSWORD).unwrap_or(password))
    }

    /// Returns the body of the request and its type.
    fn body(&self, user: &Secret, password: &Secret) -> (Bytes, HeaderValue) {
        let grant = self.setting.grant.map(|grant| match grant {
            Grant::Password => "password",
            Grant::ClientCredentials => "client_credentials",
        });
        let (user_name, password_name) = self.names();
        let send = self.setting.send.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let own = [(user_name, user.reveal()), (password_name, password.reveal())];
        let fields: BTreeMap<&str, &str> =
            grant.map(|grant| ("grant_type", grant)).into_iter().chain(send).chain(own).collect();
        match self.setting.body {
            Form::Json => (json!(fields).to_string().into(), HeaderValue::from_static("application/json")),
            Form::Form => {
                let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                (text.into(), HeaderValue::from_static("application/x-www-form-urlencoded"))
            }
        }
    }
}

/// Returns the client of an address.
///
/// # Errors
///
/// A credential that `auth` needs is missing or invalid, one is set that it does not use, or a secret is not meant
/// for this host.
pub fn client(
    accounts: &AccountClients,
    endpoint: &Endpoint,
    auth: Option<&Described>,
    chosen: &Chosen,
) -> Result<Arc<AccountClient>, Unopened> {
    let opening = Opening { adapter: &ADAPTER, part: "source", endpoint, chosen };
    let Some(described) = auth else { return opening.client(accounts) };
    opening.check_unused(&[TOKEN, USER, PASSWORD])?;
    let environment = accounts.environment();
    opening.permit(environment, &endpoint.url, "url")?;
    opening.permit(environment, &described.url, "auth.token.url")?;
    let name = opening.name(&endpoint.url, &format!("{:?}", described.setting));
    let login = match manual(&opening, environment)? {
        Some(token) => Err(token),
        None => Ok(described.login(&opening, accounts, &name)?),
    };
    Ok(accounts.client(&name, |_| Ok(described.account(&opening, login.clone())))?)
}

impl Described {
    /// Returns the account of the records. `login` is the request that returns a token, or a token.
    fn account(&self, opening: &Opening, login: Result<Login, Credential>) -> (Account, RateLimiter) {
        let prefix = &self.setting.prefix;
        let (auth, key_name, key_hint, secrets) = match login {
            Ok(login) => {
                let hint = login.hint.clone();
                let session = Session::new(self.header.clone(), login).with_prefix(prefix);
                (Auth::Token(session), opening.part.to_owned(), Some(hint.into()), vec![])
            }
            Err(Credential { secret, from }) => {
                let key = Secret::new(format!("{prefix}{}", secret.reveal()));
                (Auth::Header { name: self.header.clone(), key }, from, None, vec![secret])
            }
        };
        let account = opening.anonymous(&opening.endpoint.url, "url", auth);
        let account = Account { key_name: key_name.into(), key_hint, secrets, ..account };
        (account, RateLimiter::new(ADAPTER.connections, opening.endpoint.rate))
    }

    /// Returns the request that returns a token, from an account of its own.
    fn login(&self, opening: &Opening, accounts: &AccountClients, name: &str) -> Result<Login, Unopened> {
        let environment = accounts.environment();
        let user = opening.credential(environment, USER, &ADAPTER.user)?;
        let password = opening.credential(environment, PASSWORD, &ADAPTER.password)?;
        let hint = format!("check `{}` and `{}`", user.from, password.from);
        let advice = format!("{hint}, and `auth.token`: {}", self.described());
        let user = checked_secret(&user.from, user.secret)?;
        let password = checked_secret(&password.from, password.secret)?;
        let (body, content_type) = self.body(&user, &password);
        let setting = &self.setting;
        let secrets = setting.send.values().map(Secret::new).chain([user, password]).collect::<Vec<_>>();
        let client = accounts.client(&format!("{name} login"), |_| {
            let account = opening.anonymous(&self.url, "auth.token.url", Auth::None);
            let account = Account {
                key_name: opening.part.to_owned().into(),
                key_hint: Some(hint.clone().into()),
                secrets: secrets.clone(),
                ..account
            };
            Ok((account, RateLimiter::new(1, opening.endpoint.rate)))
        })?;
        Ok(Login {
            client,
            url: self.url.clone(),
            body,
            content_type,
            token: setting.token.clone(),
            expires_in: setting.expires_in.clone(),
            retry_every: setting.retry_every.map(|Span(wait)| wait.to_std().unwrap_or_default()),
            hint,
            advice,
        })
    }

    /// Describes the request without its values, and which settings change it.
    fn described(&self) -> String {
        let (user, password) = self.names();
        let form = if self.setting.body == Form::Json { "JSON" } else { "a form" };
        let sent = format!("importer sent {form} with the fields `{user}` and `{password}`");
        match self.setting.grant {
            None => format!(
                "{sent} and without a `grant`, which OAuth 2 needs; other services may need another `body` or `fields`"
            ),
            Some(_) => {
                format!("{sent} and a `grant`; the service may need another `grant`, `body` or `fields`")
            }
        }
    }
}
