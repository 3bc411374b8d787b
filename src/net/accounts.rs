//! The doors of all accounts: each is opened when the first list needs it, and shared by all that do.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use log::warn;

use super::{
    Account, Door, Gate, Transport,
    environment::{Environment, Refused, is_loopback},
};
use crate::base::clock::Clock;

pub struct Doors {
    environment: Environment,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    open: Mutex<HashMap<&'static str, Arc<Door>>>,
}

impl Doors {
    pub fn new(environment: Environment, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Doors { environment, transport, clock, open: Mutex::default() }
    }

    /// The door of the account that `account` reads from the environment, by its service's name.
    pub fn door(
        &self,
        service: &'static str,
        account: impl Fn(&Environment) -> Result<(Account, Gate), Refused>,
    ) -> Result<Arc<Door>, Refused> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = open.get(service) {
            return Ok(Arc::clone(door));
        }
        let (account, gate) = account(&self.environment)?;
        if account.base.scheme() == "http" && !is_loopback(&account.base) {
            let name = account.url_name;
            warn!("`{name}` is not https: the key and the records travel unprotected.");
        }
        let door = Door::new(account, gate, Arc::clone(&self.transport), Arc::clone(&self.clock));
        open.insert(service, Arc::clone(&door));
        Ok(door)
    }

    /// The settings, for what is no account.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }
}
