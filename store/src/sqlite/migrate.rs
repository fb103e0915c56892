//! Brings a database file to this build's schema: numbered files, forward only, each in a transaction of its own that also
//! writes its row of history. A file that a newer build has migrated is refused by name.
//!
//! Our own eighty lines and not refinery: refinery follows rusqlite's releases late, knows nothing of which build wrote a
//! schema, and runs a newer file without a word.

use rusqlite::{Connection, TransactionBehavior, named_params};
use sha2::{Digest, Sha256};

use super::row::{all, first};
use crate::sqlite::failure::Failure;

/// Marks a file as ours in the header that `file(1)` prints: "NOVA".
const APPLICATION_ID: i64 = 0x4E4F_5641;

/// One step of the schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    pub(super) version: u32,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// Every step, oldest first. A step that was released is never edited: its checksum is in every file that took it.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "0001-initial", sql: include_str!("../../migrations/sqlite/0001-initial.sql") },
    Migration {
        version: 2,
        name: "0002-request-aliases",
        sql: include_str!("../../migrations/sqlite/0002-request-aliases.sql"),
    },
    Migration {
        version: 3,
        name: "0003-events-by-target",
        sql: include_str!("../../migrations/sqlite/0003-events-by-target.sql"),
    },
    Migration {
        version: 4,
        name: "0004-authorities",
        sql: include_str!("../../migrations/sqlite/0004-authorities.sql"),
    },
    Migration { version: 5, name: "0005-restores", sql: include_str!("../../migrations/sqlite/0005-restores.sql") },
    Migration { version: 6, name: "0006-sign-ins", sql: include_str!("../../migrations/sqlite/0006-sign-ins.sql") },
    Migration {
        version: 7,
        name: "0007-executors-by-version",
        sql: include_str!("../../migrations/sqlite/0007-executors-by-version.sql"),
    },
    Migration { version: 8, name: "0008-pruning", sql: include_str!("../../migrations/sqlite/0008-pruning.sql") },
    Migration { version: 9, name: "0009-waiting", sql: include_str!("../../migrations/sqlite/0009-waiting.sql") },
];

const CREATE_HISTORY: &str = "
CREATE TABLE IF NOT EXISTS migrations (
    version    INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    sha256     TEXT    NOT NULL,
    build      TEXT    NOT NULL,
    apply_time INTEGER NOT NULL
) STRICT";

const LIST_HISTORY: &str = "
SELECT version, name, sha256, build
FROM migrations
ORDER BY version";

const INSERT_HISTORY: &str = "
INSERT INTO migrations (version, name, sha256, build, apply_time)
VALUES (:version, :name, :sha256, :build, :apply_time)";

const COUNT_TABLES: &str = "
SELECT count(*)
FROM sqlite_schema";

/// Why a file is not brought to this build's schema.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    #[error("it is a SQLite database, but not one of Novacula (application id {found})")]
    Foreign { found: i64 },
    #[error(
        "Novacula {build} has brought it to schema {found} ({name}), and this build ({ours}) knows only up to {known}: \
         run Novacula {build} or newer, or restore the backup made before that upgrade"
    )]
    Newer { found: u32, name: String, build: String, ours: &'static str, known: u32 },
    #[error(
        "schema step {name} was applied with other contents than this build's: this is no released build, or the file was edited"
    )]
    Edited { name: String },
    #[error("schema step {name} failed")]
    Step {
        name: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the schema's history cannot be read")]
    History(#[source] rusqlite::Error),
}

struct Applied {
    version: u32,
    name: String,
    sha256: String,
    build: String,
}

/// Brings the file to the newest of `migrations`.
pub(super) fn migrate(
    connection: &mut Connection,
    migrations: &[Migration],
    now: domain::Timestamp,
) -> Result<(), MigrateError> {
    let applied = history(connection)?;
    check(&applied, migrations)?;
    for migration in &migrations[applied.len()..] {
        apply(connection, migration, now).map_err(|source| MigrateError::Step { name: migration.name, source })?;
        tracing::info!(step = migration.name, "the store's schema took a step");
    }
    Ok(())
}

/// How many of `migrations` the file has taken; writes nothing.
pub(super) fn applied(connection: &Connection, migrations: &[Migration]) -> Result<usize, MigrateError> {
    let found: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(MigrateError::History)?;
    if found != APPLICATION_ID {
        return Err(MigrateError::Foreign { found });
    }
    let applied = list(connection)?;
    check(&applied, migrations)?;
    Ok(applied.len())
}

/// Refuses what this build must not touch. The history has to be a beginning of this build's list, step for step.
fn check(applied: &[Applied], migrations: &[Migration]) -> Result<(), MigrateError> {
    for (at, done) in applied.iter().enumerate() {
        let Some(migration) = migrations.get(at) else {
            let newest = applied.last().unwrap_or(done);
            return Err(MigrateError::Newer {
                found: newest.version,
                name: newest.name.clone(),
                build: newest.build.clone(),
                ours: env!("CARGO_PKG_VERSION"),
                known: migrations.last().map_or(0, |migration| migration.version),
            });
        };
        if done.version != migration.version || done.sha256 != checksum(migration) {
            return Err(MigrateError::Edited { name: done.name.clone() });
        }
    }
    Ok(())
}

fn history(connection: &Connection) -> Result<Vec<Applied>, MigrateError> {
    let found: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(MigrateError::History)?;
    let n_tables = first(connection, COUNT_TABLES, [], |row| Ok(row.get::<_, i64>(0)?)).map_err(history_error)?;
    if found != APPLICATION_ID && n_tables != Some(0) {
        return Err(MigrateError::Foreign { found });
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(MigrateError::History)?;
    connection.execute_batch(CREATE_HISTORY).map_err(MigrateError::History)?;
    list(connection)
}

fn list(connection: &Connection) -> Result<Vec<Applied>, MigrateError> {
    all(connection, LIST_HISTORY, [], |row| {
        Ok(Applied { version: row.get(0)?, name: row.get(1)?, sha256: row.get(2)?, build: row.get(3)? })
    })
    .map_err(history_error)
}

fn history_error(failure: Failure) -> MigrateError {
    match failure {
        Failure::Engine(error) => MigrateError::History(error),
        // Nothing above answers for itself.
        Failure::Told(error) => MigrateError::History(rusqlite::Error::ToSqlConversionFailure(Box::new(error))),
    }
}

fn apply(connection: &mut Connection, migration: &Migration, now: domain::Timestamp) -> rusqlite::Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(migration.sql)?;
    tx.execute(
        INSERT_HISTORY,
        named_params! {
            ":version": migration.version,
            ":name": migration.name,
            ":sha256": checksum(migration),
            ":build": env!("CARGO_PKG_VERSION"),
            ":apply_time": now.as_micros(),
        },
    )?;
    // For people and other tools; the history decides.
    tx.pragma_update(None, "user_version", migration.version)?;
    tx.commit()
}

fn checksum(migration: &Migration) -> String {
    let digest: [u8; 32] = Sha256::digest(migration.sql.as_bytes()).into();
    domain::Sha256::new(digest).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::Timestamp;

    use super::*;

    const NEXT: Migration =
        Migration { version: 10, name: "0010-next", sql: "ALTER TABLE organizations ADD COLUMN motto TEXT" };

    fn migrated(connection: &mut Connection, migrations: &[Migration]) -> Result<(), MigrateError> {
        migrate(connection, migrations, Timestamp::EPOCH)
    }

    fn empty() -> Connection {
        Connection::open_in_memory().expect("a database")
    }

    /// Every object of the schema, by name, without the differences that only spacing makes.
    fn dump(connection: &Connection) -> BTreeMap<String, String> {
        let mut statement = connection
            .prepare("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema")
            .expect("a statement");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
        rows.expect("rows")
            .map(|row| row.expect("a row"))
            .map(|(name, sql)| (name, sql.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect()
    }

    #[test]
    fn steps_are_numbered_without_gaps() {
        for (at, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, at + 1);
            assert!(migration.name.starts_with(&format!("{:04}-", migration.version)), "{}", migration.name);
        }
    }

    #[test]
    fn fresh_equals_migrated() {
        let mut fresh = empty();
        migrated(&mut fresh, MIGRATIONS).expect("a schema");
        for n_before in 0..=MIGRATIONS.len() {
            let mut old = empty();
            migrated(&mut old, &MIGRATIONS[..n_before]).expect("an older schema");
            migrated(&mut old, MIGRATIONS).expect("this schema");
            assert_eq!(dump(&old), dump(&fresh), "from step {n_before}");
        }
    }

    #[test]
    fn a_later_step_keeps_the_rows() {
        let mut connection = empty();
        migrated(&mut connection, MIGRATIONS).expect("a schema");
        let insert = "INSERT INTO organizations (id, display_name, create_time) VALUES ('acme', 'Acme', 1)";
        connection.execute(insert, []).expect("a row");
        let next = [MIGRATIONS, &[NEXT]].concat();
        migrated(&mut connection, &next).expect("the next schema");
        migrated(&mut connection, &next).expect("nothing to do");
        let row = "SELECT display_name || coalesce(motto, '-') FROM organizations";
        let row: String = connection.query_row(row, [], |row| row.get(0)).expect("the row");
        assert_eq!(row, "Acme-");
    }

    #[test]
    fn a_newer_file_is_refused_by_name() {
        let mut connection = empty();
        migrated(&mut connection, &[MIGRATIONS, &[NEXT]].concat()).expect("a newer schema");
        let error = migrated(&mut connection, MIGRATIONS).expect_err("an older build");
        let text = error.to_string();
        assert!(text.contains("0010-next") && text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }

    #[test]
    fn an_edited_step_is_refused() {
        let mut connection = empty();
        let edited = Migration { sql: "CREATE TABLE counters (name TEXT)", ..MIGRATIONS[0] };
        migrated(&mut connection, &[edited]).expect("another schema");
        let error = migrated(&mut connection, MIGRATIONS).expect_err("not what was released");
        assert!(matches!(error, MigrateError::Edited { .. }), "{error}");
    }

    #[test]
    fn a_step_that_fails_leaves_nothing() {
        let mut connection = empty();
        migrated(&mut connection, MIGRATIONS).expect("a schema");
        let before = dump(&connection);
        let broken = Migration { sql: "CREATE TABLE left_over (a TEXT); NONSENSE;", ..NEXT };
        let error = migrated(&mut connection, &[MIGRATIONS, &[broken]].concat()).expect_err("nonsense");
        assert!(matches!(error, MigrateError::Step { name: "0010-next", .. }), "{error}");
        assert_eq!(dump(&connection), before);
    }

    #[test]
    fn a_strangers_database_is_refused() {
        let mut connection = empty();
        connection.execute_batch("CREATE TABLE theirs (a TEXT)").expect("a table");
        let error = migrated(&mut connection, MIGRATIONS).expect_err("not ours");
        assert!(matches!(error, MigrateError::Foreign { found: 0 }), "{error}");
        assert_eq!(dump(&connection).len(), 1, "nothing was written into it");
    }
}
