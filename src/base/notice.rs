//! Notices: what happened to a record that other systems may have to act on, such as an opt-out.

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use super::identity::DeliveryId;

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// The sink has accepted a payload that withdraws a person's consent.
    OptOut,
    /// The sink has accepted the deletion of the record.
    Deletion,
    /// The record could not be delivered and became a dead letter.
    Rejection,
}

/// One event of a record, for a receiver outside importer. The serialized form is what the receiver gets. It contains
/// no payload and no address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Identifies the event: a repeat after a crash or in a later run has the same id.
    pub id: String,
    #[serde(rename = "event")]
    pub kind: NoticeKind,
    pub list_id: String,
    /// Key of the record at its source.
    pub key: String,
    /// Time at which importer noticed the event, in whole seconds.
    pub at: DateTime<Utc>,
    /// Reason of a rejection, a single word; `None` for other events.
    pub reason: Option<String>,
}

/// What distinguishes an event from earlier ones of the same record and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distinction<'a> {
    /// Time of the record's last change at the source.
    pub changed: Option<DateTime<Utc>>,
    /// Reason of a rejection, otherwise the digest of the payloads.
    pub what: &'a str,
}

impl Notice {
    /// Makes a notice without a reason. Its id depends on everything but `at`.
    pub fn new(
        delivery: &DeliveryId,
        kind: NoticeKind,
        key: &str,
        distinction: Distinction<'_>,
        at: DateTime<Utc>,
    ) -> Self {
        let Distinction { changed, what } = distinction;
        let changed = changed.map(|changed| changed.timestamp_millis());
        // JSON quotes the texts, so that no two events have the same one. Plain values can always be written.
        let event = (delivery.to_string(), &delivery.digest, kind, key, changed, what);
        let event = serde_json::to_string(&event).unwrap_or_default();
        Notice {
            id: format!("{:x}", md5::compute(event)),
            kind,
            list_id: delivery.list.id.clone(),
            key: key.to_owned(),
            at: at.trunc_subsecs(0),
            reason: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::{identity::ListId, time};

    fn notice(list: &str, kind: NoticeKind, key: &str, changed: &str, what: &str) -> Notice {
        let list = ListId { source: "rows".into(), account: None, id: list.into() };
        let distinction = Distinction { changed: time::parse(changed), what };
        let at = time::parse("2026-11-21T12:00:00.25").unwrap();
        Notice::new(&DeliveryId::new(list, "file", None, "/out"), kind, key, distinction, at)
    }

    /// Receivers store these ids, so they must not change.
    #[test]
    fn the_id_depends_on_the_event_and_not_on_the_time_of_the_notice() {
        let first = notice("a", NoticeKind::OptOut, "k", "2026-11-20", "d");
        assert_eq!(first.id, "fe024540692a2b564c81184c302fa034");
        let later = Notice::new(
            &DeliveryId::new(
                ListId { source: "rows".into(), account: None, id: "a".into() },
                "file",
                None,
                "/out",
            ),
            NoticeKind::OptOut,
            "k",
            Distinction { changed: time::parse("2026-11-20"), what: "d" },
            time::parse("2027-01-01").unwrap(),
        );
        assert_eq!(later.id, first.id);
        for other in [
            notice("b", NoticeKind::OptOut, "k", "2026-11-20", "d"),
            notice("a", NoticeKind::Deletion, "k", "2026-11-20", "d"),
            notice("a", NoticeKind::OptOut, "l", "2026-11-20", "d"),
            notice("a", NoticeKind::OptOut, "k", "2026-11-21", "d"),
            notice("a", NoticeKind::OptOut, "k", "never", "d"),
            notice("a", NoticeKind::OptOut, "k", "2026-11-20", "e"),
        ] {
            assert_ne!(other.id, first.id, "{other:?}");
        }
    }

    #[test]
    fn a_receiver_gets_six_members() {
        let notice = Notice { id: "i".into(), ..notice("a", NoticeKind::OptOut, "k", "2026-11-20", "d") };
        assert_eq!(
            serde_json::to_value(&notice).unwrap(),
            json!({"id": "i", "event": "opt_out", "list_id": "a", "key": "k", "at": "2026-11-21T12:00:00Z", "reason": null})
        );
    }
}
