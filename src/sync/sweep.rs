//! One listing in one pass: its window, or the parts it had to be cut into, and what was seen of it.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    checkpoint::{Line, Part, Progress},
    coverage::Rows,
    seen::Seen,
    walk::{self, Ask, Joined, Relief, Walk},
};
use crate::base::window::Window;

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
    start_offset: u64,
    pub walk: Walk,
    pub seen: Seen,
    /// Rows that were listed although their time is not in the window.
    pub outside: u64,
    /// Seconds that must be looked at by themselves.
    pub cut: HashSet<i64>,
    pub progress: Progress,
    /// Counts up when the walk is begun anew; answers to an older one count for nothing.
    pub generation: u32,
    /// Its window is about to be cut.
    pub cutting: bool,
    pace: Pace,
    /// Whether its rows were counted.
    counted: bool,
}

impl Sweeping {
    pub fn new(window: Window, start_offset: u64, pace: Pace) -> Self {
        let part = Part { window, start_offset };
        let progress = Progress { part, rest: vec![], window: None, left_out: 0, held: 0, growth: 0 };
        Sweeping {
            window,
            start_offset,
            walk: Walk::new(pace.size, pace.workers, start_offset),
            seen: Seen::default(),
            outside: 0,
            cut: HashSet::new(),
            progress,
            generation: 0,
            cutting: false,
            pace,
            counted: false,
        }
    }

    /// Goes on where the settled pages end.
    pub fn resume(mut self, lines: &[&Line], now: Duration) -> Option<Self> {
        let mut upper = vec![];
        for line in lines {
            if line.progress.part != self.progress.part {
                upper.clear();
            }
            self.progress = line.progress.clone();
            let rows = self.seen.decode(&line.rows, &line.names)?;
            self.cut.extend(&line.cut);
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
        let start_offset = self.progress.part.start_offset;
        self.walk = Walk::new(size, workers, start_offset).resume(&joined, upper, now);
        self.next_part();
        Some(self)
    }

    /// The same window again, or one with another end.
    pub fn restart(&mut self, until: DateTime<Utc>) {
        self.window.until = Some(until);
        let generation = self.generation + 1;
        *self = Sweeping { generation, ..Sweeping::new(self.window, self.start_offset, self.pace) };
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
            self.count(self.walk.opened(), self.progress.part.start_offset);
        }
        taken
    }

    fn count(&mut self, rows: u64, start_offset: u64) {
        let before = self.progress.window.unwrap_or(0);
        self.progress.window = Some(before + rows.saturating_sub(start_offset));
        self.progress.left_out += rows.min(start_offset);
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

    fn begin(&mut self, part: Part) {
        self.generation += 1;
        self.cutting = false;
        let (stride, least) = self.walk.strides();
        self.walk = Walk::new(stride, self.pace.workers, part.start_offset).at_least(least);
        self.progress.part = part;
    }

    /// Cuts the part in two at `middle`, of which the older one holds `below` rows, and begins anew with the newer one.
    pub fn cut_at(&mut self, middle: DateTime<Utc>, below: u64) {
        let Part { window, .. } = self.progress.part;
        // Rows that have left the window may have stood below.
        let start_offset = self.walk.floor();
        if !self.counted {
            self.count(below, start_offset);
        }
        if below > start_offset {
            let older = Window { until: Some(middle), ..window };
            self.progress.rest.push(Part { window: older, start_offset });
        }
        self.begin(Part {
            window: Window { since: Some(middle), ..window },
            start_offset: start_offset.saturating_sub(below),
        });
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
            outside: self.outside,
        }
    }
}
