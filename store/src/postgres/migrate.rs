//! Brings a schema to this build's: numbered files, forward only, all that are missing in one transaction under an advisory
//! lock, so that replicas may start side by side.
//!
//! A release must run on the schema of the next one, or no rolling upgrade could be: a step says which build is the oldest that
//! may use the schema after it, and an older build that finds the step refuses by name.

use domain::Version;
use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::statement::in_schema;

/// One step of the schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    pub(super) version: i64,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
    /// The oldest build that still works on the schema after this step.
    pub(super) oldest_build: &'static str,
}

/// Every step, oldest first. A step that was released is never edited: its checksum is in every schema that took it.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001-initial",
        sql: include_str!("../../migrations/postgres/0001-initial.sql"),
        oldest_build: "1.0.0",
    },
    Migration {
        version: 2,
        name: "0002-jobs",
        sql: include_str!("../../migrations/postgres/0002-jobs.sql"),
        oldest_build: "1.0.0",
    },
    Migration {
        version: 3,
        name: "0003-authorities",
        sql: include_str!("../../migrations/postgres/0003-authorities.sql"),
        oldest_build: "1.0.0",
    },
    Migration {
        version: 4,
        name: "0004-restores",
        sql: include_str!("../../migrations/postgres/0004-restores.sql"),
        oldest_build: "1.0.0",
    },
    Migration {
        version: 5,
        name: "0005-sign-ins",
        sql: include_str!("../../migrations/postgres/0005-sign-ins.sql"),
        oldest_build: "1.0.0",
    },
    Migration {
        version: 6,
        name: "0006-executors-by-version",
        sql: include_str!("../../migrations/postgres/0006-executors-by-version.sql"),
        oldest_build: "1.0.0",
    },
    Migration {
        version: 7,
        name: "0007-pruning",
        sql: include_str!("../../migrations/postgres/0007-pruning.sql"),
        oldest_build: "1.0.0",
    },
    Migration {
        version: 8,
        name: "0008-waiting",
        sql: include_str!("../../migrations/postgres/0008-waiting.sql"),
        oldest_build: "1.0.0",
    },
];

const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '60s'";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

const LOCK: &str = "
SELECT pg_advisory_xact_lock(1313822274, hashtext($1))";

const EXISTS: &str = "
SELECT to_regnamespace($1) IS NOT NULL AS schema, to_regclass($1 || '.migrations') IS NOT NULL AS history,
    EXISTS (
        SELECT 1
        FROM pg_class
        WHERE relnamespace = to_regnamespace($1)
    ) AS filled";

const CREATE_HISTORY: &str = "
CREATE TABLE novacula.migrations (
    version      bigint PRIMARY KEY,
    name         text        NOT NULL,
    sha256       text        NOT NULL,
    build        text        NOT NULL,
    oldest_build text        NOT NULL,
    apply_time   timestamptz NOT NULL
)";

const LIST_HISTORY: &str = "
SELECT version, name, sha256, build, oldest_build
FROM novacula.migrations
ORDER BY version";

const INSERT_HISTORY: &str = "
INSERT INTO novacula.migrations (version, name, sha256, build, oldest_build, apply_time)
VALUES ($1, $2, $3, $4, $5, clock_timestamp())";

/// Why a schema is not brought to this build's.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Somebody else's.
    #[error("it holds tables that are not Novacula's: name another schema, or another database")]
    Foreign,
    /// From the future.
    #[error(
        "Novacula {build} has brought it to step {name}, which Novacula {oldest} and newer can use, and this is {ours}: \
         run Novacula {oldest} or newer, or restore the backup made before that upgrade"
    )]
    Newer {
        /// The step.
        name: String,
        /// What took it.
        build: String,
        /// What can use it.
        oldest: String,
        /// This build.
        ours: &'static str,
    },
    /// Not what was released.
    #[error(
        "step {name} was applied with other contents than this build's: this is no released build, or the history was edited"
    )]
    Edited {
        /// The step.
        name: String,
    },
    /// A step failed; nothing of it, or of the others, was kept.
    #[error("step {name} failed")]
    Step {
        /// The step.
        name: &'static str,
        /// In the server's words.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The connection, or a right.
    #[error("the schema's history cannot be read or written")]
    Engine(#[source] tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Engine(error)
    }
}

struct Applied {
    version: i64,
    name: String,
    sha256: String,
    build: String,
    oldest_build: String,
}

/// Brings the schema to the newest of `migrations`.
pub(super) async fn migrate(client: &mut Client, migrations: &[Migration], schema: &str) -> Result<(), MigrateError> {
    client.batch_execute(BEGIN).await?;
    let result = migrate_in_tx(client, migrations, schema).await;
    let end = client.batch_execute(if result.is_ok() { COMMIT } else { ROLLBACK }).await;
    result?;
    Ok(end?)
}

async fn migrate_in_tx(client: &Client, migrations: &[Migration], schema: &str) -> Result<(), MigrateError> {
    client.query_typed(LOCK, &[(&schema, Type::TEXT)]).await?;
    let applied = history(client, schema).await?;
    check(&applied, migrations)?;
    for migration in migrations.iter().skip(applied.len()) {
        apply(client, migration, schema).await?;
        tracing::info!(step = migration.name, "the store's schema took a step");
    }
    Ok(())
}

async fn history(client: &Client, schema: &str) -> Result<Vec<Applied>, MigrateError> {
    let found = client.query_typed(EXISTS, &[(&schema, Type::TEXT)]).await?;
    let is = |column: &str| found.first().is_some_and(|row| row.try_get(column).unwrap_or(false));
    if !is("history") {
        if is("filled") {
            return Err(MigrateError::Foreign);
        }
        if !is("schema") {
            client.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
        }
        client.batch_execute(&in_schema(CREATE_HISTORY, schema)).await?;
    }
    let rows = client.query_typed(&in_schema(LIST_HISTORY, schema), &[]).await?;
    let read = rows.iter().map(|row| {
        Ok(Applied {
            version: row.try_get("version")?,
            name: row.try_get("name")?,
            sha256: row.try_get("sha256")?,
            build: row.try_get("build")?,
            oldest_build: row.try_get("oldest_build")?,
        })
    });
    read.collect()
}

/// Refuses what this build must not touch. The history has to begin with this build's list, step for step; what comes after
/// it must be something that this build can live with.
fn check(applied: &[Applied], migrations: &[Migration]) -> Result<(), MigrateError> {
    for (at, done) in applied.iter().enumerate() {
        match migrations.get(at) {
            Some(migration) if done.version == migration.version && done.sha256 == checksum(migration) => {}
            Some(_) => return Err(MigrateError::Edited { name: done.name.clone() }),
            None if !can_use(&done.oldest_build) => {
                return Err(MigrateError::Newer {
                    name: done.name.clone(),
                    build: done.build.clone(),
                    oldest: done.oldest_build.clone(),
                    ours: env!("CARGO_PKG_VERSION"),
                });
            }
            None => {
                tracing::warn!(
                    step = done.name,
                    by = done.build,
                    "a newer build has changed the schema; this one can still use it"
                );
            }
        }
    }
    Ok(())
}

fn can_use(oldest_build: &str) -> bool {
    let ours = env!("CARGO_PKG_VERSION").parse::<Version>();
    matches!((ours, oldest_build.parse::<Version>()), (Ok(ours), Ok(oldest)) if ours >= oldest)
}

async fn apply(client: &Client, migration: &Migration, schema: &str) -> Result<(), MigrateError> {
    let step = client.batch_execute(&in_schema(migration.sql, schema)).await;
    step.map_err(|source| MigrateError::Step { name: migration.name, source })?;
    let sha256 = checksum(migration);
    client
        .query_typed(
            &in_schema(INSERT_HISTORY, schema),
            &[
                (&migration.version, Type::INT8),
                (&migration.name, Type::TEXT),
                (&sha256, Type::TEXT),
                (&env!("CARGO_PKG_VERSION"), Type::TEXT),
                (&migration.oldest_build, Type::TEXT),
            ],
        )
        .await?;
    Ok(())
}

/// Of the step as it was written: the same in every schema.
fn checksum(migration: &Migration) -> String {
    let digest: [u8; 32] = Sha256::digest(migration.sql.as_bytes()).into();
    domain::Sha256::new(digest).to_string()
}
