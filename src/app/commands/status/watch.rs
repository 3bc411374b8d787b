//! `importer status --watch`: the status again and again, until Ctrl-C.

use std::{
    io::{IsTerminal, Write, stdout},
    time::Duration,
};

use rustix::termios::tcgetwinsize;
use tokio::time::sleep;

use super::{Shown, collect, rendered};
use crate::{base::events::Events, cli};

/// Interval at which the status is collected.
const EVERY: Duration = Duration::from_secs(1);

/// Shows the status until the process is interrupted: on a terminal in place, otherwise whenever it has changed.
///
/// # Errors
///
/// Those of [`collect`]. On a terminal, only the first ones: later ones are shown in place of the status.
pub async fn run(options: &cli::Status, events: &Events) -> anyhow::Result<()> {
    let in_place = stdout().is_terminal() && !options.json;
    let mut last: Option<Shown> = Some(collect(options, events).await?);
    let mut shown = String::new();
    loop {
        if let Some(status) = &last {
            let text = rendered(status, options.json)?;
            if in_place {
                show(&text)?;
            } else if without_time(&text, options.json) != without_time(&shown, options.json) {
                write!(stdout(), "{}{text}", if shown.is_empty() || options.json { "" } else { "\n" })?;
                stdout().flush()?;
            }
            shown = text;
        }
        sleep(EVERY).await;
        last = match collect(options, events).await {
            Ok(status) => Some(status),
            Err(error) if in_place => {
                show(&format!("{error:#}\n"))?;
                None
            }
            Err(error) => return Err(error),
        };
    }
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

/// Returns the text without the time of the status, which changes each time.
fn without_time(text: &str, json: bool) -> String {
    match json {
        true => text
            .split("\"time\":")
            .enumerate()
            .map(|(index, part)| match index {
                0 => part,
                _ => part.split_once(',').map_or("", |(_, rest)| rest),
            })
            .collect(),
        false => text
            .split_once(", at ")
            .map_or(text, |(_, rest)| rest.split_once('\n').map_or("", |(_, rest)| rest))
            .to_owned(),
    }
}
