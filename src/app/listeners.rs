//! The listeners of the process: starts them with the bus, and lets them finish at the end.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::logger::Log;
use crate::{
    base::{clock::SystemClock, event::ProgramEvent, events::Events},
    listener,
};

/// Number of events that may wait for the log: some seconds of a busy process, and some MB.
const LOG_QUEUE: usize = 1 << 14;
/// Maximum time that listeners may take to finish: the reader of the log may have stopped reading.
const LAST: Duration = Duration::from_secs(2);

/// The listeners of the process.
#[derive(Clone, Default)]
pub struct Listeners {
    pub events: Events,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Listeners {
    /// Starts the listeners in tasks of their own.
    pub fn start(log: Log) -> Self {
        let events = Events::new(Arc::new(SystemClock));
        let inbox = events.subscribe(LOG_QUEUE, listener::log::is_logged);
        if log.has_unknown_level {
            events.emit(ProgramEvent::UnknownLogLevel);
        }
        let listeners = Listeners { events, ..Listeners::default() };
        let closing = listeners.closing.clone();
        listeners.tasks.spawn(log.write(inbox, closing));
        listeners
    }

    /// Waits until the listeners have taken all events, but not for long.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        let _ = timeout(LAST, self.tasks.wait()).await;
    }
}
