//! `importer status --watch`: refreshes the status until Ctrl-C.

use std::{
    io::{IsTerminal, Write, stdout},
    time::Duration,
};

use rustix::termios::tcgetwinsize;
use tokio::time::sleep;

use super::{collect, rendered};
use crate::{base::events::Events, cli, controller::status::Report};

/// Interval at which the status is collected.
const EVERY: Duration = Duration::from_secs(1);

/// Shows the status until the process is interrupted: on a terminal in place, otherwise whenever it has changed.
///
/// # Errors
///
/// Those of [`collect`]. On a terminal, only the first ones: later ones are shown in place of the status.
pub async fn run(options: &cli::Status, events: &Events) -> anyhow::Result<()> {
    let in_place = stdout().is_terminal() && !options.json;
    let mut status = collect(options, events).await;
    let mut last: Option<Report> = None;
    loop {
        match status {
            Ok(shown) if in_place => {
                show(&rendered(&shown, false)?)?;
                last = Some(shown);
            }
            Ok(shown) => {
                if last.as_ref().is_none_or(|last| is_news(last, &shown)) {
                    let between = if last.is_none() || options.json { "" } else { "\n" };
                    write!(stdout(), "{between}{}", rendered(&shown, options.json)?)?;
                    stdout().flush()?;
                }
                last = Some(shown);
            }
            Err(error) if in_place && last.is_some() => show(&format!("{error:#}\n"))?,
            Err(error) => return Err(error),
        }
        sleep(EVERY).await;
        // The first call has reported the problems, so later calls report to nobody.
        status = collect(options, &Events::default()).await;
    }
}

/// Returns whether two statuses differ in more than their times.
fn is_news(last: &Report, shown: &Report) -> bool {
    let mut timeless = shown.clone();
    timeless.status.time = last.status.time;
    *last != timeless
}

/// Draws a text over the last one, cut to the size of the terminal.
fn show(text: &str) -> anyhow::Result<()> {
    let size = tcgetwinsize(stdout()).ok();
    let (rows, columns) = size
        .filter(|size| size.ws_row > 1 && size.ws_col > 1)
        .map_or((usize::MAX, usize::MAX), |size| (usize::from(size.ws_row) - 1, usize::from(size.ws_col)));
    let lines = text.lines().take(rows).map(|line| {
        let line: String = line.chars().take(columns).collect();
        // Erases what is left of a longer line.
        format!("{line}\u{1b}[K\r\n")
    });
    // From the top left corner; what is left below is erased.
    write!(stdout(), "\u{1b}[H{}\u{1b}[J", lines.collect::<String>())?;
    Ok(stdout().flush()?)
}
