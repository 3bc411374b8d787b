//! One listing in one pass: its window, or the parts it had to be cut into, and what was seen of it.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    checkpoint::{Line, Progress},
    coverage::Rows,
    seen::Seen,
    walk::{self, Ask, Cut, Joined, Relief, Walk},
};
use crate::base::window::Window;

/// Rows of one second, over all pages that share some, by which it is seen to have an order.
const ORDERED: u32 = 12;

/// How pages are read.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Rows a page.
    pub size: usize,
    /// Pages read at once.
    pub workers: usize,
}

/// The walk through one listing.
pub struct Sweeping {
    pub window: Window,
    pub walk: Walk,
    pub seen: Seen,
    /// Seconds that lie across pages, each with the rows that were seen in the same order, if all were.
    cut: HashMap<i64, Option<u32>>,
    pub progress: Progress,
    /// Counts up when the walk is begun anew; answers to an older one count for nothing.
    pub generation: u32,
    /// Its window is about to be cut.
    cutting: bool,
    pace: Pace,
    /// Whether its rows were counted.
    counted: bool,
}

impl Sweeping {
    pub fn new(window: Window, pace: Pace) -> Self {
        let progress = Progress { part: window, rest: vec![], window: None, held: 0, growth: 0, outside: 0 };
        Sweeping {
            window,
            walk: Walk::new(pace.size, pace.workers),
            seen: Seen::default(),
            cut: HashMap::new(),
            progress,
            generation: 0,
            cutting: false,
            pace,
            counted: false,
        }
    }

    /// Goes on where the settled pages end.
    pub fn resume(mut self, lines: &[&Line]) -> Option<Self> {
        let mut upper = vec![];
        for line in lines {
            if line.progress.part != self.progress.part {
                upper.clear();
            }
            self.progress = line.progress.clone();
            let rows = self.seen.decode(&line.rows, &line.names)?;
            self.note(&line.cut);
            if !rows.is_empty() {
                upper = rows;
            }
        }
        let Some(last) = lines.last() else { return Some(self) };
        self.counted = true;
        let rows = if last.rows.is_empty() { vec![] } else { upper.clone() };
        let joined =
            Joined { offset: last.offset, rows, opened: last.opened, total: last.total, cut: vec![] };
        let Pace { size, workers } = self.pace;
        self.walk = Walk::new(size, workers).resume(&joined, upper, Duration::ZERO);
        self.next_part();
        Some(self)
    }

    /// The same window again, or one with another end.
    pub fn restart(&mut self, until: DateTime<Utc>) {
        self.window.until = Some(until);
        let generation = self.generation + 1;
        *self = Sweeping { generation, ..Sweeping::new(self.window, self.pace) };
    }

    pub fn ask(&mut self, now: Duration) -> Option<Ask> {
        if self.cutting { None } else { self.walk.ask(now) }
    }

    pub fn too_heavy(&mut self, ask: Ask) -> Relief {
        let relief = self.walk.too_heavy(ask);
        self.cutting |= relief == Relief::Cut;
        relief
    }

    pub fn answered(&mut self, ask: Ask, rows: Vec<walk::Row>, total: u64, now: Duration) -> walk::Rows {
        let taken = self.walk.answered(ask, rows, total, now);
        if !self.counted {
            self.counted = true;
            self.count(self.walk.opened());
        }
        taken
    }

    /// Notes seconds that lie across pages. One that was ever out of order stays so.
    pub fn note(&mut self, cut: &[Cut]) {
        for Cut { second, in_order } in cut {
            let known = self.cut.entry(*second).or_insert(Some(0));
            *known = known.zip(*in_order).map(|(known, more)| known + more);
        }
    }

    /// The seconds that lie across pages.
    pub fn cut_seconds(&self) -> Vec<i64> {
        self.cut.keys().copied().collect()
    }

    /// Whether the source was seen to keep an order within this second: so many rows do not come in the same order by chance.
    pub fn keeps_order(&self, second: i64) -> bool {
        self.cut.get(&second).copied().flatten().is_some_and(|rows| rows >= ORDERED)
    }

    fn count(&mut self, rows: u64) {
        self.progress.window = Some(self.progress.window.unwrap_or(0) + rows);
    }

    /// Takes the next part when the walk through this one is over.
    pub fn next_part(&mut self) {
        if !self.walk.finished() {
            return;
        }
        self.progress.growth = self.progress.growth.max(self.walk.growth());
        let Some(part) = self.progress.rest.pop() else { return };
        self.progress.held += self.walk.least();
        self.begin(part);
    }

    fn begin(&mut self, part: Window) {
        self.generation += 1;
        self.cutting = false;
        let (stride, least) = self.walk.strides();
        self.walk = Walk::new(stride, self.pace.workers).at_least(least);
        self.progress.part = part;
    }

    /// Cuts the part in two at `middle`, of which the older one holds `below` rows, and begins anew with the newer one.
    pub fn cut_at(&mut self, middle: DateTime<Utc>, below: u64) {
        let part = self.progress.part;
        if !self.counted {
            self.count(below);
        }
        self.progress.rest.push(Window { until: Some(middle), ..part });
        self.begin(Window { since: Some(middle), ..part });
    }

    pub fn finished(&self) -> bool {
        self.walk.finished() && self.progress.rest.is_empty() && !self.cutting
    }

    pub fn rows(&self) -> Rows {
        Rows {
            window: self.progress.window.unwrap_or(0),
            held: self.progress.held + self.walk.least(),
            seen: self.seen.len() as u64,
            growth: self.progress.growth.max(self.walk.growth()),
            outside: self.progress.outside,
        }
    }
}
