//! The account at an address: its credentials, and the hosts that may get them.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use url::Url;

use super::{AuthKind, Endpoint, host, secrets};
use crate::{
    base::{adapter::Chosen, secret::Secret, spec::Variable},
    net::{
        Account, AccountClient, AccountClients, Environment, RateLimiter, Refused, Unopened,
        auth::Auth,
        classify::Rules,
        environment::{checked_key, checked_secret},
    },
};

/// Names of the settings of the credentials.
pub const TOKEN: &str = "token";
pub const USER: &str = "user";
pub const PASSWORD: &str = "password";

/// An adapter whose entries choose the address.
pub struct Adapter {
    /// Name of the type.
    pub kind: &'static str,
    /// What is at the address, for messages.
    pub peer: &'static str,
    /// Upper bound of the simultaneous requests of an account.
    pub connections: usize,
    /// Hosts that may get the credentials. The state file names the address, and people who may edit it must not
    /// gain the credentials by that.
    pub hosts: Variable,
    pub token: Variable,
    pub user: Variable,
    pub password: Variable,
}

/// The address of an entry, to be opened.
pub struct Opening<'a> {
    pub adapter: &'a Adapter,
    /// Field of the entry, for messages.
    pub part: &'a str,
    pub endpoint: &'a Endpoint,
    pub chosen: &'a Chosen,
}

/// A credential, and the name of the setting or of the variable that it is from.
#[derive(Clone)]
pub struct Credential {
    pub secret: Secret,
    pub from: String,
}

impl Opening<'_> {
    /// Returns the client of the address. All entries with the same origin, `auth`, rate and credentials share it.
    ///
    /// # Errors
    ///
    /// A credential that `auth` needs is missing or invalid, one is set that it does not use, or a secret is not
    /// meant for this host.
    pub fn client(&self, accounts: &AccountClients) -> Result<Arc<AccountClient>, Unopened> {
        self.check_unused(match self.endpoint.auth {
            AuthKind::None => &[],
            AuthKind::Basic => &[USER, PASSWORD],
            AuthKind::Bearer | AuthKind::Header(_) => &[TOKEN],
        })?;
        self.permit_secrets(accounts.environment(), &self.endpoint.url, "url")?;
        let name = self.name(&self.endpoint.url, &format!("{:?}", self.endpoint.auth));
        Ok(accounts.client(&name, |environment| self.account(environment))?)
    }

    /// Checks that the entry sets no other credentials than those that its `auth` uses.
    ///
    /// # Errors
    ///
    /// It sets another one.
    pub fn check_unused(&self, used: &[&str]) -> Result<(), Unopened> {
        match self.chosen.credentials.keys().find(|name| !used.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(format!(
                "{}: `{name}` has no effect with this `auth`; remove it, or correct `auth`",
                self.adapter.kind
            )
            .into()),
        }
    }

    /// Checks that `url` may get what was read from files of secrets, which is in an address, a header or a body.
    /// `setting` names the address.
    ///
    /// # Errors
    ///
    /// As those of [`Self::permit`].
    pub fn permit_secrets(&self, environment: &Environment, url: &Url, setting: &str) -> Result<(), Refused> {
        if self.chosen.secrets.is_empty() { Ok(()) } else { self.permit(environment, url, setting) }
    }

    /// Returns the name of the client of an address, for [`AccountClients::client`].
    pub fn name(&self, url: &Url, auth: &str) -> String {
        let credentials: Vec<&str> = self.chosen.credentials.values().map(Secret::reveal).collect();
        let credentials = md5::compute(credentials.join("\0"));
        let (kind, origin) = (self.adapter.kind, url.origin().ascii_serialization());
        format!("{kind} {origin} {auth} {} {credentials:x}", self.endpoint.rate)
    }

    /// Checks that the environment lets the host of `url`, an address in `setting`, have the credentials.
    ///
    /// # Errors
    ///
    /// The environment names no host, or others only, or permits only encrypted requests to this one.
    pub fn permit(&self, environment: &Environment, url: &Url, setting: &str) -> Result<(), Refused> {
        let hosts_variable = &self.adapter.hosts;
        let Some(hosts) = environment.text(hosts_variable)? else {
            // A command that sends nothing needs no host.
            return environment.secret(hosts_variable).map(|_| ());
        };
        if hosts.split(',').any(|named| secrets::permits(named.trim(), url)) {
            return Ok(());
        }
        let host = host(url);
        let why = if url.scheme() == "http" {
            format!(
                "does not contain http://{host}, to which an entry sends the credentials unencrypted; use https in `{setting}`, or add this address"
            )
        } else {
            format!(
                "does not contain {host}, to which an entry sends the credentials; add it, or correct `{setting}`"
            )
        };
        Err(Refused::Value { name: environment.name(hosts_variable), why })
    }

    /// Returns the credential of a setting, or that of the variable if the entry does not set it.
    ///
    /// # Errors
    ///
    /// Neither is set, or the variable can't be read.
    pub fn credential(
        &self,
        environment: &Environment,
        setting: &str,
        variable: &Variable,
    ) -> Result<Credential, Refused> {
        match self.chosen.credentials.get(setting) {
            Some(secret) => {
                Ok(Credential { secret: secret.clone(), from: format!("{}.{setting}", self.part) })
            }
            None => {
                Ok(Credential { secret: environment.secret(variable)?, from: environment.name(variable) })
            }
        }
    }

    fn account(&self, environment: &Environment) -> Result<(Account, RateLimiter), Refused> {
        let Opening { adapter, part, endpoint, .. } = *self;
        if endpoint.auth != AuthKind::None {
            self.permit(environment, &endpoint.url, "url")?;
        }
        let token = || {
            let Credential { secret, from } = self.credential(environment, TOKEN, &adapter.token)?;
            Ok((checked_key(&from, secret)?, from))
        };
        let mut secrets = vec![];
        let (auth, key_name, key_hint) = match (&endpoint.auth, &endpoint.token_header) {
            (AuthKind::Basic, _) => {
                let user = self.credential(environment, USER, &adapter.user)?;
                let password = self.credential(environment, PASSWORD, &adapter.password)?;
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
                let hint = format!("the {} requires credentials; set `auth` of `{part}`", adapter.peer);
                (Auth::None, format!("{part}.auth"), Some(hint))
            }
        };
        let key_hint = key_hint.map(Into::into);
        let account = Account {
            key_name: key_name.into(),
            key_hint,
            secrets,
            ..self.anonymous(&endpoint.url, "url", auth)
        };
        Ok((account, RateLimiter::new(adapter.connections, endpoint.rate)))
    }

    /// Returns the account at an address, without the names of its credentials. `setting` names the address.
    pub fn anonymous(&self, url: &Url, setting: &str, auth: Auth) -> Account {
        let mut base = url.clone();
        base.set_path("");
        base.set_query(None);
        Account {
            service: host(url).into(),
            key_name: "".into(),
            key_hint: None,
            url_name: format!("{}.{setting}", self.part).into(),
            base,
            auth,
            secrets: vec![],
            rules: Rules::default(),
            room: None,
        }
    }
}
