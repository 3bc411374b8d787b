//! What a sink declares about itself, and the settings that every sink has.

use std::time::Duration;

use crate::base::{
    adapter::Chosen,
    secret::Secret,
    spec::{ACCOUNT_SETTING, Setting, ValueKind},
    time,
};

/// Settings of every sink.
pub const COMMON: [Setting; 4] = [
    ACCOUNT_SETTING,
    BATCH_SIZE_SETTING,
    Setting::new(
        LINGER,
        ValueKind::Pattern("^(0s|[1-9][0-9]{0,6}[smhd])$"),
        "How long a batch that is not full waits for more records; 0s delivers every record alone.",
    )
    .pace(),
    Setting::new(
        DELETIONS,
        ValueKind::Word(&["send", "ignore"]),
        "Whether records that the source reports as deleted are sent; send if absent and the sink can receive them.",
    ),
];

/// Settings of every sink that receives notices.
pub const NOTIFY: [Setting; 2] = [ACCOUNT_SETTING, BATCH_SIZE_SETTING];

const BATCH_SIZE_SETTING: Setting = Setting::new(
    BATCH_SIZE,
    ValueKind::Whole { least: 1, most: Some(1000) },
    "Payloads per batch; items_per_request, within the limit of the sink, if absent.",
)
.pace();
const BATCH_SIZE: &str = "batch_size";
const LINGER: &str = "linger";
const DELETIONS: &str = "deletions";

/// Declaration of an open sink. Does not change during a run.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// Identifies the destination, including the keys of the account; only a digest is stored. The delivery
    /// cache belongs to this destination: a changed text starts an empty cache.
    pub destination: Secret,
    /// Identifies the destination without keys, so that a renewed key makes no difference. Everything
    /// that is filed under a [`DeliveryId`](crate::base::identity::DeliveryId) belongs to this address.
    pub address: String,
    /// Destination and address as version 0.1 named them; `None`: the same as now.
    pub former_destination: Option<String>,
    pub limits: BatchLimits,
    pub settles: Settles,
    /// Whether the sink may ask to retry single payloads of a batch. If so, a batch has at most one payload per
    /// record, or one event of a stream, so that no later payload overtakes a retried one.
    pub retries: bool,
    pub deletions: Deletions,
    /// Whether the delivery cache may be on by default. Not if others change what the sink stores, which a cache can't
    /// see.
    pub caches: bool,
    /// Warning for the person who starts a first delivery, as a lowercase fragment. A first load reports it,
    /// and on a terminal waits for a confirmation. The safety brake adds it to the message about a stopped
    /// opt-in.
    pub caution: Option<&'static str>,
}

/// Limits of a sink's batches. A batch is complete when it reaches one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Upper bound of the payloads in a batch, at least 1.
    pub records: usize,
    /// Upper bound of the encoded payloads of a batch, in bytes; `None` sets no bound. A single payload above
    /// it is rejected.
    pub bytes: Option<usize>,
    /// Upper bound of the batches in flight, at least 1.
    pub in_flight: usize,
    /// Time after which a batch is delivered although it is not full, counted from its first record. `None`:
    /// the batch waits until the source has no more records. Zero: every record is delivered alone.
    pub linger: Option<Duration>,
}

/// When the records of a batch count as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settles {
    /// When [`deliver`](super::Sink::deliver) has returned.
    EachBatch,
    /// When [`close`](super::Sink::close) has returned, together with all batches since the last close. A
    /// sink that is dropped before has to undo those batches.
    AtClose,
}

/// Treatment of records that were deleted at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletions {
    /// The sink gets a payload without a body, in a batch with others.
    Sent,
    /// The sink gets nothing; the record counts as skipped.
    Ignored,
}

impl SinkSpec {
    /// Declares a sink of this type and identity with the most common properties: no limit of bytes, no
    /// linger, each batch settles, no retry of single payloads, deletions are ignored, the cache may be on.
    pub fn new(destination: Secret, address: String, records: usize, in_flight: usize) -> Self {
        SinkSpec {
            destination,
            address,
            former_destination: None,
            limits: BatchLimits { records, bytes: None, in_flight, linger: None },
            settles: Settles::EachBatch,
            retries: false,
            deletions: Deletions::Ignored,
            caches: true,
            caution: None,
        }
    }
}

/// The settings that every sink has, as an entry chose them.
pub struct CommonSettings {
    batch_size: Option<usize>,
    linger: Option<Duration>,
    deletions: Option<Deletions>,
}

impl CommonSettings {
    /// Takes the common settings from the entry's choice, so that the adapter sees only its own.
    ///
    /// # Errors
    ///
    /// A setting has an invalid value. The message names the setting.
    pub fn take(chosen: &mut Chosen) -> Result<Self, String> {
        let batch_size = chosen.take(BATCH_SIZE)?;
        let linger = chosen.take::<String>(LINGER)?.map(|text| linger(&text)).transpose()?;
        let deletions = chosen.take::<String>(DELETIONS)?.map(|text| deletions(&text)).transpose()?;
        Ok(CommonSettings { batch_size, linger, deletions })
    }

    /// Applies the settings to what the sink declares. Without a `batch_size`, a batch has at most as many
    /// payloads as a page has records (`items_per_request`).
    ///
    /// # Errors
    ///
    /// The sink of type `kind` can't do what a setting asks for.
    pub fn apply(self, kind: &str, items_per_request: usize, mut spec: SinkSpec) -> Result<SinkSpec, String> {
        let most = spec.limits.records;
        spec.limits.records = match self.batch_size {
            None => most.min(items_per_request).max(1),
            Some(size) if (1..=most).contains(&size) => size,
            Some(size) => {
                return Err(format!("`{BATCH_SIZE}` of {kind} must be from 1 to {most}; found {size}"));
            }
        };
        spec.limits.linger = self.linger.or(spec.limits.linger);
        spec.deletions = match (self.deletions, spec.deletions) {
            (Some(Deletions::Sent), Deletions::Ignored) => {
                return Err(format!(
                    "{kind} can't receive deletions; set `{DELETIONS}` to \"ignore\" or remove it"
                ));
            }
            (chosen, declared) => chosen.unwrap_or(declared),
        };
        Ok(spec)
    }
}

fn linger(text: &str) -> Result<Duration, String> {
    if text == "0s" {
        return Ok(Duration::ZERO);
    }
    time::span(text).and_then(|span| span.to_std().ok()).ok_or_else(|| {
        format!(
            "`{LINGER}`: invalid duration {text:?}; use a number and a unit, such as \"5s\", or \"0s\" for batches of one record"
        )
    })
}

fn deletions(text: &str) -> Result<Deletions, String> {
    match text {
        "send" => Ok(Deletions::Sent),
        "ignore" => Ok(Deletions::Ignored),
        _ => Err(format!("`{DELETIONS}`: unknown value {text:?}, expected \"send\" or \"ignore\"")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn applied(settings: Value, deletions: Deletions) -> Result<SinkSpec, String> {
        let mut chosen = Chosen::of(&settings, "file");
        let spec = SinkSpec { deletions, ..SinkSpec::new(Secret::new("p"), "p".into(), 500, 2) };
        CommonSettings::take(&mut chosen)?.apply(&chosen.kind, 100, spec)
    }

    #[test]
    fn the_size_of_a_batch_is_that_of_a_page_unless_the_sink_has_its_own() {
        for (settings, size) in
            [(json!({}), 100), (json!({"batch_size": 500}), 500), (json!({"batch_size": 1}), 1)]
        {
            let spec = applied(settings.clone(), Deletions::Ignored).unwrap();
            assert_eq!(spec.limits.records, size, "{settings}");
        }
    }

    #[test]
    fn linger_is_a_duration_and_may_be_zero() {
        for (settings, linger) in [
            (json!({}), None),
            (json!({"linger": "0s"}), Some(Duration::ZERO)),
            (json!({"linger": "5s"}), Some(Duration::from_secs(5))),
        ] {
            assert_eq!(
                applied(settings.clone(), Deletions::Sent).unwrap().limits.linger,
                linger,
                "{settings}"
            );
        }
    }

    #[test]
    fn deletions_are_sent_only_to_a_sink_that_receives_them_and_not_if_they_are_to_be_ignored() {
        for (settings, declared, used) in [
            (json!({}), Deletions::Sent, Deletions::Sent),
            (json!({"deletions": "send"}), Deletions::Sent, Deletions::Sent),
            (json!({"deletions": "ignore"}), Deletions::Sent, Deletions::Ignored),
            (json!({"deletions": "ignore"}), Deletions::Ignored, Deletions::Ignored),
        ] {
            assert_eq!(applied(settings.clone(), declared).unwrap().deletions, used, "{settings}");
        }
    }

    #[test]
    fn an_invalid_setting_is_named_with_what_is_valid() {
        for (settings, why) in [
            (json!({"batch_size": 501}), "`batch_size` of file must be from 1 to 500; found 501"),
            (json!({"batch_size": 0}), "`batch_size` of file must be from 1 to 500; found 0"),
            (
                json!({"linger": "soon"}),
                "`linger`: invalid duration \"soon\"; use a number and a unit, such as \"5s\", or \"0s\" for batches of one record",
            ),
            (
                json!({"deletions": "drop"}),
                "`deletions`: unknown value \"drop\", expected \"send\" or \"ignore\"",
            ),
            (
                json!({"deletions": "send"}),
                "file can't receive deletions; set `deletions` to \"ignore\" or remove it",
            ),
        ] {
            assert_eq!(applied(settings, Deletions::Ignored).unwrap_err(), why);
        }
    }
}
