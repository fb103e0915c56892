//! Reads one row, column by column in the order of its SELECT. A column that cannot be read as what it should be names
//! the row and itself, and nothing panics: a file on a disk is foreign bytes too.

use std::fmt::Display;
use std::str::FromStr;

use domain::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{CachedStatement, Connection, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::{Defect, Failure};

/// A row being read. The first column is its key.
pub(super) struct Columns<'r, 'stmt> {
    row: &'r Row<'stmt>,
    noun: &'static str,
    key: String,
    next: usize,
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

impl<'r, 'stmt> Columns<'r, 'stmt> {
    pub(super) fn of(noun: &'static str, row: &'r Row<'stmt>) -> Self {
        let key = row.get_ref(0).map_or_else(
            |_| "?".to_owned(),
            |value| match value {
                rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                _ => "?".to_owned(),
            },
        );
        Self { row, noun, key, next: 0 }
    }

    fn defect(&self, column: &'static str, source: impl Into<AnyError>) -> Failure {
        Failure::corrupt(self.noun, &self.key, Defect::Column { column, source: source.into() })
    }

    /// The next column, which the SELECT calls `column`.
    pub(super) fn take<T: FromSql>(&mut self, column: &'static str) -> Result<T, Failure> {
        let at = self.next;
        self.next += 1;
        #[cfg(test)]
        super::statements::read(self.noun, column);
        debug_assert_eq!(self.row.as_ref().column_name(at).ok(), Some(column), "{} column {at}", self.noun);
        self.row.get(at).map_err(|error| self.defect(column, error))
    }

    /// A text that parses.
    pub(super) fn text<T>(&mut self, column: &'static str) -> Result<T, Failure>
    where
        T: FromStr,
        T::Err: Into<AnyError>,
    {
        let text: String = self.take(column)?;
        text.parse().map_err(|error: T::Err| self.defect(column, error))
    }

    /// A text that parses, or null.
    pub(super) fn text_or_null<T>(&mut self, column: &'static str) -> Result<Option<T>, Failure>
    where
        T: FromStr,
        T::Err: Into<AnyError>,
    {
        let text: Option<String> = self.take(column)?;
        text.map(|text| text.parse()).transpose().map_err(|error: T::Err| self.defect(column, error))
    }

    /// One of a closed set of words.
    pub(super) fn word<T>(&mut self, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Failure> {
        let value: String = self.take(column)?;
        parse(&value).ok_or_else(|| self.defect(column, Defect::Word { value }))
    }

    /// One of a closed set of words, or null.
    pub(super) fn word_or_null<T>(
        &mut self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.take::<Option<String>>(column)? else {
            return Ok(None);
        };
        parse(&value).map(Some).ok_or_else(|| self.defect(column, Defect::Word { value }))
    }

    /// A number that is never negative.
    pub(super) fn number(&mut self, column: &'static str) -> Result<u64, Failure> {
        let value: i64 = self.take(column)?;
        u64::try_from(value).map_err(|error| self.defect(column, error))
    }

    /// A number that is never negative, or null.
    pub(super) fn number_or_null(&mut self, column: &'static str) -> Result<Option<u64>, Failure> {
        let value: Option<i64> = self.take(column)?;
        value.map(u64::try_from).transpose().map_err(|error| self.defect(column, error))
    }

    pub(super) fn time(&mut self, column: &'static str) -> Result<Timestamp, Failure> {
        self.take(column).map(Timestamp::from_micros)
    }

    pub(super) fn time_or_null(&mut self, column: &'static str) -> Result<Option<Timestamp>, Failure> {
        Ok(self.take::<Option<i64>>(column)?.map(Timestamp::from_micros))
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<T, Failure> {
        let text: String = self.take(column)?;
        serde_json::from_str(&text).map_err(|error| self.defect(column, error))
    }

    pub(super) fn json_or_null<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<Option<T>, Failure> {
        let text: Option<String> = self.take(column)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| self.defect(column, error))
    }

    /// A value that was read from its column and is not what it should be.
    pub(super) fn refuse(&self, column: &'static str, why: impl Into<AnyError>) -> Failure {
        self.defect(column, why)
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

/// A page's or a batch's limit as SQLite counts.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A counter as SQLite keeps it. 63 bits are more than any honest counter needs, so a greater one is refused, not cut.
pub(super) fn integer(
    noun: &'static str,
    key: impl ToString,
    column: &'static str,
    value: u64,
) -> Result<i64, Failure> {
    i64::try_from(value).map_err(|_| Failure::corrupt(noun, key, Defect::Range { column, value }))
}

/// Whole values that are written as JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("maps with text keys, lists, text and numbers always have a JSON form")
}

/// Microseconds, or null.
pub(super) fn micros(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_micros)
}

/// Keys for `json_each`: one statement, and one plan, for any number of them.
pub(super) fn keys<T: Display>(keys: &[T]) -> String {
    json(&keys.iter().map(ToString::to_string).collect::<Vec<_>>())
}
