//! The token of an account: fetched once, shared by all lists of the account, and renewed before it expires.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::base::{fault::Fault, secret::Secret};

/// A token and the time of its renewal.
#[derive(Debug, Clone)]
pub struct Token {
    pub secret: Secret,
    /// Time from which a new token is fetched.
    pub renew: DateTime<Utc>,
}

/// Cache for the token of one account.
#[derive(Default)]
pub struct Session {
    token: Mutex<Option<Token>>,
    fetching: tokio::sync::Mutex<()>,
}

impl Session {
    /// Returns the token; fetches one if there is none or if `now` is past its renewal. Other callers wait
    /// during the fetch.
    ///
    /// # Errors
    ///
    /// The fault of `fetch`. The next caller fetches again.
    pub async fn token(
        &self,
        now: DateTime<Utc>,
        fetch: impl Future<Output = Result<Token, Fault>>,
    ) -> Result<Secret, Fault> {
        let good =
            || self.lock().as_ref().filter(|token| now < token.renew).map(|token| token.secret.clone());
        if let Some(token) = good() {
            return Ok(token);
        }
        let _fetching = self.fetching.lock().await;
        if let Some(token) = good() {
            return Ok(token);
        }
        let token = fetch.await?;
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
    pub fn secret(&self) -> Option<Secret> {
        self.lock().as_ref().map(|token| token.secret.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use chrono::TimeDelta;
    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;
    use crate::base::time;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_fetched_once_and_shared_until_it_is_due_for_renewal_or_was_rejected() {
        let now = time::parse("2026-11-21T12:00:00").unwrap();
        let (session, fetched) = (Session::default(), AtomicUsize::new(0));
        let get = |now: DateTime<Utc>| {
            let (session, fetched) = (&session, &fetched);
            session.token(now, async move {
                sleep(Duration::from_secs(1)).await;
                let number = fetched.fetch_add(1, Ordering::Relaxed);
                Ok(Token { secret: Secret::new(format!("t{number}")), renew: now + TimeDelta::days(5) })
            })
        };
        let told = |tokens: Vec<Result<Secret, Fault>>| -> Vec<String> {
            tokens.into_iter().map(|token| token.unwrap().reveal().to_owned()).collect()
        };
        assert_eq!(told(join_all((0..3).map(|_| get(now))).await), ["t0"; 3]);
        assert_eq!(told(vec![get(now + TimeDelta::days(4)).await]), ["t0"]);
        assert_eq!(told(vec![get(now + TimeDelta::days(5)).await]), ["t1"]);
        session.refused(&Secret::new("t0"));
        assert_eq!(session.secret().unwrap().reveal(), "t1", "a newer token stays");
        session.refused(&Secret::new("t1"));
        assert!(session.secret().is_none());
        assert_eq!(told(vec![get(now).await]), ["t2"]);
    }

    #[tokio::test]
    async fn after_a_failed_login_the_next_caller_tries_again() {
        let now = time::parse("2026-11-21T12:00:00").unwrap();
        let session = Session::default();
        assert!(session.token(now, async { Err(Fault::list("no")) }).await.is_err());
        let token = Token { secret: Secret::new("t"), renew: now + TimeDelta::days(5) };
        assert!(session.token(now, async { Ok(token) }).await.is_ok());
    }
}
