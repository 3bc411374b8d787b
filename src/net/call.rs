//! Runs the calls of one account, over any protocol: waits for a permit, makes an attempt, lets a judge
//! classify its outcome, reports that to the rate limiter, and tries again if that may help.

use std::{
    borrow::Cow,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    Caller, RateLimiter,
    outage::{Outage, Tries},
};
use crate::base::{
    backoff::{self, PATIENCE, TRIES},
    event::ServiceEvent,
    events::Events,
    fault::{Fault, Problem},
};

/// Upper bound of the wait that a service asks for; a longer one is taken for a mistake.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Time in which a repeated problem is no news.
const OLD: Duration = Duration::from_secs(10);

/// Effect of an attempt on the other requests of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The service carried out the request, even if its answer can't be used.
    Accepted,
    /// None: the failure concerns this attempt only.
    Neutral,
    /// The account sent too many requests: all of them pause, and the rate falls.
    Throttled,
    /// The service is overloaded: all requests pause.
    Overloaded,
    /// No connection could be made, so no other request would be carried out: all requests pause.
    Unreachable,
    /// The credentials were rejected: all requests fail until a later one succeeds.
    KeyRejected,
}

/// Outcome of an attempt, as its judge classified it.
pub struct Judged<T> {
    /// Result of the call. A [`Fault::Retryable`] is tried again, after the pause if `effect` pauses the account.
    pub result: Result<T, Fault>,
    pub effect: Effect,
    /// Share of the account's rate that the service still allows, from 0 to 1, if it reports that.
    pub headroom: Option<f64>,
}

/// Runs the calls of one account.
pub struct Calls {
    /// Name of the service in messages.
    service: Cow<'static, str>,
    limiter: RateLimiter,
    events: Events,
    outage: Mutex<Outage>,
    /// The last problem that was reported as news, and when.
    reported: Mutex<Option<(String, Instant)>>,
}

/// One call: who makes it, and the tries so far.
struct Call<'a> {
    caller: &'a Caller,
    doing: &'a str,
    tries: Option<Tries>,
}

/// A failed attempt.
struct Failure {
    fault: Fault,
    effect: Effect,
    sent: Instant,
}

impl Calls {
    /// Makes the calls of an account. `service` is its name in messages.
    pub fn new(service: Cow<'static, str>, limiter: RateLimiter, events: Events) -> Self {
        Calls { service, limiter, events, outage: Mutex::default(), reported: Mutex::default() }
    }

    /// Makes attempts until `judge` accepts the outcome of one: at most [`TRIES`] within [`PATIENCE`], or one
    /// if the caller wants no retry. For a person who waits, an answer that can't be used is the last one. An attempt is any future; dropping the call drops it.
    ///
    /// # Errors
    ///
    /// [`Fault::List`] after the last attempt or while the account is suspended, or any other fault of
    /// `judge` that is not retryable. The message begins with `doing`, such as ``could not read list `a` ``.
    pub async fn run<A, T, F: Future<Output = A>>(
        &self,
        caller: &Caller,
        doing: &str,
        attempt: impl Fn() -> F,
        judge: impl Fn(A) -> Judged<T>,
    ) -> Result<T, Fault> {
        let mut call = Call { caller, doing, tries: None };
        loop {
            // The permit is released before any other wait.
            let (outcome, sent) = {
                let permit = self.limiter.enter(caller).await.map_err(|fault| fault.during(doing))?;
                (attempt().await, permit.sent)
            };
            let Judged { result, effect, headroom } = judge(outcome);
            if let Some(headroom) = headroom {
                self.limiter.room(headroom);
            }
            caller.requests.count(effect == Effect::Accepted);
            self.report(effect, sent);
            let fault = match result {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            };
            let wait = self.after(&mut call, Failure { fault, effect, sent });
            if let Some(wait) = wait.map_err(|fault| fault.during(doing))? {
                sleep(wait).await;
            }
        }
    }

    /// Reports an attempt to the rate limiter, whether or not another one follows.
    fn report(&self, effect: Effect, sent: Instant) {
        if effect != Effect::Unreachable {
            lock(&self.outage).end(sent);
        }
        match effect {
            Effect::Accepted => self.limiter.succeeded(),
            Effect::Throttled => self.limiter.too_soon(sent),
            Effect::Neutral | Effect::Overloaded | Effect::Unreachable | Effect::KeyRejected => {}
        }
    }

    /// Prepares the next attempt after a failure. Returns the wait before it, or `None` if the rate limiter
    /// makes all requests wait.
    ///
    /// # Errors
    ///
    /// No attempt follows.
    fn after(&self, call: &mut Call, failure: Failure) -> Result<Option<Duration>, Fault> {
        if failure.effect == Effect::KeyRejected {
            self.limiter.park(failure.fault.problem());
        }
        let (tries, wait) = self.count(call, &failure);
        let Failure { fault, effect, .. } = failure;
        let Fault::Retryable { problem, .. } = &fault else { return Err(finally(call.caller, fault)) };
        if call.caller.attended && effect == Effect::Accepted {
            return Err(Fault::List(problem.clone()));
        }
        let spent =
            |tries: Tries| tries.made >= TRIES || tries.since.elapsed().saturating_add(wait) > PATIENCE;
        // If the connection recovers between attempts, only the attempts of this call limit its retries.
        let (outlasted, gives_up) = (spent(tries), spent(tries) || call.tries.is_some_and(spent));
        // A pause is for all requests, even if this one is not repeated.
        let begins = match effect {
            Effect::Unreachable if outlasted => {
                self.limiter.park(problem);
                false
            }
            effect => pauses(effect) && self.limiter.cool(wait),
        };
        if call.caller.no_retry {
            return Err(finally(call.caller, fault));
        }
        if gives_up {
            let tried = format!("tried {} times in {} s", tries.made, tries.since.elapsed().as_secs());
            return Err(Fault::List(problem.clone()).also(&tried));
        }
        self.report_retry(call, problem, effect, begins, (tries.made, wait));
        Ok((!pauses(effect)).then_some(wait))
    }

    /// Counts a failed attempt. Returns the tries so far, which all requests share while the service can't be
    /// reached, and the wait before the next one.
    fn count(&self, call: &mut Call, failure: &Failure) -> (Tries, Duration) {
        let after = if let Fault::Retryable { after, .. } = &failure.fault { *after } else { None };
        let (jitter, after) = (fastrand::f64(), after.map(|after| after.min(LONGEST_WAIT)));
        let every = call.caller.retry_every;
        let wait = |made: u32| match every {
            Some(every) => every.max(after.unwrap_or_default()),
            None => backoff::delay(made, jitter, after),
        };
        let now = Instant::now();
        let known = call.tries.unwrap_or(Tries { made: 0, since: now });
        let tries = Tries { made: known.made + 1, ..known };
        call.tries = Some(tries);
        match failure.effect {
            Effect::Unreachable => lock(&self.outage).failed(failure.sent, now, wait),
            _ => (tries, wait(tries.made)),
        }
    }

    /// Reports that another attempt follows, as news only if the problem is new, because in an outage every
    /// request in flight meets the same problem.
    fn report_retry(
        &self,
        call: &Call,
        problem: &Problem,
        effect: Effect,
        begins: bool,
        next: (u32, Duration),
    ) {
        let is_news = match effect {
            Effect::Unreachable => lock(&self.outage).is_news(),
            effect if pauses(effect) => begins,
            _ => self.is_news(&problem.to_string()),
        };
        let (made, wait) = next;
        self.events.emit(ServiceEvent::Retrying {
            doing: call.doing.to_owned(),
            service: self.service.to_string(),
            problem: problem.to_string(),
            pauses: pauses(effect),
            attempt: made + 1,
            attempts: TRIES,
            wait,
            routine: !is_news,
        });
    }

    /// Returns whether a problem is news: it was not reported in the last [`OLD`].
    fn is_news(&self, problem: &str) -> bool {
        let mut reported = lock(&self.reported);
        let known = reported.as_ref().is_some_and(|(known, when)| known == problem && when.elapsed() < OLD);
        if !known {
            *reported = Some((problem.to_owned(), Instant::now()));
        }
        !known
    }
}

/// Returns whether all requests of the account pause before the next attempt.
fn pauses(effect: Effect) -> bool {
    matches!(effect, Effect::Throttled | Effect::Overloaded | Effect::Unreachable)
}

/// Returns the fault that ends a call. If the caller wants no retry, the request is not divided either.
fn finally(caller: &Caller, fault: Fault) -> Fault {
    match fault {
        Fault::Retryable { problem, .. } | Fault::TooLarge(problem) if caller.no_retry => {
            Fault::List(problem).also("`retry` is false; the next run tries again")
        }
        fault => fault,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
