//! Computes when an entry's next run is due: `every` after the end of its last one. Pure.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::state::{Entry, identity::EntryId};

/// Time after which an unchanged message is reported again.
const OLD: TimeDelta = TimeDelta::minutes(10);

/// The ends of the last runs, and the last message of each entry, by list.
#[derive(Default)]
pub struct Turns {
    turns: HashMap<String, Vec<Turn>>,
    /// The last warning or error of an entry, without digits, and the time when it was reported.
    messages: HashMap<String, Vec<(EntryId, String, DateTime<Utc>)>>,
}

struct Turn {
    id: EntryId,
    /// The `latest_timestamp` that the run wrote. A different one in the file was set by hand.
    stamp: DateTime<Utc>,
    ended: DateTime<Utc>,
}

impl Turns {
    /// Records the end of a run that wrote the timestamp `stamp`.
    pub fn ended(&mut self, id: &EntryId, stamp: DateTime<Utc>, now: DateTime<Utc>) {
        let turns = self.turns.entry(id.list_id.clone()).or_default();
        turns.retain(|turn| turn.id != *id);
        turns.push(Turn { id: id.clone(), stamp, ended: now });
    }

    /// Returns the time from which `every` counts: the end of the entry's last run, if this process ran it
    /// and the timestamp was not edited since; otherwise the timestamp. Returns `None` if the entry has no
    /// timestamp.
    pub fn since(&self, entry: &Entry, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let stamp = entry.latest_timestamp?;
        let turns = self.turns.get(&entry.id.list_id).map_or(&[][..], Vec::as_slice);
        let turn =
            turns.iter().find(|turn| turn.stamp.timestamp() == stamp.timestamp() && turn.id == entry.id);
        // The end of the run is by this machine's clock. If that was set back, the timestamp counts.
        let turn = turn.filter(|turn| turn.ended <= now);
        Some(turn.map_or(stamp, |turn| turn.ended))
    }

    /// Returns the time until the first of the `due` times that had not passed at the last check (`looked`).
    /// Returns zero if one has passed since that check, and `None` if there is none.
    pub fn next(
        due: impl Iterator<Item = DateTime<Utc>>,
        looked: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<Duration> {
        // An entry is due only when its time is over, hence the millisecond.
        let left = |at: DateTime<Utc>| (at + TimeDelta::milliseconds(1) - now).to_std().unwrap_or_default();
        due.filter(|at| *at >= looked).map(left).min()
    }

    /// Returns whether the entry's last message differs from `message` or is older than [`OLD`]; then stores
    /// it.
    pub fn is_news(&mut self, id: &EntryId, message: &str, now: DateTime<Utc>) -> bool {
        // Digits are ignored, since counts and remaining seconds change from run to run.
        let message: String = message.chars().filter(|c| !c.is_ascii_digit()).collect();
        let old = |at: &DateTime<Utc>| (now - at).abs() >= OLD;
        let all = self.messages.entry(id.list_id.clone()).or_default();
        let known = all.iter().any(|(of, known, at)| of == id && *known == message && !old(at));
        if !known {
            all.retain(|(of, ..)| of != id);
            all.push((id.clone(), message, now));
        }
        !known
    }

    /// Returns when the entry is due, or `None` for an entry without a timestamp, which is always due.
    pub fn due_at(&self, entry: &Entry, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.since(entry, now).map(|since| since + entry.every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::time,
        state::{schema, vocabulary::SAMPLE},
    };

    fn entry(more: &str) -> Entry {
        let text = format!(r#"[{{"list_id": "a", "every": "5s"{more}}}]"#);
        schema::read(&text, &SAMPLE).unwrap().entries.remove(0)
    }

    #[test]
    fn a_turn_counts_from_the_end_of_the_last_run_unless_the_timestamp_was_touched() {
        let stamp = time::parse("2026-11-21T12:00:00").unwrap();
        let (run, ended) =
            (entry(r#", "latest_timestamp": "2026-11-21T12:00:00""#), stamp + TimeDelta::minutes(3));
        let (mut turns, late) = (Turns::default(), stamp + TimeDelta::hours(1));
        assert_eq!(turns.due_at(&run, late), Some(stamp + TimeDelta::seconds(5)), "not in this process");
        turns.ended(&run.id, stamp, ended);
        assert_eq!(turns.due_at(&run, late), Some(ended + TimeDelta::seconds(5)));
        let touched = entry(r#", "latest_timestamp": "2026-11-20T12:00:00""#);
        assert_eq!(turns.due_at(&touched, late), Some(time::parse("2026-11-20T12:00:05").unwrap()));
        assert_eq!(turns.due_at(&entry(""), late), None);
        let (looked, now) = (stamp, stamp + TimeDelta::milliseconds(5));
        let next = |millis: &[i64]| {
            Turns::next(millis.iter().map(|millis| stamp + TimeDelta::milliseconds(*millis)), looked, now)
        };
        assert_eq!(next(&[-1, 10, 20]), Some(Duration::from_millis(6)));
        assert_eq!(next(&[2, 10]), Some(Duration::ZERO), "it has passed since the check");
        assert_eq!(next(&[-1]), None, "the check has seen it");
        let before = ended - TimeDelta::minutes(1);
        assert_eq!(turns.due_at(&run, before), Some(stamp + TimeDelta::seconds(5)), "the clock was set back");
        let mut news =
            |message: &str, minutes| turns.is_news(&run.id, message, stamp + TimeDelta::minutes(minutes));
        let found =
            [news("7 s left", 0), news("6 s left", 1), news("gone", 2), news("gone", 11), news("gone", 12)];
        assert_eq!(found, [true, false, true, false, true]);
    }
}
