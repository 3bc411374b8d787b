//! The error taxonomy, filed by who must stop. An adapter chooses the class, the engine acts on the class, and
//! nobody else looks at status codes.
//!
//! A text is a lowercase fragment that names the thing in backticks, then the cause, then in brackets the next
//! step. It never holds a secret, an address or a name.

use std::{fmt, time::Duration};

/// What went wrong, and who must stop because of it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nobody yet: the same call may go through later. `after` is the shortest wait the other side asked for.
    #[error("{problem}")]
    Retryable { problem: Problem, after: Option<Duration> },
    /// Nobody, if less is asked for at once: the same call would fail again.
    #[error("{0}")]
    TooLarge(Problem),
    /// This run of this list; other lists go on.
    #[error("{0}")]
    List(Problem),
    /// The whole process.
    #[error("{0}")]
    Process(Problem),
}

impl Fault {
    pub fn retry(what: impl Into<String>) -> Self {
        Fault::Retryable { problem: Problem::new(what), after: None }
    }

    pub fn list(what: impl Into<String>) -> Self {
        Fault::List(Problem::new(what))
    }

    pub fn process(what: impl Into<String>) -> Self {
        Fault::Process(Problem::new(what))
    }

    /// Adds why it happened.
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.problem_mut().cause = Some(cause.to_string().into());
        self
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem_mut().hint = Some(hint.into());
        self
    }

    /// Adds something else that is to be known, before what to do next.
    pub fn also(mut self, told: &str) -> Self {
        let problem = self.problem_mut();
        let hint = problem.hint.take();
        problem.hint = Some(hint.map_or(told.to_owned(), |hint| format!("{told}; {hint}")));
        self
    }

    /// Adds the HTTP status behind it.
    pub fn status(mut self, status: u16) -> Self {
        self.problem_mut().status = Some(status);
        self
    }

    /// Adds what the other side calls the request.
    pub fn request_id(mut self, request_id: Option<String>) -> Self {
        self.problem_mut().request_id = request_id.map(Into::into);
        self
    }

    /// Adds the lines of a file that it is about.
    pub fn excerpt(mut self, lines: &str) -> Self {
        self.problem_mut().excerpt = Some(lines.into());
        self
    }

    /// Puts what was being done in front: `doing: what: cause (hint)`.
    pub fn during(mut self, doing: &str) -> Self {
        let problem = self.problem_mut();
        problem.what = format!("{doing}: {}", problem.what);
        self
    }

    pub fn problem(&self) -> &Problem {
        match self {
            Fault::Retryable { problem, .. }
            | Fault::TooLarge(problem)
            | Fault::List(problem)
            | Fault::Process(problem) => problem,
        }
    }

    fn problem_mut(&mut self) -> &mut Problem {
        match self {
            Fault::Retryable { problem, .. }
            | Fault::TooLarge(problem)
            | Fault::List(problem)
            | Fault::Process(problem) => problem,
        }
    }
}

/// The text of a fault, in its three parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub what: String,
    pub cause: Option<Box<str>>,
    pub hint: Option<String>,
    /// The HTTP status behind it, for an adapter that knows what it means there.
    pub status: Option<u16>,
    /// Lines of a file that it is about, shown below.
    pub excerpt: Option<Box<str>>,
    /// By which the other side's support finds the request.
    pub request_id: Option<Box<str>>,
}

impl Problem {
    fn new(what: impl Into<String>) -> Self {
        Problem { what: what.into(), cause: None, hint: None, status: None, excerpt: None, request_id: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_was_done_what_failed_why_and_what_to_do() {
        let fault = Fault::list("403 forbidden").because("user disabled").hint("check the account");
        assert_eq!(
            fault.during("could not read list `a`").to_string(),
            "could not read list `a`: 403 forbidden: user disabled (check the account)"
        );
    }
}
