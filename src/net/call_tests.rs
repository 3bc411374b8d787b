//! Calls without HTTP: an attempt is any future, here of a database that exists only in these tests.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use futures::future::join_all;

use super::*;

/// Outcome of an attempt, as such a database would report it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Answer {
    Rows(u64),
    Deadlock,
    Busy,
    NoConnection,
    BadPassword,
    Unreadable,
    TooLong,
}

fn judge(answer: Answer) -> Judged<u64> {
    let (result, effect) = match answer {
        Answer::Rows(rows) => (Ok(rows), Effect::Accepted),
        Answer::Unreadable => (Err(Fault::retry("no row")), Effect::Accepted),
        Answer::Deadlock => (Err(Fault::retry("deadlock")), Effect::Neutral),
        Answer::Busy => (Err(Fault::retry("busy")), Effect::Overloaded),
        Answer::NoConnection => (Err(Fault::retry("no connection")), Effect::Unreachable),
        Answer::BadPassword => (Err(Fault::list("bad password")), Effect::KeyRejected),
        Answer::TooLong => (Err(Fault::too_large("too long")), Effect::Neutral),
    };
    Judged { result, effect, headroom: None }
}

/// A database, the calls of its account, and the times of the attempts, in whole seconds.
struct Database {
    calls: Calls,
    start: Instant,
    attempts: RefCell<Vec<u64>>,
    /// Answers by the time and the number of the attempt, both from 0.
    answers: fn(Duration, usize) -> Answer,
}

impl Database {
    fn new(answers: fn(Duration, usize) -> Answer) -> Self {
        let calls = Calls::new("the database".into(), RateLimiter::new(10, 0.0), Events::default());
        Database { calls, start: Instant::now(), attempts: RefCell::default(), answers }
    }

    async fn call(&self, caller: &Caller) -> Result<u64, String> {
        let attempt = || async {
            let number = self.attempts.borrow().len();
            self.attempts.borrow_mut().push(self.start.elapsed().as_secs());
            let answer = (self.answers)(self.start.elapsed(), number);
            sleep(Duration::from_millis(10)).await;
            answer
        };
        let result = self.calls.run(caller, "could not read", attempt, judge).await;
        result.map_err(|fault| fault.to_string())
    }

    fn attempts(&self) -> usize {
        self.attempts.borrow().len()
    }
}

fn list(number: usize) -> Caller {
    Caller::new(&format!("list{number}"), false)
}

#[tokio::test(start_paused = true)]
async fn a_call_over_any_protocol_is_tried_again_after_temporary_failures_only() {
    for (answer, attempts, message) in [
        (Answer::Rows(7), 1, None),
        (Answer::Deadlock, 6, Some("deadlock (tried 6 times in")),
        (Answer::Busy, 6, Some("busy (tried 6 times in")),
        (Answer::NoConnection, 6, Some("no connection (tried 6 times in")),
        (Answer::Unreadable, 6, Some("no row (tried 6 times in")),
        (Answer::BadPassword, 1, Some("bad password")),
        (Answer::TooLong, 1, Some("too long")),
    ] {
        let made = Rc::new(Cell::new(0));
        let calls = Calls::new("the database".into(), RateLimiter::new(1, 0.0), Events::default());
        let attempt = || async {
            made.set(made.get() + 1);
            answer
        };
        let result = calls.run(&list(0), "could not read", attempt, judge).await;
        assert_eq!(made.get(), attempts, "{answer:?}");
        match (result, message) {
            (Ok(rows), None) => assert_eq!(rows, 7),
            (Err(fault), Some(message)) => {
                let text = fault.to_string();
                assert!(text.starts_with(&format!("could not read: {message}")), "{text}");
                assert_eq!(matches!(fault, Fault::TooLarge(_)), answer == Answer::TooLong);
            }
            (result, _) => panic!("{answer:?}: {result:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_retries_makes_one_attempt_and_divides_nothing() {
    for answers in [|_, _| Answer::Deadlock, |_, _| Answer::Busy, |_, _| Answer::TooLong] {
        let database = Database::new(answers);
        let why = database.call(&Caller { no_retry: true, ..list(0) }).await.unwrap_err();
        assert!(why.ends_with("(`retry` is false; the next run tries again)"), "{why}");
        assert_eq!(database.attempts(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn for_a_person_who_waits_an_answer_that_can_not_be_used_is_the_last_one() {
    for (answers, attempts) in [
        ((|_, _| Answer::Unreadable) as fn(_, _) -> _, 1),
        (|_, _| Answer::Deadlock, 6),
        (|_, _| Answer::Busy, 6),
    ] {
        let database = Database::new(answers);
        let why = database.call(&Caller { attended: true, ..list(0) }).await.unwrap_err();
        assert_eq!((database.attempts(), why.contains("tried")), (attempts, attempts > 1), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_an_effect_on_the_account_makes_its_other_requests_wait() {
    for (answers, waits) in [
        ((|_, number| if number == 0 { Answer::Deadlock } else { Answer::Rows(1) }) as fn(_, _) -> _, false),
        (|_, number| if number == 0 { Answer::Busy } else { Answer::Rows(1) }, true),
        (|_, number| if number == 0 { Answer::NoConnection } else { Answer::Rows(1) }, true),
    ] {
        let database = Database::new(answers);
        let other = async {
            sleep(Duration::from_millis(20)).await;
            let begun = Instant::now();
            database.call(&list(1)).await.unwrap();
            begun.elapsed() > Duration::from_millis(400)
        };
        let (first, waited) = tokio::join!(async { database.call(&list(0)).await }, other);
        assert_eq!((first, waited), (Ok(1), waits));
    }
}

#[tokio::test(start_paused = true)]
async fn lists_on_an_unreachable_account_make_few_attempts_together_until_it_recovers() {
    const LISTS: usize = 20;
    let database = Database::new(|time, _| match time.as_secs() < 12 {
        true => Answer::NoConnection,
        false => Answer::Rows(1),
    });
    let results = join_all((0..LISTS).map(|number| {
        let database = &database;
        async move { database.call(&list(number)).await }
    }));
    assert_eq!(results.await, vec![Ok(1); LISTS]);
    let failed = database.attempts.borrow().iter().filter(|second| **second < 12).count();
    // Ten connections at once, then one request after each pause of 1, 2, 4 and 8 s at most.
    assert!((10..=16).contains(&failed), "{:?}", database.attempts.borrow());
}

#[tokio::test(start_paused = true)]
async fn lists_on_an_account_that_stays_unreachable_fail_together_and_later_try_again_one_by_one() {
    const LISTS: usize = 20;
    let database = Database::new(|time, _| match time.as_secs() < 200 {
        true => Answer::NoConnection,
        false => Answer::Rows(1),
    });
    let all = || {
        join_all((0..LISTS).map(|number| {
            let database = &database;
            async move { database.call(&list(number)).await }
        }))
    };
    assert!(all().await.iter().all(Result::is_err));
    assert!(database.start.elapsed() < Duration::from_secs(70), "{:?}", database.start.elapsed());
    assert!(database.attempts() <= 10 + 6, "{:?}", database.attempts.borrow());
    // While the account is suspended, no request is sent.
    let attempts = database.attempts();
    assert!(all().await.iter().all(Result::is_err));
    assert_eq!(database.attempts(), attempts);
    sleep(Duration::from_secs(50)).await;
    assert!(all().await.iter().all(Result::is_err));
    assert_eq!(database.attempts(), attempts + 1, "one of them tries");
    sleep(Duration::from_secs(200)).await;
    assert!(all().await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_account_is_tried_again_even_if_requests_keep_coming() {
    let database = Database::new(|time, _| match time.as_secs() < 10 {
        true => Answer::BadPassword,
        false => Answer::Rows(1),
    });
    let mut results = vec![];
    for _ in 0..12 {
        results.push(database.call(&list(0)).await.is_ok());
        sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(results.iter().position(|ok| *ok), Some(9), "45 seconds later");
    assert_eq!(database.attempts(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_answers_again_with_an_error_is_no_longer_taken_for_unreachable() {
    let database = Database::new(|time, _| match time.as_secs() {
        ..60 => Answer::NoConnection,
        60..200 => Answer::Deadlock,
        _ => Answer::Rows(1),
    });
    assert!(database.call(&list(0)).await.unwrap_err().contains("no connection"));
    sleep(Duration::from_secs(100)).await;
    assert!(database.call(&list(0)).await.unwrap_err().contains("deadlock (tried 6 times"));
    let attempts = database.attempts();
    assert!(database.call(&list(1)).await.unwrap_err().contains("deadlock (tried 6 times"));
    assert_eq!(database.attempts(), attempts + 6);
}
