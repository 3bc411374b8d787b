//! Decides where a window may end, by the source's clock and the clock of this machine. Pure.
//!
//! Either clock may be wrong, and a third one may stamp the rows. A window therefore ends at the earlier
//! time: an end that is too early leaves rows to the next run, while an end that is too late loses them.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::base::{fault::Fault, time};

/// Tolerated difference between two clocks, and between a window's end and the time of a row.
pub const DEFAULT: TimeDelta = TimeDelta::seconds(60);
/// Largest difference between two clocks at which a window may be opened.
const MOST: TimeDelta = TimeDelta::hours(24);

/// The time by two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// The time by the source's clock, from the `Date` header of its answers.
    pub source: DateTime<Utc>,
    /// The time by this machine's clock.
    pub ours: DateTime<Utc>,
}

/// Observations about times, over all passes of a run.
#[derive(Debug, Clone, Default)]
pub struct Noticed {
    /// Both clocks, when they first differed by more than [`DEFAULT`] at the first answer of a pass.
    pub apart: Option<Clocks>,
    /// The time of the latest change among all rows read.
    pub newest: Option<DateTime<Utc>>,
    /// Number of rows that changed after the end of their window.
    pub after_end: u64,
    /// The latest of these changes, and the end of its window.
    pub last_after: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Noticed {
    /// Adds the observations of the previous passes.
    pub fn add(&mut self, before: Noticed) {
        self.apart = before.apart.or(self.apart);
        self.newest = self.newest.max(before.newest);
        self.after_end += before.after_end;
        self.last_after = self.last_after.max(before.last_after);
    }

    /// Records a row from a window with this end.
    pub fn row(&mut self, changed: DateTime<Utc>, until: Option<DateTime<Utc>>) {
        self.newest = self.newest.max(Some(changed));
        if let Some(until) = until.filter(|until| changed > *until) {
            self.after_end += 1;
            self.last_after = self.last_after.max(Some((changed, until)));
        }
    }
}

/// Returns the start of a window that continues one which ended at `until`. The windows overlap, since a
/// change may become visible some time after its time stamp.
pub fn continuing(until: DateTime<Utc>, overlap: TimeDelta) -> DateTime<Utc> {
    until.checked_sub_signed(overlap + TimeDelta::seconds(1)).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

impl Clocks {
    /// Returns the end of a window that opens now: the second before the current one, in which rows may still
    /// change.
    pub fn end(self) -> DateTime<Utc> {
        self.earlier().trunc_subsecs(0) - TimeDelta::seconds(1)
    }

    /// Returns the earlier time of both clocks.
    pub fn earlier(self) -> DateTime<Utc> {
        self.source.min(self.ours)
    }

    /// Returns whether the clocks differ by more than [`DEFAULT`].
    pub fn differ(self) -> bool {
        (self.source - self.ours).abs() > DEFAULT
    }

    /// Returns the end of a window that opens now.
    ///
    /// # Errors
    ///
    /// * The clocks differ by more than a day.
    /// * The end is before `start`, the time up to which the list was already read.
    /// * The end is more than [`DEFAULT`] before the `newest` row read.
    pub fn checked_end(
        self,
        start: Option<DateTime<Utc>>,
        newest: Option<DateTime<Utc>>,
    ) -> Result<DateTime<Utc>, Fault> {
        if (self.source - self.ours).abs() > MOST {
            let what = "the clocks are more than a day apart";
            return Err(self.wrong(what.to_owned()));
        }
        let end = self.end();
        if let Some(start) = start.filter(|start| *start > end) {
            let (end, start) = (time::log_format(end), time::log_format(start));
            let what = format!("the window would end at {end}, but the list was already read up to {start}");
            return Err(self
                .wrong(what)
                .also("if both clocks are right, set `latest_timestamp` to an earlier time"));
        }
        self.holds(end, newest)?;
        Ok(end)
    }

    /// Checks that a window with this end is over.
    ///
    /// # Errors
    ///
    /// The end is more than [`DEFAULT`] after the end of a window that opens now.
    pub fn is_over(self, until: DateTime<Utc>) -> Result<(), Fault> {
        if until <= self.end() + DEFAULT {
            return Ok(());
        }
        let until = time::log_format(until);
        Err(self
            .wrong(format!("the interrupted run reads up to {until}, which is later than now"))
            .also("to discard that run, use `importer go --fresh`"))
    }

    /// Checks the `newest` row read against the end of its window.
    ///
    /// # Errors
    ///
    /// The row changed more than [`DEFAULT`] after both the window's end and the present time by the earlier
    /// clock.
    pub fn holds(self, until: DateTime<Utc>, newest: Option<DateTime<Utc>>) -> Result<(), Fault> {
        let latest = until.max(self.end()) + DEFAULT;
        let Some(newest) = newest.filter(|newest| *newest > latest) else { return Ok(()) };
        let (newest, until) = (time::log_format(newest), time::log_format(until));
        Err(self.wrong(format!("a record changed at {newest}, but the window ends at {until}")))
    }

    fn wrong(self, what: String) -> Fault {
        let (source, ours) = (time::log_format(self.source), time::log_format(self.ours));
        Fault::list(what)
            .because(format!("the source's clock says {source}, this machine's clock says {ours}"))
            .hint("correct the clock that is wrong; no timestamp was written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        time::parse(&format!("2026-11-{text}")).unwrap()
    }

    #[test]
    fn a_window_ends_a_second_before_the_earlier_clock() {
        for (source, ours, end, differ) in [
            ("21T12:00:00", "21T12:00:00.9", "21T11:59:59", false),
            ("21T12:05:00", "21T12:00:00.9", "21T11:59:59", true),
            ("21T12:00:00", "21T12:05:00.9", "21T11:59:59", true),
            ("21T12:00:00", "21T12:01:00", "21T11:59:59", false),
        ] {
            let clocks = Clocks { source: at(source), ours: at(ours) };
            assert_eq!((clocks.end(), clocks.differ()), (at(end), differ), "{source} {ours}");
        }
    }

    #[test]
    fn an_end_that_no_window_may_have_is_an_error() {
        let (noon, day) = ("21T12:00:00", "22T12:00:00");
        for (source, ours, start, newest, told) in [
            (noon, noon, None, None, ""),
            (noon, noon, Some("21T11:59:59"), Some("21T12:00:59"), ""),
            (
                noon,
                noon,
                Some("21T12:00:00"),
                None,
                "would end at 2026-11-21 11:59:59, but the list was already read up to 2026-11-21 12:00:00",
            ),
            (noon, noon, None, Some("21T12:01:00"), "changed at 2026-11-21 12:01:00, but the window ends at"),
            (noon, day, None, None, ""),
            (noon, "22T12:00:01", None, None, "more than a day apart"),
            ("22T12:00:01", noon, None, None, "more than a day apart"),
            (day, noon, Some("22T11:00:00"), None, "would end at 2026-11-21 11:59:59"),
        ] {
            let clocks = Clocks { source: at(source), ours: at(ours) };
            let text = clocks.checked_end(start.map(at), newest.map(at)).err().map(|fault| fault.to_string());
            let text = text.unwrap_or_default();
            assert!(text.contains(told) && text.is_empty() == told.is_empty(), "{text}");
            let both = [source, ours].map(|clock| time::log_format(at(clock)));
            assert!(text.is_empty() || both.iter().all(|clock| text.contains(clock)), "{text}");
        }
        let clocks = Clocks { source: at(noon), ours: at(noon) };
        assert!(clocks.is_over(at("21T12:00:59")).is_ok() && clocks.is_over(at("21T12:01:00")).is_err());
        // Rows may change during a long run.
        let later = Clocks { source: at("21T14:00:00"), ours: at("21T14:00:00") };
        assert!(later.holds(at(noon), Some(at("21T13:59:00"))).is_ok());
        assert!(later.holds(at(noon), Some(at("21T14:02:00"))).is_err());
    }
}
