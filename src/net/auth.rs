//! The credentials of an account's requests: a key, or a token that is fetched once, shared by all lists of the
//! account, and renewed before it expires.

use std::{
    borrow::Cow,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use http::{
    HeaderName, HeaderValue,
    header::{AUTHORIZATION, InvalidHeaderValue},
};

use super::{Caller, Request};
use crate::base::{fault::Fault, secret::Secret};

/// Credentials of an account's requests.
pub enum Auth {
    /// No credentials.
    None,
    /// A key in a header of its own.
    Header { name: HeaderName, key: Secret },
    /// A user and a password (RFC 7617).
    Basic { user: Cow<'static, str>, password: Secret },
    /// A constant token (RFC 6750).
    Bearer(Secret),
    /// A token that is fetched, in a header of its own.
    Token(Session),
}

impl Auth {
    /// Returns the constant secret, if there is one.
    pub fn key(&self) -> Option<&Secret> {
        match self {
            Auth::None | Auth::Token(_) => None,
            Auth::Header { key: secret, .. }
            | Auth::Basic { password: secret, .. }
            | Auth::Bearer(secret) => Some(secret),
        }
    }

    /// Returns the token that was fetched last and is still in use.
    pub fn fetched(&self) -> Option<Secret> {
        if let Auth::Token(session) = self { session.secret() } else { None }
    }

    /// Adds the header with the credentials to a request, marked as sensitive so that no log shows it. `token`
    /// is the token to use, if one is fetched.
    ///
    /// # Errors
    ///
    /// A credential contains a character that is invalid in a header.
    pub fn sign(&self, request: &mut Request, token: Option<&Secret>) -> Result<(), InvalidHeaderValue> {
        let (name, text) = match (self, token) {
            (Auth::Header { name, key }, _) => (name.clone(), Cow::Borrowed(key.reveal())),
            (Auth::Basic { user, password }, _) => {
                let pair = STANDARD.encode(format!("{user}:{}", password.reveal()));
                (AUTHORIZATION, Cow::Owned(format!("Basic {pair}")))
            }
            (Auth::Bearer(key), _) => (AUTHORIZATION, Cow::Owned(format!("Bearer {}", key.reveal()))),
            (Auth::Token(session), Some(token)) => {
                let text = match session.prefix.as_str() {
                    "" => Cow::Borrowed(token.reveal()),
                    prefix => Cow::Owned(format!("{prefix}{}", token.reveal())),
                };
                (session.header.clone(), text)
            }
            (Auth::None, _) | (Auth::Token(_), None) => return Ok(()),
        };
        let mut value = HeaderValue::from_str(&text)?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
        Ok(())
    }
}

/// A token and the time of its renewal.
#[derive(Debug, Clone)]
pub struct Token {
    pub secret: Secret,
    /// Time by our clock from which a new token is fetched.
    pub renew: DateTime<Utc>,
}

/// The request that fetches a token, such as a login. It may belong to an account of its own.
pub trait FetchToken: Send + Sync {
    /// Fetches a token on behalf of `caller`.
    ///
    /// # Errors
    ///
    /// The service gave no token. The next request of the account tries again.
    fn fetch<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<Token, Fault>>;
}

/// The token of one account, with the request that fetches it.
pub struct Session {
    /// Header in which requests send the token.
    header: HeaderName,
    /// Text before the token in the header.
    prefix: String,
    login: Box<dyn FetchToken>,
    token: Mutex<Option<Token>>,
    fetching: tokio::sync::Mutex<()>,
}

impl Session {
    /// Makes a session without a token. The first request fetches one.
    pub fn new(header: HeaderName, login: impl FetchToken + 'static) -> Self {
        let (prefix, login) = (String::new(), Box::new(login));
        Session { header, prefix, login, token: Mutex::default(), fetching: Default::default() }
    }

    /// Puts this text before the token in the header.
    pub fn with_prefix(self, prefix: &str) -> Self {
        Session { prefix: prefix.to_owned(), ..self }
    }

    /// Returns the token; fetches one if there is none or if `now` is past its renewal. Other callers wait
    /// during the fetch. The minimum interval of a caller does not apply to the login.
    ///
    /// # Errors
    ///
    /// The fault of the fetch. The next caller fetches again.
    pub async fn token(&self, now: DateTime<Utc>, caller: &Caller) -> Result<Secret, Fault> {
        let good =
            || self.lock().as_ref().filter(|token| now < token.renew).map(|token| token.secret.clone());
        if let Some(token) = good() {
            return Ok(token);
        }
        let _fetching = self.fetching.lock().await;
        if let Some(token) = good() {
            return Ok(token);
        }
        let caller = Caller { distance: Duration::ZERO, ..caller.clone() };
        // A caller would take the status for the one of its own request, such as 404 for a record that is gone.
        let token = self.login.fetch(&caller).await.map_err(Fault::without_status)?;
        let secret = token.secret.clone();
        *self.lock() = Some(token);
        Ok(secret)
    }

    /// Drops a token that the service rejected. Keeps a newer one.
    pub fn refused(&self, secret: &Secret) {
        let mut token = self.lock();
        if token.as_ref().is_some_and(|token| token.secret.reveal() == secret.reveal()) {
            *token = None;
        }
    }

    /// Returns the current token, which no message may contain.
    fn secret(&self) -> Option<Secret> {
        self.lock().as_ref().map(|token| token.secret.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use chrono::TimeDelta;
    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;
    use crate::base::time;

    /// Logs in within a second, and returns the tokens `t0`, `t1` and so on, except for the first `fails` times.
    #[derive(Clone, Default)]
    struct Login {
        fails: usize,
        tried: Arc<AtomicUsize>,
    }

    const NOON: &str = "2026-11-21T12:00:00";

    impl FetchToken for Login {
        fn fetch<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<Token, Fault>> {
            Box::pin(async move {
                assert!(caller.distance.is_zero());
                sleep(Duration::from_secs(1)).await;
                let number = self.tried.fetch_add(1, Ordering::Relaxed);
                let renew = time::parse(NOON).unwrap() + TimeDelta::days(5 * (number as i64 + 1));
                match number < self.fails {
                    true => Err(Fault::list("no")),
                    false => Ok(Token { secret: Secret::new(format!("t{number}")), renew }),
                }
            })
        }
    }

    fn session(login: Login) -> Session {
        Session::new(HeaderName::from_static("x-token"), login)
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_fetched_once_and_shared_until_it_is_due_for_renewal_or_was_rejected() {
        let (now, session) = (time::parse(NOON).unwrap(), session(Login::default()));
        let caller = Caller { distance: Duration::from_secs(60), ..Caller::new("a", false) };
        let get = |days: i64| session.token(now + TimeDelta::days(days), &caller);
        let shown = |tokens: Vec<Result<Secret, Fault>>| -> Vec<String> {
            tokens.into_iter().map(|token| token.unwrap().reveal().to_owned()).collect()
        };
        assert_eq!(shown(join_all((0..3).map(|_| get(0))).await), ["t0"; 3]);
        assert_eq!(shown(vec![get(4).await, get(5).await]), ["t0", "t1"]);
        session.refused(&Secret::new("t0"));
        assert_eq!(session.secret().unwrap().reveal(), "t1", "a newer token stays");
        session.refused(&Secret::new("t1"));
        assert!(session.secret().is_none());
        assert_eq!(shown(vec![get(0).await]), ["t2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failed_login_the_next_caller_tries_again() {
        let (now, caller) = (time::parse(NOON).unwrap(), Caller::new("a", false));
        let session = session(Login { fails: 1, ..Login::default() });
        assert!(session.token(now, &caller).await.is_err());
        assert!(session.token(now, &caller).await.is_ok());
    }

    #[test]
    fn each_kind_of_credential_has_its_header_which_no_log_shows() {
        let secret = || Secret::new("s3cr3t");
        let name = HeaderName::from_static("x-key");
        let token = secret();
        for (auth, expected) in [
            (Auth::None, None),
            (Auth::Header { name, key: secret() }, Some(("x-key", "s3cr3t"))),
            (
                Auth::Basic { user: "me".into(), password: secret() },
                Some(("authorization", "Basic bWU6czNjcjN0")),
            ),
            (Auth::Bearer(secret()), Some(("authorization", "Bearer s3cr3t"))),
            (Auth::Token(session(Login::default())), Some(("x-token", "s3cr3t"))),
            (
                Auth::Token(session(Login::default()).with_prefix("Bearer ")),
                Some(("x-token", "Bearer s3cr3t")),
            ),
        ] {
            let mut request = Request::default();
            auth.sign(&mut request, Some(&token)).unwrap();
            assert!(request.headers().values().all(HeaderValue::is_sensitive));
            let sent = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
            assert_eq!(sent.collect::<Vec<_>>(), Vec::from_iter(expected));
        }
    }
}
