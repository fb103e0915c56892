//! Statements and their parameters.
//!
//! A statement is written with named parameters (`:uid`) and with the schema's usual name (`novacula.executors`). Here, once for
//! each statement and store, names become numbers and the schema becomes the one that was configured: names are always
//! qualified, so nothing hangs on a session's search path, and statements are sent unnamed with the types of their
//! parameters. Both are what lets the store work through a pooler that gives each transaction another session.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut as _, BytesMut};
use domain::{Sha256, Timestamp};
use serde::Serialize;
use tokio_postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::column;

/// The name that statements and migrations are written with.
pub(super) const SCHEMA: &str = "novacula";

/// Microseconds between 1970, where our instants begin, and 2000, where PostgreSQL's do.
pub(super) const EPOCH_2000: i64 = 946_684_800_000_000;

/// Every statement of a store, as it is sent.
pub(super) struct Statements {
    schema: String,
    known: Mutex<HashMap<&'static str, Arc<Statement>>>,
}

/// A statement as it is sent, and its parameters' names in order.
pub(super) struct Statement {
    pub(super) sql: String,
    names: Vec<&'static str>,
}

/// A parameter, with the type that it is sent as.
pub(super) struct Value(Type, Box<dyn ToSql + Send + Sync>);

/// The values of one column, for all rows of a set.
struct Column {
    of: Type,
    values: Vec<Box<dyn ToSql + Send + Sync>>,
}

/// A JSON document, written already.
#[derive(Clone, Debug)]
pub(super) struct Json(String);

/// An instant, as PostgreSQL keeps it.
#[derive(Clone, Copy, Debug)]
struct Instant(Timestamp);

/// Parameters by name.
macro_rules! params {
    ($($name:literal: $value:expr),* $(,)?) => {
        [$(($name, $crate::postgres::statement::Value::from($value))),*]
    };
}

pub(super) use params;

// === impl Statements ===

impl Statements {
    pub(super) fn new(schema: &str) -> Self {
        Self { schema: schema.to_owned(), known: Mutex::default() }
    }

    /// The statement as it is sent.
    pub(super) fn get(&self, sql: &'static str) -> Arc<Statement> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(sql).or_insert_with(|| Arc::new(numbered(sql, &self.schema))))
    }

    /// The configured schema's name.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }
}

/// Puts the configured schema in the place of the one that `sql` is written with. The name was checked when it was configured.
pub(super) fn in_schema(sql: &str, schema: &str) -> String {
    sql.replace("novacula.", &format!("{schema}."))
        .replace("'novacula'::regnamespace", &format!("'{schema}'::regnamespace"))
        .replace("pg_notify('novacula'", &format!("pg_notify('{schema}'"))
}

/// Names become numbers, in order of their first appearance. `::` is a cast.
fn numbered(sql: &'static str, schema: &str) -> Statement {
    let mut names: Vec<&'static str> = Vec::new();
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(':') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(cast) = after.strip_prefix(':') {
            out.push_str("::");
            rest = cast;
            continue;
        }
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let name = &after[..end];
        let number = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        out.push_str(&format!("${}", number + 1));
        rest = &after[end..];
    }
    out.push_str(rest);
    Statement { sql: in_schema(&out, schema), names }
}

// === impl Statement ===

impl Statement {
    /// The parameters in the statement's order.
    pub(super) fn bind<'p>(&self, params: &'p [(&'static str, Value)]) -> Vec<(&'p (dyn ToSql + Sync), Type)> {
        debug_assert_eq!(self.names.len(), params.len(), "parameters of {}", self.sql);
        let named = self.names.iter().map(|name| {
            let found = params.iter().find(|(given, _)| given == name);
            let (_, value) =
                found.unwrap_or_else(|| panic!("the suite runs every statement, and {name} is given in {}", self.sql));
            (&*value.1 as &(dyn ToSql + Sync), value.0.clone())
        });
        named.collect()
    }
}

// === impl Value ===

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Digests of secrets are among them.
        f.debug_tuple("Value").field(&self.0).finish_non_exhaustive()
    }
}

macro_rules! values {
    ($($from:ty => $type:ident, $array:ident, |$value:ident| $plain:expr;)*) => {
        $(
            impl From<$from> for Value {
                fn from($value: $from) -> Self {
                    Self(Type::$type, Box::new($plain))
                }
            }

            impl From<Option<$from>> for Value {
                fn from(value: Option<$from>) -> Self {
                    Self(Type::$type, Box::new(value.map(|$value| $plain)))
                }
            }

            impl From<Vec<$from>> for Value {
                fn from(values: Vec<$from>) -> Self {
                    let plain: Vec<_> = values.into_iter().map(|$value| $plain).collect();
                    Self(Type::$array, Box::new(plain))
                }
            }
        )*
    };
}

values! {
    &str => TEXT, TEXT_ARRAY, |value| value.to_owned();
    String => TEXT, TEXT_ARRAY, |value| value;
    i64 => INT8, INT8_ARRAY, |value| value;
    bool => BOOL, BOOL_ARRAY, |value| value;
    Uuid => UUID, UUID_ARRAY, |value| value;
    Sha256 => BYTEA, BYTEA_ARRAY, |value| value.as_bytes().to_vec();
    Timestamp => TIMESTAMPTZ, TIMESTAMPTZ_ARRAY, |value| Instant(value);
    Json => JSON, JSON_ARRAY, |value| value;
}

/// The type of an array of `element`, of those that [`Value`] knows.
fn array_of(element: &Type) -> Type {
    match *element {
        Type::INT8 => Type::INT8_ARRAY,
        Type::BOOL => Type::BOOL_ARRAY,
        Type::UUID => Type::UUID_ARRAY,
        Type::BYTEA => Type::BYTEA_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        Type::JSON => Type::JSON_ARRAY,
        _ => Type::TEXT_ARRAY,
    }
}

impl From<Vec<Option<String>>> for Value {
    fn from(values: Vec<Option<String>>) -> Self {
        Self(Type::TEXT_ARRAY, Box::new(values))
    }
}

/// The parameters of a statement that writes a set of rows with `unnest`, from each row's own: an array for each name.
pub(super) fn columns<const N: usize>(rows: Vec<[(&'static str, Value); N]>) -> Vec<(&'static str, Value)> {
    let mut columns: Vec<(&'static str, Column)> = Vec::with_capacity(N);
    for row in rows {
        if columns.is_empty() {
            columns.extend(row.iter().map(|(name, value)| (*name, Column { of: value.0.clone(), values: Vec::new() })));
        }
        for ((_, column), (_, value)) in columns.iter_mut().zip(row) {
            column.values.push(value.1);
        }
    }
    columns.into_iter().map(|(name, column)| (name, column.into())).collect()
}

impl From<Column> for Value {
    fn from(column: Column) -> Self {
        Self(array_of(&column.of), Box::new(column))
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Column").field(&self.of).field(&self.values.len()).finish()
    }
}

impl ToSql for Column {
    // The binary form of an array (PostgreSQL, src/backend/utils/adt/arrayfuncs.c, array_send): dimensions, whether a value
    // may be null, the element's type, how many, the first one's number; then length and bytes of each, -1 for a null.
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Send + Sync>> {
        let n_values = i32::try_from(self.values.len())?;
        out.put_i32(1);
        out.put_i32(1);
        out.put_u32(self.of.oid());
        out.put_i32(n_values);
        out.put_i32(1);
        for value in &self.values {
            let at = out.len();
            out.put_i32(-1);
            if matches!(value.to_sql_checked(&self.of, out)?, IsNull::No) {
                let length = i32::try_from(out.len() - at - size_of::<i32>())?;
                out[at..at + size_of::<i32>()].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}

// === impl Json ===

impl Json {
    /// The document of a whole value.
    pub(super) fn of(value: &impl Serialize) -> Self {
        Self(column::json(value))
    }
}

impl ToSql for Json {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Send + Sync>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSON
    }

    to_sql_checked!();
}

// === impl Instant ===

impl ToSql for Instant {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Send + Sync>> {
        let micros =
            self.0.as_micros().checked_sub(EPOCH_2000).ok_or("the instant is before what PostgreSQL can keep")?;
        out.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_numbers_and_casts_stay() {
        let statement = numbered("SELECT :a::uuid[], :b, 'x'::text FROM novacula.t WHERE a = :a", "other");
        assert_eq!(statement.sql, "SELECT $1::uuid[], $2, 'x'::text FROM other.t WHERE a = $1");
        assert_eq!(statement.names, ["a", "b"]);
    }
}
