//! The days around today in slices: one per day, or smaller ones if a response can't hold a day. Pure.

use chrono::{DateTime, Days as CalendarDays, NaiveDate, NaiveTime, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::base::{fault::Fault, time, window::Cursor};

/// Shortest slice. A slice of this length that does not fit a response can't be read.
const SHORTEST: TimeDelta = TimeDelta::minutes(1);

/// A period of time that excludes its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

/// The days around today. A day begins at midnight in `zone`.
#[derive(Debug, Clone, Copy)]
pub struct Days {
    pub zone: Tz,
    pub prior: u16,
    pub ahead: u16,
}

impl Days {
    /// Returns the first slice of a run that began at `at`: the day before all others, of which only
    /// deletions are read.
    pub fn first(&self, at: DateTime<Utc>) -> Slice {
        self.day(self.begin(at) - CalendarDays::new(1))
    }

    /// Whether a slice lies before all days whose shifts are read.
    pub fn is_before(&self, at: DateTime<Utc>, slice: Slice) -> bool {
        slice.to <= self.midnight(self.begin(at))
    }

    /// Returns the first day whose shifts are read.
    fn begin(&self, at: DateTime<Utc>) -> NaiveDate {
        self.today(at) - CalendarDays::new(self.prior.into())
    }

    /// Returns the next slice, up to the end of its day. `None` after the last day.
    pub fn after(&self, at: DateTime<Utc>, slice: Slice) -> Option<Slice> {
        let end = self.midnight(self.today(at) + CalendarDays::new(u64::from(self.ahead) + 1));
        let next = self.day(slice.to.with_timezone(&self.zone).date_naive());
        (slice.to < end).then_some(Slice { from: slice.to, ..next })
    }

    fn today(&self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.zone).date_naive()
    }

    fn day(&self, date: NaiveDate) -> Slice {
        Slice { from: self.midnight(date), to: self.midnight(date + CalendarDays::new(1)) }
    }

    /// Returns the start of a day. Where the clock skips midnight, the day begins an hour later.
    fn midnight(&self, date: NaiveDate) -> DateTime<Utc> {
        let local =
            |hour| self.zone.from_local_datetime(&date.and_time(NaiveTime::MIN + TimeDelta::hours(hour)));
        let begins = (0..24).find_map(|hour| local(hour).earliest());
        begins.map_or_else(|| date.and_time(NaiveTime::MIN).and_utc(), |time| time.to_utc())
    }
}

impl Slice {
    /// Returns the first half of the slice. `None` if the slice can't be shorter.
    pub fn half(self) -> Option<Slice> {
        let half = ((self.to - self.from) / 2).max(SHORTEST);
        let to = (self.from + half).trunc_subsecs(0);
        (to < self.to).then_some(Slice { to, ..self })
    }

    /// Formats the slice as a cursor: `2026-11-21T00:00:00Z/2026-11-22T00:00:00Z`.
    pub fn cursor(self) -> Cursor {
        Cursor(format!("{}/{}", time::rfc3339(self.from), time::rfc3339(self.to)))
    }

    /// Reads a cursor that [`Slice::cursor`] formatted.
    ///
    /// # Errors
    ///
    /// [`Fault::List`]: the cursor in the checkpoint is damaged.
    pub fn read(cursor: &Cursor) -> Result<Slice, Fault> {
        let parts =
            cursor.0.split_once('/').and_then(|(from, to)| Some((time::parse(from)?, time::parse(to)?)));
        let (from, to) = parts.ok_or_else(|| {
            Fault::list("the position of the interrupted run can't be read")
                .hint("discard it with `importer go --fresh`")
        })?;
        Ok(Slice { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        time::parse(text).unwrap()
    }

    fn days(zone: &str, prior: u16, ahead: u16) -> Days {
        Days { zone: zone.parse().unwrap(), prior, ahead }
    }

    /// Returns all slices. `full`: starts of slices that are full, and how often each is halved.
    fn walk(days: Days, now: &str, full: &[(&str, u32)]) -> Vec<Slice> {
        let (now, mut slices) = (at(now), vec![]);
        let before = days.first(now);
        assert!(days.is_before(now, before) && before.to - before.from >= TimeDelta::hours(23));
        let mut next = days.after(now, before);
        assert!(next.is_some_and(|first| first.from == before.to && !days.is_before(now, first)));
        while let Some(mut slice) = next {
            for _ in 0..full.iter().find(|(from, _)| at(from) == slice.from).map_or(0, |(_, times)| *times) {
                slice = Slice::read(&slice.half().unwrap().cursor()).unwrap();
            }
            slices.push(slice);
            next = days.after(now, slice);
        }
        slices
    }

    #[test]
    fn the_slices_are_the_days_without_a_gap() {
        for (days, now, from, to, count) in [
            (days("UTC", 0, 1), "2026-11-21T12:00:00", "2026-11-21", "2026-11-23", 2),
            (days("UTC", 7, 28), "2026-11-21T00:00:00", "2026-11-14", "2026-12-20", 36),
            (
                days("America/New_York", 0, 0),
                "2026-11-21T02:00:00",
                "2026-11-20T05:00:00",
                "2026-11-21T05:00:00",
                1,
            ),
            // The clock goes back an hour, so that the day has 25 hours.
            (
                days("Europe/London", 0, 0),
                "2026-10-25T12:00:00",
                "2026-10-24T23:00:00",
                "2026-10-26T00:00:00",
                1,
            ),
            // The clock goes forward at midnight, so that the day begins at 01:00.
            (
                days("America/Sao_Paulo", 0, 0),
                "2018-11-04T12:00:00",
                "2018-11-04T03:00:00",
                "2018-11-05T02:00:00",
                1,
            ),
        ] {
            let slices = walk(days, now, &[]);
            assert_eq!((slices[0].from, slices[slices.len() - 1].to), (at(from), at(to)));
            assert_eq!(slices.len(), count);
            assert!(slices.windows(2).all(|pair| pair[0].to == pair[1].from));
        }
    }

    #[test]
    fn a_full_slice_is_halved_and_its_rest_is_read_to_the_end_of_the_day() {
        let slices = walk(days("UTC", 0, 0), "2026-11-21T12:00:00", &[("2026-11-21T00:00:00", 2)]);
        let shown: Vec<String> = slices.iter().map(|slice| slice.cursor().0).collect();
        assert_eq!(
            shown,
            ["2026-11-21T00:00:00Z/2026-11-21T06:00:00Z", "2026-11-21T06:00:00Z/2026-11-22T00:00:00Z"]
        );
    }

    #[test]
    fn halving_ends_at_a_minute() {
        let mut slice = days("UTC", 0, 0).first(at("2026-11-21T12:00:00"));
        let mut halvings = 0;
        while let Some(half) = slice.half() {
            slice = half;
            halvings += 1;
        }
        assert_eq!((slice.to - slice.from, halvings), (SHORTEST, 11));
    }
}
