//! The mapping `ometria_contact`: makes an Ometria contact of a Mailchimp member. In doubt it prefers a
//! message that is not sent to one that is sent without consent: only `subscribed` opts in, and no contact
//! forces an opt-in.
//!
//! Fields of a member: <https://mailchimp.com/developer/marketing/api/list-members/>.
//! Fields of a contact: <https://support.ometria.com/hc/en-gb/articles/360011617238-Push-API>.

mod consent;
mod contact;
mod field;
mod fields;
mod member;
mod merge;
mod named;
mod phone;
mod properties;
pub mod settings;

use std::{borrow::Cow, sync::OnceLock};

use self::{
    consent::Said,
    contact::{Contact, Template},
    field::Field,
    member::Member,
    merge::Tags,
    named::Names,
    settings::{ContactSettings, PropertySource, default_collection},
};
use super::{Mapping, MappingContext};
use crate::base::{
    adapter::{Chosen, NoSettings},
    record::{LeftOut, Mapped, Outgoing, Reason, Record},
    spec::{Makes, Spec},
    text::{has_controls, is_graphic, lowercase},
};

pub const SPEC: Spec = Spec {
    takes: Some("members"),
    makes: Makes::Only("contacts"),
    fields: &["consent", "collection", "default_country", "marketing_permission", "fields", "properties"],
    ..Spec::new("ometria_contact", "A contact of Ometria, made of a member of Mailchimp.")
};

/// Mapping of the members of one list.
pub struct OmetriaContact {
    template: Template,
    tags: Tags,
    settings: ContactSettings,
    identity: OnceLock<Identity>,
    names: Names,
}

impl OmetriaContact {
    /// Returns the mapping of an entry.
    ///
    /// # Errors
    ///
    /// The mapping has a setting; it takes none, as those of the contacts belong into the entry.
    pub fn open(chosen: &Chosen, wanted: &MappingContext) -> Result<Self, String> {
        let NoSettings {} = chosen.settings(SPEC.settings)?;
        Ok(OmetriaContact::new(wanted.list_id, ContactSettings::read(wanted.policy, wanted.declared)))
    }

    /// Returns the mapping of a list. Contact ids are unique within a collection, so each list has its own by
    /// default: `mailchimp_<list_id>`.
    pub fn new(list_id: &str, settings: ContactSettings) -> Self {
        let usual = || default_collection(list_id);
        OmetriaContact {
            template: Template::new(&settings.collection.clone().unwrap_or_else(usual)),
            tags: Tags::new(&settings),
            identity: OnceLock::new(),
            names: Names::new(&settings),
            settings,
        }
    }

    /// Returns the contact's id. The first member of the list decides which field contains the id: a decision
    /// for each member could make two contacts of one person.
    fn id<'m>(&self, member: &Member<'m>) -> Option<Cow<'m, str>> {
        let first = Identity::ORDER.into_iter().find(|identity| identity.of(member).is_some())?;
        self.identity.get_or_init(|| first).of(member)
    }

    /// Makes the contact of a member, or returns why none is sent.
    fn outgoing(&self, member: &Member, record: &Record) -> Result<Outgoing, Refusal> {
        let permission = self.settings.marketing_permission.as_deref();
        let (said, silent) = Said::of(member)?.permitted(member, permission);
        let said = said.within(self.settings.policy)?;
        let id = self.id(member).ok_or(Refusal::Reject("no_id"))?;
        let address = member.email_address.text().unwrap_or_default();
        let email = lowercase(address.trim());
        if !is_address(&email) {
            return Err(Refusal::Reject("invalid_email"));
        }
        let (opts_out, opts_in) = (said.opts_out(), said.opts_in());
        let mut left_out = LeftOuts(vec![]);
        left_out.note("marketing_optin", silent.map_or(Ok(None::<()>), Err));
        let contact = self.contact((&id, &email), said, member, record, &mut left_out);
        let body = contact.json(&self.template).ok_or(Refusal::Reject("unwritable"))?;
        Ok(Outgoing { bodies: vec![body], opts_out, opts_in, left_out: left_out.0 })
    }

    fn contact<'m>(
        &self,
        (id, email): (&'m str, &'m str),
        said: Said,
        member: &Member<'m>,
        record: &Record,
        left_out: &mut LeftOuts,
    ) -> Contact<'m> {
        let merge = self.tags.read(member.merge_fields);
        let [firstname, lastname, country, phone, birth, gender, customer_id] = merge.found;
        let usual_country = self.settings.default_country.as_deref();
        let location = |name| member.location.field(name);
        let contact = Contact {
            id,
            email,
            customer_id: left_out.take("customer_id", customer_id, fields::text),
            firstname: left_out.take("firstname", firstname, fields::name),
            lastname: left_out.take("lastname", lastname, fields::name),
            gender: left_out.take("gender", gender, fields::gender),
            date_of_birth: left_out
                .take("date_of_birth", birth, |birth| fields::birth_date(birth, record.changed)),
            country_id: left_out
                .take("country_id", country, |country| fields::country(country, location("country_code"))),
            phone_number: left_out.take("phone_number", phone, |phone| fields::phone(phone, usual_country)),
            timezone: left_out.note("timezone", fields::timezone(location("timezone"))),
            marketing_optin: said.marketing_optin,
            timestamp_acquired: left_out.note(
                "timestamp_acquired",
                fields::first_time(&[member.timestamp_signup, member.timestamp_opt]),
            ),
            timestamp_subscribed: said.subscribed,
            timestamp_unsubscribed: said.unsubscribed,
            properties: properties::properties(&self.settings.properties, member, &mut left_out.0),
        };
        for tag in merge.not_mapped {
            left_out.0.push(LeftOut { field: format!("merge_fields.{tag}").into(), reason: "not_mapped" });
        }
        contact
    }
}

impl Mapping for OmetriaContact {
    fn has_consent(&self) -> bool {
        true
    }

    fn fields(&self) -> Option<Vec<String>> {
        // Two levels at most: Mailchimp's documentation does not promise that deeper paths work.
        let mut fields = vec![
            "contact_id",
            "unique_email_id",
            "email_address",
            "status",
            "merge_fields",
            "timestamp_signup",
            "timestamp_opt",
            "last_changed",
            "location.country_code",
            "location.timezone",
        ];
        fields.extend(self.settings.marketing_permission.as_ref().map(|_| "marketing_permissions"));
        for property in &self.settings.properties {
            match &property.from {
                PropertySource::Plain("tags") => fields.extend(["tags", "tags_count"]),
                PropertySource::Plain(name) => fields.push(name),
                PropertySource::Interest(_) => fields.push("interests"),
                PropertySource::Merge { .. } | PropertySource::Part { .. } => {}
            }
        }
        Some(fields.into_iter().map(str::to_owned).collect())
    }

    fn map(&self, record: &Record) -> Mapped {
        let Some(member) = Member::read(record.body.value()) else { return Mapped::Reject("unreadable") };
        self.names.look(&member);
        match self.outgoing(&member, record) {
            Ok(outgoing) => Mapped::Send(outgoing),
            Err(Refusal::Skip(reason)) => Mapped::Skip(reason),
            Err(Refusal::Reject(reason)) => Mapped::Reject(reason),
        }
    }

    fn unknown(&self) -> Vec<String> {
        self.names.unknown()
    }

    fn choice(&self) -> Option<String> {
        self.identity.get().map(|identity| identity.field().to_owned())
    }

    fn choose(&self, choice: Option<String>) {
        let known = |choice| Identity::ORDER.into_iter().find(|identity| identity.field() == choice);
        if let Some(identity) = choice.as_deref().and_then(known) {
            self.identity.get_or_init(|| identity);
        }
    }
}

/// Why no contact is sent for a member.
enum Refusal {
    Skip(Reason),
    Reject(Reason),
}

/// Fields that are left out of a contact.
struct LeftOuts(Vec<LeftOut>);

impl LeftOuts {
    /// Reads a field of a contact from a merge field; there is none if the entry does not send the field.
    fn take<'m, T>(
        &mut self,
        field: &'static str,
        merge_field: Option<Field<'m>>,
        read: impl Fn(Field<'m>) -> fields::Value<T>,
    ) -> Option<T> {
        self.note(field, merge_field.map_or(Ok(None), read))
    }

    /// Returns the value, or notes why the field is left out.
    fn note<T>(&mut self, field: &'static str, value: fields::Value<T>) -> Option<T> {
        value.unwrap_or_else(|reason| {
            self.0.push(LeftOut { field: Cow::Borrowed(field), reason });
            None
        })
    }
}

/// Field of a member that gives the contact's id. `contact_id` survives a change of address and contains no
/// personal data; `id`, the MD5 digest of the address, is the last resort.
#[derive(Clone, Copy)]
enum Identity {
    ContactId,
    UniqueEmailId,
    Id,
}

impl Identity {
    /// The fields in order of preference.
    const ORDER: [Identity; 3] = [Identity::ContactId, Identity::UniqueEmailId, Identity::Id];

    fn field(self) -> &'static str {
        match self {
            Identity::ContactId => "contact_id",
            Identity::UniqueEmailId => "unique_email_id",
            Identity::Id => "id",
        }
    }

    fn of<'m>(self, member: &Member<'m>) -> Option<Cow<'m, str>> {
        let field = match self {
            Identity::ContactId => member.contact_id,
            Identity::UniqueEmailId => member.unique_email_id,
            Identity::Id => member.id,
        };
        field.text()
    }
}

/// Returns whether a text has exactly one `@`, with text on both sides, and no white space or control
/// character, at which a mail header would break.
fn is_address(text: &str) -> bool {
    let halves = text.split_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty());
    halves.is_some_and(|(_, host)| !host.contains('@'))
        && (is_graphic(text) || !(text.contains(char::is_whitespace) || has_controls(text)))
}

#[cfg(test)]
#[path = "ometria_contact_tests.rs"]
mod tests;
