//! The clients of all accounts: each is made when the first list needs it, and shared by all lists.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Account, AccountClient, RateLimiter, Transport,
    call::Calls,
    environment::{Environment, Refused, is_loopback},
};
use crate::base::{clock::Clock, event::ServiceEvent, events::Events};

/// The clients of all accounts, for the entries that use one of them: a clone with another account shares the
/// clients.
#[derive(Clone)]
pub struct AccountClients {
    /// The settings of the account.
    environment: Environment,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    events: Events,
    /// The clients by the account and the name of the service.
    open: Arc<Mutex<HashMap<Key, Arc<AccountClient>>>>,
    /// The calls of accounts that are not reached over HTTP, by the same key.
    calls: Arc<Mutex<HashMap<Key, Arc<Calls>>>>,
}

type Key = (Option<String>, String);

impl AccountClients {
    /// Starts without any client. Sends no request.
    pub fn new(environment: Environment, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        let (open, calls) = Default::default();
        AccountClients { environment, transport, clock, events: Events::default(), open, calls }
    }

    /// Makes all clients report to these listeners.
    pub fn with_events(self, events: Events) -> Self {
        AccountClients { events, ..self }
    }

    /// Returns where adapters report.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Returns the clients for entries with this account; `None` for the one without a name.
    pub fn of(&self, account: Option<&str>) -> Self {
        AccountClients { environment: self.environment.of(account), ..self.clone() }
    }

    /// Returns the client of the account at `name`, the name of a service, or an address that an entry chose. The
    /// first call makes it, with the settings that `account` reads from the environment, and warns if the address is
    /// not https. The name of an account is added to that of its service.
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
        let key = (self.environment.account().map(str::to_owned), name.to_owned());
        if let Some(client) = open.get(&key) {
            return Ok(Arc::clone(client));
        }
        let (mut account, limiter) = account(&self.environment)?;
        if let Some(name) = self.environment.account() {
            account.service = format!("{} {name}", account.service).into();
        }
        if account.base.scheme() == "http" && !is_loopback(&account.base) {
            self.events.emit(ServiceEvent::Unencrypted { variable: account.url_name.to_string() });
        }
        let calls = Calls::new(account.service.clone(), limiter, self.events.clone());
        let client = AccountClient::new(account, calls, Arc::clone(&self.transport), Arc::clone(&self.clock));
        open.insert(key, Arc::clone(&client));
        Ok(client)
    }

    /// Returns the calls of the account at `name`, for a protocol other than HTTP. The first call makes them, with the
    /// name of the `service` for messages, to which the name of an account is added, and warns if its address, in the
    /// setting `unverified`, lets a server be used without being verified.
    pub fn calls(
        &self,
        name: &str,
        service: &str,
        unverified: Option<&str>,
        limiter: impl FnOnce() -> RateLimiter,
    ) -> Arc<Calls> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let account = self.environment.account();
        let make = || {
            if let Some(setting) = unverified {
                self.events.emit(ServiceEvent::Unverified { setting: setting.to_owned() });
            }
            let service = account.map_or(service.to_owned(), |account| format!("{service} {account}"));
            Arc::new(Calls::new(service.into(), limiter(), self.events.clone()))
        };
        let key = (account.map(str::to_owned), name.to_owned());
        Arc::clone(calls.entry(key).or_insert_with(make))
    }

    /// Returns the settings of the account.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}
