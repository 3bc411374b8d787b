//! The leases of lists in the memory of one process.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};

use super::{Lease, Leases};
use crate::base::{fault::Fault, identity::ListId};

/// The leases of one process. They do not exclude other processes, so only the process that has the lock of the
/// state folder may use them. Each lease is confirmed at once; a crash releases all of them.
#[derive(Debug, Default)]
pub struct ProcessLeases(Arc<Taken>);

#[derive(Debug, Default)]
struct Taken(Mutex<HashSet<ListId>>);

/// Releases the list when it is dropped.
#[derive(Debug)]
struct ProcessLease {
    list: ListId,
    taken: Arc<Taken>,
}

impl Taken {
    fn lists(&self) -> MutexGuard<'_, HashSet<ListId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leases for ProcessLeases {
    fn is_taken(&self, list: &ListId) -> bool {
        self.0.lists().contains(list)
    }

    fn take(&self, list: &ListId) -> Option<Arc<dyn Lease>> {
        self.0.lists().insert(list.clone()).then(|| {
            let (list, taken) = (list.clone(), Arc::clone(&self.0));
            Arc::new(ProcessLease { list, taken }) as Arc<dyn Lease>
        })
    }
}

impl Lease for ProcessLease {
    fn confirm(&self) -> BoxFuture<'_, Result<(), Fault>> {
        async { Ok(()) }.boxed()
    }
}

impl Drop for ProcessLease {
    fn drop(&mut self) {
        self.taken.lists().remove(&self.list);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn a_list_has_one_lease_until_the_last_holder_drops_it() {
        let leases = ProcessLeases::default();
        let list = |source: &str, account: Option<&str>| ListId {
            source: source.into(),
            account: account.map(str::to_owned),
            id: "a".into(),
        };
        let (one, others) = (list("rows", None), [list("rows", Some("b")), list("shifts", None)]);
        assert!(!leases.is_taken(&one));
        let lease = leases.take(&one).unwrap();
        lease.confirm().await.unwrap();
        assert!(leases.is_taken(&one) && leases.take(&one).is_none());
        // The same id at another source, or in another account, is another list.
        assert!(others.iter().all(|other| !leases.is_taken(other) && leases.take(other).is_some()));
        let held = Arc::clone(&lease);
        let mut runs = JoinSet::new();
        runs.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(lease);
        assert!(leases.take(&one).is_none(), "the run still has the lease");
        runs.shutdown().await;
        assert!(!leases.is_taken(&one));
        assert!(leases.take(&one).is_some());
    }
}
