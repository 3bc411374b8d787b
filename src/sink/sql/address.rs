//! The database of an entry: its address, its credentials, and who may get them.

use std::{net::IpAddr, path::PathBuf, str::FromStr, sync::Arc};

use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};
use url::Url;

use super::{
    HOSTS, PASSWORD, SPEC, SQLITE, URL,
    ambient::{self, PORT},
    kind::Dialect,
    settings::Place,
};
use crate::{
    base::{adapter::Chosen, secret::Secret},
    net::{
        AccountClients, Environment, RateLimiter, Refused, Unopened,
        call::Calls,
        environment::{PLACEHOLDER, checked_secret},
    },
    sink::{
        SinkContext,
        paths::{identity, is_ours, plain},
    },
};

/// Upper bound of the simultaneous calls of a database, over all lists. A run has one at a time, so this is more than the
/// runs that may wait for the locks of another one, whose calls they must not keep out.
const CONNECTIONS: usize = 100;
/// Parameters of an address that the driver knows. Others, such as `pool_size`, are for other programs.
const PARAMETERS: [&str; 14] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "port",
    "dbname",
    "user",
    "application_name",
];

/// The database of an entry.
pub struct Database {
    pub location: Location,
    /// Name of the database management system and its place, for messages.
    pub service: String,
    /// Identifies the database, without user and password.
    pub address: String,
    /// Identifies the database and the user.
    identity: Secret,
    /// Setting or variable to check if the database rejects the password.
    pub key_name: String,
    /// Whether a password is sent.
    pub has_password: bool,
    /// Setting or variable of the address, for hints.
    pub url_name: String,
}

/// Where the database is.
pub enum Location {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Database {
    /// Reads the address from the settings of an entry, or from the environment.
    ///
    /// # Errors
    ///
    /// The settings contradict each other, or a variable is missing or invalid. No message contains the address.
    pub fn read(
        place: &Place,
        chosen: &Chosen,
        context: &SinkContext,
        environment: &Environment,
    ) -> Result<Self, Unopened> {
        let kind = SPEC.kind;
        let url = chosen.credentials.get("url");
        let named = [
            ("host", place.host.is_some()),
            ("port", place.port.is_some()),
            ("database", place.database.is_some()),
            ("user", place.user.is_some()),
            ("password", chosen.credentials.contains_key("password")),
        ];
        let has_url = url.is_some() || place.url.is_some() || place.host.is_none();
        if let Some((name, _)) = named.into_iter().find(|(_, set)| *set && has_url) {
            let why = match name {
                "host" => "`host` and `url` are both set; remove one of them".to_owned(),
                name => {
                    format!("`{name}` has no effect without `host`; write it into the address, or set `host`")
                }
            };
            return Err(format!("{kind}: {why}").into());
        }
        if let Some(path) = &place.url {
            return Ok(Self::sqlite(path, context)?);
        }
        if place.host.is_some() {
            return Ok(Self::by_host(place, chosen, context, environment)?);
        }
        let (url, name) = match url {
            Some(url) => (url.clone(), format!("{}.url", context.part)),
            None => (environment.secret(&URL)?, environment.name(&URL)),
        };
        if url.reveal().starts_with(SQLITE) {
            return Ok(Self::sqlite(url.reveal(), context)?);
        }
        Ok(Self::by_url(&url, name)?)
    }

    fn sqlite(url: &str, context: &SinkContext) -> Result<Self, String> {
        let path = url.strip_prefix(SQLITE).unwrap_or(url);
        let path = path.strip_prefix("//").unwrap_or(path);
        let invalid =
            path.is_empty() || path.ends_with('/') || path.contains(['?', '\0']) || path.starts_with(':');
        if invalid {
            return Err(format!("{}: `url` must name a file, such as \"sqlite:out/data.db\"", SPEC.kind));
        }
        let full = context.folder.join(path);
        if is_ours(full.strip_prefix(context.folder).unwrap_or(&full)) {
            return Err(format!(
                "{}: `url`: {path} is reserved for importer; choose another file, such as sqlite:out/data.db",
                SPEC.kind
            ));
        }
        let named = identity(&full, context.folder);
        let url_name = format!("{}.url", context.part);
        Ok(Database {
            location: Location::Sqlite(plain(&full).into()),
            service: format!("the SQLite file `{named}`"),
            address: format!("sqlite {named}"),
            identity: Secret::new(named),
            key_name: url_name.clone(),
            has_password: false,
            url_name,
        })
    }

    fn by_host(
        place: &Place,
        chosen: &Chosen,
        context: &SinkContext,
        environment: &Environment,
    ) -> Result<Self, Refused> {
        let (host, port) = (place.host.as_deref().unwrap_or_default(), place.port.unwrap_or(PORT));
        permit(environment, host, port)?;
        let (password, key_name) = match chosen.credentials.get("password") {
            Some(password) => (Some(password.clone()), format!("{}.password", context.part)),
            None => (environment.text(&PASSWORD)?.map(Secret::new), environment.name(&PASSWORD)),
        };
        let password = password.map(|password| checked_secret(&key_name, password)).transpose()?;
        // Without a password, the driver would take one from the environment that belongs to another program.
        let password = password.as_ref().map_or("", Secret::reveal);
        let Some(user) = &place.user else {
            let why = "is not set; name the user of the database".to_owned();
            return Err(Refused::Value { name: format!("{}.user", context.part), why });
        };
        let options = PgConnectOptions::new_without_pgpass()
            .host(host)
            .port(port)
            .username(user)
            .password(password)
            .database(place.database.as_ref().unwrap_or(user))
            .ssl_mode(tls(host));
        let options = ambient::without(options, &["port", "password", "dbname"])?;
        Ok(Self::postgres(options, password, key_name, format!("{}.host", context.part)))
    }

    fn by_url(url: &Secret, name: String) -> Result<Self, Refused> {
        let refused = |why: &str| Refused::Value { name: name.clone(), why: why.to_owned() };
        if url.reveal() == PLACEHOLDER {
            let options = PgConnectOptions::new_without_pgpass().host(PLACEHOLDER).username(PLACEHOLDER);
            return Ok(Self::postgres(options, "", name.clone(), name));
        }
        let text = match url.reveal().strip_prefix("ecto://") {
            Some(rest) => format!("postgres://{rest}"),
            None => url.reveal().to_owned(),
        };
        let invalid = || {
            refused(
                "is not the address of a database with a host and a user; use one such as postgres://user:password@host/database, or sqlite:path",
            )
        };
        let mut parsed = Url::parse(&text).map_err(|_| invalid())?;
        if !matches!(parsed.scheme(), "postgres" | "postgresql") {
            return Err(invalid());
        }
        let known: Vec<(String, String)> = parsed
            .query_pairs()
            .filter(|(name, _)| PARAMETERS.contains(&&**name))
            .map(|(a, b)| (a.into(), b.into()))
            .collect();
        parsed.set_query(None);
        if !known.is_empty() {
            parsed.query_pairs_mut().extend_pairs(&known);
        }
        let mut given: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        let parts = [
            ("host", parsed.host_str().is_some_and(|host| !host.is_empty())),
            ("user", !parsed.username().is_empty()),
            ("password", parsed.password().is_some()),
            ("port", parsed.port().is_some()),
            ("dbname", parsed.path().len() > 1),
        ];
        given.extend(parts.into_iter().filter(|(_, set)| *set).map(|(name, _)| name));
        if !given.contains(&"host") || !given.contains(&"user") {
            return Err(invalid());
        }
        let options = PgConnectOptions::from_str(parsed.as_str()).map_err(|_| invalid())?;
        let mut options = ambient::without(options, &given)?;
        if !given.contains(&"sslmode") && !given.contains(&"ssl-mode") {
            let mode =
                if options.get_socket().is_some() { PgSslMode::Prefer } else { tls(options.get_host()) };
            options = options.ssl_mode(mode);
        }
        let password = parsed.password().unwrap_or_default().to_owned();
        Ok(Self::postgres(options, &password, name.clone(), name))
    }

    fn postgres(options: PgConnectOptions, password: &str, key_name: String, url_name: String) -> Self {
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let user = options.get_username();
        let address = format!("postgresql {place}/{}", options.get_database().unwrap_or(user));
        let identity = Secret::new(format!("{address} {user} {password}"));
        let service = format!("postgresql at {place}");
        let options = Box::new(options.disable_statement_logging());
        let (location, has_password) = (Location::Postgres(options), !password.is_empty());
        Database { location, service, address, identity, key_name, has_password, url_name }
    }

    pub fn dialect(&self) -> Dialect {
        match self.location {
            Location::Sqlite(_) => Dialect::Sqlite,
            Location::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Returns the calls of the database, which all entries with the same user and password share. Warns if the server is
    /// not verified.
    pub fn calls(&self, accounts: &AccountClients) -> Arc<Calls> {
        let name = format!("{} {:x}", SPEC.kind, md5::compute(self.identity.reveal()));
        let unverified = Some(self.url_name.as_str()).filter(|_| self.is_exposed());
        accounts.calls(&name, &self.service, unverified, || RateLimiter::new(CONNECTIONS, 0.0))
    }

    /// Returns whether the records go over a network to a server that is not verified.
    fn is_exposed(&self) -> bool {
        match &self.location {
            Location::Sqlite(_) => false,
            Location::Postgres(options) => {
                let verified = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull | PgSslMode::VerifyCa);
                !verified && options.get_socket().is_none() && !is_loopback(options.get_host())
            }
        }
    }
}

/// Returns the mode of TLS for a host, unless the address has its own.
fn tls(host: &str) -> PgSslMode {
    if is_loopback(host) { PgSslMode::Prefer } else { PgSslMode::VerifyFull }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Checks that the environment lets an entry connect to this host.
///
/// # Errors
///
/// The environment names no host, or others only.
fn permit(environment: &Environment, host: &str, port: u16) -> Result<(), Refused> {
    let Some(hosts) = environment.text(&HOSTS)? else {
        // A command that sends nothing needs no host.
        return environment.secret(&HOSTS).map(|_| ());
    };
    let full = format!("{host}:{port}");
    let permits =
        |named: &str| named.eq_ignore_ascii_case(&full) || (port == PORT && named.eq_ignore_ascii_case(host));
    match hosts.split(',').any(|named| permits(named.trim())) {
        true => Ok(()),
        false => {
            let why =
                format!("does not contain {full}, to which an entry connects; add it, or correct `host`");
            Err(Refused::Value { name: environment.name(&HOSTS), why })
        }
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
pub mod tests;
