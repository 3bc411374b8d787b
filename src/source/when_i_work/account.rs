//! The account: a token, either configured, or fetched with a developer key and a login.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use http::HeaderName;
use serde::Deserialize;
use serde_json::json;

use crate::{
    base::{fault::Fault, secret::Secret, spec::Variable},
    net::{
        Account, AccountClient, AccountClients, Caller, Environment, Http, RateLimiter, Refused, Response,
        Unopened,
        auth::{Auth, FetchToken, Session, Token},
        classify::Rules,
    },
};

const SERVICE: &str = "when_i_work";
pub const VARIABLES: &[Variable] = &[KEY, EMAIL, PASSWORD, TOKEN, URL, LOGIN_URL];
const KEY: Variable = Variable::new("WHEN_I_WORK_KEY", "developer key of When I Work").credential();
const EMAIL: Variable =
    Variable::new("WHEN_I_WORK_EMAIL", "email address of a user of the account").credential();
const PASSWORD: Variable = Variable::new("WHEN_I_WORK_PASSWORD", "password of that user").credential();
const TOKEN: Variable =
    Variable::new("WHEN_I_WORK_TOKEN", "access token, instead of these three").credential();
const URL: Variable = Variable::new("WHEN_I_WORK_URL", "base URL").default("https://api.wheniwork.com/2");
const LOGIN_URL: Variable = Variable::new("WHEN_I_WORK_LOGIN_URL", "base URL of the login")
    .default("https://api.login.wheniwork.com");

/// Age at which a token is renewed. A token is valid for seven days from its `iat` on, and should be renewed
/// two days before it expires:
/// <https://github.com/api-evangelist/when-i-work/blob/main/rate-limits/when-i-work-rate-limits.yml>.
const LIFE: TimeDelta = TimeDelta::days(5);
/// Requests per second. Older documentation allows 100 per minute: <http://dev.wheniwork.com/>.
const RATE: f64 = 1.0;
/// Simultaneous requests.
const CONNECTIONS: usize = 2;
/// Remaining requests of the service's minute below which the rate falls.
const PLENTY: f64 = 30.0;

/// Opens the client for the shifts.
pub fn open(accounts: &AccountClients, caller: Caller) -> Result<Http, Unopened> {
    let environment = accounts.environment();
    let login = match environment.text(&TOKEN)? {
        Some(_) => None,
        None => {
            let client = accounts.client("when_i_work login", login_account)?;
            let (email, password) = (environment.secret(&EMAIL)?, environment.secret(&PASSWORD)?);
            Some(Login { client, email, password, hint: format!("check {}", names(environment)) })
        }
    };
    Ok(accounts.client(SERVICE, |environment| shifts(environment, login.clone()))?.open(caller))
}

/// The request that returns a token.
#[derive(Clone)]
struct Login {
    client: Arc<AccountClient>,
    email: Secret,
    password: Secret,
    /// Next step if the service rejects the login.
    hint: String,
}

/// Returns the names of the variables of the login, for hints.
fn names(environment: &Environment) -> String {
    let [key, email, password] = [&KEY, &EMAIL, &PASSWORD].map(|variable| environment.name(variable));
    format!("`{key}`, `{email}` and `{password}`")
}

impl FetchToken for Login {
    fn fetch<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<Token, Fault>> {
        Box::pin(async move {
            let http = self.client.open(caller.clone());
            let body = json!({"email": self.email.reveal(), "password": self.password.reveal()});
            let request = http.post(&["login"], body.to_string().into());
            let read = |response: &Response| token(response, http.local_now(), &self.hint);
            let doing = format!("could not log in to {}", http.service());
            let fetched = http.call(&doing, request, read).await;
            fetched.map_err(|fault| match fault.problem().status {
                Some(400 | 401 | 403) => fault.hint(&self.hint),
                _ => fault,
            })
        })
    }
}

fn token(response: &Response, now: DateTime<Utc>, hint: &str) -> Result<Token, Fault> {
    #[derive(Deserialize)]
    struct Person {
        token: String,
    }
    let person: Option<Person> = serde_json::from_slice(response.body()).ok();
    let Some(Person { token }) = person.filter(|person| !person.token.trim().is_empty()) else {
        return Err(Fault::retry("when_i_work's response to the login has no token").hint(hint));
    };
    let issued = issued(&token).unwrap_or(now).min(now);
    Ok(Token { secret: Secret::new(token), renew: issued + LIFE })
}

/// Returns the time at which a token was issued, from its `iat` claim (RFC 7519, section 4.1.6).
fn issued(token: &str) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    struct Claims {
        iat: i64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    DateTime::from_timestamp(serde_json::from_slice::<Claims>(&claims).ok()?.iat, 0)
}

fn shifts(environment: &Environment, login: Option<Login>) -> Result<(Account, RateLimiter), Refused> {
    const HEADER: HeaderName = HeaderName::from_static("w-token");
    let expired = format!(
        "the token in `{}` has expired or is wrong; set a new one, or {}",
        environment.name(&TOKEN),
        names(environment)
    );
    let (auth, key_name, key_hint) = match login {
        Some(login) => (Auth::Token(Session::new(HEADER, login)), &KEY, None),
        None => (Auth::Header { name: HEADER, key: environment.key(&TOKEN)? }, &TOKEN, Some(expired.into())),
    };
    let account = Account {
        service: SERVICE.into(),
        key_name: environment.name(key_name).into(),
        key_hint,
        url_name: environment.name(&URL).into(),
        base: environment.url(&URL)?,
        auth,
        secrets: vec![],
        rules: Rules::default(),
        room: Some((HeaderName::from_static("w-limit-remaining"), PLENTY)),
    };
    Ok((account, RateLimiter::new(CONNECTIONS, RATE)))
}

fn login_account(environment: &Environment) -> Result<(Account, RateLimiter), Refused> {
    let account = Account {
        service: SERVICE.into(),
        key_name: environment.name(&KEY).into(),
        key_hint: None,
        url_name: environment.name(&LOGIN_URL).into(),
        auth: Auth::Header { name: HeaderName::from_static("w-key"), key: environment.key(&KEY)? },
        base: environment.url(&LOGIN_URL)?,
        secrets: vec![environment.secret(&PASSWORD)?],
        rules: Rules::default(),
        room: None,
    };
    Ok((account, RateLimiter::new(1, RATE)))
}
