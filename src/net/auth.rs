//! A token that was fetched with a key and is used until it is about to end: one fetches it, all lists of the account use it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::base::{fault::Fault, secret::Secret};

/// What a login gives.
#[derive(Debug, Clone)]
pub struct Token {
    pub secret: Secret,
    /// From when on another one is fetched.
    pub renew: DateTime<Utc>,
}

/// The token of one account.
#[derive(Default)]
pub struct Session {
    token: Mutex<Option<Token>>,
    fetching: tokio::sync::Mutex<()>,
}

impl Session {
    /// The token, fetched if there is none or if it is time to. The others wait meanwhile.
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

    /// This token was not taken. Another one that was fetched meanwhile stays.
    pub fn refused(&self, secret: &Secret) {
        let mut token = self.lock();
        if token.as_ref().is_some_and(|token| token.secret.reveal() == secret.reveal()) {
            *token = None;
        }
    }

    /// What no message may show.
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
    async fn one_fetches_the_token_and_all_use_it_until_it_is_to_be_renewed_or_was_refused() {
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
        assert_eq!(session.secret().unwrap().reveal(), "t1", "it is another one by now");
        session.refused(&Secret::new("t1"));
        assert!(session.secret().is_none());
        assert_eq!(told(vec![get(now).await]), ["t2"]);
    }

    #[tokio::test]
    async fn a_login_that_fails_leaves_the_next_one_to_try() {
        let now = time::parse("2026-11-21T12:00:00").unwrap();
        let session = Session::default();
        assert!(session.token(now, async { Err(Fault::list("no")) }).await.is_err());
        let token = Token { secret: Secret::new("t"), renew: now + TimeDelta::days(5) };
        assert!(session.token(now, async { Ok(token) }).await.is_ok());
    }
}
