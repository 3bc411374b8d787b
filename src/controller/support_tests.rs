//! The dependencies of a controller in tests: services that are invented, and no edit that is noticed.

use tokio::sync::mpsc::channel;

use super::*;
use crate::engine::support_tests::Feed;

/// Returns the dependencies of a controller of this state file, whose entries `open` opens.
pub fn tools(state: StateFile, open: Open) -> Tools {
    Tools {
        events: Events::default(),
        state,
        clock: Arc::new(Feed::new(&[], false).list),
        open,
        watch: Watch::manual(channel(1).1),
        commands: handle::channel().1,
        fresh: false,
        confirm: None,
        stop: CancellationToken::new(),
    }
}
