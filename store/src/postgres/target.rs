//! A schema as the target of an import: one transaction, in which nobody else writes.
//!
//! Statements have no time limit of their own here, since a table may be large; each answer has one ([`SILENCE`]). Sequences
//! are set last: what they were set to stays when the transaction does not, and only makes numbers skip.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use deadpool_postgres::Object;
use domain::Sha256;
use futures_util::TryStreamExt as _;
use tokio_postgres::RowStream;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::connection::Source;
use super::failure::Away;
use super::open::{self, OpenError};
use super::options::Options;
use super::statement::{EPOCH_2000, in_schema};
use crate::import::catalog::Catalog;
use crate::import::datum::{Datum, Row, canonical};
use crate::import::table::{Kind, SEQUENCES, TABLES, Table};
use crate::mapping::Cause;

/// Longest wait for one answer. The longest of them are about a whole table, or COMMIT on a slow disk.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// The session is idle while the source is read, which a batch bounds; one that was left is ended by the server.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s'; \
                     SET LOCAL idle_in_transaction_session_timeout = '15min'";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// The lock of `tell` in the schema: no commit is between getting its numbers and being visible.
const LOCK_NUMBERS: &str = "SELECT pg_advisory_xact_lock(1313822273, 'novacula'::regnamespace::oid::integer)";

const CATALOG: &str = "
SELECT table_name::text, column_name::text, data_type::text
FROM information_schema.columns
WHERE table_schema = $1
UNION ALL
SELECT sequence_name::text, '', 'sequence'
FROM information_schema.sequences
WHERE sequence_schema = $1";

/// A schema that is being filled. Dropped without [`Self::commit`] it stays as it was.
pub(crate) struct Target {
    client: Object,
    schema: String,
    /// Closes the connection when it is dropped.
    _source: Source,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("PostgreSQL refused it, or the connection was lost")]
    Engine(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Away(Cause),
}

/// A table being read.
pub(crate) struct Rows {
    stream: Pin<Box<RowStream>>,
    n_columns: usize,
}

impl TargetError {
    /// Whether the server may have done what it was asked, and could not say so.
    pub(crate) fn is_in_doubt(&self) -> bool {
        match self {
            Self::Engine(error) => error.code().is_none(),
            Self::Away(_) => true,
        }
    }
}

async fn answered<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, TargetError> {
    match tokio::time::timeout(SILENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(TargetError::Away(Away::Silent(SILENCE).into())),
    }
}

// === impl Target ===

impl Target {
    /// Connects, and brings the schema to this build's.
    pub(crate) async fn open(options: &Options) -> Result<Self, OpenError> {
        let source = open::open(options).await?;
        let client =
            source.pool.get().await.map_err(|error| OpenError::of_failure(Away::NoConnection(error.into()).into()))?;
        Ok(Self { client, schema: options.schema.clone(), _source: source })
    }

    /// Where it is.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Begins the transaction; from here on nobody else writes.
    pub(crate) async fn begin(&self) -> Result<(), TargetError> {
        let names = TABLES.iter().map(|table| format!("novacula.{}", table.name));
        let lock = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", names.collect::<Vec<_>>().join(", "));
        for sql in [BEGIN, LOCK_NUMBERS, &lock] {
            self.batch(sql).await?;
        }
        Ok(())
    }

    /// Every column and sequence there is.
    pub(crate) async fn catalog(&self) -> Result<Catalog, TargetError> {
        let rows = answered(self.client.query_typed(CATALOG, &[(&self.schema, Type::TEXT)])).await?;
        let read = rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?)));
        read.collect()
    }

    /// The tables that hold rows, and how many.
    pub(crate) async fn filled(&self) -> Result<Vec<(&'static str, u64)>, TargetError> {
        let mut filled = Vec::new();
        for table in TABLES {
            let n_rows = self.number(&format!("SELECT count(*) FROM novacula.{}", table.name), 0).await?;
            if n_rows > 0 {
                filled.push((table.name, n_rows.unsigned_abs()));
            }
        }
        Ok(filled)
    }

    /// Writes rows. As everywhere in this backend the statement is unnamed, so that a pooler may lead here.
    pub(crate) async fn insert(&self, table: &Table, rows: &[Row]) -> Result<(), TargetError> {
        let sql = in_schema(&table.insert_sql(), &self.schema);
        let column = |at: usize| rows.iter().map(move |row| &row[at]).collect::<Vec<_>>();
        let arrays: Vec<_> = (0..table.columns.len()).map(column).collect();
        let typed = arrays.iter().zip(table.columns);
        let params: Vec<_> =
            typed.map(|(array, column)| (array as &(dyn ToSql + Sync), array_of(column.kind))).collect();
        answered(self.client.query_typed(&sql, &params)).await.map(drop)
    }

    /// Reads a table, in order of its key.
    pub(crate) async fn rows(&self, table: &Table) -> Result<Rows, TargetError> {
        let sql = in_schema(&table.target_sql(), &self.schema);
        let none: [(&str, Type); 0] = [];
        let stream = answered(self.client.query_typed_raw(&sql, none)).await?;
        Ok(Rows { stream: Box::pin(stream), n_columns: table.columns.len() })
    }

    /// Numbers go on above these, and above every row's; what they went on from, in the order of [`SEQUENCES`].
    pub(crate) async fn go_on_above(&self, newest: [i64; 2]) -> Result<[i64; 2], TargetError> {
        let mut set = [0; 2];
        for (((sequence, table, column), newest), set) in SEQUENCES.iter().zip(newest).zip(&mut set) {
            // A sequence that gave nothing yet shows 1; one that is set to 0 is refused.
            let sql = format!(
                "SELECT setval('novacula.{sequence}', greatest($1, rows.newest, CASE WHEN is_called THEN last_value ELSE 0 END)) \
                 FROM novacula.{sequence}, (SELECT coalesce(max({column}), 0) AS newest FROM novacula.{table}) AS rows \
                 WHERE greatest($1, rows.newest) > 0"
            );
            *set = self.number(&sql, newest).await?;
        }
        Ok(set)
    }

    /// Lets the planner know what is there, before the first request asks.
    pub(crate) async fn analyze(&self) -> Result<(), TargetError> {
        let names = TABLES.iter().map(|table| format!("novacula.{}", table.name));
        self.batch(&format!("ANALYZE {}", names.collect::<Vec<_>>().join(", "))).await
    }

    /// Ends it; answers once it is durable.
    pub(crate) async fn commit(self) -> Result<(), TargetError> {
        self.batch(COMMIT).await
    }

    /// Gives it up, as well as that can be done: a connection that is gone has given it up, too.
    pub(crate) async fn rollback(self) {
        if let Err(error) = self.batch(ROLLBACK).await {
            tracing::debug!(%error, "the transaction ends with its connection");
        }
    }

    async fn batch(&self, sql: &str) -> Result<(), TargetError> {
        answered(self.client.batch_execute(&in_schema(sql, &self.schema))).await
    }

    /// The number that a statement answers; 0: nothing.
    async fn number(&self, sql: &str, param: i64) -> Result<i64, TargetError> {
        let sql = in_schema(sql, &self.schema);
        let params: &[(&(dyn ToSql + Sync), Type)] = if sql.contains("$1") { &[(&param, Type::INT8)] } else { &[] };
        let rows = answered(self.client.query_typed(&sql, params)).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default())
    }
}

// === impl Rows ===

impl Rows {
    /// The next row; none: there are no more.
    pub(crate) async fn next(&mut self) -> Result<Option<Row>, TargetError> {
        let Some(row) = answered(self.stream.try_next()).await? else {
            return Ok(None);
        };
        let values = (0..self.n_columns).map(|at| row.try_get::<_, Datum>(at));
        Ok(Some(values.collect::<Result<_, _>>()?))
    }
}

const fn array_of(kind: Kind) -> Type {
    match kind {
        Kind::Text => Type::TEXT_ARRAY,
        Kind::Integer => Type::INT8_ARRAY,
        Kind::Flag => Type::BOOL_ARRAY,
        Kind::Time => Type::TIMESTAMPTZ_ARRAY,
        Kind::Id => Type::UUID_ARRAY,
        Kind::Digest => Type::BYTEA_ARRAY,
        Kind::Json => Type::JSON_ARRAY,
        Kind::Map => Type::JSONB_ARRAY,
    }
}

/// The version of jsonb's own format, before its text.
const JSONB: u8 = 1;

impl ToSql for Datum {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Cause> {
        match (self, ty) {
            (Self::Null, _) => return Ok(IsNull::Yes),
            (Self::Text(text), &Type::UUID) => out.extend_from_slice(text.parse::<Uuid>()?.as_bytes()),
            (Self::Text(text), &Type::BYTEA) => out.extend_from_slice(text.parse::<Sha256>()?.as_bytes()),
            (Self::Text(text), _) => {
                if *ty == Type::JSONB {
                    out.extend_from_slice(&[JSONB]);
                }
                out.extend_from_slice(text.as_bytes());
            }
            (Self::Integer(number), _) => out.extend_from_slice(&number.to_be_bytes()),
            (Self::Flag(flag), _) => out.extend_from_slice(&[u8::from(*flag)]),
            (Self::Time(micros), _) => {
                let micros = micros.checked_sub(EPOCH_2000).ok_or("a time that PostgreSQL cannot keep")?;
                out.extend_from_slice(&micros.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        known(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Datum {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Cause> {
        let text = |raw: &[u8]| Ok::<_, Cause>(std::str::from_utf8(raw)?.to_owned());
        let number = |raw: &[u8]| Ok::<_, Cause>(i64::from_be_bytes(raw.try_into()?));
        Ok(match *ty {
            Type::UUID => Self::Text(Uuid::from_slice(raw)?.to_string()),
            Type::BYTEA => Self::Text(Sha256::new(raw.try_into()?).to_string()),
            Type::JSONB => {
                let json = text(raw.strip_prefix(&[JSONB]).ok_or("jsonb of another format")?)?;
                Self::Text(canonical(&json).ok_or("jsonb that is no object")?)
            }
            Type::INT8 => Self::Integer(number(raw)?),
            Type::BOOL => Self::Flag(raw == [1]),
            Type::TIMESTAMPTZ => Self::Time(number(raw)?.saturating_add(EPOCH_2000)),
            _ => Self::Text(text(raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        known(ty)
    }
}

fn known(ty: &Type) -> bool {
    [Type::TEXT, Type::INT8, Type::BOOL, Type::TIMESTAMPTZ, Type::UUID, Type::BYTEA, Type::JSON, Type::JSONB]
        .contains(ty)
}
