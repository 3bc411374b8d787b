//! When an entry's next run is due: so long after the end of its last one. Pure: the time is handed in.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::state::{Entry, identity::EntryId};

/// After so long the same is said again.
const OLD: TimeDelta = TimeDelta::minutes(10);

/// The ends of the last runs.
#[derive(Default)]
pub struct Turns {
    turns: Vec<Turn>,
    /// What was said last of entries that have something to be seen to.
    told: Vec<(EntryId, String, DateTime<Utc>)>,
}

struct Turn {
    id: EntryId,
    /// What the run has left as `latest_timestamp`; another one is somebody's wish.
    stamp: DateTime<Utc>,
    ended: DateTime<Utc>,
}

impl Turns {
    /// A run has ended and left this timestamp.
    pub fn ended(&mut self, id: &EntryId, stamp: DateTime<Utc>, now: DateTime<Utc>) {
        self.turns.retain(|turn| turn.id != *id);
        self.turns.push(Turn { id: id.clone(), stamp, ended: now });
    }

    /// From when on the time to an entry's next run counts: the end of its last one, if it was in this process and nobody has
    /// touched the timestamp since; else the timestamp.
    pub fn since(&self, entry: &Entry, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let stamp = entry.latest_timestamp?;
        let turn =
            self.turns.iter().find(|turn| turn.id == entry.id && turn.stamp.timestamp() == stamp.timestamp());
        // The timestamp is by the source's clock, the end by ours; that may have been set back.
        let turn = turn.filter(|turn| turn.ended <= now);
        Some(turn.map_or(stamp, |turn| turn.ended))
    }

    /// How long until the first of these moments that had not passed at the last look; nothing to wait for one that has passed since.
    pub fn next(
        due: impl Iterator<Item = DateTime<Utc>>,
        looked: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<Duration> {
        // A moment later it is over.
        let left = |at: DateTime<Utc>| (at + TimeDelta::milliseconds(1) - now).to_std().unwrap_or_default();
        due.filter(|at| *at >= looked).map(left).min()
    }

    /// Whether this was not what was said of the entry the last time, a while ago at most.
    pub fn is_news(&mut self, id: &EntryId, told: &str, now: DateTime<Utc>) -> bool {
        // Seconds and the like count down.
        let told: String = told.chars().filter(|c| !c.is_ascii_digit()).collect();
        let old = |at: &DateTime<Utc>| (now - at).abs() >= OLD;
        let known = self.told.iter().any(|(of, known, at)| of == id && *known == told && !old(at));
        if !known {
            self.told.retain(|(of, ..)| of != id);
            self.told.push((id.clone(), told, now));
        }
        !known
    }

    /// When the entry is due; nothing for one that asks for a full load.
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
        assert_eq!(next(&[2, 10]), Some(Duration::ZERO), "it has passed since the look");
        assert_eq!(next(&[-1]), None, "it was seen to");
        let before = ended - TimeDelta::minutes(1);
        assert_eq!(turns.due_at(&run, before), Some(stamp + TimeDelta::seconds(5)), "the clock was set back");
        let mut news =
            |told: &str, minutes| turns.is_news(&run.id, told, stamp + TimeDelta::minutes(minutes));
        let found =
            [news("7 s left", 0), news("6 s left", 1), news("gone", 2), news("gone", 11), news("gone", 12)];
        assert_eq!(found, [true, false, true, false, true]);
    }
}
