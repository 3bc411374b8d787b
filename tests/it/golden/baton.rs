//! A runtime in which the same world takes the same course every time, although its files are worked on by a second thread.
//!
//! Under a paused clock one thing is left to real time: whether work on a file is done before or after the thread of the runtime
//! looks. So only one of both threads runs at a time. The runtime's thread gives the baton away when it has nothing left to do,
//! and takes it back when all file work that was asked for is done, in the order in which it was asked for.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task::spawn_blocking,
};

use crate::support::{lines, log_into};

/// Held by one thread at a time.
#[derive(Default)]
struct Baton {
    held: Mutex<bool>,
    free: Condvar,
}

impl Baton {
    fn take(&self) {
        let held = self.held.lock().unwrap();
        *self.free.wait_while(held, |held| *held).unwrap() = true;
    }

    fn give(&self) {
        *self.held.lock().unwrap() = false;
        self.free.notify_one();
    }
}

/// Runs a future under a paused clock. What threads for files log goes into the log of the calling thread.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let baton = Arc::new(Baton::default());
    let runtime = runtime(&baton);
    baton.take();
    let output = runtime.block_on(async {
        let output = future.await;
        // What a run that was cut off has left to do is done first, since there is one thread for it.
        spawn_blocking(|| {}).await.unwrap();
        output
    });
    baton.give();
    output
}

/// A thread for files ends as soon as no work is left, so that its end says so.
fn runtime(baton: &Arc<Baton>) -> Runtime {
    let hook = |act: fn(&Baton)| {
        let baton = Arc::clone(baton);
        move || act(&baton)
    };
    let (log, take) = (lines(), hook(Baton::take));
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::ZERO)
        .on_thread_start(move || {
            take();
            log_into(&log);
        })
        .on_thread_stop(hook(Baton::give))
        .on_thread_park(hook(Baton::give))
        .on_thread_unpark(hook(Baton::take))
        .build()
        .unwrap()
}
