//! Asks an operator on the terminal before a first load starts.

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

use crate::engine::confirm::Confirm;

/// Maximum time that a first load waits for Enter.
const WAIT: Duration = Duration::from_secs(30);
/// Interval at which the terminal is polled.
const LOOK: Duration = Duration::from_millis(100);

/// Returns the question, or `None` if `yes` skips it or nobody can answer: the program has no terminal, or
/// runs in the background. If several lists ask, the questions appear one after the other.
pub fn on_terminal(yes: bool) -> Option<Confirm> {
    let asks = !yes && stdin().is_terminal() && stderr().is_terminal() && in_foreground();
    let turn = Arc::new(Mutex::new(()));
    asks.then(|| {
        Confirm::new(move |list, caution| {
            let (turn, list, caution) = (Arc::clone(&turn), list.to_owned(), caution.to_owned());
            Box::pin(async move {
                let _turn = turn.lock().await;
                ask(&list, &caution, enter()).await;
            })
        })
    })
}

/// Prints the question, and waits at most [`WAIT`] for the answer. The question repeats the caution, since the
/// log may be written later.
async fn ask(list: &str, caution: &str, answer: impl Future<Output = ()>) {
    let seconds = WAIT.as_secs();
    let _ = writeln!(
        stderr(),
        "list {list:?} is loaded for the first time: {caution}.\nlist {list:?}: press Enter to start its first load now, or Ctrl-C to stop importer; it starts by itself in {seconds} s."
    );
    let _ = timeout(WAIT, answer).await;
}

/// Completes when Enter is pressed. It polls the terminal, since a blocking read would keep the program from
/// ending.
async fn enter() {
    let input = stdin();
    loop {
        sleep(LOOK).await;
        let mut terminal = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
        // A terminal is readable once it has a whole line, so the read does not block.
        if in_foreground() && poll(&mut terminal, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            match stdin().read_line(&mut String::new()) {
                Ok(count) if count > 0 => return,
                // The terminal is closed, so no answer can come.
                _ => pending().await,
            }
        }
    }
}

/// Returns whether the program runs in the terminal's foreground. The system suspends a background program
/// that reads.
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
        ask("a", "a campaign may start", pending()).await;
        assert_eq!(begun.elapsed().as_secs(), WAIT.as_secs());
        ask("a", "a campaign may start", async {}).await;
        assert_eq!(begun.elapsed().as_secs(), WAIT.as_secs());
    }
}
