//! The progress of one listing in one pass: its window, the parts into which the window was split, and the
//! position in them.

mod shard;

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    cursor::CursorWalk,
    offset::{self, Joined, PageRequest, Shrink, Walk},
};
use crate::{
    base::{
        fault::Fault,
        window::{Cursor, Next, Window},
    },
    engine::coverage::Rows,
    store::{
        checkpoint::Line,
        position::ShardPosition,
        progress::{BoundarySecond, Progress, Row, Server},
        seen::Seen,
    },
};

/// Pairs of neighboring rows in the same order, summed over all pages that share rows of a second, that prove
/// that the server keeps an order within that second. Without an order, two rows come in the same order half
/// of the time, so 24 pairs do so with a probability of 1 in 16 million.
const ORDERED: u32 = 24;

/// Most pages in a row without a new record before the listing fails, in addition to the pages of two
/// readings of all records seen.
const NO_PROGRESS: u64 = 100;
/// The same bound for cursor paging, where a source may return long runs of empty pages.
const NO_PROGRESS_CHAINED: u64 = 10_000;

/// How to read pages.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Rows per page.
    pub size: usize,
    /// Pages read at the same time.
    pub workers: usize,
    /// Whether each page names the next one, as with cursor paging and in a shard.
    pub chained: bool,
    /// Limits that earlier answers have revealed.
    pub server: Server,
    /// Whether an earlier pass found the source's totals to be wrong.
    pub totals_wrong: bool,
}

/// The paging scheme of one listing, with its state.
enum Way {
    Walk(Box<Walk>),
    Chain(CursorWalk),
}

/// The next page to read.
#[derive(Debug)]
pub enum NextRead {
    Rows(PageRequest),
    /// The page at this cursor, or the first one.
    CursorPage(Option<Cursor>),
    /// The page of a shard, by its id, after this position, or its first one.
    ShardPage(String, Option<Cursor>),
}

/// The progress of one listing in one pass.
pub struct ListingProgress {
    pub window: Window,
    way: Way,
    /// Boundary seconds, each with the number of pairs of rows in the same order, or `None` if any were out
    /// of order.
    cut: HashMap<i64, Option<u32>>,
    pub progress: Progress,
    /// Number of restarts of the walk. Answers to requests of an earlier generation are ignored.
    pub generation: u32,
    /// Whether its window is about to be split; no page is requested meanwhile.
    cutting: bool,
    pace: Pace,
    /// Whether the rows of the window are already part of `progress.window`.
    counted: bool,
    /// Pages in a row without a new record.
    idle: u64,
    /// The rows that the source still lists, and those among them that became visible too late to be read.
    /// Set when the source's count is checked.
    pub checked: Option<(u64, u64)>,
    /// The shard that the listing is, with the position at which the run began, and the indices of its
    /// parents in the listings.
    shard: Option<(ShardPosition, Vec<usize>)>,
}

impl ListingProgress {
    pub fn new(window: Window, pace: Pace) -> Self {
        let way = match pace.chained {
            true => Way::Chain(CursorWalk::default()),
            false => {
                let walk = Walk::new(pace.size, pace.workers).knowing(pace.server);
                Way::Walk(Box::new(walk.distrusting(pace.totals_wrong)))
            }
        };
        ListingProgress {
            window,
            way,
            cut: HashMap::new(),
            progress: Progress { totals_wrong: pace.totals_wrong, ..Progress::new(window) },
            generation: 0,
            cutting: false,
            pace,
            counted: false,
            idle: 0,
            checked: None,
            shard: None,
        }
    }

    /// Resumes after the settled pages of a checkpoint and adds their records to `seen`. Returns `None` if a
    /// line can't be decoded.
    pub fn resume(mut self, lines: &[&Line], seen: &mut Seen) -> Option<Self> {
        let mut upper = vec![];
        for line in lines {
            if line.progress.part != self.progress.part {
                upper.clear();
            }
            self.progress = line.progress.clone();
            let rows = seen.decode(&line.rows, &line.names)?;
            self.note(&line.cut);
            if !rows.is_empty() {
                upper = rows;
            }
        }
        let Some(last) = lines.last() else { return Some(self) };
        self.counted = true;
        match &mut self.way {
            Way::Chain(chain) => *chain = CursorWalk::resume(self.progress.next.clone()),
            Way::Walk(walk) => {
                let rows = if last.rows.is_empty() { vec![] } else { upper.clone() };
                let joined =
                    Joined { offset: last.offset, rows, opened: last.opened, total: last.total, cut: vec![] };
                let Pace { size, workers, server, .. } = self.pace;
                let new = Walk::new(size, workers).knowing(server).distrusting(self.progress.totals_wrong);
                **walk = new.resume(&joined, upper, Duration::ZERO);
            }
        }
        self.next_part();
        Some(self)
    }

    /// Starts over with the same window and a new end.
    pub fn restart(&mut self, until: DateTime<Utc>) {
        self.window.until = Some(until);
        let generation = self.generation + 1;
        *self = ListingProgress { generation, ..ListingProgress::new(self.window, self.pace) };
    }

    /// Returns the next page to read. Returns `None` while an answer is needed first, and at the end.
    pub fn want(&mut self, now: Duration) -> Option<NextRead> {
        match &mut self.way {
            Way::Walk(_) if self.cutting => None,
            Way::Walk(walk) => walk.ask(now).map(NextRead::Rows),
            Way::Chain(chain) => chain.ask().map(|cursor| match &self.shard {
                None => NextRead::CursorPage(cursor),
                Some((shard, _)) => NextRead::ShardPage(shard.id.clone(), cursor),
            }),
        }
    }

    /// Reacts to a page that was too slow for the server; see [`Walk::too_slow`].
    pub fn too_slow(&mut self, ask: PageRequest) -> Shrink {
        let relief = self.walk_mut().map_or(Shrink::Halved, |walk| walk.too_slow(ask));
        self.cutting |= relief == Shrink::Cut;
        relief
    }

    /// Schedules a page to be read again, unchanged.
    pub fn again(&mut self, ask: PageRequest) {
        if let Some(walk) = self.walk_mut() {
            walk.again(ask);
        }
    }

    /// Processes the answer to a page request of offset paging: its rows, oldest change first, and its total.
    pub fn answered(&mut self, ask: PageRequest, rows: Vec<Row>, total: u64, now: Duration) -> offset::Rows {
        let Way::Walk(walk) = &mut self.way else { return offset::Rows::Take };
        let rows = walk.answered(ask, rows, total, now);
        self.progress.totals_wrong |= walk.totals_wrong();
        self.pace.server = self.pace.server.and(walk.server());
        if !self.counted {
            self.counted = true;
            let opened = walk.opened();
            self.count(opened);
        }
        rows
    }

    /// Returns the limits that the answers have revealed.
    pub fn server(&self) -> Server {
        self.pace.server
    }

    /// Returns the reason why the listing can't be read any further, as a predicate to "the source". `seen`
    /// is the number of different records read so far.
    pub fn failed(&self, seen: usize) -> Option<String> {
        let most = match &self.way {
            Way::Chain(_) => NO_PROGRESS_CHAINED,
            Way::Walk(walk) => NO_PROGRESS + 2 * seen as u64 / walk.strides().0 as u64,
        };
        if self.idle > most {
            return Some(format!("returned no new record in {} pages in a row", self.idle));
        }
        self.walk().and_then(Walk::failed).map(str::to_owned)
    }

    /// Counts the pages in a row without a new record. The last page has `rows` rows, of which `new` are new.
    pub fn brought(&mut self, rows: usize, new: usize) {
        // In offset paging, an empty page is no sign of a problem: all of its rows may have left the window.
        let counts = rows > 0 || matches!(self.way, Way::Chain(_));
        self.idle = if new == 0 { self.idle + u64::from(counts) } else { 0 };
    }

    /// Returns the pages stitched since the last call, highest first.
    pub fn joined(&mut self) -> Vec<Joined> {
        self.walk_mut().map(Walk::joined).unwrap_or_default()
    }

    /// Records the next page of cursor paging or of a shard: its rows, what follows it, and the total that the
    /// source reports with it.
    ///
    /// # Errors
    ///
    /// See [`CursorWalk::answered`].
    pub fn linked(&mut self, rows: Vec<Row>, next: Next, total: Option<u64>) -> Result<Joined, Fault> {
        if let Some(total) = total {
            self.progress.held = self.progress.window.map_or(total, |_| self.progress.held.min(total));
            self.progress.window.get_or_insert(total);
        }
        let next = self.within_run(&rows, next);
        if let Way::Chain(chain) = &mut self.way {
            chain.answered(next.clone())?;
        }
        self.progress.next = match next {
            Next::More(cursor) | Next::Tip(cursor) => Some(cursor),
            Next::Closed => None,
        };
        Ok(Joined { offset: 0, rows, opened: 0, total: 0, cut: vec![] })
    }

    /// Adds boundary seconds. A second that was out of order once counts as unordered from then on.
    pub fn note(&mut self, cut: &[BoundarySecond]) {
        for BoundarySecond { second, in_order } in cut {
            let known = self.cut.entry(*second).or_insert(Some(0));
            *known = known.zip(*in_order).map(|(known, more)| known + more);
        }
    }

    /// Returns the boundary seconds in no particular order.
    pub fn cut_seconds(&self) -> Vec<i64> {
        self.cut.keys().copied().collect()
    }

    /// Removes the boundary seconds of this range, whose rows were all read.
    pub fn note_whole(&mut self, first: i64, last: i64) {
        self.cut.retain(|second, _| !(first..=last).contains(second));
    }

    /// Returns whether the source has proven to keep an order within this second: enough rows came in the
    /// same order to rule out chance.
    pub fn keeps_order(&self, second: i64) -> bool {
        self.cut.get(&second).copied().flatten().is_some_and(|rows| rows >= ORDERED)
    }

    fn walk(&self) -> Option<&Walk> {
        match &self.way {
            Way::Walk(walk) => Some(walk),
            Way::Chain(_) => None,
        }
    }

    fn walk_mut(&mut self) -> Option<&mut Walk> {
        match &mut self.way {
            Way::Walk(walk) => Some(walk),
            Way::Chain(_) => None,
        }
    }

    fn count(&mut self, rows: u64) {
        self.progress.window = Some(self.progress.window.unwrap_or(0) + rows);
    }

    /// Starts the walk through the next part once the walk through the current one is finished.
    pub fn next_part(&mut self) {
        let Some(walk) = self.walk().filter(|walk| walk.finished()) else { return };
        let (growth, least) = (walk.growth(), walk.least());
        self.progress.growth = self.progress.growth.max(growth);
        let Some(part) = self.progress.rest.pop() else { return };
        self.progress.held += least;
        self.begin(part);
    }

    fn begin(&mut self, part: Window) {
        self.generation += 1;
        self.cutting = false;
        let (workers, totals_wrong) = (self.pace.workers, self.progress.totals_wrong);
        if let Some(walk) = self.walk_mut() {
            let (stride, least) = walk.strides();
            let new = Walk::new(stride, workers).knowing(walk.server());
            *walk = new.distrusting(totals_wrong).at_least(least);
        }
        self.progress.part = part;
    }

    /// Splits the current part in two at `middle` and starts over with the newer half. The older half has
    /// `below` rows.
    pub fn cut_at(&mut self, middle: DateTime<Utc>, below: u64) {
        let part = self.progress.part;
        if !self.counted {
            self.count(below);
        }
        self.progress.rest.push(Window { until: Some(middle), ..part });
        self.begin(Window { since: Some(middle), ..part });
    }

    /// Returns whether all parts of the window were read.
    pub fn finished(&self) -> bool {
        match &self.way {
            Way::Walk(walk) => walk.finished() && self.progress.rest.is_empty() && !self.cutting,
            Way::Chain(chain) => chain.finished(),
        }
    }

    /// Returns whether a single answer contained all rows.
    pub fn held_all_at_once(&self) -> bool {
        match &self.way {
            Way::Walk(walk) => walk.held_all_at_once(),
            Way::Chain(chain) => chain.held_all_at_once(),
        }
    }

    /// Returns the time, since the start of the pass, until which the next page has to wait; `None` if none
    /// waits.
    pub fn held(&self) -> Option<Duration> {
        self.walk().and_then(Walk::held)
    }

    /// Returns the number of rows to read, as far as it is known. `seen` is the number of different records
    /// read so far.
    pub fn size(&self, seen: usize) -> u64 {
        let window = self.progress.window.unwrap_or(0);
        self.walk().map_or(window.max(seen as u64), |_| window)
    }

    /// Returns the rows as the source counted them and as they were read. `seen` is the number of different
    /// records read so far.
    pub fn rows(&self, seen: usize) -> Rows {
        let seen = seen as u64;
        let Some(walk) = self.walk() else {
            // A source that reports no total gives nothing to compare with the rows that were read.
            let (window, held) =
                self.progress.window.map_or((seen, seen), |window| (window, self.progress.held));
            return Rows { window, held, seen, ..Rows::default() };
        };
        if self.progress.totals_wrong {
            // Wrong totals can't be compared with anything.
            return Rows { window: seen, held: seen, seen, ..Rows::default() };
        }
        Rows {
            window: self.progress.window.unwrap_or(0),
            held: self.checked.map_or(self.progress.held + walk.least(), |(held, _)| held),
            seen,
            unseen: self.checked.map_or(0, |(_, unseen)| unseen),
            growth: self.progress.growth.max(walk.growth()),
            outside: self.progress.outside,
            repeated: 0,
        }
    }
}
