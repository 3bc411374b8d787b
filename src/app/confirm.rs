//! The question before a first load, on a terminal.

use std::{
    future::{Future, pending},
    io::{IsTerminal, Write, stderr, stdin},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::getpgrp,
    termios::tcgetpgrp,
};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use crate::sync::confirm::Confirm;

/// How long a first load waits for Enter.
const WAIT: Duration = Duration::from_secs(30);
/// How often the terminal is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// The question, if somebody sits at a terminal to read and answer it. Two lists ask one after the other.
pub fn on_terminal(yes: bool) -> Option<Confirm> {
    let asks = !yes && stdin().is_terminal() && stderr().is_terminal() && in_foreground();
    let turn = Arc::new(Mutex::new(()));
    asks.then(|| {
        Confirm::new(move |list| {
            let (turn, list) = (Arc::clone(&turn), list.to_owned());
            Box::pin(async move {
                let _turn = turn.lock().await;
                ask(&list, enter()).await;
            })
        })
    })
}

/// Waits for the answer, [`WAIT`] at most.
async fn ask(list: &str, answer: impl Future<Output = ()>) {
    let seconds = WAIT.as_secs();
    let _ = writeln!(
        stderr(),
        "list {list:?}: press Enter to start its first load now; it starts by itself in {seconds} s. Ctrl-C stops importer."
    );
    let _ = timeout(WAIT, answer).await;
}

/// Ends when somebody has pressed Enter. Looks instead of waiting in a read, which would keep the program from ending.
async fn enter() {
    let input = stdin();
    loop {
        sleep(LOOK).await;
        let mut terminal = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
        // A terminal is readable when a whole line is there, so the read does not block.
        if in_foreground() && poll(&mut terminal, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            match stdin().read_line(&mut String::new()) {
                Ok(count) if count > 0 => return,
                // The terminal is at its end or gone: nobody can answer.
                _ => pending().await,
            }
        }
    }
}

/// Whether the terminal's input is for this program. A program in the background is suspended when it reads.
fn in_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_that_nobody_answers_ends_after_half_a_minute() {
        let begun = Instant::now();
        ask("a", pending()).await;
        assert_eq!(begun.elapsed().as_secs(), WAIT.as_secs());
        ask("a", async {}).await;
        assert_eq!(begun.elapsed().as_secs(), WAIT.as_secs());
    }
}
