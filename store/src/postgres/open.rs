//! Connects, looks at what it has found, and brings the schema to this build's.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::connection::Source;
use super::failure::Failure;
use super::migrate::{self, MigrateError};
use super::options::Options;
use super::statement::Statements;
use super::tls::{Connector, TlsError};

/// The oldest server that is tested, as `server_version_num` counts.
const OLDEST: u32 = 150_000;

/// How long a caller waits for a place in a pool that is all in use.
const POOL_DEADLINE: Duration = Duration::from_secs(5);

const VERSION: &str = "
SELECT current_setting('server_version_num') AS number, current_setting('server_version') AS version,
    current_setting('server_encoding') AS encoding";

/// Why a store is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its TLS files.
    #[error("prepare TLS to the database")]
    Tls(#[source] TlsError),
    /// Nobody answers.
    #[error("PostgreSQL at {hosts} cannot be reached")]
    Unreachable {
        /// Who was asked.
        hosts: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers, and says no to who we are.
    #[error("PostgreSQL refuses the user {user:?}: check user and password of the database URL, and pg_hba.conf")]
    Refused {
        /// As whom.
        user: String,
        /// In its words.
        #[source]
        source: tokio_postgres::Error,
    },
    /// There is no such database.
    #[error("the database {database:?} does not exist: create it (CREATE DATABASE), or correct the database URL")]
    NoDatabase {
        /// Which.
        database: String,
        /// In its words.
        #[source]
        source: tokio_postgres::Error,
    },
    /// Something older than what is tested.
    #[error("PostgreSQL {found} is too old: 15 or newer is needed")]
    TooOld {
        /// What it says it is.
        found: String,
    },
    /// Names and notes are UTF-8.
    #[error("the database keeps text as {found}: create it with ENCODING 'UTF8'")]
    Encoding {
        /// What it says.
        found: String,
    },
    /// Rights are missing.
    #[error(
        "the user {user:?} lacks a right that the schema {schema:?} needs: let an owner run `novacula-server migrate`, or grant it"
    )]
    Rights {
        /// Who.
        user: String,
        /// Where.
        schema: String,
        /// In its words.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A standby.
    #[error(
        "the server takes no writes (a standby?): name all hosts in the database URL, with target_session_attrs=read-write"
    )]
    ReadOnly(#[source] tokio_postgres::Error),
    /// The schema is not one that this build may use.
    #[error("the schema {schema:?} cannot be used")]
    Schema {
        /// Which.
        schema: String,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// It failed in some other way.
    #[error("open the store")]
    Store(#[source] crate::Error),
}

impl OpenError {
    /// Whether a person has to change something: trying again will not help.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Tls(_)
            | Self::Refused { .. }
            | Self::NoDatabase { .. }
            | Self::TooOld { .. }
            | Self::Encoding { .. }
            | Self::Rights { .. }
            | Self::Schema { .. } => true,
            Self::Unreachable { .. } | Self::ReadOnly(_) | Self::Store(_) => false,
        }
    }

    pub(super) fn of_failure(failure: Failure) -> Self {
        Self::Store(failure.into_error("store_open"))
    }

    /// What the server's answer to a first connection or a first statement means.
    pub(super) fn of_engine(error: tokio_postgres::Error, options: &Options) -> Self {
        let user = options.config.get_user().unwrap_or_default().to_owned();
        match error.code() {
            Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
                Self::Refused { user, source: error }
            }
            Some(&SqlState::INVALID_CATALOG_NAME) => {
                let database = options.config.get_dbname().unwrap_or(&user).to_owned();
                Self::NoDatabase { database, source: error }
            }
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                Self::Rights { user, schema: options.schema.clone(), source: error }
            }
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Self::ReadOnly(error),
            _ => Self::Unreachable { hosts: hosts(options), source: error.into() },
        }
    }
}

fn hosts(options: &Options) -> String {
    let hosts = options.config.get_hosts().iter().map(|host| match host {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
    });
    hosts.collect::<Vec<_>>().join(", ")
}

/// Connects, and migrates.
pub(super) async fn open(options: &Options) -> Result<Source, OpenError> {
    let connector = Connector::new(&options.tls).map_err(OpenError::Tls)?;
    let manager = Manager::from_config(
        options.config.clone(),
        connector,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let pool = Pool::builder(manager)
        .max_size(options.pool_size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(POOL_DEADLINE))
        .create_timeout(Some(POOL_DEADLINE))
        .recycle_timeout(Some(POOL_DEADLINE))
        .build()
        .map_err(|error| OpenError::Unreachable { hosts: hosts(options), source: error.into() })?;
    let mut client = pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => OpenError::of_engine(error, options),
        other => OpenError::Unreachable { hosts: hosts(options), source: other.into() },
    })?;
    look(&client, options).await?;
    migrate::migrate(&mut client, migrate::MIGRATIONS, &options.schema).await.map_err(|error| match error {
        MigrateError::Engine(source) => OpenError::of_engine(source, options),
        source => OpenError::Schema { schema: options.schema.clone(), source },
    })?;
    drop(client);
    Ok(Source {
        pool,
        statements: Statements::new(&options.schema),
        origin: Uuid::new_v4(),
        statement_timeout: options.statement_timeout,
    })
}

async fn look(client: &tokio_postgres::Client, options: &Options) -> Result<(), OpenError> {
    let row = client.query_typed(VERSION, &[]).await.map_err(|error| OpenError::of_engine(error, options))?;
    let text = |column: &str| row.first().and_then(|row| row.try_get::<_, String>(column).ok()).unwrap_or_default();
    let number: u32 = text("number").parse().unwrap_or_default();
    if number < OLDEST {
        return Err(OpenError::TooOld { found: text("version") });
    }
    match text("encoding").as_str() {
        "UTF8" => Ok(()),
        found => Err(OpenError::Encoding { found: found.to_owned() }),
    }
}
