//! The members of the bench: those of the sandbox, all of whom can be sent, half of them with a phone number, and with as
//! many further fields as members of real lists have.

use std::iter::repeat_with;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use importer::sandbox::people;
use serde_json::{Map, Value, json};

/// Interest groups of the list. With them, a member has some 3.4 KB, as members of real lists do.
const INTERESTS: u64 = 89;
/// Age of the changes that an incremental run reads.
const RECENT: TimeDelta = TimeDelta::hours(1);

pub struct Member {
    person: people::Member,
    phone: String,
}

impl Member {
    /// Makes `size` members, oldest change first. The last `changed` ones changed an hour ago.
    pub fn invent(size: u64, changed: u64, now: DateTime<Utc>) -> Vec<Member> {
        let mut random = Rng::with_seed(17);
        let mut members: Vec<Member> =
            (0..size).map(|number| Member::one(&mut random, number, now)).collect();
        members.sort_by_key(|member| (member.person.last_changed, member.person.number));
        let recent = members.len() - (changed as usize).min(members.len());
        members[recent..].iter_mut().for_each(|member| member.person.last_changed = now - RECENT);
        members
    }

    fn one(random: &mut Rng, number: u64, now: DateTime<Utc>) -> Member {
        let mut person = people::Member::invent(random, number, now);
        if matches!(person.status, "pending" | "archived") {
            person.subscribe(person.last_changed);
        }
        Member { person, phone: if random.bool() { phone(random) } else { String::new() } }
    }

    /// Returns the time of the last change, in seconds since 1970.
    pub fn changed(&self) -> i64 {
        self.person.last_changed.timestamp()
    }

    /// Formats the member with all of its fields.
    pub fn json(&self, list_id: &str) -> Value {
        let number = self.person.number;
        let mut member = self.person.json(list_id);
        member["merge_fields"]["PHONE"] = json!(self.phone);
        let mut random = Rng::with_seed(number);
        let interest = |id: u64| (format!("{:010x}", (id + 1) * 0x2f_b529_7ac7), json!(random.bool()));
        member["interests"] = Value::Object((0..INTERESTS).map(interest).collect::<Map<_, _>>());
        member["marketing_permissions"] = ["Email", "Direct mail", "Customized online advertising"]
            .into_iter()
            .enumerate()
            .map(|(index, text)| {
                json!({"marketing_permission_id": format!("{index}f4c8e1b90"), "text": text, "enabled": number.is_multiple_of(2)})
            })
            .collect();
        member["stats"]["ecommerce_data"] =
            json!({"total_revenue": number % 1000, "number_of_orders": number % 7, "currency_code": "GBP"});
        member["last_note"] = json!({"note_id": number, "created_at": "2026-01-05T10:11:12+00:00",
            "created_by": "import", "note": "Met at the trade fair; wants the catalogue by post, not by e-mail."});
        member
    }
}

/// Invents a number as people write it: seven in ten in the national form of the entry's country, two with the code of
/// another country, and one in the national form of another country, which is not valid here.
fn phone(random: &mut Rng) -> String {
    const NATIONAL: [&str; 7] = [
        "07### ######",
        "(020) 7### ####",
        "0161 4## ####",
        "0131-5##-####",
        "01865 2#####",
        "07#########",
        "029 20## ####",
    ];
    const INTERNATIONAL: [&str; 6] = [
        "+33 6 ## ## ## ##",
        "+49 151 2#######",
        "+1 (212) 5##-####",
        "+31 6 2#######",
        "0033 1 42 ## ## ##",
        "+34 61# ### ###",
    ];
    const FOREIGN: [&str; 4] = ["06 ## ## ## ##", "(212) 5##-####", "030 / 2######", "61# ### ###"];
    let forms: &[&str] = match random.u8(..10) {
        0..7 => &NATIONAL,
        7..9 => &INTERNATIONAL,
        _ => &FOREIGN,
    };
    let form = forms[random.usize(..forms.len())];
    let mut digits = repeat_with(|| char::from(b'0' + random.u8(..10)));
    form.chars().map(|c| if c == '#' { digits.next().unwrap_or(c) } else { c }).collect()
}
