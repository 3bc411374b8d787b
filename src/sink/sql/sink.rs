//! The sink: declares itself, encodes payloads, and delivers batches as calls of the database.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{
    address::Database,
    errors::judge,
    fields,
    kind::Dialect,
    rows::NOT_AN_OBJECT,
    session::Session,
    settings::{OnDelete, Plan, Table},
    statements,
};
use crate::{
    base::{adapter::Chosen, fault::Fault, json::Json, record::Payload, secret::Secret},
    net::{
        AccountClients, Caller, Unopened,
        call::{Calls, Judged},
    },
    sink::{Checked, Deletions, Delivery, Prepared, Rejection, Settles, Sink, SinkContext, SinkSpec},
};

/// Upper bound of the records per statement.
const MAX_RECORDS: usize = 1000;
/// Upper bound of a batch, in bytes: far below the 1 GB of a parameter, since both sides keep copies of it.
const MAX_BYTES: usize = 8_000_000;

/// Tables of a database.
pub struct Sql {
    session: Arc<Session>,
    calls: Arc<Calls>,
    caller: Caller,
    list_id: String,
    on_delete: OnDelete,
    destination: Secret,
    address: String,
}

impl Sql {
    pub fn open(chosen: &Chosen, context: SinkContext, accounts: &AccountClients) -> Result<Self, Unopened> {
        let plan = Plan::read(chosen)?;
        let database = Database::read(&plan.place, chosen, &context, accounts.environment())?;
        if plan.create && database.dialect() == Dialect::Sqlite {
            let known = plan.tables.iter().try_for_each(Table::check_sqlite);
            known.map_err(|why| format!("{}: {why}", chosen.kind))?;
        }
        let calls = database.calls(accounts);
        let tables: Vec<String> = plan.tables.iter().map(|table| table.name.text()).collect();
        let address = format!("{} {}", database.address, tables.join(" "));
        Ok(Sql {
            calls,
            caller: context.caller,
            list_id: context.list_id.to_owned(),
            on_delete: plan.on_delete,
            destination: Secret::new(address.clone()),
            address,
            session: Arc::new(Session::new(database, plan.tables, plan.atomic, plan.create, context.list_id)),
        })
    }

    /// Names a batch for messages.
    fn doing(&self, records: usize) -> String {
        let noun = if records == 1 { "record" } else { "records" };
        format!("could not write {records} {noun} of list `{}`", self.list_id.escape_debug())
    }
}

impl Sink for Sql {
    /// One batch at a time, so that an older version of a record precedes a newer one.
    fn spec(&self) -> SinkSpec {
        let mut spec = SinkSpec::new(self.destination.clone(), self.address.clone(), MAX_RECORDS, 1);
        spec.limits.bytes = Some(MAX_BYTES);
        spec.caches = false;
        if self.session.atomic {
            spec.settles = Settles::AtClose;
        }
        if self.on_delete != OnDelete::Ignore {
            spec.deletions = Deletions::Sent;
        }
        spec
    }

    fn prepare(&self, payload: &Payload) -> Result<Prepared, Rejection> {
        match &payload.body {
            Some(body) if !body.value().is_object() => Err(Rejection::new(NOT_AN_OBJECT)),
            Some(body) => Ok(Prepared::new(&payload.key, body.clone())),
            // The key says which row it is.
            None => Ok(Prepared::new(&payload.key, String::new())),
        }
    }

    fn deliver<'a>(&'a self, batch: &'a [Prepared]) -> BoxFuture<'a, Result<Delivery, Fault>> {
        Box::pin(async move {
            let (doing, batch): (_, Arc<[Prepared]>) = (self.doing(batch.len()), batch.into());
            let attempt = || Arc::clone(&self.session).deliver(Arc::clone(&batch));
            let judge = |outcome| judge(&self.session.database, outcome);
            self.calls.run(&self.caller, &doing, attempt, judge).await
        })
    }

    /// Lists the tables with their columns.
    fn check(&self) -> BoxFuture<'_, Result<Checked, Fault>> {
        Box::pin(async move {
            let doing = format!("could not read the tables of {}", self.session.database.service);
            let attempt = || Arc::clone(&self.session).check();
            self.calls
                .run(&self.caller, &doing, attempt, |outcome| judge(&self.session.database, outcome))
                .await
        })
    }

    fn ignored(&self, payload: &Json) -> Vec<String> {
        fields::ignored(&self.session.tables, payload.value())
    }

    fn unfilled(&self, payloads: &[Json]) -> Vec<String> {
        fields::unfilled(&self.session.tables, payloads)
    }

    fn statements(&self) -> Vec<String> {
        let dialect = self.session.database.dialect();
        let tables = self.session.tables.iter().filter(|_| self.session.create);
        tables.map(|table| statements::create(table, dialect)).collect()
    }

    /// Commits the transaction of the pass, if there is one. A failure is final: the database undoes the transaction.
    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            if !self.session.atomic {
                return Ok(());
            }
            let doing = format!("could not commit the records of list `{}`", self.list_id.escape_debug());
            let attempt = || Arc::clone(&self.session).close();
            let judge = |outcome| {
                let Judged { result, effect, headroom } = judge(&self.session.database, outcome);
                let result = result.map_err(|fault| Fault::List(fault.problem().clone()));
                Judged { result, effect, headroom }
            };
            self.calls.run(&self.caller, &doing, attempt, judge).await
        })
    }
}
