//! Confirmation of the first load of a list.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

type Ask = dyn Fn(&str, &str) -> BoxFuture<'static, ()> + Send + Sync;

/// Asks a person to confirm the first load of a list. The future completes when the load may begin. No answer
/// refuses the load: to prevent it, a person stops the program or pauses the entry.
#[derive(Clone)]
pub struct Confirm(Arc<Ask>);

impl Confirm {
    pub fn new(ask: impl Fn(&str, &str) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Confirm(Arc::new(ask))
    }

    /// Asks for the load of a list into a sink that warns of it with this `caution`.
    pub async fn ask(&self, list_id: &str, caution: &str) {
        (self.0)(list_id, caution).await;
    }
}

impl fmt::Debug for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confirm")
    }
}
