//! Reads rows as [`crate::mapping`] wants them.

use std::error::Error as StdError;
use std::fmt::Write as _;

use domain::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};
use uuid::Uuid;

use super::statement::EPOCH_2000;
use crate::mapping::{Cause, Columns};

/// A row being read. The first column is its key.
pub(super) struct RowColumns<'r> {
    row: &'r Row,
    noun: &'static str,
}

/// Text as it is; ids and digests in their canonical text.
struct Canonical(String);

struct Instant(Timestamp);

struct Json(String);

impl<'r> RowColumns<'r> {
    pub(super) const fn of(noun: &'static str, row: &'r Row) -> Self {
        Self { row, noun }
    }
}

impl Columns for RowColumns<'_> {
    fn key(&self) -> (&'static str, String) {
        let key = self.row.try_get::<_, Option<Canonical>>(0).ok().flatten().map(|key| key.0);
        let key = key.or_else(|| self.row.try_get::<_, i64>(0).ok().map(|number| number.to_string()));
        (self.noun, key.unwrap_or_else(|| "?".to_owned()))
    }

    fn text_column(&mut self, column: &'static str) -> Result<Option<String>, Cause> {
        Ok(self.row.try_get::<_, Option<Canonical>>(column)?.map(|text| text.0))
    }

    fn integer_column(&mut self, column: &'static str) -> Result<Option<i64>, Cause> {
        Ok(self.row.try_get(column)?)
    }

    fn flag_column(&mut self, column: &'static str) -> Result<Option<bool>, Cause> {
        Ok(self.row.try_get(column)?)
    }

    fn time_column(&mut self, column: &'static str) -> Result<Option<Timestamp>, Cause> {
        Ok(self.row.try_get::<_, Option<Instant>>(column)?.map(|instant| instant.0))
    }

    fn json_column(&mut self, column: &'static str) -> Result<Option<String>, Cause> {
        Ok(self.row.try_get::<_, Option<Json>>(column)?.map(|json| json.0))
    }
}

impl<'a> FromSql<'a> for Canonical {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        Ok(Self(match *ty {
            Type::UUID => Uuid::from_slice(raw)?.to_string(),
            Type::BYTEA => raw.iter().fold(String::with_capacity(raw.len() * 2), |mut text, byte| {
                // Writing to a string cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            }),
            _ => std::str::from_utf8(raw)?.to_owned(),
        }))
    }

    fn accepts(ty: &Type) -> bool {
        [Type::TEXT, Type::UUID, Type::BYTEA].contains(ty)
    }
}

impl<'a> FromSql<'a> for Instant {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        // PostgreSQL's infinities are its extremes: as far as ours go.
        Ok(Self(Timestamp::from_micros(micros.saturating_add(EPOCH_2000))))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl<'a> FromSql<'a> for Json {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        // jsonb is sent as the version of its format, 1, and then the text.
        let text = if *ty == Type::JSONB { raw.strip_prefix(&[1]).ok_or("jsonb of another format")? } else { raw };
        Ok(Self(std::str::from_utf8(text)?.to_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        [Type::JSON, Type::JSONB].contains(ty)
    }
}
