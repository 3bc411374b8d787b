//! The members of one Mailchimp list (Marketing API 3.0).
//! <https://mailchimp.com/developer/marketing/api/list-members/list-members-info/>

mod members;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use self::members::{UNREAD, broken, page, record};
use super::{Census, Lookup, OffsetPaging, Paging, Scope, Source, SourceContext};
use crate::{
    base::{
        adapter::{Chosen, NoSettings},
        fault::Fault,
        record::{Record, is_nameless},
        spec::{Makes, Spec, Variable},
        time, unreadable,
        window::{Listing, Page, Span, Window},
    },
    net::{
        Account, AccountClients, Environment, Http, RateLimiter, Refused, Response, Unopened, auth::Auth,
        classify::Rules,
    },
};

pub const SPEC: Spec = Spec {
    variables: &[KEY, URL, CONNECTIONS],
    makes: Makes::Only(MEMBERS),
    ..Spec::new("mailchimp", "The members of a list (audience) of Mailchimp.")
};
/// What the source makes, for mappings that need it.
const MEMBERS: &str = "members";

const KEY: Variable = Variable::new(
    "MAILCHIMP_APIKEY",
    "API key of the Mailchimp account; its suffix names the data center (…-us21)",
)
.credential();
const URL: Variable =
    Variable::new("MAILCHIMP_URL", "base URL").default("https://<data center>.api.mailchimp.com/3.0");
/// By default below the limit, because other programs may use the account.
const CONNECTIONS: Variable =
    Variable::new("MAILCHIMP_CONNECTIONS", "simultaneous requests to Mailchimp, over all lists, at most 10")
        .default("8");

/// Simultaneous connections that Mailchimp allows per account:
/// <https://mailchimp.com/developer/marketing/docs/fundamentals/#api-limits>.
const MAX_CONNECTIONS: usize = 10;
/// Rows that Mailchimp returns at most in one response.
pub const MAX_COUNT: usize = 1000;

/// The statuses of a member. Only a listing that requests `archived` members contains them.
const STATUSES: [&str; 6] = ["subscribed", "unsubscribed", "cleaned", "pending", "transactional", ARCHIVED];
const ARCHIVED: &str = "archived";
/// The fields that identify a member, and its status and last change.
const OWN_FIELDS: [&str; 6] =
    ["id", "last_changed", "status", "email_address", "contact_id", "unique_email_id"];

/// The members of a list.
pub struct Mailchimp {
    http: Http,
    list_id: String,
    /// Fields of a member to request. `None` requests all of them.
    fields: Option<Vec<String>>,
}

/// Reads the account from the environment: <https://mailchimp.com/developer/marketing/docs/fundamentals/>.
pub fn account(environment: &Environment) -> Result<(Account, RateLimiter), Refused> {
    let key = environment.key(&KEY)?;
    let base = match (environment.text(&URL)?, data_center(key.reveal())) {
        (None, None) => {
            let why = format!(
                "does not end in its data center, such as -us21 (copy the whole key, or set `{}`)",
                environment.name(&URL)
            );
            return Err(Refused::Key { name: environment.name(&KEY), why });
        }
        (_, center) => {
            let default = format!("https://{}.api.mailchimp.com/3.0", center.unwrap_or_default());
            environment.url_or(&URL, &default)?
        }
    };
    let must = format!("a whole number from 1 to {MAX_CONNECTIONS}");
    let fit = |number: &usize| (1..=MAX_CONNECTIONS).contains(number);
    let connections = environment.number(&CONNECTIONS, fit, &must)?;
    let account = Account {
        service: SPEC.kind.into(),
        key_name: environment.name(&KEY).into(),
        key_hint: None,
        url_name: environment.name(&URL).into(),
        base,
        // Any user name, the key as the password.
        auth: Auth::Basic { user: "importer".into(), password: key },
        secrets: vec![],
        // At high volume the throttle can be a 403 without JSON, as for every account:
        // <https://github.com/api-evangelist/mailchimp/blob/main/rate-limits/mailchimp-rate-limits.yml>.
        rules: Rules::default(),
        room: None,
    };
    Ok((account, RateLimiter::new(connections, 0.0)))
}

/// Returns the data center after the last hyphen of a key. It is part of a host name, so only letters
/// followed by digits are valid.
fn data_center(key: &str) -> Option<&str> {
    let (_, center) = key.rsplit_once('-')?;
    let letters = center.trim_end_matches(|c: char| c.is_ascii_digit());
    let named = (1..=5).contains(&letters.len()) && letters.chars().all(|c| c.is_ascii_lowercase());
    (named && letters.len() < center.len()).then_some(center)
}

impl Mailchimp {
    pub fn open(chosen: &Chosen, wanted: SourceContext, accounts: &AccountClients) -> Result<Self, Unopened> {
        let NoSettings {} = chosen.settings(SPEC.settings)?;
        let SourceContext { list_id, fields, caller } = wanted;
        Ok(Mailchimp::new(accounts.client(SPEC.kind, account)?.open(caller), list_id, fields))
    }

    /// Makes the source. `fields` are the fields of a member that the mapping reads.
    pub fn new(http: Http, list_id: &str, fields: Option<Vec<String>>) -> Self {
        let fields = fields.map(|fields| {
            let own = OWN_FIELDS.map(str::to_owned);
            let mut known = HashSet::new();
            own.into_iter().chain(fields).filter(|field| known.insert(field.clone())).collect()
        });
        Mailchimp { http, list_id: list_id.to_owned(), fields }
    }

    /// Reads the members of the list. A request for more than one row can be divided.
    async fn get<T>(
        &self,
        doing: &str,
        query: &[(&str, String)],
        read: impl Fn(&Response) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let request = self.http.get(&["lists", &self.list_id, "members"], query);
        let divisible = query.iter().any(|(name, value)| *name == "count" && value != "1");
        let answer = match divisible {
            true => self.http.call_divisible(doing, request, read).await,
            false => self.http.call(doing, request, read).await,
        };
        answer.map_err(|fault| match fault.problem().status {
            Some(404) => fault.hint("check that `list_id` is a list of this account"),
            _ => fault,
        })
    }

    /// Returns the parameter that selects the fields of a listing, without links: half of a response.
    fn listed_fields(&self) -> (&'static str, String) {
        match &self.fields {
            None => ("exclude_fields", "_links,members._links".to_owned()),
            Some(fields) => {
                let members = fields.iter().map(|field| format!("members.{field}"));
                ("fields", members.chain(["total_items".to_owned()]).collect::<Vec<_>>().join(","))
            }
        }
    }

    /// Returns the parameter that selects the fields of a single member.
    fn fields(&self) -> (&'static str, String) {
        match &self.fields {
            None => ("exclude_fields", "_links".to_owned()),
            Some(fields) => ("fields", fields.join(",")),
        }
    }

    /// Finds a member by its `unique_email_id`, which no path accepts. Fails if the list does not exist.
    async fn find_by_email_id(&self, doing: &str, key: &str) -> Result<Option<Record>, Fault> {
        let query = [("count", "1".to_owned()), ("unique_email_id", key.to_owned()), self.listed_fields()];
        let page = self.get(doing, &query, |response| page(response, &self.http)).await?;
        Ok(page.records.into_iter().find(|record| *record.key == *key))
    }

    /// Returns the parameters of a page. `since_last_changed` excludes its second, `before_last_changed`
    /// includes it.
    fn query(&self, window: &Window, span: Span) -> Vec<(&'static str, String)> {
        let mut query = vec![
            ("sort_field", "last_changed".into()),
            ("sort_dir", "ASC".into()),
            ("offset", span.offset.to_string()),
            ("count", span.count.min(MAX_COUNT).to_string()),
            self.listed_fields(),
        ];
        query.extend(window.until.map(|until| ("before_last_changed", time::rfc3339(until))));
        query.extend(window.since.map(|since| ("since_last_changed", time::rfc3339(since))));
        if window.listing == Listing::Archived {
            query.push(("status", ARCHIVED.into()));
        }
        query
    }
}

impl Source for Mailchimp {
    fn now(&self) -> DateTime<Utc> {
        self.http.now()
    }

    fn paging(&self) -> Paging<'_> {
        Paging::Offset(self)
    }

    fn scope(&self) -> Scope {
        Scope::Changes
    }

    fn archives(&self) -> bool {
        true
    }

    fn lookup(&self) -> Option<&dyn Lookup> {
        Some(self)
    }

    fn census(&self) -> Option<&dyn Census> {
        Some(self)
    }
}

impl Lookup for Mailchimp {
    /// <https://mailchimp.com/developer/marketing/api/list-members/get-member-info/>
    fn find<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, Fault>> {
        Box::pin(async move {
            let doing = format!("could not read a member of list `{}`", self.list_id.escape_debug());
            let request = self.http.get(&["lists", &self.list_id, "members", key], &[self.fields()]);
            let found = |response: &Response| {
                let (body, repaired) = unreadable::json(response.body()).map_err(broken)?;
                let record = record(body, repaired.as_ref());
                match record.unreadable {
                    // A response without a key is not the member.
                    Some(why) if is_nameless(&record.key) => Err(Fault::retry(UNREAD).because(why)),
                    _ => Ok(Record { key: key.into(), ..record }),
                }
            };
            match self.http.call(&doing, request, found).await {
                Ok(record) => Ok(Some(record)),
                // A list that does not exist returns the same status.
                Err(Fault::List(problem)) if problem.status == Some(404) => {
                    self.find_by_email_id(&doing, key).await
                }
                Err(fault) => Err(fault),
            }
        })
    }

    /// The key of an address is the MD5 of its lower-case form. Any other name is a key already.
    fn key(&self, name: &str) -> String {
        match name.trim() {
            address if address.contains('@') => format!("{:x}", md5::compute(address.to_lowercase())),
            key => key.to_owned(),
        }
    }
}

impl OffsetPaging for Mailchimp {
    fn read<'a>(&'a self, window: &'a Window, span: Span) -> BoxFuture<'a, Result<Page, Fault>> {
        Box::pin(async move {
            let list = self.list_id.escape_debug();
            let members = if window.listing == Listing::Archived { "archived members" } else { "members" };
            let doing = format!("could not read the {members} of list `{list}` from row {} on", span.offset);
            let mut page =
                self.get(&doing, &self.query(window, span), |response| page(response, &self.http)).await?;
            for (index, record) in page.records.iter_mut().enumerate() {
                if let Some(why) = &mut record.unreadable {
                    let of =
                        if window.listing == Listing::Archived { " of the archived members" } else { "" };
                    *why += &format!("; row {} of the page at offset {}{of}", index + 1, span.offset);
                }
            }
            Ok(page)
        })
    }
}

impl Census for Mailchimp {
    fn census(&self, until: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<(String, u64)>, Fault>> {
        Box::pin(async move {
            let mut counted = Vec::new();
            for status in STATUSES {
                counted.push((status.to_owned(), self.count(status, until).await?));
            }
            Ok(counted)
        })
    }

    fn changed_since(&self, since: DateTime<Utc>) -> BoxFuture<'_, Result<u64, Fault>> {
        Box::pin(async move {
            let mut changed = 0;
            for listing in [Listing::Listed, Listing::Archived] {
                let window = Window { listing, since: Some(since), until: None };
                changed += self.read(&window, Span { offset: 0, count: 1 }).await?.total;
            }
            Ok(changed)
        })
    }
}

/// Attempts to get the same total twice in a row. A member may leave the window between two requests.
const COUNTS: usize = 4;

impl Mailchimp {
    /// Counts the members of a status. Fails if the rows at the end of the listing contradict the total.
    async fn count(&self, status: &str, until: DateTime<Utc>) -> Result<u64, Fault> {
        let list = self.list_id.escape_debug();
        let doing = format!("could not count the members of list `{list}`");
        let wrong = |why: String| {
            Fault::list(format!("{doing}: its totals are inconsistent: {why}"))
                .hint("compare them with the number of members that Mailchimp shows for the list")
        };
        let mut why = String::new();
        for _ in 0..COUNTS {
            let first = self.rows(&doing, status, until, 0, 1).await?;
            let total = first.total;
            if first.records.len() as u64 != total.min(1) {
                return Err(wrong(format!(
                    "a response to a request for 1 row has {} rows and a total of {total} {status}",
                    first.records.len()
                )));
            }
            if total == 0 {
                return Ok(0);
            }
            let last = self.rows(&doing, status, until, total - 1, 2).await?;
            if last.total == total && last.records.len() == 1 {
                return Ok(total);
            }
            why = format!(
                "one response has a total of {total} {status}, the next one a total of {} and {} rows from row {} on",
                last.total,
                last.records.len(),
                total - 1
            );
            if last.total == total {
                break;
            }
        }
        Err(wrong(why))
    }

    async fn rows(
        &self,
        doing: &str,
        status: &str,
        until: DateTime<Utc>,
        offset: u64,
        count: u64,
    ) -> Result<Page, Fault> {
        let query = [
            ("before_last_changed", time::rfc3339(until)),
            ("offset", offset.to_string()),
            ("count", count.to_string()),
            ("fields", "members.id,members.last_changed,members.status,total_items".into()),
            ("status", status.into()),
        ];
        self.get(doing, &query, |response| page(response, &self.http)).await
    }
}
