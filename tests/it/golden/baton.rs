//! A runtime in which a world runs the same way every time, although a second thread works on its files.
//!
//! Under a paused clock, one race remains: file work ends before or after the runtime's thread polls it. Here, only one of the two
//! threads runs at a time. The runtime's thread passes the baton on when it is idle. It takes the baton back when all requested
//! file work is done, in the order of the requests.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task::spawn_blocking,
};

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

/// Runs a future under a paused clock. Lines that file threads log are added to the log of the calling thread.
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

/// Returns a runtime whose file threads end as soon as they are idle: the end of a thread shows that no work is left.
fn runtime(baton: &Arc<Baton>) -> Runtime {
    let hook = |act: fn(&Baton)| {
        let baton = Arc::clone(baton);
        move || act(&baton)
    };
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::ZERO)
        .on_thread_start(hook(Baton::take))
        .on_thread_stop(hook(Baton::give))
        .on_thread_park(hook(Baton::give))
        .on_thread_unpark(hook(Baton::take))
        .build()
        .unwrap()
}
