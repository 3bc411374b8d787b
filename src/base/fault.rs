//! Faults, classified by how much has to stop. An adapter chooses the class and the engine acts on it; only
//! adapters read status codes.
//!
//! A message is a lowercase fragment that names the thing in backticks, then the cause, then the next step in
//! brackets. It never contains a secret or personal data.

use std::{fmt, time::Duration};

/// An error, classified by how much has to stop.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing stops: the same call may succeed later. `after` is the service's minimum wait.
    #[error("{problem}")]
    Retryable { problem: Problem, after: Option<Duration> },
    /// Nothing stops, but the same call would fail again: the caller has to request or send less at once.
    #[error("{0}")]
    TooLarge(Problem),
    /// This run of this list stops; other lists go on.
    #[error("{0}")]
    List(Problem),
    /// The whole process stops.
    #[error("{0}")]
    Process(Problem),
}

impl Fault {
    /// Makes a [`Fault::Retryable`] without a minimum wait.
    pub fn retry(what: impl Into<String>) -> Self {
        Fault::Retryable { problem: Problem::new(what), after: None }
    }

    /// Makes a [`Fault::TooLarge`].
    pub fn too_large(what: impl Into<String>) -> Self {
        Fault::TooLarge(Problem::new(what))
    }

    /// Makes a [`Fault::List`].
    pub fn list(what: impl Into<String>) -> Self {
        Fault::List(Problem::new(what))
    }

    /// Makes a [`Fault::Process`].
    pub fn process(what: impl Into<String>) -> Self {
        Fault::Process(Problem::new(what))
    }

    /// Sets the service's minimum wait, if the fault is retryable.
    pub fn after(mut self, wait: Option<Duration>) -> Self {
        if let Fault::Retryable { after, .. } = &mut self {
            *after = wait;
        }
        self
    }

    /// Sets the cause.
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.problem_mut().cause = Some(cause.to_string().into());
        self
    }

    /// Sets the next step, replacing an earlier one.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem_mut().hint = Some(hint.into());
        self
    }

    /// Adds a remark before the next step.
    pub fn also(mut self, remark: &str) -> Self {
        let problem = self.problem_mut();
        let hint = problem.hint.take();
        problem.hint = Some(hint.map_or(remark.to_owned(), |hint| format!("{remark}; {hint}")));
        self
    }

    /// Sets the HTTP status.
    pub fn status(mut self, status: u16) -> Self {
        self.problem_mut().status = Some(status);
        self
    }

    /// Removes the HTTP status.
    pub fn without_status(mut self) -> Self {
        self.problem_mut().status = None;
        self
    }

    /// Sets the service's identifier of the request.
    pub fn request_id(mut self, request_id: Option<String>) -> Self {
        self.problem_mut().request_id = request_id.map(Into::into);
        self
    }

    /// Sets the lines of the file that the fault is about.
    pub fn excerpt(mut self, lines: &str) -> Self {
        self.problem_mut().excerpt = Some(lines.into());
        self
    }

    /// Prepends the action that failed: `doing: what: cause (hint)`.
    pub fn during(mut self, doing: &str) -> Self {
        let problem = self.problem_mut();
        problem.what = format!("{doing}: {}", problem.what);
        self
    }

    /// Returns the description of the fault.
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

/// Description of a fault, displayed as `what: cause (hint)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What failed.
    pub what: String,
    /// Why it failed.
    pub cause: Option<Box<str>>,
    /// What to do next.
    pub hint: Option<String>,
    /// HTTP status, for an adapter whose service gives it a special meaning.
    pub status: Option<u16>,
    /// Lines of the file that the fault is about, displayed below the message.
    pub excerpt: Option<Box<str>>,
    /// The service's identifier of the request, by which its support finds the request.
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
    fn a_fault_names_the_action_the_problem_the_cause_and_the_next_step() {
        let fault = Fault::list("403 forbidden").because("user disabled").hint("check the account");
        assert_eq!(
            fault.during("could not read list `a`").to_string(),
            "could not read list `a`: 403 forbidden: user disabled (check the account)"
        );
    }
}
