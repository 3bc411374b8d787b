//! What events cost a run: `cargo bench --bench events`. Prints the share of one core that 10,000 events a second take,
//! emitting and listening together.
#![expect(clippy::disallowed_methods, reason = "a bench measures the time of the machine")]

use std::{hint::black_box, sync::Arc, time::Instant};

use importer::{
    base::{
        clock::SystemClock,
        event::{EntryName, Event, RunEvent, RunName},
        events::{Events, Inbox},
    },
    listener::log,
};

const EVENTS: usize = 1_000_000;
const PER_SECOND: f64 = 10_000.0;
/// Number of events after which the listeners take them.
const BATCH: usize = 1_000;

/// Emits the events of a busy run, which the listeners take now and then. Returns the seconds for all of them.
fn measured(events: &Events, listen: &mut dyn FnMut()) -> f64 {
    let run = events.of_run(RunName { entry: EntryName::alone("newsletter"), folder: "newsletter-1".into() });
    let start = Instant::now();
    for number in 0..EVENTS {
        run.emit(match number % 4 {
            0 => RunEvent::PageRead { records: 1000, offset: Some(number as u64) },
            1 => RunEvent::Progress { seen: 1, done: 1, window: 2, sent: 1, regular: false },
            _ => RunEvent::BatchDelivered { payloads: 100 },
        });
        if number % BATCH == 0 {
            listen();
        }
    }
    start.elapsed().as_secs_f64()
}

fn main() {
    let nobody = measured(&Events::default(), &mut || {});
    let events = Events::new(Arc::new(SystemClock));
    let mut to_log: Inbox = events.subscribe(1 << 14, log::is_logged);
    let mut progress = events.subscribe(1 << 14, |event| {
        matches!(event, Event::Run(_, RunEvent::Started { .. } | RunEvent::Progress { .. }))
    });
    let mut taken = vec![];
    let mut lost = 0;
    let both = measured(&events, &mut || {
        lost += to_log.take(&mut taken) + progress.take(&mut taken);
        // The log at its default level writes none of these; it looks at each.
        for emitted in taken.drain(..) {
            black_box(log::lines(&emitted, |level, _| level <= ::log::Level::Info));
        }
    });
    assert_eq!(lost, 0, "the listeners have to see all events");
    let share = |seconds: f64| 100.0 * PER_SECOND * seconds / EVENTS as f64;
    println!("10,000 events a second, share of one core:");
    println!("  nobody listens           {:.3} %", share(nobody));
    println!("  log at info and progress {:.3} %", share(both));
}
