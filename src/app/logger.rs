//! Writes the log to stderr, one line per message, in a fixed format that operators' tools parse. Events come from the
//! bus; the messages of libraries come from the `log` crate.

use std::{
    io::{self, Write},
    sync::Arc,
};

use env_filter::Filter;
use env_logger::Target;
use log::{Level, Metadata};
use tokio::sync::{
    mpsc::{self, Sender},
    oneshot,
};
use tokio_util::sync::CancellationToken;

use crate::{
    base::{
        clock::{Clock, SystemClock},
        event::Emitted,
        events::Inbox,
        time,
    },
    listener,
};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Prefix of the module paths of importer.
const OURS: &str = concat!(env!("CARGO_PKG_NAME"), "::");
/// The path of this module below the crate.
const MODULE: &str = "app::logger";
/// Beginning of the targets whose messages are never logged, whatever `RUST_LOG` says: the database driver repeats what
/// the triggers of a database say, which may contain values of records.
const WITHHELD: &str = "sqlx";
/// Maximum number of events that are written at once.
const BATCH: usize = 1024;

/// Number of texts that may wait for the thread that writes them.
const WAITING: usize = 64;

/// The messages that `RUST_LOG` enables, and the thread that writes them.
pub struct Log {
    filter: Filter,
    texts: Sender<Text>,
    /// Whether `RUST_LOG` has an unknown level, so that `info` is used.
    pub has_unknown_level: bool,
}

/// What the writing thread gets.
enum Text {
    Lines(String),
    /// All lines before this one are written.
    End(oneshot::Sender<()>),
}

/// Starts the thread that writes to stderr, and installs the logger for libraries. The level comes from `RUST_LOG`,
/// `info` by default.
pub fn start() -> Log {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = filter(&asked);
    let has_unknown_level = filter.is_none();
    let filter = filter.as_deref().unwrap_or("info").to_owned();
    let texts = writer(io::stderr());
    libraries(&filter, Libraries(texts.clone())).init();
    Log { filter: env_filter::Builder::new().parse(&filter).build(), texts, has_unknown_level }
}

/// Returns the logger for libraries, which writes to `out`.
fn libraries(filter: &str, out: impl Write + Send + 'static) -> env_logger::Builder {
    let mut logger = env_logger::Builder::new();
    logger.parse_filters(filter).target(Target::Pipe(Box::new(out))).format(|out, record| {
        if record.target().starts_with(WITHHELD) {
            return Ok(());
        }
        let (now, module) = (time::log_format(SystemClock.now()), record.module_path().unwrap_or(""));
        let (line, text) = (record.line().unwrap_or(0), record.args().to_string());
        out.write_all(listener::log::line(&now, record.level(), module, line, &text).as_bytes())
    });
    logger
}

/// The messages of libraries. They log from any thread, which must not wait for the reader of the log: a message for which
/// there is no room is lost.
struct Libraries(Sender<Text>);

impl Write for Libraries {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.try_send(Text::Lines(String::from_utf8_lossy(bytes).into_owned()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts a thread that writes texts to `out`, which may block.
fn writer<W: Write + Send + 'static>(mut out: W) -> Sender<Text> {
    let (texts, mut waiting) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        while let Some(text) = waiting.blocking_recv() {
            match text {
                // There is nowhere to report that stderr is gone.
                Text::Lines(lines) => drop(out.write_all(lines.as_bytes()).and_then(|()| out.flush())),
                Text::End(end) => drop(end.send(())),
            }
        }
    });
    texts
}

impl Log {
    /// Writes the events of `inbox` until the inbox is closed, by `closing`, and empty. A thread of its own does the writes:
    /// the log has to go on when all threads for files hang.
    pub async fn write(self: Arc<Self>, mut inbox: Inbox, closing: CancellationToken) {
        let (mut events, mut is_closed) = (vec![], false);
        loop {
            let lost = tokio::select! {
                biased;
                lost = inbox.next(&mut events, BATCH) => lost,
                () = closing.cancelled(), if !is_closed => {
                    inbox.close();
                    is_closed = true;
                    continue;
                }
            };
            let Some(lost) = lost else { break };
            let text = self.lines(&std::mem::take(&mut events), lost);
            // The writer ends only if it panics.
            if !text.is_empty() && self.texts.send(Text::Lines(text)).await.is_err() {
                return;
            }
        }
        let (end, ended) = oneshot::channel();
        if self.texts.send(Text::End(end)).await.is_ok() {
            let _ = ended.await;
        }
    }

    /// Returns the log lines of events and, if the queue was full meanwhile, one about the events that the log lacks.
    fn lines(&self, events: &[Arc<Emitted>], lost: u64) -> String {
        let enabled = |level: Level, module: &str| {
            let target = format!("{OURS}{module}");
            self.filter.enabled(&Metadata::builder().level(level).target(&target).build())
        };
        let mut text: String = events.iter().map(|emitted| listener::log::lines(emitted, enabled)).collect();
        if lost > 0 && enabled(Level::Warn, MODULE) {
            let now = time::log_format(SystemClock.now());
            let missing = format!("the log lacks {lost} events, since it could not be written fast enough.");
            text += &listener::log::line(&now, Level::Warn, MODULE, line!(), &missing);
        }
        text
    }
}

/// Returns the filter for the value of `RUST_LOG`. A bare level applies to importer; libraries log only
/// warnings and errors then. Returns `None` if the value is neither a level nor a list of `target=level`,
/// since such a filter would silence the log.
fn filter(asked: &str) -> Option<String> {
    let asked = asked.trim().to_lowercase();
    if asked.is_empty() {
        return Some("info".into());
    }
    if LEVELS.contains(&asked.as_str()) {
        let others = if ["off", "error"].contains(&asked.as_str()) { &asked } else { "warn" };
        return Some(format!("{others},{}={asked}", env!("CARGO_PKG_NAME")));
    }
    let each = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        LEVELS.contains(&level.trim())
    };
    asked.split(',').all(each).then_some(asked)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, mpsc},
        time::Duration,
    };

    use tokio::task::JoinSet;

    use super::*;
    use crate::base::{event::ProgramEvent, events::Events};

    #[test]
    fn a_word_that_is_no_level_does_not_silence_the_log() {
        for (asked, expected) in [
            ("", Some("info")),
            (" ", Some("info")),
            ("debug", Some("warn,importer=debug")),
            ("INFO", Some("warn,importer=info")),
            ("off", Some("off,importer=off")),
            ("hyper=trace,info", Some("hyper=trace,info")),
            ("inof", None),
            ("importer=loud", None),
        ] {
            assert_eq!(filter(asked).as_deref(), expected, "{asked}");
        }
    }

    /// A reader that takes one write for each permission.
    struct Slow {
        permissions: mpsc::Receiver<()>,
        written: Arc<Mutex<String>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.permissions.recv_timeout(Duration::from_secs(60));
            self.written.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_library_that_logs_does_not_wait_for_a_stalled_reader() {
        let (permit, permissions) = mpsc::channel();
        let written = Arc::<Mutex<String>>::default();
        let mut libraries = Libraries(writer(Slow { permissions, written: Arc::clone(&written) }));
        // Some wait, one is being written, and the others are lost. Nothing blocks.
        for number in 0..3 * WAITING {
            libraries.write_all(format!("message {number}\n").as_bytes()).unwrap();
        }
        (0..3 * WAITING).for_each(|_| permit.send(()).unwrap());
        drop(libraries);
        let is_written = || written.lock().unwrap().lines().count() >= WAITING;
        while !is_written() {
            std::thread::yield_now();
        }
        assert!(written.lock().unwrap().starts_with("message 0\nmessage 1\n"));
    }

    #[test]
    fn messages_of_the_database_driver_are_never_logged() {
        let written = Arc::<Mutex<String>>::default();
        for filter in ["info", "trace", "sqlx=trace", "sqlx::postgres::notice=info"] {
            let (permit, permissions) = mpsc::channel();
            (0..10).for_each(|_| permit.send(()).unwrap());
            let logger = libraries(filter, Slow { permissions, written: Arc::clone(&written) }).build();
            for target in ["sqlx::postgres::notice", "sqlx_core::logger"] {
                let mut record = log::Record::builder();
                let record = record.level(Level::Error).target(target);
                log::Log::log(&logger, &record.args(format_args!("about ada@example.org")).build());
            }
        }
        assert_eq!(*written.lock().unwrap(), "");
    }

    #[tokio::test]
    async fn a_stalled_reader_delays_nobody_and_the_log_says_what_it_lacks() {
        let (permit, permissions) = mpsc::channel();
        let written = Arc::<Mutex<String>>::default();
        let out = Slow { permissions, written: Arc::clone(&written) };
        let filter = env_filter::Builder::new().parse("importer=info,importer::app=warn").build();
        let log = Arc::new(Log { filter, texts: writer(out), has_unknown_level: false });
        let (events, closing) = (Events::new(Arc::new(SystemClock)), CancellationToken::new());
        let inbox = events.subscribe(4, |_| true);
        // Of this module, only warnings and errors are logged.
        events.emit(ProgramEvent::Starting { state_file: "x".into() });
        events.emit(ProgramEvent::Unusable { problem: "first".into() });
        let mut task = JoinSet::new();
        task.spawn(log.write(inbox, closing.clone()));
        tokio::task::yield_now().await;
        for number in 0..10 {
            events.emit(ProgramEvent::Unusable { problem: format!("number {number}") });
        }
        (0..100).for_each(|_| permit.send(()).unwrap());
        closing.cancel();
        task.join_next().await.unwrap().unwrap();
        let written = written.lock().unwrap().clone();
        let texts: Vec<&str> = written.lines().map(|line| line.rsplit("| ").next().unwrap()).collect();
        let missing = "the log lacks 6 events, since it could not be written fast enough.";
        assert_eq!(texts, ["first", "number 0", "number 1", "number 2", "number 3", missing], "{written}");
    }
}
