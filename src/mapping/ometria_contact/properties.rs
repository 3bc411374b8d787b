//! The custom fields of a contact (properties): those that the entry configures, within Ometria's limit.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Number, Value, json};

use super::{
    field::Field,
    fields,
    member::Member,
    settings::{Property, PropertyKind, PropertySource},
};
use crate::base::record::{LeftOut, Reason};

/// Limit for all properties of a contact together, in bytes of JSON with names; they have to stay below it.
/// <https://docs.ometria.com/docs/ometria-data-architecture>
const ROOM: usize = 1000;

/// Separator of tag names. Not a comma, because Mailchimp allows commas in tag names.
const BETWEEN_TAGS: &str = "|";

/// Returns the properties that are set. Adds those that can't be sent to `left_out`, with their reasons.
pub fn properties(wanted: &[Property], member: &Member, left_out: &mut Vec<LeftOut>) -> Map<String, Value> {
    let mut found = Map::new();
    let mut leave = |property: &Property, reason| {
        left_out.push(LeftOut { field: format!("properties.{}", property.id).into(), reason });
    };
    for property in wanted {
        match value(property, member) {
            Ok(Some(value)) => _ = found.insert(property.id.clone(), value),
            Ok(None) => {}
            Err(reason) => leave(property, reason),
        }
        if property.from == PropertySource::Plain("tags") && tags_missing(member) {
            leave(property, "not_all_tags");
        }
    }
    // Over the limit, tags are removed first, then properties from the last one on.
    for property in wanted.iter().filter(|property| property.from == PropertySource::Plain("tags")) {
        if shorten(&mut found, &property.id) {
            leave(property, "no_room");
        }
    }
    for property in wanted.iter().rev() {
        if too_long(&found) && found.remove(&property.id).is_some() {
            leave(property, "no_room");
        }
    }
    found
}

/// Returns whether the properties exceed the limit.
fn too_long(properties: &Map<String, Value>) -> bool {
    json!(properties).to_string().len() >= ROOM
}

/// Removes tags from the end until all properties fit. Returns whether it removed any.
fn shorten(properties: &mut Map<String, Value>, id: &str) -> bool {
    let mut shortened = false;
    while too_long(properties) {
        let Some(tags) = properties.get(id).and_then(Value::as_str) else { break };
        match tags.rsplit_once(BETWEEN_TAGS).map(|(kept, _)| kept.to_owned()) {
            Some(kept) => properties.insert(id.to_owned(), kept.into()),
            None => properties.remove(id),
        };
        shortened = true;
    }
    shortened
}

/// Reads the value of a property, or returns why it is left out.
fn value(property: &Property, member: &Member) -> Result<Option<Value>, Reason> {
    let field = match &property.from {
        PropertySource::Plain("tags") => return Ok(tags(member)),
        PropertySource::Plain(name) => member.whole.field(name),
        PropertySource::Interest(id) => member.whole.field("interests").field(id),
        PropertySource::Merge { tag } => member.merge_fields.field(tag),
        PropertySource::Part { tag, part } => member.merge_fields.field(tag).field(part),
    };
    read(field, property.kind)
}

/// Returns the sorted names of the tags, as one text.
fn tags(member: &Member) -> Option<Value> {
    #[derive(Deserialize)]
    struct Tag {
        name: String,
    }
    let tags: Vec<Tag> = member.whole.field("tags").get().unwrap_or_default();
    let mut names: Vec<String> = tags.into_iter().map(|tag| tag.name.trim().to_owned()).collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    (!names.is_empty()).then(|| names.join(BETWEEN_TAGS).into())
}

/// Returns whether the member has more tags than the response contains: Mailchimp sends 50 at most.
/// <https://mailchimp.com/developer/marketing/api/list-members/list-members-info/>
fn tags_missing(member: &Member) -> bool {
    let contained: usize =
        member.whole.field("tags").get::<Vec<BTreeMap<String, Value>>>().map_or(0, |tags| tags.len());
    member.whole.field("tags_count").get().is_some_and(|count: usize| count > contained)
}

fn read(field: Field, kind: PropertyKind) -> Result<Option<Value>, Reason> {
    if !field.is_filled() {
        return Ok(None);
    }
    let value: Value = field.get().ok_or("not_a_value")?;
    let text = match &value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => return Err("not_a_value"),
    };
    Ok(Some(match kind {
        PropertyKind::Any if value.is_string() => text.into(),
        PropertyKind::Any => value,
        PropertyKind::Text => text.into(),
        PropertyKind::Number => text.parse::<Number>().map(Value::Number).map_err(|_| "not_a_number")?,
        PropertyKind::Flag => match text.to_lowercase().as_str() {
            "true" | "yes" | "1" => true.into(),
            "false" | "no" | "0" => false.into(),
            _ => return Err("not_a_flag"),
        },
        PropertyKind::Date => fields::date(&text).ok_or("not_a_date")?.to_string().into(),
        PropertyKind::MonthDay | PropertyKind::DayMonth => {
            month_day(&text, kind).ok_or("not_a_birthday")?.into()
        }
    }))
}

/// Returns a day of the year as `05-15`.
fn month_day(text: &str, kind: PropertyKind) -> Option<String> {
    let (first, second) = text.split_once('/')?;
    let (month, day) = if kind == PropertyKind::MonthDay { (first, second) } else { (second, first) };
    let (month, day): (u32, u32) = (month.trim().parse().ok()?, day.trim().parse().ok()?);
    // A leap year, because it has all days.
    chrono::NaiveDate::from_ymd_opt(2024, month, day).map(|date| date.format("%m-%d").to_string())
}
