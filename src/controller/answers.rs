//! The status with the progress of the runs: for callers, and for the file that other processes read.

use std::collections::HashSet;

use super::{
    driver::Driver,
    input::Reply,
    status::{EntryState, Status},
};

impl Driver {
    /// Answers a command. The status includes the progress of the runs.
    pub(super) fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::Status(to, status) => {
                let status = Box::new(self.with_progress(*status));
                Reply::Status(to, status).send();
            }
            reply => reply.send(),
        }
    }

    fn with_progress(&mut self, mut status: Status) -> Status {
        self.progress.update();
        let mut active = HashSet::new();
        for entry in &mut status.entries {
            if let (EntryState::Running { .. }, Some(list_id), Some(name)) =
                (&entry.state, &entry.list_id, &entry.entry)
            {
                entry.progress = self.progress.of(list_id, name);
                active.insert((list_id.clone(), name.clone()));
            }
        }
        self.progress.keep(&active);
        status
    }

    /// Publishes the status if it may have changed.
    pub(super) fn publish(&mut self) {
        let has_failed = self.publisher.has_failed();
        if std::mem::take(&mut self.is_changed) || has_failed || !self.running.is_empty() {
            let status = self.machine.status();
            let status = self.with_progress(status);
            self.is_changed = !self.publisher.publish(status);
        }
    }
}
