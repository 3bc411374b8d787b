//! Moves data between the parts of a pass: answers of the source, records, stitched and settled pages,
//! outcomes of batches.

use super::{
    Context, Pass,
    intake::row,
    reader::PageOf,
    requests::{self, Answer, Following, Reads},
};
use crate::{
    base::{event::RunEvent, fault::Fault, key::KeySet},
    engine::{
        deliver,
        in_flight::Delivered,
        paging::offset::{Joined, Shrink},
        received::Received,
    },
    store::{checkpoint::Line, progress::Progress},
};

/// Number of lines of the checkpoint that are written together.
const LINES: usize = 50;

impl<'a> Pass<'a> {
    /// Processes an answer of the source.
    pub(super) fn take(
        &mut self,
        index: usize,
        generation: u32,
        answer: Answer,
        reads: &mut Reads<'a>,
    ) -> Result<(), Fault> {
        match answer {
            Answer::Count(count) => {
                self.guard.listed(count?);
                return Ok(());
            }
            // The check repeats the request if it failed.
            Answer::Sizes(sizes) => {
                self.sizes = sizes.ok();
                return Ok(());
            }
            Answer::Page(..) | Answer::Following(_) => self.reader.arrived(index),
            Answer::Cut(_) | Answer::Second(..) => {}
        }
        if !self.reader.is_current(index, generation) {
            return Ok(());
        }
        match answer {
            Answer::Page(ask, Ok((page, memory))) => {
                self.reader.answered();
                if self.confirm(page.at)? {
                    let page = self.reader.page(index, ask, page, memory);
                    self.look_at_the_source(index);
                    page.into_iter().for_each(|page| self.take_page(page));
                    self.join(index);
                }
            }
            Answer::Following(page) => {
                let (page, memory) = page?;
                if self.confirm(page.at)? {
                    self.intake.recalled(memory);
                    self.take_following(index, page)?;
                }
            }
            Answer::Page(ask, Err(Fault::TooLarge(problem))) => {
                if self.reader.too_slow(index, ask, problem)? == Shrink::Cut {
                    let window = self.reader.listings[index].progress.part;
                    reads.push(requests::cut(self.context, window, index, generation));
                }
            }
            Answer::Cut(Ok(Some((middle, below)))) => self.reader.cut_at(index, middle, below),
            Answer::Cut(Ok(None)) => {
                return Err(Fault::list(
                    "the source is too slow even for small pages, and the window can't be split further",
                ));
            }
            // The check repeats a failed request.
            Answer::Second(_, Err(_)) => {}
            // Processed above.
            Answer::Count(_) | Answer::Sizes(_) => {}
            Answer::Second(seconds, Ok(page)) => self.take_seconds(index, seconds, page),
            Answer::Page(_, Err(fault)) | Answer::Cut(Err(fault)) => return Err(fault),
        }
        Ok(())
    }

    /// Processes the records of a page that is part of the walk.
    pub(super) fn take_page(&mut self, page: PageOf) {
        let PageOf { index, records, memory, .. } = page;
        self.reader.note_outside(index, &records);
        self.intake.recalled(memory);
        self.intake.note_repeats(index, records.iter().map(|received| received.record.key.digest()));
        self.take_records(index, records);
    }

    fn take_records(&mut self, index: usize, records: Vec<Received>) {
        let window = self.reader.listings[index].window;
        let rows = records.len();
        let new = self.intake.records(index, window, records.into_iter(), &mut self.dispatch);
        self.reader.brought(index, rows, new);
        self.look_at_the_source(index);
    }

    /// Processes a page of cursor paging, or of a shard.
    fn take_following(&mut self, index: usize, page: Following) -> Result<(), Fault> {
        let records = page.records.len();
        self.context.plan.events.emit(RunEvent::PageRead { records, offset: None });
        let rows: Vec<_> = page.records.iter().map(|received| row(&received.record)).collect();
        self.take_records(index, page.records);
        let keys: KeySet<u128> = rows.iter().map(|row| row.key).collect();
        let (joined, progress) = self.reader.link(index, rows, page.next, page.total)?;
        if progress.window.is_some() {
            self.intake.note_repeats(index, joined.rows.iter().map(|row| row.key));
        }
        self.dispatch.page(index, joined, progress, keys.into_iter());
        Ok(())
    }

    /// Passes the newly stitched pages to the dispatch.
    fn join(&mut self, index: usize) {
        for (joined, progress) in self.reader.joined(index) {
            let keys: Vec<u128> = joined.rows.iter().map(|row| row.key).collect();
            self.dispatch.page(index, joined, progress, keys.into_iter());
        }
    }

    /// Ends the pass if the listing can't be read any further.
    fn look_at_the_source(&mut self, index: usize) {
        let fault = self.reader.look_at_the_source(index, self.intake.seen_of(index));
        self.fault = self.fault.take().or(fault);
    }

    /// Processes the outcome of a batch.
    pub(super) fn delivered(&mut self, delivered: Delivered) {
        let Delivered { accepted, unchanged, rejected } = delivered;
        // The fate of a record is that of its newest version.
        let newest = unchanged.iter().filter(|key| !self.dispatch.has_newer(**key));
        newest.for_each(|key| self.intake.unchanged(*key));
        let settled = self.dispatch.accepted(accepted, unchanged.len() as u64);
        self.intake.count(settled);
        for rejected in rejected {
            self.intake.refused(rejected, &mut self.dispatch);
        }
    }

    /// Closes the sink at the end of the pass. If it settles then, its records count as accepted from now on.
    pub(super) async fn close(&mut self) -> Result<(), Fault> {
        let Context { pipeline, plan } = self.context;
        deliver::close(pipeline, plan.records.as_ref(), self.dispatch.take_unclosed()).await?;
        let settled = self.dispatch.closed();
        self.intake.count(settled);
        self.settle().await
    }

    /// Fails if the number of rejected records shows that the mapping or the sink is probably wrong. Their dead letters
    /// have to be on disk. `end`: the pass has read all of its records.
    pub(super) fn check_rejects(&mut self, end: bool) -> Result<(), Fault> {
        let size = self.size();
        let Pass { guard, intake, .. } = self;
        let reads_list = self.first_of_full || self.context.pipeline.reads_all();
        let none = end && reads_list && intake.is_nothing_taken();
        let checked = guard.check_rejects(&intake.counts, size, none);
        self.rejects_most = checked.is_err();
        checked
    }

    /// Adds the newly settled pages to the checkpoint. Listings that fit into one answer each need no
    /// checkpoint.
    pub(super) async fn settle(&mut self) -> Result<(), Fault> {
        let mut pages = self.dispatch.settled_pages().into_iter();
        if self.reader.held_all_at_once() {
            return Ok(());
        }
        // After a close all pages of the pass are settled, and their lines would take much memory.
        while !pages.as_slice().is_empty() {
            let lines = pages.by_ref().take(LINES).map(|(walk, page)| self.line(walk, page)).collect();
            self.dispatch.checkpoint(lines).await?;
        }
        Ok(())
    }

    fn line(&self, walk: usize, (page, progress): (Joined, Progress)) -> Line {
        let (names, rows) = self.intake.seen[walk].encode(&page.rows);
        Line {
            walk,
            progress,
            offset: page.offset,
            opened: page.opened,
            total: page.total,
            cut: page.cut,
            rows,
            names,
            read_twice: self.intake.counts.read_twice,
            fields: self.intake.counts.fields.clone(),
            seconds: self.seconds(),
            choice: self.context.pipeline.mapping.choice(),
        }
    }
}
