//! A new notice, and what was noticed of its record before. Pure.

use crate::base::notice::{Notice, NoticeKind};

/// A notice to add to the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotice {
    pub notice: Notice,
    /// Digest of the record's key, for recognizing a repeat: a second notice of the same opt-out, deletion or
    /// rejection. `None`: the record is unique, so the notice is always added.
    pub record: Option<u128>,
}

/// What was noticed of a record: another notice of the same is a repeat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The opt-out or deletion that was noticed last, unless a payload with another effect was sent since.
    pub effect: Option<NoticeKind>,
    /// Id of the rejection that was noticed last.
    rejection: Option<u128>,
}

/// Number of bytes of a mark: the effect, and the id of the rejection. Zeros stand for none.
const BYTES: usize = 17;

impl Mark {
    /// Adds a notice. Returns false if it is a repeat.
    pub fn add(&mut self, notice: &Notice) -> bool {
        match notice.kind {
            NoticeKind::Rejection => {
                let id = u128::from_str_radix(&notice.id, 16).ok();
                id.is_none() || std::mem::replace(&mut self.rejection, id) != id
            }
            effect => self.effect.replace(effect) != Some(effect),
        }
    }

    /// Returns whether the noticed effect is outdated once a payload with this effect was sent.
    pub fn ends_with(self, effect: Option<NoticeKind>) -> bool {
        self.effect.is_some() && self.effect != effect
    }

    /// Returns the bytes of the mark; `None` if nothing was noticed.
    pub fn encode(self) -> Option<[u8; BYTES]> {
        let mut bytes = [0; BYTES];
        bytes[0] = match self.effect {
            Some(NoticeKind::OptOut) => 1,
            Some(NoticeKind::Deletion) => 2,
            Some(NoticeKind::Rejection) | None => 0,
        };
        bytes[1..].copy_from_slice(&self.rejection.unwrap_or_default().to_be_bytes());
        (self != Mark::default()).then_some(bytes)
    }

    /// Reads the bytes of a mark. Unknown ones, which a later version may have written, count as none: a notice is then
    /// repeated, not missed.
    pub fn decode(bytes: &[u8]) -> Self {
        let effect = match bytes.first() {
            Some(1) => Some(NoticeKind::OptOut),
            Some(2) => Some(NoticeKind::Deletion),
            _ => None,
        };
        let rejection = bytes.get(1..).and_then(|id| id.try_into().ok()).map(u128::from_be_bytes);
        Mark { effect, rejection: rejection.filter(|id| *id != 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(kind: NoticeKind, id: &str) -> Notice {
        let (id, list_id, key) = (id.to_owned(), "a".to_owned(), "k".to_owned());
        Notice { id, kind, list_id, key, at: chrono::DateTime::UNIX_EPOCH, reason: None }
    }

    #[test]
    fn a_repeat_is_an_effect_that_still_holds_or_the_last_rejection() {
        let mut mark = Mark::default();
        for (kind, id, is_new) in [
            (NoticeKind::OptOut, "1", true),
            (NoticeKind::OptOut, "2", false),
            (NoticeKind::Rejection, "3", true),
            (NoticeKind::Rejection, "3", false),
            (NoticeKind::Rejection, "4", true),
            (NoticeKind::Rejection, "3", true),
            (NoticeKind::OptOut, "2", false),
            (NoticeKind::Deletion, "5", true),
            (NoticeKind::OptOut, "1", true),
        ] {
            assert_eq!(mark.add(&notice(kind, id)), is_new, "{kind:?} {id}");
            assert_eq!(Mark::decode(&mark.encode().unwrap()), mark);
        }
        assert!(mark.ends_with(None) && mark.ends_with(Some(NoticeKind::Deletion)));
        assert!(!mark.ends_with(Some(NoticeKind::OptOut)) && !Mark::default().ends_with(None));
    }

    #[test]
    fn nothing_is_stored_of_a_record_without_a_notice_and_unknown_bytes_count_as_nothing() {
        assert_eq!(Mark::default().encode(), None);
        for bytes in [&[][..], &[0; 17], &[9; 1], &[9; 3]] {
            assert_eq!(Mark::decode(bytes), Mark::default());
        }
    }
}
