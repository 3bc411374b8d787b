//! Times and durations as text: several formats are read, one is written for each use. Always UTC.

use chrono::{
    DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, Timelike, Utc,
    format::{Item, Numeric, Pad},
};

/// Reads an ISO 8601 time. `T` or a space may separate date and time, and a fraction may follow the seconds.
/// A date alone stands for its midnight, and a time without a zone is UTC.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Some(time) = plain(text.as_bytes()) {
        return Some(time);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let zoned = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
    if let Some(time) = zoned.iter().find_map(|format| DateTime::parse_from_str(text, format).ok()) {
        return Some(time.to_utc());
    }
    let bare = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let time = local.iter().find_map(|format| NaiveDateTime::parse_from_str(bare, format).ok());
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| date.and_time(NaiveTime::MIN));
    time.or_else(date).map(|time| time.and_utc())
}

/// Reads the three most common forms: `2019-10-21T09:50:54`, alone or with `Z` or `+00:00`. A run reads
/// several times of every record, and a state file may have thousands.
fn plain(text: &[u8]) -> Option<DateTime<Utc>> {
    let (time, zone) = text.split_at_checked(19)?;
    let separated = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !matches!(zone, b"" | b"Z" | b"+00:00") || separated.iter().any(|(at, mark)| time[*at] != *mark) {
        return None;
    }
    let number = |digits: &[u8]| {
        let add = |sum: u32, digit: &u8| digit.is_ascii_digit().then(|| 10 * sum + u32::from(digit - b'0'));
        digits.iter().try_fold(0, add)
    };
    let part = |at: usize| number(&time[at..at + 2]);
    let date = NaiveDate::from_ymd_opt(number(&time[..4])? as i32, part(5)?, part(8)?)?;
    Some(date.and_hms_opt(part(11)?, part(14)?, part(17)?)?.and_utc())
}

/// Formats a time for the state file: `2019-10-21T09:50:54`, UTC, whole seconds.
pub fn state_format(time: DateTime<Utc>) -> String {
    time.format_with_items(STATE_ITEMS.iter()).to_string()
}

/// `%Y-%m-%dT%H:%M:%S`
const STATE_ITEMS: [Item; 11] = [
    Item::Numeric(Numeric::Year, Pad::Zero),
    Item::Literal("-"),
    Item::Numeric(Numeric::Month, Pad::Zero),
    Item::Literal("-"),
    Item::Numeric(Numeric::Day, Pad::Zero),
    Item::Literal("T"),
    Item::Numeric(Numeric::Hour, Pad::Zero),
    Item::Literal(":"),
    Item::Numeric(Numeric::Minute, Pad::Zero),
    Item::Literal(":"),
    Item::Numeric(Numeric::Second, Pad::Zero),
];

/// Formats a time for the log: `2019-10-21 09:50:54`, UTC, whole seconds.
pub fn log_format(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Formats a time for requests, as RFC 3339: `2019-10-21T09:50:54Z`, whole seconds. The offset is `Z`,
/// because the `+` of `+00:00` in a query string would arrive as a space.
pub fn rfc3339(time: DateTime<Utc>) -> String {
    written(time).unwrap_or_else(|| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Formats a time as chrono does, but faster, since a mapping formats several timestamps per record. Returns `None` for a
/// leap second and for a year outside 0 to 9999.
fn written(time: DateTime<Utc>) -> Option<String> {
    let time = time.naive_utc();
    let year = u32::try_from(time.year()).ok().filter(|year| *year < 10_000)?;
    if time.nanosecond() >= 1_000_000_000 {
        return None;
    }
    let mut text = *b"0000-00-00T00:00:00Z";
    let parts = [year / 100, year % 100, time.month(), time.day(), time.hour(), time.minute(), time.second()];
    for (at, part) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(parts) {
        text[at] += (part / 10) as u8;
        text[at + 1] += (part % 10) as u8;
    }
    Some(std::str::from_utf8(&text).ok()?.to_owned())
}

/// Units of a duration with their length in seconds, largest first.
const UNITS: [(char, &str, i64); 4] =
    [('d', "day", 86_400), ('h', "hour", 3600), ('m', "minute", 60), ('s', "second", 1)];

/// Pattern of a duration in the state file.
pub const SPAN: &str = "^[1-9][0-9]{0,6}[smhd]$";

/// Pattern of a duration of at most one day in the state file.
pub const SPAN_OF_A_DAY: &str = "^(([1-9][0-9]{0,3}|[1-7][0-9]{4}|8[0-5][0-9]{3}|86[0-3][0-9]{2}|86400)s|\
    ([1-9][0-9]{0,2}|1[0-3][0-9]{2}|14[0-3][0-9]|1440)m|([1-9]|1[0-9]|2[0-4])h|1d)$";

/// Reads a duration of at least one second, such as `30s`, `5m`, `2h` or `7d`.
pub fn span(text: &str) -> Option<TimeDelta> {
    let (digits, seconds) =
        UNITS.iter().find_map(|(unit, _, seconds)| Some((text.strip_suffix(*unit)?, seconds)))?;
    let ordinary =
        digits.len() <= 7 && !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
    let count: i64 = digits.parse().ok().filter(|_| ordinary)?;
    TimeDelta::try_seconds(count * seconds)
}

/// Formats a duration in words, in the largest unit that gives a whole number: `2 hours`.
pub fn humanize(span: TimeDelta) -> String {
    let total = span.num_seconds();
    let (_, word, seconds) = UNITS.iter().find(|(.., seconds)| total % seconds == 0).unwrap_or(&UNITS[3]);
    match total / seconds {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    }
}

/// Formats a duration in its two largest units: `1 min 41 s`, `2 h 5 min`, `3 days 4 h`.
pub fn approximately(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, 0) => format!("{minutes} min"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, 0, _) => format!("{hours} h"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (1, 0, ..) => "1 day".into(),
        (1, hours, ..) => format!("1 day {hours} h"),
        (days, 0, ..) => format!("{days} days"),
        (days, hours, ..) => format!("{days} days {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_its_two_largest_units() {
        for (seconds, expected) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (101, "1 min 41 s"),
            (7_200, "2 h"),
            (7_530, "2 h 5 min"),
            (86_400, "1 day"),
            (90_000, "1 day 1 h"),
            (273_600, "3 days 4 h"),
        ] {
            assert_eq!(approximately(TimeDelta::seconds(seconds)), expected);
        }
    }

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (text, seconds, words) in [
            ("1s", 1, "1 second"),
            ("90s", 90, "90 seconds"),
            ("5m", 300, "5 minutes"),
            ("120m", 7200, "2 hours"),
            ("2h", 7200, "2 hours"),
            ("7d", 604_800, "7 days"),
        ] {
            let read = span(text).unwrap();
            assert_eq!((read.num_seconds(), humanize(read).as_str()), (seconds, words), "{text}");
        }
        for text in ["", "s", "0s", "01s", "-1s", "1", "1 s", "1w", "1.5h", "99999999s", "2H", "1é"] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    #[test]
    fn every_common_format_of_a_time_is_read_as_the_same_instant() {
        for text in [
            "2019-10-21T09:50:54",
            "2019-10-21T09:50:54Z",
            "2019-10-21T09:50:54z",
            "2019-10-21 09:50:54",
            "2019-10-21 09:50:54Z",
            "2019-10-21T09:50:54.000",
            "2019-10-21T11:50:54+02:00",
            "2019-10-21T11:50:54+0200",
            "2019-10-21T11:50:54+02",
            "2019-10-21 11:50:54.000+02:00",
            "2019-10-21T09:50:54+00:00",
            " 2019-10-21T09:50:54 ",
        ] {
            assert_eq!(parse(text).map(state_format).as_deref(), Some("2019-10-21T09:50:54"), "{text}");
        }
        assert_eq!(parse("2019-10-21").map(rfc3339).as_deref(), Some("2019-10-21T00:00:00Z"));
        assert_eq!(parse("2019-10-21T09:50Z").map(log_format).as_deref(), Some("2019-10-21 09:50:00"));
    }

    #[test]
    fn a_time_is_formatted_as_the_library_does() {
        let leap = DateTime::from_timestamp(1_483_228_799, 1_500_000_000).unwrap();
        let last = [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, leap];
        let seconds = (-70_000_000_000..260_000_000_000).step_by(86_399 * 5_003);
        let times = seconds.map(|seconds| DateTime::from_timestamp(seconds, 999_999_999).unwrap());
        for time in times.chain(last) {
            assert_eq!(rfc3339(time), time.to_rfc3339_opts(SecondsFormat::Secs, true));
        }
    }

    #[test]
    fn a_text_that_is_not_a_time_is_rejected() {
        for text in [
            "",
            "yesterday",
            "2019-13-01T00:00:00",
            "2019-02-30T00:00:00",
            "2019-10-21T25:00:00",
            "1571651454",
            "21.10.2019",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
