//! Lists whose leases the controller can't have.

use std::sync::Mutex;

use futures::future::BoxFuture;

use super::{support_tests::tools, *};
use crate::{
    base::{clock::SystemClock, identity::ListId},
    engine::support_tests::{AsItIs, Feed, Store, pipeline},
    state::{layout::NAME, vocabulary::SAMPLE},
    store::{Lease, Leases},
};

/// Two lists, `a` and `b`, in a state file. Neither was loaded yet.
struct World {
    folder: tempfile::TempDir,
    /// The sinks of the runs so far.
    sinks: Arc<Mutex<Vec<Store<Feed>>>>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        crate::store::files::replace(&folder.path().join(NAME), br#"[{"list_id": "a"}, {"list_id": "b"}]"#)
            .unwrap();
        World { folder, sinks: Arc::default() }
    }

    /// Runs the due lists once, by these leases. Returns whether one failed.
    async fn once(&self, leases: Arc<dyn Leases>) -> bool {
        let sinks = Arc::clone(&self.sinks);
        let open = move |_: OpenRequest| {
            let mut feed = Feed::new(&[], false);
            feed.list.tick = Duration::ZERO;
            let sink = Store::of(feed.clone(), Duration::ZERO, 1, 0.0);
            sinks.lock().unwrap().push(sink.clone());
            let clock = feed.list;
            Ok(pipeline(feed, AsItIs, sink, clock))
        };
        let tools = tools(
            StateFile::open(self.folder.path(), Arc::new(SystemClock), &SAMPLE, Events::default()).unwrap(),
            Box::new(open),
        );
        Driver::new(tools, Mode::Once, leases).run().await.unwrap() == Verdict::Failed
    }

    /// Returns the lists that were loaded.
    fn loaded(&self) -> Vec<&'static str> {
        let text = std::fs::read_to_string(self.folder.path().join(NAME)).unwrap();
        let lists = ["a", "b"].into_iter();
        lists
            .filter(|list| text.contains(&format!("\"list_id\": \"{list}\", \"latest_timestamp\"")))
            .collect()
    }

    /// Returns whether a sink has accepted anything.
    fn has_sent(&self) -> bool {
        self.sinks.lock().unwrap().iter().any(|sink| !sink.accepted.lock().unwrap().is_empty())
    }
}

fn list(id: &str) -> ListId {
    let entry = format!("[{{\"list_id\": {id:?}}}]");
    crate::state::schema::read(&entry, &SAMPLE).unwrap().entries.remove(0).list
}

#[tokio::test]
async fn a_list_whose_lease_is_taken_waits_until_it_is_free_and_other_lists_run() {
    let (world, leases) = (World::new(), Arc::new(ProcessLeases::default()));
    let lease = leases.take(&list("a")).unwrap();
    assert!(!world.once(Arc::clone(&leases) as Arc<dyn Leases>).await);
    assert_eq!(world.loaded(), ["b"]);
    drop(lease);
    assert!(!world.once(Arc::clone(&leases) as Arc<dyn Leases>).await);
    assert_eq!(world.loaded(), ["a", "b"]);
    assert!(!leases.is_taken(&list("a")) && !leases.is_taken(&list("b")));
}

/// Leases of which this process knows nothing before it takes one.
#[derive(Debug, Default)]
struct Unknown(ProcessLeases);

impl Leases for Unknown {
    fn is_taken(&self, _: &ListId) -> bool {
        false
    }

    fn take(&self, list: &ListId) -> Option<Arc<dyn Lease>> {
        self.0.take(list)
    }
}

#[tokio::test]
async fn a_list_does_not_run_without_its_lease_even_if_it_seemed_to_be_free() {
    let (world, leases) = (World::new(), Arc::new(Unknown::default()));
    let lease = leases.take(&list("b")).unwrap();
    assert!(!world.once(Arc::clone(&leases) as Arc<dyn Leases>).await);
    assert_eq!(world.loaded(), ["a"]);
    drop(lease);
    assert!(!world.once(leases).await);
    assert_eq!(world.loaded(), ["a", "b"]);
}

/// Leases that another process has, which shows only when they are confirmed.
#[derive(Debug, Default)]
struct Elsewhere(ProcessLeases);

#[derive(Debug)]
struct Unconfirmed {
    _local: Arc<dyn Lease>,
}

impl Leases for Elsewhere {
    fn is_taken(&self, list: &ListId) -> bool {
        self.0.is_taken(list)
    }

    fn take(&self, list: &ListId) -> Option<Arc<dyn Lease>> {
        Some(Arc::new(Unconfirmed { _local: self.0.take(list)? }))
    }
}

impl Lease for Unconfirmed {
    fn confirm(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Err(Fault::list("another process has the list")) })
    }
}

#[tokio::test]
async fn a_list_whose_lease_is_not_confirmed_fails_without_a_delivery_and_is_free_again() {
    let (world, leases) = (World::new(), Arc::new(Elsewhere::default()));
    assert!(world.once(Arc::clone(&leases) as Arc<dyn Leases>).await);
    assert!(world.loaded().is_empty() && !world.has_sent());
    assert!(!leases.is_taken(&list("a")) && !leases.is_taken(&list("b")));
    assert!(!world.once(Arc::new(ProcessLeases::default())).await);
    assert!(world.has_sent());
    assert_eq!(world.loaded(), ["a", "b"]);
}
