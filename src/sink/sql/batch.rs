//! One batch, written within a transaction. Rows that the database refuses are isolated by savepoints.

use std::collections::HashSet;

use super::{
    connection::Connection,
    errors::{Trouble, orphaned, rejection},
    rows::{self, Cells, Row},
    schema::Target,
};
use crate::sink::{Delivery, Encoded, Prepared, Rejection};

/// What a payload does, by the index of the table.
enum Action<'a> {
    Write(Vec<(usize, Cells<'a>)>),
    Delete(Vec<(usize, Cells<'a>)>),
}

/// The payloads of a batch, and their outcomes.
struct Batch<'a> {
    targets: &'a [Target],
    /// `None`: the payload was rejected.
    actions: Vec<Option<Action<'a>>>,
    /// Whether a row of the payload was written, marked or deleted in a table that counts.
    written: Vec<bool>,
    rejected: Vec<(usize, Rejection)>,
}

/// Writes a batch. The caller has begun a transaction, and commits it. With `checks_parents`, a row whose parent is missing
/// is found even if the database would check that at the commit.
///
/// # Errors
///
/// A statement failed for a reason that is not in a record.
pub async fn store(
    connection: &mut Connection,
    targets: &[Target],
    payloads: &[Prepared],
    checks_parents: bool,
) -> Result<Delivery, Trouble> {
    let mut batch = Batch::read(targets, payloads);
    let mut orphans = if checks_parents { Some(connection.orphans().await?) } else { None };
    for segment in batch.segments() {
        let mut parts = vec![segment];
        while let Some(mut part) = parts.pop() {
            connection.run("SAVEPOINT importer").await?;
            let outcome = match batch.write(connection, &part).await {
                Ok(written) => adopted(connection, &mut orphans).await?.map(|()| written),
                Err((table, error)) => Err(rejection(&error, &targets[table]).ok_or(error)?),
            };
            match outcome {
                Ok(written) => {
                    connection.run("RELEASE SAVEPOINT importer").await?;
                    written.into_iter().for_each(|payload| batch.written[payload] = true);
                }
                Err(rejection) => {
                    connection.run("ROLLBACK TO SAVEPOINT importer; RELEASE SAVEPOINT importer").await?;
                    match part[..] {
                        [payload] => batch.rejected.push((payload, rejection)),
                        _ => {
                            // The earlier half comes first: its rows may be parents of the others.
                            parts.push(part.split_off(part.len() / 2));
                            parts.push(part);
                        }
                    }
                }
            }
        }
    }
    Ok(batch.delivery())
}

/// Checks that no more rows lack their parent than before, if their number is known.
async fn adopted(
    connection: &mut Connection,
    orphans: &mut Option<Vec<String>>,
) -> Result<Result<(), Rejection>, sqlx::Error> {
    let Some(before) = orphans else { return Ok(Ok(())) };
    let after = connection.orphans().await?;
    if after.len() > before.len() {
        let count = |tables: &[String], of: &String| tables.iter().filter(|table| *table == of).count();
        let table = after.iter().find(|table| count(&after, table) > count(before, table));
        return Ok(Err(orphaned(table.map_or("", String::as_str))));
    }
    *before = after;
    Ok(Ok(()))
}

impl<'a> Batch<'a> {
    fn read(targets: &'a [Target], payloads: &'a [Prepared]) -> Self {
        let names: Vec<Vec<&str>> = targets
            .iter()
            .map(|target| target.columns.iter().map(|column| column.name.as_str()).collect())
            .collect();
        let mut batch =
            Batch { targets, actions: vec![], written: vec![false; payloads.len()], rejected: vec![] };
        for (at, payload) in payloads.iter().enumerate() {
            let action = match &payload.bytes {
                Encoded::Json(json) => writes(targets, &names, json.value()),
                Encoded::Text(_) => deletes(targets, &payload.key),
            };
            batch.actions.push(match action {
                Ok(action) => Some(action),
                Err(rejection) => {
                    batch.rejected.push((at, rejection));
                    None
                }
            });
        }
        batch
    }

    /// Divides the payloads so that none deletes what another one of the same part writes.
    fn segments(&self) -> Vec<Vec<usize>> {
        let (mut segments, mut segment) = (vec![], vec![]);
        let (mut written, mut deleted) = (HashSet::new(), HashSet::new());
        for (at, action) in self.actions.iter().enumerate() {
            let Some(action) = action else { continue };
            let (rows, deletes) = match action {
                Action::Write(rows) => (rows, false),
                Action::Delete(rows) => (rows, true),
            };
            let keys: Vec<(usize, String)> = rows
                .iter()
                .filter(|(table, _)| self.targets[*table].rows.is_empty())
                .map(|(table, cells)| (*table, rows::identity(&self.targets[*table], cells)))
                .collect();
            let others = if deletes { &written } else { &deleted };
            if keys.iter().any(|key| others.contains(key)) {
                segments.push(std::mem::take(&mut segment));
                written.clear();
                deleted.clear();
            }
            if deletes { &mut deleted } else { &mut written }.extend(keys);
            segment.push(at);
        }
        segments.push(segment);
        segments.retain(|segment| !segment.is_empty());
        segments
    }

    /// Writes payloads. Returns those of which a row was written, marked or deleted in a table that counts.
    ///
    /// # Errors
    ///
    /// A statement failed, for the table of this index.
    async fn write(
        &self,
        connection: &mut Connection,
        part: &[usize],
    ) -> Result<Vec<usize>, (usize, sqlx::Error)> {
        let actions = || part.iter().filter_map(|at| Some((*at, self.actions[*at].as_ref()?)));
        let mut written = vec![];
        // Children before parents.
        for (table, target) in self.targets.iter().enumerate().rev() {
            let keys = actions().flat_map(|(at, action)| match action {
                Action::Delete(keys) => of(at, keys, table),
                Action::Write(_) => of(at, &[], table),
            });
            let changed = delete(connection, target, rows::fold(target, keys)).await;
            let changed = changed.map_err(|error| (table, error))?;
            if target.counts {
                written.extend(changed.into_iter().flat_map(|row| row.payloads));
            }
        }
        for (table, target) in self.targets.iter().enumerate() {
            let rows = actions().flat_map(|(at, action)| match action {
                Action::Write(rows) => of(at, rows, table),
                Action::Delete(_) => of(at, &[], table),
            });
            for (columns, rows) in rows::groups(rows::fold(target, rows)) {
                let changed =
                    upsert(connection, target, &columns, rows).await.map_err(|error| (table, error))?;
                if target.counts {
                    written.extend(changed.into_iter().flat_map(|row| row.payloads));
                }
            }
        }
        Ok(written)
    }

    fn delivery(self) -> Delivery {
        let Batch { actions, written, mut rejected, .. } = self;
        rejected.sort_by_key(|(at, _)| *at);
        let refused: HashSet<usize> = rejected.iter().map(|(at, _)| *at).collect();
        let unchanged = (0..actions.len()).filter(|at| !written[*at] && !refused.contains(at));
        Delivery { unchanged: unchanged.collect(), rejected, ..Delivery::default() }
    }
}

/// Returns the rows of a payload in a table.
fn of<'b>(at: usize, rows: &'b [(usize, Cells<'b>)], table: usize) -> impl Iterator<Item = Row<'b>> {
    let rows = rows.iter().filter(move |(of, _)| *of == table);
    rows.map(move |(_, cells)| Row { cells: cells.clone(), payloads: vec![at] })
}

/// Deletes or marks the rows with these keys. Returns the keys that had such a row.
async fn delete<'b>(
    connection: &mut Connection,
    target: &Target,
    keys: Vec<Row<'b>>,
) -> Result<Vec<Row<'b>>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(keys);
    }
    let json = rows::parameter(keys.iter().map(|row| &row.cells));
    let present: HashSet<i64> =
        connection.numbers(target.present(), json.clone()).await?.into_iter().collect();
    if !present.is_empty() {
        connection.execute(target.delete(), json).await?;
    }
    Ok((1..).zip(keys).filter(|(number, _)| present.contains(number)).map(|(_, row)| row).collect())
}

/// Writes rows that differ from those of the table. Returns them.
async fn upsert<'b>(
    connection: &mut Connection,
    target: &Target,
    columns: &[usize],
    rows: Vec<Row<'b>>,
) -> Result<Vec<Row<'b>>, sqlx::Error> {
    let json = rows::parameter(rows.iter().map(|row| &row.cells));
    let equal = connection.numbers(target.compare(columns), json.clone()).await?;
    let equal: HashSet<i64> = equal.into_iter().collect();
    let count = rows.len();
    let changed: Vec<Row> =
        (1..).zip(rows).filter(|(number, _)| !equal.contains(number)).map(|(_, row)| row).collect();
    if changed.is_empty() {
        return Ok(changed);
    }
    let json =
        if changed.len() == count { json } else { rows::parameter(changed.iter().map(|row| &row.cells)) };
    connection.execute(target.upsert(columns), json).await?;
    Ok(changed)
}

fn writes<'a>(
    targets: &[Target],
    names: &[Vec<&str>],
    payload: crate::base::json::Value<'a>,
) -> Result<Action<'a>, Rejection> {
    let mut written = vec![];
    for (table, target) in targets.iter().enumerate() {
        written.extend(rows::of(target, &names[table], payload)?.into_iter().map(|cells| (table, cells)));
    }
    Ok(Action::Write(written))
}

fn deletes(targets: &[Target], key: &str) -> Result<Action<'static>, Rejection> {
    let own = targets.iter().enumerate().filter(|(_, target)| target.rows.is_empty());
    let keys = own.map(|(table, target)| Ok((table, rows::key(target, key)?)));
    Ok(Action::Delete(keys.collect::<Result<_, Rejection>>()?))
}
