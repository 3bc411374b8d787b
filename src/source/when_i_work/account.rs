//! The account: a developer key and a login give a token, or a token is given; it is renewed before it ends.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderName;
use serde::Deserialize;
use serde_json::json;

use crate::{
    base::{fault::Fault, secret::Secret},
    net::{
        Account, Caller, Doors, Environment, Gate, Http, Refused, Request, Response, Unopened, auth::Token,
        environment::credentials,
    },
};

const SERVICE: &str = "when_i_work";
const KEY: &str = "WHEN_I_WORK_KEY";
const EMAIL: &str = "WHEN_I_WORK_EMAIL";
const PASSWORD: &str = "WHEN_I_WORK_PASSWORD";
const TOKEN: &str = "WHEN_I_WORK_TOKEN";

/// A token lives seven days from its `iat` on and is to be renewed two days before:
/// <https://github.com/api-evangelist/when-i-work/blob/main/rate-limits/when-i-work-rate-limits.yml>.
const LIFE: TimeDelta = TimeDelta::days(5);
/// Of the hundred requests a minute that older documents allow, so many a second are asked for: <http://dev.wheniwork.com/>.
const RATE: f64 = 1.0;
const CONNECTIONS: usize = 2;
/// With fewer requests left than this in the service's minute the pace goes down.
const PLENTY: f64 = 30.0;

/// How the token is had.
enum Login {
    Given(Secret),
    By { http: Http, email: Secret, password: Secret },
}

/// The door to the shifts, and the one to the login.
pub struct Accounts {
    http: Http,
    login: Login,
}

impl Accounts {
    pub fn open(doors: &Doors, caller: Caller) -> Result<Self, Unopened> {
        let environment = doors.environment();
        let login = match environment.text(TOKEN) {
            Some(_) => Login::Given(environment.key(TOKEN)?),
            None => {
                let http = doors
                    .door("when_i_work login", login)?
                    .open(Caller { distance: Default::default(), ..caller.clone() });
                let (email, password) = (environment.secret(EMAIL)?, environment.secret(PASSWORD)?);
                Login::By { http, email, password }
            }
        };
        Ok(Accounts { http: doors.door(SERVICE, shifts)?.open(caller), login })
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.http.now()
    }

    /// Reads from the account. A token that is refused before its time is fetched anew once.
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
                    "the token in `{TOKEN}` is over or wrong; set a new one, or `{KEY}`, `{EMAIL}` and `{PASSWORD}`"
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
        let value = credentials(TOKEN, token.reveal())
            .map_err(|_| Fault::list("when_i_work's token holds a character that no header has"))?;
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
        return Err(Fault::retry("when_i_work's answer to the login has no token").hint(hint));
    };
    let issued = issued(&token).unwrap_or(now).min(now);
    Ok(Token { secret: Secret::new(token), renew: issued + LIFE })
}

/// When a token was issued, as it says itself (RFC 7519, section 4.1.6).
fn issued(token: &str) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    struct Claims {
        iat: i64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    DateTime::from_timestamp(serde_json::from_slice::<Claims>(&claims).ok()?.iat, 0)
}

fn shifts(environment: &Environment) -> Result<(Account, Gate), Refused> {
    let account = Account {
        service: SERVICE,
        key_name: if environment.text(TOKEN).is_some() { TOKEN } else { KEY },
        url_name: "WHEN_I_WORK_URL",
        base: environment.url("WHEN_I_WORK_URL", "https://api.wheniwork.com/2")?,
        secrets: environment.key(TOKEN).into_iter().collect(),
        headers: vec![],
        room: Some((HeaderName::from_static("w-limit-remaining"), PLENTY)),
    };
    Ok((account, Gate::new(CONNECTIONS, RATE)))
}

fn login(environment: &Environment) -> Result<(Account, Gate), Refused> {
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
    Ok((account, Gate::new(1, RATE)))
}
