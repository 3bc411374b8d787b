//! The account: a token, either configured or fetched with a developer key and a login, and then renewed
//! before it expires.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderName;
use serde::Deserialize;
use serde_json::json;

use crate::{
    base::{fault::Fault, secret::Secret},
    net::{
        Account, AccountClients, Caller, Environment, Http, RateLimiter, Refused, Request, Response,
        Unopened, auth::Token, environment::credentials,
    },
};

const SERVICE: &str = "when_i_work";
const KEY: &str = "WHEN_I_WORK_KEY";
const EMAIL: &str = "WHEN_I_WORK_EMAIL";
const PASSWORD: &str = "WHEN_I_WORK_PASSWORD";
const TOKEN: &str = "WHEN_I_WORK_TOKEN";

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

/// Where the token comes from.
enum Login {
    /// The environment contains a token.
    Given(Secret),
    /// A login returns the token.
    By { http: Http, email: Secret, password: Secret },
}

/// The client for the shifts, and the one for the login.
pub struct Accounts {
    http: Http,
    login: Login,
}

impl Accounts {
    pub fn open(accounts: &AccountClients, caller: Caller) -> Result<Self, Unopened> {
        let environment = accounts.environment();
        let login = match environment.text(TOKEN) {
            Some(_) => Login::Given(environment.key(TOKEN)?),
            None => {
                let http = accounts
                    .client("when_i_work login", login)?
                    .open(Caller { distance: Default::default(), ..caller.clone() });
                let (email, password) = (environment.secret(EMAIL)?, environment.secret(PASSWORD)?);
                Login::By { http, email, password }
            }
        };
        Ok(Accounts { http: accounts.client(SERVICE, shifts)?.open(caller), login })
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.http.now()
    }

    /// Reads from the account. If the service rejects a fetched token, tries once more with another one.
    pub async fn get<T>(
        &self,
        doing: &str,
        path: &[&str],
        query: &[(&str, String)],
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let token = self.token().await?;
        let request = self.request(path, query, &token)?;
        let Login::By { .. } = self.login else {
            return self.http.call(doing, request, read).await.map_err(|fault| match fault.problem().status {
                Some(401) => fault.hint(format!(
                    "the token in `{TOKEN}` has expired or is wrong; set a new one, or `{KEY}`, `{EMAIL}` and `{PASSWORD}`"
                )),
                _ => fault,
            });
        };
        match self.http.call_aside(doing, request, &read).await {
            Err(fault) if fault.problem().status == Some(401) => {
                self.http.session().refused(&token);
                let request = self.request(path, query, &self.token().await?)?;
                self.http.call(doing, request, &read).await
            }
            answer => answer,
        }
    }

    fn request(&self, path: &[&str], query: &[(&str, String)], token: &Secret) -> Result<Request, Fault> {
        let mut request = self.http.get(path, query);
        let value = credentials(TOKEN, token.reveal()).map_err(|_| {
            Fault::list("when_i_work's token contains a character that is invalid in a header")
        })?;
        request.headers_mut().insert(HeaderName::from_static("w-token"), value);
        Ok(request)
    }

    async fn token(&self) -> Result<Secret, Fault> {
        match &self.login {
            Login::Given(token) => Ok(token.clone()),
            Login::By { http, email, password } => {
                let fetch = async {
                    let body = json!({"email": email.reveal(), "password": password.reveal()});
                    let request = http.post(&["login"], body.to_string().into());
                    http.call("could not log in to when_i_work", request, |response| {
                        token(response, http.now())
                    })
                    .await
                    .map_err(|fault| match fault.problem().status {
                        Some(400 | 401 | 403) => {
                            fault.hint(format!("check `{KEY}`, `{EMAIL}` and `{PASSWORD}`"))
                        }
                        _ => fault,
                    })
                };
                self.http.session().token(self.now(), fetch).await
            }
        }
    }
}

fn token(response: &Response, now: DateTime<Utc>) -> Result<Token, Fault> {
    #[derive(Deserialize)]
    struct Person {
        token: String,
    }
    let person: Option<Person> = serde_json::from_slice(response.body()).ok();
    let Some(Person { token }) = person.filter(|person| !person.token.trim().is_empty()) else {
        let hint = format!("check `{KEY}`, `{EMAIL}` and `{PASSWORD}`");
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

fn shifts(environment: &Environment) -> Result<(Account, RateLimiter), Refused> {
    let account = Account {
        service: SERVICE,
        key_name: if environment.text(TOKEN).is_some() { TOKEN } else { KEY },
        url_name: "WHEN_I_WORK_URL",
        base: environment.url("WHEN_I_WORK_URL", "https://api.wheniwork.com/2")?,
        secrets: environment.key(TOKEN).into_iter().collect(),
        headers: vec![],
        room: Some((HeaderName::from_static("w-limit-remaining"), PLENTY)),
    };
    Ok((account, RateLimiter::new(CONNECTIONS, RATE)))
}

fn login(environment: &Environment) -> Result<(Account, RateLimiter), Refused> {
    let key = environment.key(KEY)?;
    let headers = vec![(HeaderName::from_static("w-key"), credentials(KEY, key.reveal())?)];
    let account = Account {
        service: SERVICE,
        key_name: KEY,
        url_name: "WHEN_I_WORK_LOGIN_URL",
        base: environment.url("WHEN_I_WORK_LOGIN_URL", "https://api.login.wheniwork.com")?,
        secrets: vec![key, environment.secret(PASSWORD)?],
        headers,
        room: None,
    };
    Ok((account, RateLimiter::new(1, RATE)))
}
