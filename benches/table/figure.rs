//! One measured figure with what it must and should be, as a line of the table.

use chrono::Utc;
use serde::Deserialize;

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Seconds,
    Milliseconds,
    Megabytes,
    Minutes,
    Times,
    Count,
    PerSecond,
}

impl Unit {
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Milliseconds => format!("{value:.1} ms"),
            Unit::Megabytes => format!("{value:.1} MB"),
            Unit::Minutes => format!("{value:.1} min"),
            Unit::Times => format!("{value:.2}x"),
            Unit::Count => format!("{value:.0}"),
            Unit::PerSecond => format!("{value:.0}/s"),
        }
    }
}

/// Bounds that a value must and should keep.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    AtMost {
        must: f64,
        aim: f64,
    },
    AtLeast {
        must: f64,
        aim: f64,
    },
    /// Only a must.
    MustBeAtMost(f64),
    MustBeAtLeast(f64),
    /// Only an aim.
    AimAtLeast(f64),
    /// No goal: the figure is there to compare.
    None,
}

impl Goal {
    /// Returns the must and the aim.
    fn bounds(self) -> [Option<f64>; 2] {
        match self {
            Goal::AtMost { must, aim } | Goal::AtLeast { must, aim } => [Some(must), Some(aim)],
            Goal::MustBeAtMost(must) | Goal::MustBeAtLeast(must) => [Some(must), None],
            Goal::AimAtLeast(aim) => [None, Some(aim)],
            Goal::None => [None, None],
        }
    }

    /// Whether the bounds are lower ones.
    fn is_least(self) -> bool {
        matches!(self, Goal::AtLeast { .. } | Goal::MustBeAtLeast(_) | Goal::AimAtLeast(_))
    }
}

pub struct Figure {
    pub row: u8,
    pub case: String,
    pub unit: Unit,
    pub goal: Goal,
    /// The values of the runs, or why there are none.
    pub values: Result<Vec<f64>, String>,
}

impl Figure {
    pub fn new(row: u8, case: impl Into<String>, unit: Unit, goal: Goal, values: Vec<f64>) -> Self {
        Figure { row, case: case.into(), unit, goal, values: Ok(values) }
    }

    pub fn not_run(row: u8, case: impl Into<String>, why: impl Into<String>) -> Self {
        Figure { row, case: case.into(), unit: Unit::Count, goal: Goal::None, values: Err(why.into()) }
    }

    /// Returns the line of the table. Its first two cells identify the figure.
    pub fn line(&self) -> String {
        let text = |value| self.unit.text(value);
        let sign = if self.goal.is_least() { "≥ " } else { "" };
        let [must, aim] = self
            .goal
            .bounds()
            .map(|bound| bound.map_or(String::new(), |bound| format!("{sign}{}", text(bound))));
        let (measured, spread, met) = match &self.values {
            Err(why) => (format!("not run: {why}"), String::new(), ""),
            Ok(values) => (text(median(values)), self.spread(values), self.met(median(values))),
        };
        let (row, case, day) = (self.row, &self.case, Utc::now().format("%Y-%m-%d"));
        format!("| {row} | {case} | {must} | {aim} | {measured} | {spread} | {met} | {day} |")
    }

    fn spread(&self, values: &[f64]) -> String {
        if values.len() < 2 {
            return String::new();
        }
        let [low, high] =
            [f64::min, f64::max].map(|pick| values.iter().copied().reduce(pick).unwrap_or_default());
        format!("{} to {}", self.unit.text(low), self.unit.text(high))
    }

    fn met(&self, value: f64) -> &'static str {
        let within = |bound: Option<f64>| {
            bound.is_some_and(|bound| if self.goal.is_least() { value >= bound } else { value <= bound })
        };
        match self.goal.bounds() {
            [None, None] => "",
            [_, aim] if within(aim) => "aim",
            [must, _] if within(must) => "must",
            _ => "no",
        }
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (length, half) if length % 2 == 1 => sorted[half],
        (_, half) => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}
