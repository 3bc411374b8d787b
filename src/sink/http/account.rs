//! The account at an address: its credentials, and the hosts that may get them.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    SPEC, secrets,
    settings::{AuthKind, Endpoint, PASSWORD_SETTING, TOKEN_SETTING, USER_SETTING},
};
use crate::{
    base::{
        adapter::Chosen,
        secret::Secret,
        spec::{Setting, Variable},
    },
    net::{
        Account, AccountClient, AccountClients, Environment, RateLimiter, Refused, Unopened,
        auth::Auth,
        classify::Rules,
        environment::{checked_key, checked_secret},
    },
};

/// Upper bound of the simultaneous requests of the account: twice the batches in flight of one list.
const CONNECTIONS: usize = 8;

pub const VARIABLES: &[Variable] = &[HOSTS, TOKEN, USER, PASSWORD];
/// Hosts that may get the credentials. The state file names the address, and people who may edit it must not
/// gain the credentials by that.
const HOSTS: Variable = Variable::new("HTTP_SINK_HOSTS", "hosts to which the sink http may send credentials");
const TOKEN: Variable =
    Variable::new("HTTP_SINK_TOKEN", "token of the sink http, if its `auth` is bearer or {\"header\": …}")
        .credential();
const USER: Variable =
    Variable::new("HTTP_SINK_USER", "user of the sink http, if its `auth` is basic").credential();
const PASSWORD: Variable = Variable::new("HTTP_SINK_PASSWORD", "password of that user").credential();

/// Returns the host of an address, with its port if that is not the default.
pub fn host(endpoint: &Endpoint) -> String {
    let host = endpoint.url.host_str().unwrap_or_default();
    endpoint.url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns the client of an address. All entries with the same origin, `auth`, rate and credentials share it. `part` is
/// the field of the entry, for messages.
///
/// # Errors
///
/// A credential that `auth` needs is missing or invalid, one is set that it does not use, or a secret is not meant
/// for this host.
pub fn open(
    accounts: &AccountClients,
    part: &str,
    endpoint: &Endpoint,
    chosen: &Chosen,
) -> Result<Arc<AccountClient>, Unopened> {
    let used: &[&Setting] = match endpoint.auth {
        AuthKind::None => &[],
        AuthKind::Basic => &[&USER_SETTING, &PASSWORD_SETTING],
        AuthKind::Bearer | AuthKind::Header(_) => &[&TOKEN_SETTING],
    };
    let is_used = |name: &str| used.iter().any(|setting| setting.name == name);
    if let Some(name) = chosen.credentials.keys().find(|name| !is_used(name)) {
        return Err(format!(
            "{}: `{name}` has no effect with this `auth`; remove it, or correct `auth`",
            SPEC.kind
        )
        .into());
    }
    // What was read from a file of secrets is in the address or in a header.
    if !chosen.secrets.is_empty() {
        permit(accounts.environment(), endpoint)?;
    }
    let origin = endpoint.url.origin().ascii_serialization();
    let credentials: Vec<&str> = chosen.credentials.values().map(Secret::reveal).collect();
    let credentials = md5::compute(credentials.join("\0"));
    let name = format!("{} {origin} {:?} {} {credentials:x}", SPEC.kind, endpoint.auth, endpoint.rate);
    Ok(accounts.client(&name, |environment| account(environment, part, endpoint, chosen))?)
}

/// Checks that the environment lets this host have the credentials.
///
/// # Errors
///
/// The environment names no host, or others only, or permits only encrypted requests to this one.
fn permit(environment: &Environment, endpoint: &Endpoint) -> Result<(), Refused> {
    let Some(hosts) = environment.text(&HOSTS)? else {
        // A command that sends nothing needs no host.
        return environment.secret(&HOSTS).map(|_| ());
    };
    if hosts.split(',').any(|named| secrets::permits(named.trim(), &endpoint.url)) {
        return Ok(());
    }
    let host = host(endpoint);
    let why = if endpoint.url.scheme() == "http" {
        format!(
            "does not contain http://{host}, to which an entry sends the credentials unencrypted; use https in `url`, or add this address"
        )
    } else {
        format!("does not contain {host}, to which an entry sends the credentials; add it, or correct `url`")
    };
    Err(Refused::Value { name: environment.name(&HOSTS), why })
}

/// A credential, and the name of the setting or of the variable that it is from.
struct Credential {
    secret: Secret,
    from: String,
}

/// Returns the credential of a setting, or that of the variable if the entry does not set it.
fn credential(
    environment: &Environment,
    part: &str,
    chosen: &Chosen,
    setting: &Setting,
    variable: &Variable,
) -> Result<Credential, Refused> {
    match chosen.credentials.get(setting.name) {
        Some(secret) => Ok(Credential { secret: secret.clone(), from: format!("{part}.{}", setting.name) }),
        None => Ok(Credential { secret: environment.secret(variable)?, from: environment.name(variable) }),
    }
}

fn account(
    environment: &Environment,
    part: &str,
    endpoint: &Endpoint,
    chosen: &Chosen,
) -> Result<(Account, RateLimiter), Refused> {
    if endpoint.auth != AuthKind::None {
        permit(environment, endpoint)?;
    }
    let token = || {
        let Credential { secret, from } = credential(environment, part, chosen, &TOKEN_SETTING, &TOKEN)?;
        Ok((checked_key(&from, secret)?, from))
    };
    let mut secrets = vec![];
    let (auth, key_name, key_hint) = match (&endpoint.auth, &endpoint.token_header) {
        (AuthKind::Basic, _) => {
            let user = credential(environment, part, chosen, &USER_SETTING, &USER)?;
            let password = credential(environment, part, chosen, &PASSWORD_SETTING, &PASSWORD)?;
            let hint = format!("check `{}` and `{}`", user.from, password.from);
            let (key_name, password) =
                (password.from.clone(), checked_secret(&password.from, password.secret)?);
            let name = checked_secret(&user.from, user.secret)?;
            if name.reveal().contains(':') {
                // RFC 7617, section 2.
                return Err(Refused::Value {
                    name: user.from,
                    why: "must not contain a colon; choose a user name without one".to_owned(),
                });
            }
            let pair = STANDARD.encode(format!("{}:{}", name.reveal(), password.reveal()));
            secrets = vec![name.clone(), Secret::new(pair)];
            (Auth::Basic { user: name.reveal().to_owned().into(), password }, key_name, Some(hint))
        }
        (AuthKind::Header(_), Some(name)) => {
            let (key, from) = token()?;
            (Auth::Header { name: name.clone(), key }, from, None)
        }
        (AuthKind::Bearer, _) => {
            let (key, from) = token()?;
            (Auth::Bearer(key), from, None)
        }
        (AuthKind::None | AuthKind::Header(_), _) => {
            let hint = format!("the receiver requires credentials; set `auth` of `{part}`");
            (Auth::None, format!("{part}.auth"), Some(hint))
        }
    };
    let mut base = endpoint.url.clone();
    base.set_path("");
    base.set_query(None);
    let account = Account {
        service: host(endpoint).into(),
        key_name: key_name.into(),
        key_hint: key_hint.map(Into::into),
        url_name: format!("{part}.url").into(),
        base,
        auth,
        secrets,
        rules: Rules::default(),
        room: None,
    };
    Ok((account, RateLimiter::new(CONNECTIONS, endpoint.rate)))
}
