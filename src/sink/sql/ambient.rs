//! Keeps variables of other programs out of a connection: the driver takes what an address lacks from `PGPASSWORD`,
//! `PGOPTIONS` and the like.

use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use crate::net::Refused;

pub const PORT: u16 = 5432;
/// Variables whose effect the driver offers no way to undo, with the parameters that replace them.
const LASTING: [(&str, [&str; 2]); 2] =
    [("PGSSLCERT", ["sslcert", "ssl-cert"]), ("PGSSLKEY", ["sslkey", "ssl-key"])];

/// Returns the options without what variables have set. `given` are the names of the parameters of the address.
///
/// # Errors
///
/// A variable is set whose effect can't be undone.
pub fn without(mut options: PgConnectOptions, given: &[&str]) -> Result<PgConnectOptions, Refused> {
    let gives = |names: &[&str]| names.iter().any(|name| given.contains(name));
    let bare =
        PgConnectOptions::new_without_pgpass().host("localhost").username("a").password("").database("a");
    let bare_url = bare.to_url_lossy();
    let sets = |name: &str| bare_url.query_pairs().any(|(parameter, _)| parameter == name);
    let lasting = LASTING.iter().find(|(_, names)| sets(names[0]) && !gives(names)).map(|(name, _)| *name);
    if let Some(name) = bare.get_options().map(|_| "PGOPTIONS").or(lasting) {
        let why = "would change the connection of the sink sql; unset it".to_owned();
        return Err(Refused::Value { name: name.to_owned(), why });
    }
    if !gives(&["password"]) {
        options = options.password("");
    }
    if !gives(&["port"]) {
        options = options.port(PORT);
    }
    if !gives(&["dbname"]) {
        let user = options.get_username().to_owned();
        options = options.database(&user);
    }
    if !gives(&["sslrootcert", "ssl-root-cert", "ssl-ca"]) {
        options = options.ssl_root_cert_from_pem(vec![]);
    }
    if !gives(&["application_name"]) {
        options = options.application_name(env!("CARGO_PKG_NAME"));
    }
    Ok(options)
}
