//! The connection of a run: opened at its first batch, and used by one batch at a time.

use std::{io, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::Mutex, task::spawn_blocking, time::timeout};

use super::{
    SPEC,
    address::{Database, Location},
    batch,
    connection::Connection,
    errors::{Trouble, is_locked, lacks_parent},
    kind::Dialect,
    schema::Target,
    settings::Table,
    statements,
};
use crate::{
    base::fault::Fault,
    sink::{Checked, Delivery, Prepared},
};

/// Upper bound of the time for a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// Upper bound of the time for a batch. The server ends a wait for a lock earlier.
const BATCH: Duration = Duration::from_secs(300);

/// The connection of a run, and what it is for.
pub struct Session {
    pub database: Database,
    pub tables: Vec<Table>,
    /// Whether all batches since the last close are one transaction.
    pub atomic: bool,
    pub create: bool,
    /// Number of the lock that the transactions of this list and these tables share.
    lock: i64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Whether the transaction contains batches.
    unfinished: bool,
}

struct Open {
    connection: Connection,
    /// The tables, once they were read.
    targets: Option<Vec<Target>>,
}

impl Session {
    pub fn new(database: Database, tables: Vec<Table>, atomic: bool, create: bool, list_id: &str) -> Self {
        let names = tables.iter().map(|table| table.name.text()).collect::<Vec<_>>();
        let digest = md5::compute(format!("{} {list_id:?} {names:?}", SPEC.kind)).0;
        let lock = digest.iter().take(8).fold(0, |lock, byte| lock << 8 | i64::from(*byte));
        Session { database, tables, atomic, create, lock, state: Mutex::default() }
    }

    /// Writes a batch. Commits it, unless all batches are one transaction.
    pub async fn deliver(self: Arc<Self>, batch: Arc<[Prepared]>) -> Result<Delivery, Trouble> {
        let limit = BATCH;
        self.limited(limit, |session| async move { session.write(&batch).await }).await
    }

    /// Commits the transaction that contains the batches since the last close.
    pub async fn close(self: Arc<Self>) -> Result<(), Trouble> {
        self.limited(BATCH, |session| async move { session.commit().await }).await
    }

    /// Reads the tables on a connection of its own. Finds a line for each.
    pub async fn check(self: Arc<Self>) -> Result<Checked, Trouble> {
        self.limited(BATCH, |session| async move { session.describe().await }).await
    }

    /// Runs an attempt, with an upper bound of its time. SQLite has its own: it waits for the disk and a few seconds for
    /// other writers, on a thread that may block.
    async fn limited<T, F>(
        self: Arc<Self>,
        limit: Duration,
        attempt: impl FnOnce(Arc<Session>) -> F,
    ) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Trouble>> + Send + 'static,
    {
        match self.database.dialect() {
            Dialect::Postgres => match timeout(limit, attempt(self)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Trouble::TimedOut(limit)),
            },
            Dialect::Sqlite => {
                let (attempt, runtime) = (attempt(self), Handle::current());
                let outcome = spawn_blocking(move || runtime.block_on(attempt)).await;
                outcome.unwrap_or(Err(Trouble::Failed(sqlx::Error::WorkerCrashed)))
            }
        }
    }

    async fn write(&self, batch: &[Prepared]) -> Result<Delivery, Trouble> {
        let mut state = self.state.lock().await;
        // If this attempt is dropped or fails, so is the connection, which undoes the transaction.
        let mut open = match state.open.take() {
            Some(open) => open,
            None if state.unfinished => return Err(Trouble::Lost),
            None => Open { connection: self.connect(self.create).await?, targets: None },
        };
        match self.write_to(&mut open, state.unfinished, batch).await {
            Ok(delivery) => {
                state.unfinished = self.atomic;
                state.open = Some(open);
                Ok(delivery)
            }
            Err(trouble) => {
                // The earlier batches of the transaction are still there.
                let keeps = state.unfinished && is_locked(&trouble);
                let undo = "ROLLBACK TO SAVEPOINT importer_batch; RELEASE SAVEPOINT importer_batch";
                if keeps && open.connection.run(undo).await.is_ok() {
                    state.open = Some(open);
                }
                Err(trouble)
            }
        }
    }

    async fn write_to(&self, open: &mut Open, begun: bool, batch: &[Prepared]) -> Result<Delivery, Trouble> {
        let Open { connection, targets } = open;
        if !begun {
            connection.run(&self.begin()).await?;
        }
        let known = match targets.take() {
            Some(known) => known,
            None => self.prepare(connection).await?,
        };
        let (targets, is_file) = (&*targets.insert(known), self.database.dialect() == Dialect::Sqlite);
        if begun || is_file {
            connection.run("SAVEPOINT importer_batch").await?;
        }
        let delivery = batch::store(connection, targets, batch, false).await?;
        if self.atomic {
            if begun || is_file {
                connection.run("RELEASE SAVEPOINT importer_batch").await?;
            }
            return Ok(delivery);
        }
        match connection.run("COMMIT").await {
            // SQLite checks deferred keys here, and does not say whose row it is.
            Err(error) if is_file && lacks_parent(&error) => {
                connection.run("ROLLBACK TO SAVEPOINT importer_batch").await?;
                let delivery = batch::store(connection, targets, batch, true).await?;
                connection.run("COMMIT").await?;
                Ok(delivery)
            }
            outcome => Ok(outcome.map(|()| delivery)?),
        }
    }

    async fn connect(&self, create: bool) -> Result<Connection, Trouble> {
        let connecting = Connection::open(&self.database.location, create);
        let connected = match self.database.dialect() {
            Dialect::Sqlite => connecting.await,
            Dialect::Postgres => timeout(CONNECT, connecting).await.unwrap_or_else(|_| {
                let why = format!("no answer in {} s", CONNECT.as_secs());
                Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why)))
            }),
        };
        connected.map_err(Trouble::Unconnected)
    }

    /// Returns the statements that begin a transaction.
    fn begin(&self) -> String {
        match self.database.dialect() {
            Dialect::Sqlite => "BEGIN IMMEDIATE".to_owned(),
            // A constraint that is checked at the end would name no record, and what triggers say may contain values. The
            // lock waits for the commit of a process that was killed meanwhile.
            Dialect::Postgres => format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '30s'; \
                 SET LOCAL idle_in_transaction_session_timeout = 0; \
                 SET LOCAL client_min_messages = error; SET CONSTRAINTS ALL IMMEDIATE; \
                 SELECT pg_advisory_xact_lock({})",
                self.lock
            ),
        }
    }

    /// Reads the tables, and creates those that are missing if the entry wants that.
    async fn prepare(&self, connection: &mut Connection) -> Result<Vec<Target>, Trouble> {
        let (dialect, mut targets) = (self.database.dialect(), vec![]);
        for table in &self.tables {
            let mut found = connection.columns(&table.name).await?;
            if found.is_empty() && self.create {
                connection.run(&statements::create(table, dialect)).await?;
                found = connection.columns(&table.name).await?;
            }
            targets.push(Target::resolve(table, &found, dialect).map_err(Trouble::Unfit)?);
        }
        Ok(targets)
    }

    async fn commit(&self) -> Result<(), Trouble> {
        let mut state = self.state.lock().await;
        if !std::mem::take(&mut state.unfinished) {
            return Ok(());
        }
        let mut open = state.open.take().ok_or(Trouble::Lost)?;
        match open.connection.run("COMMIT").await {
            // SQLite checks deferred keys here, and the transaction is still there to find them.
            Err(error) if lacks_parent(&error) => {
                let tables = open.connection.orphans().await?;
                return Err(Trouble::Unfit(orphans(tables)));
            }
            outcome => outcome?,
        }
        state.open = Some(open);
        Ok(())
    }

    async fn describe(&self) -> Result<Checked, Trouble> {
        if let Location::Sqlite(path) = &self.database.location
            && self.create
            && !path.exists()
        {
            let missing = format!("{} does not exist; the first delivery creates it", self.database.service);
            return Ok(Checked { found: vec![missing], warnings: vec![] });
        }
        let mut connection = self.connect(false).await?;
        if self.database.dialect() == Dialect::Postgres {
            // A pooler may give each statement outside of a transaction another server.
            connection.run("BEGIN").await?;
        }
        let (dialect, mut checked) = (self.database.dialect(), Checked::default());
        for table in &self.tables {
            let found = connection.columns(&table.name).await?;
            if found.is_empty() && self.create {
                let name = table.name.text();
                checked.found.push(format!("table {name}: missing; the first delivery creates it"));
                continue;
            }
            let target = Target::resolve(table, &found, dialect).map_err(Trouble::Unfit)?;
            // Finds a missing unique index, missing rights, and types that can't be converted.
            let columns: Vec<usize> = (0..target.columns.len()).collect();
            connection.execute(format!("EXPLAIN {}", target.upsert(&columns)), "[]".to_owned()).await?;
            checked.found.push(target.describe());
            checked.warnings.extend(target.differences());
        }
        Ok(checked)
    }
}

/// Returns the fault of a transaction whose deferred keys do not hold, because of rows of these tables.
fn orphans(mut tables: Vec<String>) -> Fault {
    tables.sort_unstable();
    tables.dedup();
    let tables = tables.iter().map(|table| format!("`{table}`")).collect::<Vec<_>>().join(", ");
    let why = format!("a foreign key is violated: a row of {tables} lacks its parent");
    Fault::list(why)
        .hint("nothing of this transaction is stored; without `atomic`, only the record with that row would be rejected")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{address::tests::read, errors::judge},
        *,
    };
    use crate::net::call::Effect;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_does_not_answer_can_not_be_reached() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let url = format!("postgres://ada@127.0.0.1:{port}/a");
        let session = Session::new(read(json!({"SQL_URL": url})).unwrap(), vec![], false, false, "a");
        let judged = judge(&session.database, session.connect(false).await);
        assert!(matches!(judged.effect, Effect::Unreachable));
        let fault = judged.result.map(|_| ()).unwrap_err().to_string();
        let begin = format!("could not connect to postgresql at 127.0.0.1:{port}: no answer in 30 s");
        assert!(fault.starts_with(&begin), "{fault}");
    }
}
