//! Invented people, reproducible by seed. Their addresses end in `example.com`, which is reserved (RFC 2606).

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::base::time;

const FIRST: [&str; 12] =
    ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Frances", "John", "Radia", "Ken", "Zoë", ""];
const LAST: [&str; 10] =
    ["Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth", "Allen", "McCarthy", "Perlman", "Núñez"];
const COUNTRIES: [&str; 6] = ["GB", "FR", "DE", "US", "NL", ""];

/// A member of a list.
#[derive(Debug, Clone)]
pub struct Member {
    /// Position in the order of creation within the list; breaks ties of `last_changed`.
    pub number: u64,
    pub email: String,
    pub status: &'static str,
    pub first: String,
    pub last: &'static str,
    pub country: &'static str,
    /// Whether the address contains more than the country.
    pub city: bool,
    pub signup: Option<DateTime<Utc>>,
    pub opt: Option<DateTime<Utc>>,
    pub last_changed: DateTime<Utc>,
}

impl Member {
    /// Makes a member that last changed at a random time in the two years before `now`, or in a bulk import.
    pub fn invent(random: &mut Rng, number: u64, now: DateTime<Utc>) -> Self {
        let (first, last) = (FIRST[random.usize(..FIRST.len())], LAST[random.usize(..LAST.len())]);
        let status = match random.u8(..100) {
            0..78 => "subscribed",
            78..88 => "unsubscribed",
            88..92 => "cleaned",
            92..95 => "pending",
            95..97 => "transactional",
            _ => "archived",
        };
        let ago = |random: &mut Rng| now - TimeDelta::seconds(random.i64(86_400..2 * 365 * 86_400));
        // One in eight comes from one of a few bulk imports, each within one second.
        let last_changed =
            if random.u8(..8) == 0 { now - TimeDelta::days(random.i64(1..4) * 100) } else { ago(random) };
        let joined = last_changed - TimeDelta::days(random.i64(0..400));
        Member {
            number,
            email: format!("{}.{}.{number}@example.com", plain(first), plain(last)),
            status,
            first: first.into(),
            last,
            country: COUNTRIES[random.usize(..COUNTRIES.len())],
            city: random.bool(),
            signup: (random.u8(..4) > 0).then_some(joined),
            opt: (status != "transactional" && status != "pending").then_some(joined),
            last_changed,
        }
    }

    /// Makes a member that has just joined.
    pub fn join(number: u64, now: DateTime<Utc>) -> Self {
        let member = Member::invent(&mut Rng::with_seed(number), number, now);
        let status = if member.status == "archived" { "subscribed" } else { member.status };
        let (signup, opt) = (member.signup.map(|_| now), member.opt.map(|_| now));
        Member { status, signup, opt, last_changed: now, ..member }
    }

    /// Changes the first name.
    pub fn rename(&mut self, random: &mut Rng) {
        self.first = FIRST[random.usize(..FIRST.len())].into();
    }

    /// Subscribes the member; the opt-in time of an earlier subscription stays.
    pub fn subscribe(&mut self, now: DateTime<Utc>) {
        self.status = "subscribed";
        self.opt.get_or_insert(now);
    }

    /// Returns the MD5 of the lower-case address, like the real service.
    pub fn id(&self) -> String {
        format!("{:x}", md5::compute(self.email.to_lowercase()))
    }

    /// Returns an id that depends on the address.
    pub fn unique_email_id(&self) -> String {
        self.id()[..10].to_owned()
    }

    /// Returns an id that does not depend on the address.
    pub fn contact_id(&self, list_id: &str) -> String {
        format!("{:x}", md5::compute(format!("contact {list_id} {}", self.number)))
    }

    /// Formats the member like the API. Unset texts, times and addresses are `""`.
    pub fn json(&self, list_id: &str) -> Value {
        let id = self.id();
        let at = |time: Option<DateTime<Utc>>| {
            time.map(|time| format!("{}+00:00", time::state_format(time))).unwrap_or_default()
        };
        let address = match (self.city, self.country) {
            (_, "") => json!(""),
            (true, country) => {
                json!({"addr1": "1 High Street", "addr2": "", "city": "Springfield", "state": "",
                "zip": "12345", "country": country})
            }
            (false, country) => json!({"country": country}),
        };
        let Habits { phone, birthday, company, language, vip, tags, timezone } = Habits::of(self.number);
        let mut member = json!({
            "id": id,
            "email_address": self.email,
            "unique_email_id": self.unique_email_id(),
            "contact_id": self.contact_id(list_id),
            "full_name": format!("{} {}", self.first, self.last).trim(),
            "web_id": 100_000_000 + self.number,
            "email_type": "html",
            "status": self.status,
            "consents_to_one_to_one_messaging": true,
            "sms_phone_number": "",
            "sms_subscription_status": "",
            "sms_subscription_last_updated": "",
            "merge_fields": {"FNAME": self.first, "LNAME": self.last, "ADDRESS": address,
                "PHONE": phone, "BIRTHDAY": birthday, "COMPANY": company},
            "stats": {"avg_open_rate": 0, "avg_click_rate": 0},
            "ip_signup": "",
            "timestamp_signup": at(self.signup),
            "ip_opt": "203.0.113.7",
            "timestamp_opt": at(self.opt),
            "member_rating": 2,
            "last_changed": at(Some(self.last_changed)),
            "language": language,
            "vip": vip,
            "email_client": "",
            "location": {"latitude": 0, "longitude": 0, "gmtoff": 0, "dstoff": 0,
                "country_code": if self.city { "" } else { self.country },
                "timezone": timezone, "region": ""},
            "source": "API - Generic",
            "tags_count": tags.len(),
            "tags": tags,
            "list_id": list_id,
            "_links": [{"rel": "self", "method": "GET",
                "href": format!("https://us1.api.mailchimp.com/3.0/lists/{list_id}/members/{id}")}],
        });
        if self.status == "unsubscribed" {
            member["unsubscribe_reason"] = "N/A (Unsubscribed by admin)".into();
        }
        member
    }
}

/// Further data of a member, reproducible by number.
struct Habits {
    phone: String,
    birthday: String,
    company: &'static str,
    language: &'static str,
    vip: bool,
    tags: Vec<Value>,
    timezone: &'static str,
}

impl Habits {
    fn of(number: u64) -> Self {
        let mut random = Rng::with_seed(number);
        // Numbers reserved for fiction:
        // <https://www.ofcom.org.uk/phones-and-broadband/phone-numbers/numbers-for-drama>.
        let line = format!("7946 0{:03}", random.u16(..1000));
        let phone = match random.u8(..40) {
            0 => format!("+44 20 {line}"),
            1 => format!("020 {line}"),
            2 => "ask the office".into(),
            _ => String::new(),
        };
        let (month, day) = (random.u8(1..=12), random.u8(1..=28));
        let birthday = if random.u8(..3) == 0 { format!("{month:02}/{day:02}") } else { String::new() };
        let tags = ["newsletter", "trade fair", "wholesale"].into_iter().enumerate();
        let tags = tags.filter(|_| random.u8(..4) == 0).map(|(id, name)| json!({"id": id + 1, "name": name}));
        Habits {
            phone,
            birthday,
            tags: tags.collect(),
            company: ["", "", "Analytical Engines"][random.usize(..3)],
            language: ["en", "fr", ""][random.usize(..3)],
            vip: random.u8(..20) == 0,
            timezone: ["Europe/London", "America/New_york", "", ""][random.usize(..4)],
        }
    }
}

/// Reduces a name to the letters that an address may contain.
fn plain(name: &str) -> String {
    let plain: String = name.chars().filter(char::is_ascii_alphabetic).collect();
    if plain.is_empty() { "someone".into() } else { plain.to_lowercase() }
}
