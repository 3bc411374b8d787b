//! A contact as Ometria's Push API accepts it, and its JSON.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::base::json::{Json, Writer};

/// The fields of a contact; those that are `None` are not sent.
pub struct Contact<'a> {
    pub id: &'a str,
    pub email: &'a str,
    pub customer_id: Option<Cow<'a, str>>,
    pub firstname: Option<Cow<'a, str>>,
    pub lastname: Option<Cow<'a, str>>,
    pub gender: Option<&'static str>,
    pub date_of_birth: Option<String>,
    pub country_id: Option<&'static str>,
    pub phone_number: Option<String>,
    pub timezone: Option<&'static str>,
    pub marketing_optin: Option<&'static str>,
    pub timestamp_acquired: Option<String>,
    pub timestamp_subscribed: Option<String>,
    pub timestamp_unsubscribed: Option<String>,
    pub properties: Map<String, Value>,
}

/// What all contacts of a list begin with.
pub struct Template(Option<Writer>);

/// Bytes and fields of a typical contact, for which space is reserved.
const TYPICAL: (usize, usize) = (512, 16);

impl Template {
    pub fn new(collection: &str) -> Self {
        let mut begun = Writer::new(0, 0);
        begun.text("@type", "contact");
        begun.text("@collection", collection);
        Template(begun.json("@merge", "true").map(|()| begun))
    }
}

impl Contact<'_> {
    /// Writes the contact; returns `None` if that is not possible.
    pub fn json(&self, template: &Template) -> Option<Json> {
        let mut to = template.0.as_ref()?.continued(TYPICAL.0, TYPICAL.1);
        to.text("id", self.id);
        to.text("email", self.email);
        for (name, value) in [
            ("customer_id", self.customer_id.as_deref()),
            ("firstname", self.firstname.as_deref()),
            ("lastname", self.lastname.as_deref()),
            ("gender", self.gender),
            ("date_of_birth", self.date_of_birth.as_deref()),
            ("country_id", self.country_id),
            ("phone_number", self.phone_number.as_deref()),
            ("timezone", self.timezone),
            ("marketing_optin", self.marketing_optin),
            ("timestamp_acquired", self.timestamp_acquired.as_deref()),
            ("timestamp_subscribed", self.timestamp_subscribed.as_deref()),
            ("timestamp_unsubscribed", self.timestamp_unsubscribed.as_deref()),
        ] {
            to.some_text(name, value);
        }
        if !self.properties.is_empty() {
            to.json("properties", &serde_json::to_string(&self.properties).ok()?)?;
        }
        Some(to.end())
    }
}
