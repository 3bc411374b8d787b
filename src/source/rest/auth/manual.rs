//! A token that a person has set. It is used in place of the login.

use super::super::ADAPTER;
use crate::{
    base::{adapter::Chosen, spec::Variable},
    net::{
        Environment, Refused,
        endpoint::account::{Credential, Opening, PASSWORD, TOKEN, USER},
        environment::checked_key,
    },
};

/// Returns a warning if a token and the login are both set: the token replaces the login.
pub fn unused_login(environment: &Environment, chosen: &Chosen) -> Option<String> {
    let from = |setting: &str, variable: &Variable| match chosen.credentials.contains_key(setting) {
        true => Some(format!("source.{setting}")),
        false => environment.text(variable).ok().flatten().map(|_| environment.name(variable)),
    };
    let token = from(TOKEN, &ADAPTER.token)?;
    let login = [from(USER, &ADAPTER.user), from(PASSWORD, &ADAPTER.password)];
    let unused: Vec<String> = login.into_iter().flatten().map(|name| format!("`{name}`")).collect();
    (!unused.is_empty()).then(|| {
        format!(
            "`{token}` is set, so importer does not log in: {} not used; remove `{token}` to log in",
            match &unused[..] {
                [one] => format!("{one} is"),
                names => format!("{} are", names.join(" and ")),
            }
        )
    })
}

/// Returns the token that a person has set, if it is not empty. It is used in place of the login.
pub fn manual(opening: &Opening, environment: &Environment) -> Result<Option<Credential>, Refused> {
    let is_set =
        opening.chosen.credentials.contains_key(TOKEN) || environment.text(&ADAPTER.token)?.is_some();
    if !is_set {
        return Ok(None);
    }
    let Credential { secret, from } = opening.credential(environment, TOKEN, &ADAPTER.token)?;
    Ok(Some(Credential { secret: checked_key(&from, secret)?, from }))
}
