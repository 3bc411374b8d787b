//! Records on their way to the sink, for runs and replays: maps a record, encodes its payloads, and creates
//! the dead letter of a record that can't be delivered. Sends nothing.

use chrono::{DateTime, Utc};

use super::{batcher::Size, notices, plan::Pipeline};
use crate::{
    base::{
        json::Json,
        key::RecordKey,
        notice::{Distinction, NoticeKind},
        record::{LeftOut, Mapped, Outgoing, Payload, Reason, Record, UNREADABLE},
        time,
    },
    sink::{Prepared, Rejection},
    store::{
        dead_letter::DeadLetter,
        records::{CacheRules, NewNotice},
    },
};

/// A record that waits for its delivery.
pub struct PendingRecord {
    /// Fingerprint of the record's key.
    pub key: u128,
    /// Key of the record.
    pub id: RecordKey,
    /// The first payload of the record, and the others, if there are any. Its fate is known when theirs are.
    first: PendingPayload,
    more: Vec<PendingPayload>,
    pub opts_out: bool,
    /// Whether the payloads opt in a record that was known with another status, or as opted out, before the
    /// run. [`prepare`] sets what the mapping and the sink find in the payloads.
    pub opts_in: bool,
    /// Time of the record's last change.
    changed: Option<DateTime<Utc>>,
    /// The notice that the delivery causes, if it is news: an opt-out or a deletion.
    pub notice: Option<Box<NewNotice>>,
}

/// A payload before and after its encoding.
struct PendingPayload {
    /// JSON text; `None` for a deletion.
    body: Option<Json>,
    prepared: Prepared,
}

impl PendingPayload {
    /// Encodes a payload of a record.
    fn encode(
        pipeline: &Pipeline,
        key: &RecordKey,
        changed: Option<DateTime<Utc>>,
        body: Option<Json>,
    ) -> Result<Self, Box<RejectedRecord>> {
        let payload = Payload { key: key.clone(), body };
        let rejection = match pipeline.sink.prepare(&payload) {
            Ok(prepared) if pipeline.spec.limits.bytes.is_some_and(|most| prepared.bytes.len() > most) => {
                Rejection { opts_out: prepared.opts_out, ..Rejection::new(TOO_LARGE) }
            }
            Ok(prepared) => return Ok(PendingPayload { body: payload.body, prepared }),
            Err(rejection) => rejection,
        };
        let Payload { key: id, body } = payload;
        let (key, deleted) = (id.digest(), body.is_none());
        Err(Box::new(RejectedRecord { key, id, rejection, deleted, changed, body }))
    }

    fn size(&self) -> Size {
        Size { payloads: 1, bytes: self.prepared.bytes.len() }
    }
}

/// A record that can't be delivered, with the contents of its dead letter.
pub struct RejectedRecord {
    /// Fingerprint of the record's key.
    pub key: u128,
    pub id: RecordKey,
    pub rejection: Rejection,
    /// Whether it is the deletion of a record.
    deleted: bool,
    changed: Option<DateTime<Utc>>,
    /// The payload that was rejected; `None` if the record could not be mapped.
    body: Option<Json>,
}

/// Result of mapping a record and encoding its payloads, before anything is sent.
pub enum Preparation {
    /// Payloads for the sink, and the fields that were left out of them.
    Send(PendingRecord, Vec<LeftOut>),
    /// A rule of the mapping skips the record.
    Skip(Reason),
    /// The record can't be sent.
    Reject(RejectedRecord),
}

/// Maps a record, and encodes the payloads as the sink would send them. Sends nothing.
pub fn prepare(pipeline: &Pipeline, record: &Record) -> Preparation {
    match record.unreadable {
        Some(_) => Preparation::Reject(RejectedRecord::unreadable(record)),
        None => prepare_mapped(pipeline, record, pipeline.mapping.map(record)),
    }
}

/// Encodes what the mapping has made of a record, as the sink would send it. Sends nothing.
pub fn prepare_mapped(pipeline: &Pipeline, record: &Record, mapped: Mapped) -> Preparation {
    let Outgoing { bodies, opts_out, opts_in, left_out } = match mapped {
        Mapped::Send(outgoing) => outgoing,
        Mapped::Skip(reason) => return Preparation::Skip(reason),
        Mapped::Reject(reason) => {
            return Preparation::Reject(RejectedRecord::unmapped(record, Rejection::new(reason)));
        }
    };
    let mut bodies = bodies.into_iter();
    let Some(first) = bodies.next() else { return Preparation::Skip(NO_PAYLOAD) };
    match PendingRecord::encode(pipeline, &record.key, record.changed, Some(first), bodies) {
        Ok(mut pending) => {
            pending.opts_out |= opts_out;
            pending.opts_in |= opts_in;
            if pending.opts_out {
                pending.notice = pending.notice_of(pipeline, NoticeKind::OptOut);
            }
            Preparation::Send(pending, left_out)
        }
        Err(mut rejected) => {
            rejected.rejection.opts_out |= opts_out;
            Preparation::Reject(*rejected)
        }
    }
}

/// Encodes the deletion of a record that is gone at the source. Sends nothing.
///
/// # Errors
///
/// The sink would refuse it.
pub fn prepare_deletion(
    pipeline: &Pipeline,
    key: &RecordKey,
    changed: Option<DateTime<Utc>>,
) -> Result<PendingRecord, Box<RejectedRecord>> {
    let mut pending = PendingRecord::encode(pipeline, key, changed, None, std::iter::empty())?;
    pending.notice = pending.notice_of(pipeline, NoticeKind::Deletion);
    Ok(pending)
}

impl PendingRecord {
    fn encode(
        pipeline: &Pipeline,
        key: &RecordKey,
        changed: Option<DateTime<Utc>>,
        first: Option<Json>,
        others: impl Iterator<Item = Json>,
    ) -> Result<Self, Box<RejectedRecord>> {
        let encoded = |body| PendingPayload::encode(pipeline, key, changed, body);
        let (first, mut more) = (encoded(first)?, vec![]);
        for body in others {
            more.push(encoded(Some(body))?);
        }
        let any = |is: fn(&Prepared) -> bool| {
            std::iter::once(&first).chain(&more).any(|payload| is(&payload.prepared))
        };
        let (opts_out, opts_in) = (any(|prepared| prepared.opts_out), any(|prepared| prepared.opts_in));
        Ok(PendingRecord {
            key: key.digest(),
            id: key.clone(),
            first,
            more,
            opts_out,
            opts_in,
            changed,
            notice: None,
        })
    }

    fn payloads(&self) -> impl Iterator<Item = &PendingPayload> {
        std::iter::once(&self.first).chain(&self.more)
    }

    fn payload(&self, index: usize) -> &PendingPayload {
        index.checked_sub(1).map_or(&self.first, |index| &self.more[index])
    }

    /// Returns the size of the record's payloads.
    pub fn size(&self) -> Size {
        self.more.iter().fold(self.first.size(), |size, payload| size.plus(payload.size()))
    }

    /// Returns the size of one payload.
    pub(super) fn size_of(&self, payload: usize) -> Size {
        self.payload(payload).size()
    }

    pub(super) fn prepared(&self, payload: usize) -> &Prepared {
        &self.payload(payload).prepared
    }

    /// Returns the notice about the record's payloads; `None` if the entry has no receiver of notices.
    fn notice_of(&self, pipeline: &Pipeline, kind: NoticeKind) -> Option<Box<NewNotice>> {
        pipeline.notify.as_ref()?;
        let bodies = self.payloads().map(|payload| payload.body.as_ref().map_or("", |body| body.get()));
        let digest = format!("{:x}", md5::compute(bodies.collect::<Vec<_>>().join(" ")));
        let distinction = Distinction { changed: self.changed, what: &digest };
        notices::notice(pipeline, kind, &self.id, distinction).map(Box::new)
    }

    /// Returns what the payloads do, as far as it can be noticed.
    pub fn effect(&self) -> Option<NoticeKind> {
        match self.payloads().all(|payload| payload.body.is_none()) {
            true => Some(NoticeKind::Deletion),
            false => self.opts_out.then_some(NoticeKind::OptOut),
        }
    }

    /// Returns the digest of the record's payloads.
    pub fn digest(&self, rules: &CacheRules) -> u128 {
        rules.digest(self.payloads().map(|payload| payload.body.as_ref().map(|body| body.get())))
    }

    /// Makes the record a rejected one, because of one of its payloads.
    pub(super) fn rejected(mut self, payload: usize, rejection: Rejection) -> RejectedRecord {
        let PendingPayload { body, .. } =
            if payload == 0 { self.first } else { self.more.swap_remove(payload - 1) };
        let rejection = Rejection { opts_out: self.opts_out, ..rejection };
        let deleted = body.is_none();
        RejectedRecord { key: self.key, id: self.id, rejection, deleted, changed: self.changed, body }
    }
}

/// Reason of a record of which the mapping makes no payload without saying why.
const NO_PAYLOAD: Reason = "no_payload";
/// Reason of a payload that exceeds the sink's limit of bytes alone.
const TOO_LARGE: Reason = "too_large";

impl RejectedRecord {
    /// Makes a rejected record of one that can't be read.
    pub fn unreadable(record: &Record) -> Self {
        let detail = record.unreadable.as_ref().map(|why| format!("{UNREADABLE}: {why}"));
        RejectedRecord::unmapped(record, Rejection { detail, ..Rejection::new(UNREADABLE) })
    }

    /// Makes a rejected record of one that could not be mapped.
    fn unmapped(record: &Record, rejection: Rejection) -> Self {
        RejectedRecord {
            key: record.key.digest(),
            id: record.key.clone(),
            rejection,
            deleted: record.deleted,
            changed: record.changed,
            body: None,
        }
    }

    /// Returns whether the sink, or a rule of the sink, refused a payload.
    pub fn has_payload(&self) -> bool {
        self.body.is_some() || self.deleted
    }

    /// Returns the notice about the rejection; `None` if the entry has no receiver of notices.
    pub fn notice(&self, pipeline: &Pipeline) -> Option<NewNotice> {
        let reason = self.rejection.reason;
        let distinction = Distinction { changed: self.changed, what: reason };
        let mut new = notices::notice(pipeline, NoticeKind::Rejection, &self.id, distinction)?;
        new.notice.reason = Some(reason.to_owned());
        Some(new)
    }

    /// Returns the dead letter of the record.
    pub fn dead_letter(self, entry: String, now: DateTime<Utc>) -> DeadLetter {
        let RejectedRecord { id, rejection, deleted, changed, body, .. } = self;
        let Rejection { reason, detail, request_id, opts_out } = rejection;
        DeadLetter {
            key: id.to_string(),
            entry,
            reason: detail.unwrap_or_else(|| reason.to_owned()),
            request_id,
            time: time::rfc3339(now),
            changed,
            opts_out,
            deleted,
            payload: body.map(|body| body.to_raw_value()),
        }
    }
}
