//! The clients of all accounts: each is made when the first list needs it, and shared by all lists.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use log::warn;

use super::{
    Account, AccountClient, RateLimiter, Transport,
    environment::{Environment, Refused, is_loopback},
};
use crate::base::clock::Clock;

/// The clients of all accounts, by name.
pub struct AccountClients {
    environment: Environment,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    open: Mutex<HashMap<String, Arc<AccountClient>>>,
}

impl AccountClients {
    /// Starts without any client. Sends no request.
    pub fn new(environment: Environment, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        AccountClients { environment, transport, clock, open: Mutex::default() }
    }

    /// Returns the client of the account `name`, such as the name of a service, or an address that an entry
    /// chose. The first call makes it, with the settings that `account` reads from the environment, and warns
    /// if the address is not https.
    ///
    /// # Errors
    ///
    /// A setting of the account is missing or invalid.
    pub fn client(
        &self,
        name: &str,
        account: impl Fn(&Environment) -> Result<(Account, RateLimiter), Refused>,
    ) -> Result<Arc<AccountClient>, Refused> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = open.get(name) {
            return Ok(Arc::clone(client));
        }
        let (account, limiter) = account(&self.environment)?;
        if account.base.scheme() == "http" && !is_loopback(&account.base) {
            let name = &account.url_name;
            warn!(
                "`{name}` is not https: the key and the records are sent unencrypted; use an https address."
            );
        }
        let client =
            AccountClient::new(account, limiter, Arc::clone(&self.transport), Arc::clone(&self.clock));
        open.insert(name.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// Returns the environment, for settings that belong to no account.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}
