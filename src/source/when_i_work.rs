//! The shifts of one When I Work account: the days around today, read as a whole in every run. The service
//! can't filter by change, so the delivery cache decides which shifts are unchanged and not sent.
//!
//! <https://apis.apis.io/apis/when-i-work/when-i-work-api/>,
//! <https://help.wheniwork.com/articles/getting-access-to-the-when-i-work-api-computer/>.

mod account;
mod slice;

use std::sync::Once;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use self::slice::{Days, Slice};
use super::{CursorPaging, Lookup, Paging, Scope, Source, SourceContext};
use crate::{
    base::{
        adapter::Chosen,
        event::ServiceEvent,
        events::Events,
        fault::Fault,
        record::{Record, is_nameless, nameless},
        spec::{Makes, Setting, Spec, ValueKind},
        time,
        unreadable::{self, Repaired, Unread},
        window::{Cursor, CursorPage, Window},
    },
    net::{AccountClients, Http, Response, Unopened, answer::reports_error},
};

pub const SPEC: Spec = Spec {
    settings: &[
        Setting::new("days_ahead", DAYS, "Days after today.").default("1"),
        Setting::new("days_prior", DAYS, "Days before today.").default("0"),
        Setting::new("time_zone", ValueKind::Text, "Zone at whose midnights the days begin, such as Europe/London.")
            .default("\"UTC\""),
        Setting::new("unpublished", ValueKind::Flag, "Whether to read drafts too.").default("false"),
        Setting::new(
            "open_shifts",
            ValueKind::Flag,
            "Whether to read shifts that nobody has taken, of all schedules; requires the rights of a manager.",
        )
        .default("false"),
    ],
    variables: account::VARIABLES,
    makes: Makes::Only("shifts"),
    ..Spec::new("when_i_work", "The shifts of a When I Work account, of the days around today.")
};
const DAYS: ValueKind = ValueKind::Whole { least: 0, most: Some(MOST_DAYS as u64) };

/// Settings of an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Number of days after today.
    days_ahead: u16,
    /// Number of days before today.
    days_prior: u16,
    /// Time zone in which a day begins, such as `Europe/London`.
    time_zone: String,
    /// Whether to read drafts.
    unpublished: bool,
    /// Whether to read the open shifts of all schedules. Requires the permissions of a manager.
    open_shifts: bool,
}

/// `list_id` of an entry that reads all locations.
const ALL: &str = "shifts";
/// Status of a draft.
const UNPUBLISHED: &str = "unpublished";
/// Status of a shift that no person has taken.
const OPEN: &str = "open";
/// Upper bound of the days before today, and of those after it: a year and a day.
const MOST_DAYS: u16 = 366;

/// The shifts of an account, or of one of its locations.
pub struct WhenIWork {
    http: Http,
    events: Events,
    location: Option<u64>,
    days: Days,
    unpublished: bool,
    open_shifts: bool,
}

impl WhenIWork {
    pub fn open(chosen: &Chosen, wanted: SourceContext, accounts: &AccountClients) -> Result<Self, Unopened> {
        let settings: Settings = chosen.settings(SPEC.settings)?;
        let number = wanted.list_id.parse().ok().filter(|number: &u64| *number > 0);
        let location = number.filter(|number| number.to_string() == wanted.list_id);
        if location.is_none() && wanted.list_id != ALL {
            let why = "when_i_work: `list_id` must be \"shifts\" for all shifts, or the number of a location (schedule)";
            return Err(why.to_owned().into());
        }
        if settings.days_ahead.max(settings.days_prior) > MOST_DAYS {
            return Err(
                format!("when_i_work: `days_ahead` and `days_prior` must be at most {MOST_DAYS}").into()
            );
        }
        let zone: Tz = settings.time_zone.parse().map_err(|_| {
            format!(
                "when_i_work: unknown `time_zone` {:?}; use a name such as \"Europe/London\"",
                settings.time_zone
            )
        })?;
        Ok(WhenIWork {
            http: account::open(accounts, wanted.caller)?,
            events: accounts.events().clone(),
            location,
            days: Days { zone, prior: settings.days_prior, ahead: settings.days_ahead },
            unpublished: settings.unpublished,
            open_shifts: settings.open_shifts,
        })
    }

    /// Whether the listing would contain this shift.
    fn is_wanted(&self, record: &Record) -> bool {
        #[derive(Deserialize)]
        struct Place {
            location_id: Option<u64>,
        }
        let place = serde_json::from_str::<Place>(record.body.get()).ok();
        let here = |location| place.is_some_and(|place| place.location_id == Some(location));
        self.location.is_none_or(here)
            && (self.unpublished || record.status != UNPUBLISHED)
            && (self.open_shifts || record.status != OPEN)
    }

    /// Returns the parameters of a request for the shifts that begin in `slice`.
    fn query(&self, slice: Slice, limit: usize) -> Vec<(&'static str, String)> {
        let mut query = vec![
            ("start", time::rfc3339(slice.from)),
            ("end", time::rfc3339(slice.to)),
            ("limit", limit.to_string()),
            ("deleted", "true".to_owned()),
            ("unpublished", self.unpublished.to_string()),
        ];
        match self.location {
            Some(location) => query.push(("location_id", location.to_string())),
            None => query.push(("all_locations", "true".to_owned())),
        }
        query.push(("include_allopen", self.open_shifts.to_string()));
        query
    }
}

impl Source for WhenIWork {
    fn now(&self) -> DateTime<Utc> {
        self.http.now()
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Cursor(self)
    }

    fn scope(&self) -> Scope {
        Scope::Full
    }

    fn lookup(&self) -> Option<&dyn Lookup> {
        Some(self)
    }
}

impl Lookup for WhenIWork {
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        Box::pin(async move {
            let doing = "could not read a shift";
            let found = |response: &Response| {
                #[derive(Deserialize)]
                struct One {
                    shift: Box<RawValue>,
                }
                let (One { shift }, repaired) = unreadable::read(response.body()).map_err(broken)?;
                let record = record(shift, repaired.as_ref());
                match record.unreadable {
                    // A response without a key is not the shift.
                    Some(why) if is_nameless(&record.key) => Err(Fault::retry(UNREAD).because(why)),
                    _ => Ok(record),
                }
            };
            match self.http.call(doing, self.http.get(&["shifts", key], &[]), found).await {
                Ok(record) => Ok(Some(record).filter(|record| self.is_wanted(record))),
                Err(Fault::List(problem)) if problem.status == Some(404) => Ok(None),
                Err(fault) => Err(fault),
            }
        })
    }

    fn key(&self, name: &str) -> String {
        name.trim().to_owned()
    }
}

impl CursorPaging for WhenIWork {
    /// Reads one slice of the days. If the response may be cut off, the page is empty, and the next one is
    /// the first half of the slice. For the day before the first one, reads only deletions: reportedly, the
    /// service lists the deletions *made* in the slice, and one may be made a moment before midnight.
    fn follow<'a>(
        &'a self,
        window: &'a Window,
        cursor: Option<&'a Cursor>,
        count: usize,
    ) -> BoxFuture<'a, Result<CursorPage, Fault>> {
        Box::pin(async move {
            // The days are those around the beginning of the run, for all of its pages.
            let at = window.until.unwrap_or_else(|| self.now());
            let slice = match cursor {
                None => self.days.first(at),
                Some(cursor) => Slice::read(cursor)?,
            };
            let doing = format!("could not read the shifts from {} on", time::log_format(slice.from));
            let from = time::log_format(slice.from);
            let read = |response: &Response| page(response, &from, &self.http);
            let before = self.days.is_before(at, slice);
            let request = self.http.get(&["shifts"], &self.query(slice, count));
            let Page { mut records, gone, at: made } = self.http.call(&doing, request, read).await?;
            if before {
                records.clear();
            }
            let half = slice.half().filter(|_| is_cut_off(records.len(), count));
            if let Some(half) = half {
                return Ok(CursorPage { records: vec![], next: Some(half.cursor()), total: None, at: made });
            }
            if records.len() >= count {
                let from = time::log_format(slice.from);
                return Err(Fault::list(format!("{count} shifts or more begin within a minute of {from}"))
                    .hint("raise `items_per_request`"));
            }
            if is_cut_off(records.len(), count) {
                let (shifts, from) = (records.len(), time::log_format(slice.from));
                ONCE.call_once(|| self.events.emit(ServiceEvent::ShiftsCutOff { shifts, from }));
            }
            records.extend(gone);
            let next = self.days.after(at, slice).map(|slice| slice.cursor());
            Ok(CursorPage { records, next, total: None, at: made })
        })
    }
}

/// A number of rows that is a multiple of this may be a limit of the service.
const ROUND: usize = 50;

/// Reports a cut-off response once per process; the runs that would repeat it are seconds apart.
static ONCE: Once = Once::new();

/// Whether the response may be cut off. The service does not document the maximum number of rows. A response
/// with as many rows as requested may be cut off, and so may one with a round number of rows, by a limit of
/// the service's own.
fn is_cut_off(rows: usize, count: usize) -> bool {
    rows >= count || (rows > 0 && rows.is_multiple_of(ROUND))
}

/// A response.
struct Page {
    records: Vec<Record>,
    /// Deleted shifts.
    gone: Vec<Record>,
    at: DateTime<Utc>,
}

/// Reads a response. `from` is the start of its slice, for messages.
fn page(response: &Response, from: &str, http: &Http) -> Result<Page, Fault> {
    #[derive(Deserialize)]
    struct Shifts {
        shifts: Vec<Box<RawValue>>,
        #[serde(default)]
        deleted_ids: Option<Vec<Value>>,
        #[serde(default)]
        error: Value,
        #[serde(default)]
        errors: Value,
        #[serde(default)]
        success: Value,
    }
    let (Shifts { shifts, deleted_ids, error, errors, success }, repaired) =
        unreadable::read(response.body()).map_err(broken)?;
    if reports_error(&error, &errors, &success) {
        return Err(Fault::retry("when_i_work's response reports an error"));
    }
    let mut records: Vec<Record> = shifts.into_iter().map(|body| record(body, repaired.as_ref())).collect();
    let gone: Result<_, _> = deleted_ids.unwrap_or_default().into_iter().map(gone).collect();
    let mut gone: Vec<Record> = gone.map_err(broken)?;
    for (kind, records) in [("shift", &mut records), ("deleted shift", &mut gone)] {
        for (index, record) in records.iter_mut().enumerate() {
            if let Some(why) = &mut record.unreadable {
                *why += &format!("; {kind} {} of the page from {from} on", index + 1);
            }
        }
    }
    let at = http.dated(response)?;
    Ok(Page { records, gone, at })
}

fn record(body: Box<RawValue>, repaired: Option<&Repaired>) -> Record {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Shift {
        id: Value,
        updated_at: Value,
        /// The service may send 1 or 0 instead of a boolean.
        published: Value,
        user_id: Value,
    }
    let is_object = body.get().starts_with('{');
    let shift = serde_json::from_str::<Shift>(body.get()).ok().filter(|_| is_object).unwrap_or_default();
    let Shift { id, updated_at, published, user_id } = shift;
    let no = |value: &Value| *value == json!(false) || *value == json!(0);
    let status = match (no(&published), no(&user_id)) {
        (true, _) => UNPUBLISHED,
        (false, true) => OPEN,
        (false, false) => "assigned",
    };
    let changed = updated_at.as_str().and_then(lenient);
    let fault = repaired.and_then(|repaired| repaired.fault(body.get())).map(str::to_owned);
    let unreadable = fault.or_else(|| id.as_u64().is_none().then(|| unreadable::shape(body.get(), "id")));
    let key = id.as_u64().map_or_else(|| nameless(body.get()), |id| id.to_string()).into();
    Record { key, changed, status: status.into(), deleted: false, unreadable, body: body.into() }
}

fn gone(id: Value) -> Result<Record, serde_json::Error> {
    let body = to_raw_value(&json!({"id": id}))?;
    let status = "deleted".into();
    Ok(match id.as_u64() {
        Some(id) => Record {
            key: id.to_string().into(),
            changed: None,
            status,
            deleted: true,
            unreadable: None,
            body: body.into(),
        },
        None => {
            let unreadable = Some(unreadable::shape(body.get(), "id"));
            Record {
                key: nameless(body.get()).into(),
                changed: None,
                status,
                deleted: false,
                unreadable,
                body: body.into(),
            }
        }
    })
}

/// Reads a time. The documentation says ISO 8601, the responses contain RFC 2822.
fn lenient(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|time| time.to_utc()).or_else(|| time::parse(text))
}

const UNREAD: &str = "when_i_work's response can't be read";

fn broken(error: impl Into<Unread>) -> Fault {
    Fault::retry(UNREAD).because(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shift(more: Value) -> Record {
        let mut shift = json!({"id": 7, "user_id": 5, "published": true});
        shift.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record(RawValue::from_string(shift.to_string()).unwrap(), None)
    }

    #[test]
    fn a_response_may_be_cut_off_if_its_number_of_rows_is_full_or_round() {
        for (rows, count, cut_off) in [
            (0, 100, false),
            (99, 100, false),
            (100, 100, true),
            (50, 100, true),
            (200, 1000, true),
            (7, 7, true),
        ] {
            assert_eq!(is_cut_off(rows, count), cut_off, "{rows} of {count}");
        }
    }

    #[test]
    fn times_are_read_in_two_formats_and_booleans_also_as_numbers() {
        let changed = time::parse("2023-05-08T14:30:00Z");
        for text in ["Mon, 08 May 2023 08:30:00 -0600", "2023-05-08T08:30:00-06:00", "2023-05-08 14:30:00"] {
            assert_eq!(shift(json!({"updated_at": text})).changed, changed, "{text}");
        }
        assert_eq!(shift(json!({"updated_at": "soon"})).changed, None);
        for (more, status) in [
            (json!({}), "assigned"),
            (json!({"user_id": 0}), "open"),
            (json!({"published": 0}), "unpublished"),
            (json!({"published": 1}), "assigned"),
        ] {
            assert_eq!(shift(more.clone()).status, status, "{more}");
        }
    }
}
