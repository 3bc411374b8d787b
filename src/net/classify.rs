//! Classifies the answers of a service: one ordered table of rules from an answer to a verdict. Pure.

use std::{borrow::Cow, ops::RangeInclusive};

/// Meaning of an answer for its request and for the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The service carried out the request.
    Accepted,
    /// The content is refused, and would be refused again; a part of it may be accepted.
    ContentRefused,
    /// A temporary failure of this request.
    Temporary,
    /// A temporary failure: the request took too long. A smaller one may be fast enough.
    TooSlow,
    /// The service is overloaded: all requests of the account pause.
    Overloaded,
    /// The account sent too many requests: all of them pause, and the rate falls.
    Throttled,
    /// The key, or another credential, is rejected. No request of the account can succeed.
    KeyRejected,
    /// The key does not permit the request.
    Forbidden,
    /// The address has moved.
    Redirected,
    /// Nothing exists at the address.
    NotFound,
    /// Any other permanent failure.
    Refused,
}

/// The answers to which a rule applies, by their body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Any body, or none.
    Any,
    /// A JSON object, in which a service describes its error.
    Problem,
    /// Anything but a JSON object, such as the page of a proxy.
    NoProblem,
}

/// Gives a verdict on the answers with certain statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    statuses: RangeInclusive<u16>,
    body: Body,
    verdict: Verdict,
}

impl Rule {
    /// Makes a rule for a range of statuses.
    pub const fn new(statuses: RangeInclusive<u16>, body: Body, verdict: Verdict) -> Self {
        Rule { statuses, body, verdict }
    }

    /// Makes a rule for one status, whatever the body.
    pub const fn status(status: u16, verdict: Verdict) -> Self {
        Rule::new(status..=status, Body::Any, verdict)
    }
}

/// Rules of every account, after its own. The first that applies decides; [`Verdict::Refused`] if none does.
const DEFAULT: [Rule; 14] = [
    // Success: <https://www.rfc-editor.org/rfc/rfc9110#section-15.3>.
    Rule::new(200..=299, Body::Any, Verdict::Accepted),
    // <https://www.rfc-editor.org/rfc/rfc9110#section-15.4>. No redirect is followed, because a key must not
    // be sent to another host.
    Rule::new(300..=399, Body::Any, Verdict::Redirected),
    // Unauthorized: <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2>.
    Rule::status(401, Verdict::KeyRejected),
    // Forbidden: <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.4>. The JSON shows that the service
    // itself has answered.
    Rule::new(403..=403, Body::Problem, Verdict::Forbidden),
    // The page of a content network that throttles. The services that document it are adapters, which cite it.
    Rule::new(403..=403, Body::NoProblem, Verdict::Overloaded),
    // Not found: <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.5>.
    Rule::status(404, Verdict::NotFound),
    // Request timeout: <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9>.
    Rule::status(408, Verdict::Temporary),
    // Misdirected request, to be repeated over another connection:
    // <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20>.
    Rule::status(421, Verdict::Temporary),
    // Too early: <https://www.rfc-editor.org/rfc/rfc8470#section-5.2>.
    Rule::status(425, Verdict::Temporary),
    // Too many requests: <https://www.rfc-editor.org/rfc/rfc6585#section-4>.
    Rule::status(429, Verdict::Throttled),
    // Service unavailable, for overload or maintenance:
    // <https://www.rfc-editor.org/rfc/rfc9110#section-15.6.4>.
    Rule::status(503, Verdict::Overloaded),
    // Gateway timeout: <https://www.rfc-editor.org/rfc/rfc9110#section-15.6.5>.
    Rule::status(504, Verdict::TooSlow),
    // Other errors of the server: <https://www.rfc-editor.org/rfc/rfc9110#section-15.6>.
    Rule::new(500..=502, Body::Any, Verdict::Temporary),
    Rule::new(505..=599, Body::Any, Verdict::Temporary),
];

/// The rules of an account or of some of its requests. Without any of its own, those of every account.
#[derive(Debug, Clone, Default)]
pub struct Rules(Cow<'static, [Rule]>);

impl Rules {
    /// Puts `own` rules, constant or made at run time, before those of every account.
    pub fn new(own: impl Into<Cow<'static, [Rule]>>) -> Self {
        Rules(own.into())
    }

    /// Returns the verdict on an answer. Calls `is_problem` only if a rule depends on whether
    /// the body is a JSON object.
    pub fn verdict(&self, status: u16, is_problem: impl Fn() -> bool) -> Verdict {
        let applies = |rule: &&Rule| {
            rule.statuses.contains(&status)
                && match rule.body {
                    Body::Any => true,
                    Body::Problem => is_problem(),
                    Body::NoProblem => !is_problem(),
                }
        };
        self.0.iter().chain(&DEFAULT).find(applies).map_or(Verdict::Refused, |rule| rule.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_rules_precede_those_of_every_account_and_can_be_made_at_run_time() {
        let own = vec![
            Rule::status(409, Verdict::Accepted),
            Rule::new(400..=499, Body::Problem, Verdict::ContentRefused),
            Rule::status(200, Verdict::Temporary),
        ];
        let (default, own) = (Rules::default(), Rules::new(own));
        for (status, problem, by_default, by_own) in [
            (200, true, Verdict::Accepted, Verdict::Temporary),
            (201, true, Verdict::Accepted, Verdict::Accepted),
            (409, true, Verdict::Refused, Verdict::Accepted),
            (429, true, Verdict::Throttled, Verdict::ContentRefused),
            (429, false, Verdict::Throttled, Verdict::Throttled),
            (100, false, Verdict::Refused, Verdict::Refused),
        ] {
            assert_eq!(default.verdict(status, || problem), by_default, "{status}");
            assert_eq!(own.verdict(status, || problem), by_own, "{status}");
        }
    }

    #[test]
    fn the_body_of_a_good_answer_is_not_examined() {
        Rules::default().verdict(200, || panic!("examined"));
    }
}
