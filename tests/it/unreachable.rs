//! Services that can't be reached: all lists of the account wait together, and the log has one warning.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use importer::{
    controller::Verdict,
    net::{Request, Response, Transport, TransportError},
    sandbox::Sandbox,
};
use tokio::time::{Instant, sleep};

use crate::support::{World, minutes};

const LISTS: [&str; 5] = ["far1", "far2", "far3", "far4", "far5"];
/// Mailchimp's connections, all of which may be tried before the first one fails.
const CONNECTIONS: usize = 8;

/// Refuses connections to Mailchimp for a while.
struct Refused {
    sandbox: Arc<Sandbox>,
    until: Instant,
    /// Number of refused connections.
    refused: Arc<AtomicUsize>,
}

impl Transport for Refused {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let mailchimp = request.uri().host().is_some_and(|host| host.ends_with("mailchimp.com"));
        if !mailchimp || Instant::now() >= self.until {
            return self.sandbox.send(request);
        }
        Box::pin(async {
            sleep(Duration::from_millis(20)).await;
            self.refused.fetch_add(1, Ordering::Relaxed);
            Err(TransportError::Unreachable("tcp connect error: connection refused".into()))
        })
    }
}

/// Makes a world with five lists whose source can't be reached for a while, and the number of refused
/// connections.
fn world(unreachable: Duration) -> (World, Arc<AtomicUsize>) {
    let entries = LISTS.map(|list| format!(r#"{{"list_id": "{list}"}}"#)).join(", ");
    let world = World::new().with_state(&format!("[{entries}]"));
    let world = LISTS.into_iter().fold(world, |world, list| world.list(list, 30));
    let refused = Arc::new(AtomicUsize::new(0));
    let until = Instant::now() + unreachable;
    let counted = Arc::clone(&refused);
    (world.through(|sandbox| Refused { sandbox, until, refused: counted }), refused)
}

/// Returns the log lines that report waits.
fn warnings(world: &World) -> Vec<String> {
    world.lines("pausing all requests to mailchimp").into_iter().filter(|l| l.starts_with("WARN")).collect()
}

#[tokio::test(start_paused = true)]
async fn lists_whose_source_is_unreachable_wait_together_and_finish_once_it_is_back() {
    let (world, refused) = world(Duration::from_secs(10));
    assert_eq!(world.once().await.unwrap(), Verdict::Done);
    for list in LISTS {
        world.assert_delivered(list);
    }
    let refused = refused.load(Ordering::Relaxed);
    assert!((2..=CONNECTIONS + 5).contains(&refused), "{refused} attempts");
    let warnings = warnings(&world);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let known = "no complete response from mailchimp at https://us1.api.mailchimp.com: tcp connect error: connection \
                 refused (if this persists, check the network and `MAILCHIMP_URL`); pausing all requests to mailchimp, \
                 attempt 2 of 6 in ";
    assert!(warnings[0].contains(known), "{}", warnings[0]);
}

#[tokio::test(start_paused = true)]
async fn lists_whose_source_stays_unreachable_fail_together_and_are_loaded_later() {
    let (world, refused) = world(minutes(10));
    let begun = Instant::now();
    assert_eq!(world.once().await.unwrap(), Verdict::Failed);
    assert!(begun.elapsed() < minutes(1), "{:?}", begun.elapsed());
    let refused = || refused.load(Ordering::Relaxed);
    assert!(refused() <= CONNECTIONS + 6, "{} attempts", refused());
    assert_eq!((warnings(&world).len(), world.logged("ERROR list \"far")), (1, LISTS.len()));
    assert_eq!(world.logged("(tried 6 times in"), 1);
    world.go_for(minutes(30)).await.unwrap();
    for list in LISTS {
        world.assert_delivered(list);
    }
    assert!(refused() <= CONNECTIONS + 6 + 30, "{} attempts", refused());
    assert_eq!(warnings(&world).len(), 2, "once more, since the program was started again");
}
