//! Runs statements, and reads rows as [`crate::mapping`] wants them.

use std::fmt::Display;

use domain::Timestamp;
use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{CachedStatement, Connection, Params, Row};

use super::failure::Failure;
use crate::column::json;
use crate::mapping::{Cause, Columns};

/// A row being read, column by column in the order of its SELECT. The first column is its key.
pub(super) struct RowColumns<'r, 'stmt> {
    row: &'r Row<'stmt>,
    noun: &'static str,
    next: usize,
}

impl<'r, 'stmt> RowColumns<'r, 'stmt> {
    pub(super) const fn of(noun: &'static str, row: &'r Row<'stmt>) -> Self {
        Self { row, noun, next: 0 }
    }

    /// The next column, which the SELECT calls `column`.
    fn take<T: FromSql>(&mut self, column: &'static str) -> Result<T, Cause> {
        let at = self.next;
        self.next += 1;
        #[cfg(test)]
        super::statements::read(self.noun, column);
        debug_assert_eq!(self.row.as_ref().column_name(at).ok(), Some(column), "{} column {at}", self.noun);
        Ok(self.row.get(at)?)
    }
}

impl Columns for RowColumns<'_, '_> {
    fn key(&self) -> (&'static str, String) {
        let key = self.row.get_ref(0).map_or_else(
            |_| "?".to_owned(),
            |value| match value {
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                ValueRef::Integer(number) => number.to_string(),
                _ => "?".to_owned(),
            },
        );
        (self.noun, key)
    }

    fn text_column(&mut self, column: &'static str) -> Result<Option<String>, Cause> {
        self.take(column)
    }

    fn integer_column(&mut self, column: &'static str) -> Result<Option<i64>, Cause> {
        self.take(column)
    }

    fn flag_column(&mut self, column: &'static str) -> Result<Option<bool>, Cause> {
        self.take(column)
    }

    fn time_column(&mut self, column: &'static str) -> Result<Option<Timestamp>, Cause> {
        Ok(self.take::<Option<i64>>(column)?.map(Timestamp::from_micros))
    }

    fn json_column(&mut self, column: &'static str) -> Result<Option<String>, Cause> {
        self.take(column)
    }
}

/// The one door for statements while a store is open.
fn prepare<'c>(connection: &'c Connection, sql: &str) -> rusqlite::Result<CachedStatement<'c>> {
    #[cfg(test)]
    super::statements::ran(sql);
    connection.prepare_cached(sql)
}

/// All rows of a statement.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    map: impl Fn(&Row<'_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(map(row)?);
    }
    Ok(found)
}

/// The first row of a statement.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    map: impl Fn(&Row<'_>) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(map).transpose()
}

/// Runs a statement that writes; how many rows it wrote.
pub(super) fn write(connection: &Connection, sql: &str, params: impl Params) -> Result<usize, rusqlite::Error> {
    prepare(connection, sql)?.execute(params)
}

/// Microseconds, or null.
pub(super) fn micros(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_micros)
}

/// Keys for `json_each`: one statement, and one plan, for any number of them.
pub(super) fn keys<T: Display>(keys: &[T]) -> String {
    json(&keys.iter().map(ToString::to_string).collect::<Vec<_>>())
}
