//! The listeners of the process: starts them with the bus, and lets them finish at the end.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::logger::Log;
use crate::{
    base::{
        clock::{Clock, SystemClock},
        event::ProgramEvent,
        events::Events,
    },
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
    /// `None`: nobody listens.
    log: Option<Arc<Log>>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Listeners {
    /// Starts the listeners in tasks of their own.
    pub fn start(log: Log) -> Self {
        let has_unknown_level = log.has_unknown_level;
        let listeners = Self::with_log(Arc::new(log), Arc::new(SystemClock));
        if has_unknown_level {
            listeners.events.emit(ProgramEvent::UnknownLogLevel);
        }
        listeners
    }

    /// Starts further listeners that write to the same log, by another clock. To close them waits for their lines only.
    pub fn with_clock(&self, clock: Arc<dyn Clock>) -> Self {
        self.log.as_ref().map(|log| Self::with_log(Arc::clone(log), clock)).unwrap_or_default()
    }

    fn with_log(log: Arc<Log>, clock: Arc<dyn Clock>) -> Self {
        let events = Events::new(clock);
        let inbox = events.subscribe(LOG_QUEUE, listener::log::is_logged);
        let listeners = Listeners { events, log: Some(Arc::clone(&log)), ..Listeners::default() };
        listeners.tasks.spawn(log.write(inbox, listeners.closing.clone()));
        listeners
    }

    /// Waits until the listeners have taken all events, but not for long.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        let _ = timeout(LAST, self.tasks.wait()).await;
    }
}
