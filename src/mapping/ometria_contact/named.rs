//! Names of merge fields, interests and permissions in the settings, and whether any member has them.
//! importer warns of a name that no member has, because it is probably misspelled.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;

use super::{
    member::Member,
    settings::{ContactSettings, PropertySource},
};

/// Names in the settings of one entry.
pub struct Names {
    names: Vec<Name>,
    /// Whether any member was read.
    asked: AtomicBool,
}

struct Name {
    /// Description for the log, such as: the merge field "VORNAME", which `fields.firstname` names.
    description: String,
    what: What,
    found: AtomicBool,
}

enum What {
    Merge(String),
    Interest(String),
    Permission(String),
}

impl Names {
    pub fn new(settings: &ContactSettings) -> Self {
        let name = |description: String, what| Name { description, what, found: AtomicBool::new(false) };
        let tags = settings.fields.iter().filter_map(|(field, tag)| Some((field, tag.as_ref()?)));
        let tags = tags.map(|(field, tag)| {
            name(format!("the merge field {tag:?}, which `fields.{field}` names"), What::Merge(tag.clone()))
        });
        let properties = settings.properties.iter().filter_map(|property| {
            let by = format!("which `properties.{}` names", property.id);
            match &property.from {
                PropertySource::Merge { tag } | PropertySource::Part { tag, .. } => {
                    Some(name(format!("the merge field {tag:?}, {by}"), What::Merge(tag.clone())))
                }
                PropertySource::Interest(id) => {
                    Some(name(format!("the interest {id:?}, {by}"), What::Interest(id.clone())))
                }
                PropertySource::Plain(_) => None,
            }
        });
        let permission = settings.marketing_permission.iter().map(|id| {
            let description = format!("the marketing permission {id:?}, which `marketing_permission` names");
            name(description, What::Permission(id.clone()))
        });
        Names { names: tags.chain(properties).chain(permission).collect(), asked: AtomicBool::new(false) }
    }

    /// Marks the names that this member has.
    pub fn look(&self, member: &Member) {
        self.asked.store(true, Ordering::Relaxed);
        for name in self.names.iter().filter(|name| !name.found.load(Ordering::Relaxed)) {
            let found = match &name.what {
                What::Merge(tag) => member.merge_fields.field(tag).exists(),
                What::Interest(id) => member.whole.field("interests").field(id).exists(),
                What::Permission(id) => has_permission(member, id),
            };
            // Another thread may have found it meanwhile.
            if found {
                name.found.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Returns the names that no member has; none before the first member.
    pub fn unknown(&self) -> Vec<String> {
        let unknown = self.names.iter().filter(|name| !name.found.load(Ordering::Relaxed));
        let asked = self.asked.load(Ordering::Relaxed);
        unknown.filter(|_| asked).map(|name| name.description.clone()).collect()
    }
}

fn has_permission(member: &Member, id: &str) -> bool {
    #[derive(Deserialize)]
    struct Permission {
        marketing_permission_id: String,
    }
    let all: Vec<Permission> = member.whole.field("marketing_permissions").get().unwrap_or_default();
    all.iter().any(|permission| permission.marketing_permission_id == id)
}
