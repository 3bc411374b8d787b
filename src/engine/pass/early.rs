//! The requests that the check at the end of a pass always needs. They begin as soon as the listings are finished, while
//! the sink works on the last records.

use std::collections::VecDeque;

use super::{
    Pass,
    requests::{self, Answer, Reads},
};
use crate::{
    base::window::Page,
    engine::paging::second::{Seconds, groups},
    store::records::KnownRecords,
};

/// A request of the check that is made before the check.
pub(super) enum EarlyRequest {
    Seconds(usize, Seconds),
    Sizes,
}

impl<'a> Pass<'a> {
    /// Requests what the check always needs, as soon as the listings are finished: the sink still works on the last
    /// records then. The check makes the requests that are still necessary after these answers.
    ///
    /// An answer with all rows of a second is a consistent snapshot, whenever it is requested, so a row that stays is in
    /// it, or in a page. The sizes of the list are compared with each other only.
    pub(super) fn check_early(&mut self, reads: &mut Reads<'a>) {
        if !self.context.pipeline.counts_rows() || !self.reader.finished() {
            return;
        }
        let due = self.early.get_or_insert_with(|| {
            let seconds = self.reader.listings.iter().enumerate().flat_map(|(index, listing)| {
                groups(listing.cut_seconds())
                    .into_iter()
                    .map(move |group| EarlyRequest::Seconds(index, group))
            });
            let sizes = self.first_of_full && !self.reader.totals_wrong();
            seconds.chain(sizes.then_some(EarlyRequest::Sizes)).collect()
        });
        let (context, cap) = (self.context, self.reader.server.cap);
        while reads.len() < context.plan.worker_count {
            match due.pop_front() {
                None => return,
                Some(EarlyRequest::Sizes) => {
                    reads.push(Box::pin(async move { (0, 0, Answer::Sizes(requests::sizes(context).await)) }))
                }
                Some(EarlyRequest::Seconds(index, group)) => {
                    let listing = &self.reader.listings[index];
                    let (generation, Some(window)) = (listing.generation, group.window(listing.window))
                    else {
                        continue;
                    };
                    reads.push(Box::pin(async move {
                        let page = requests::seconds(context, window, cap).await;
                        (index, generation, Answer::Second(group, page))
                    }));
                }
            }
        }
    }

    /// Returns whether every early request of the check was sent, or none is planned.
    pub(super) fn has_checked_early(&self) -> bool {
        self.early.as_ref().is_none_or(VecDeque::is_empty)
    }

    /// Processes the answer to an early request for boundary seconds. A group that does not fit into one answer is
    /// halved; a single second that does not is left to the check.
    pub(super) fn take_seconds(&mut self, index: usize, group: Seconds, page: Option<(Page, KnownRecords)>) {
        let count = self.reader.server.cap;
        match page.filter(|(page, _)| self.is_whole(page, count)) {
            Some((page, known)) => {
                self.reader.listings[index].note_whole(group.first, group.last);
                self.intake.recalled(known);
                self.take_late(index, page.records);
            }
            None if group.first < group.last => {
                let halves = group.halves().map(|half| EarlyRequest::Seconds(index, half));
                self.early.get_or_insert_default().extend(halves);
            }
            None => {}
        }
    }
}
