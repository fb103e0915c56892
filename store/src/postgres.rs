//! The shared store: any number of server processes over one PostgreSQL (15 and newer).
//!
//! Rows are guarded by their revision, or locked before they are read to be written; READ COMMITTED is enough for that. Commits that
//! change executors or write events get their numbers in the order they become visible, and tell the other processes by
//! NOTIFY in the same transaction (`connection`, and `tell` in the schema). The store's clock is the database's. A method whose
//! future is dropped before its commit was sent has written nothing.

mod change;

mod connection;

mod executor;

mod attempt;

mod request;

mod commit;

mod enrolment;

mod authority;

mod certificate;

mod failure;

mod listen;

mod migrate;

mod node;

mod open;

mod options;

mod organization;

mod release;

mod event;

mod row;

mod session;

mod statement;

pub(crate) mod target;

mod tls;

mod token;

mod join_token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::Timestamp;
use tokio::sync::watch;
use tokio_postgres::Row;

use crate::clock::StoreClock;
use crate::error::Error;
use crate::feeds::{Feeds, Told};
use crate::mapping::Columns as _;
use crate::observe::Observer;

use self::connection::{Connection, Source};
use self::failure::Failure;
use self::row::RowColumns;
use self::statement::Value;

pub use self::listen::Listener;
pub use self::open::OpenError;
pub use self::options::{Options, OptionsError};

/// How often a transaction that lost a conflict is run again before its caller is told that the store is too busy.
const AGAIN_MAX: u32 = 5;

const NOW: &str = "
SELECT novacula.store_now() AS now";

/// The shared store. Cheap to clone; its connections are closed when the last clone is dropped.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
    observer: Option<Observer>,
}

struct Inner {
    source: Arc<Source>,
    feeds: Feeds,
    /// The listener ends when this is dropped.
    _open: watch::Sender<()>,
}

/// Runs `$work` in a transaction and commits it, again from its beginning when it lost a conflict.
macro_rules! transact {
    ($store:expr, $operation:literal, |$tx:ident| $work:expr) => {{
        let begin = std::time::Instant::now();
        let mut n_lost = 0;
        let result = loop {
            let result = async {
                let mut transaction = $crate::postgres::connection::Tx::begin($store.source()).await?;
                let $tx = &mut transaction;
                let value = $work.await?;
                let told = transaction.commit().await?;
                Ok::<_, $crate::postgres::failure::Failure>((value, told))
            };
            match Box::pin(result).await {
                Err(failure) if failure.is_conflict() && n_lost < $crate::postgres::AGAIN_MAX => {
                    n_lost += 1;
                    $crate::postgres::wait_after(n_lost).await;
                }
                result => break result,
            }
        };
        $store.finish($operation, begin, result)
    }};
}

use transact;

/// Conflicts come from others who finish first: a little longer each time, and not all at once.
async fn wait_after(n_lost: u32) {
    let spread = u64::from(uuid::Uuid::new_v4().as_bytes()[0]) % 8;
    tokio::time::sleep(Duration::from_millis(u64::from(2_u32.pow(n_lost)) + spread)).await;
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("schema", &self.inner.source.statements.schema()).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects, and brings the schema to this build's. What other processes commit is heard while the [`Listener`] runs: a
    /// process that serves spawns it, a command drops it.
    ///
    /// # Errors
    /// One sentence for each thing that an operator can mend: [`OpenError`].
    pub async fn open(options: &Options) -> Result<(Self, Listener), OpenError> {
        let source = Arc::new(open::open(options).await?);
        let feeds = Feeds::new(0);
        let (open, closing) = watch::channel(());
        let listener = Listener::new(options, Arc::clone(&source), feeds.clone(), closing).await?;
        Ok((Self { inner: Arc::new(Inner { source, feeds, _open: open }), observer: None }, listener))
    }

    /// The same store, telling `observer` how long each operation takes.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    fn source(&self) -> &Arc<Source> {
        &self.inner.source
    }

    /// All rows of one statement, outside any transaction.
    async fn all<T>(
        &self,
        operation: &'static str,
        sql: &'static str,
        params: &[(&'static str, Value)],
        map: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let begin = Instant::now();
        let found = async { Connection::take(self.source()).await?.all(sql, params, map).await };
        self.observed(operation, begin, found.await)
    }

    /// The first row of one statement, outside any transaction.
    async fn first<T>(
        &self,
        operation: &'static str,
        sql: &'static str,
        params: &[(&'static str, Value)],
        map: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let begin = Instant::now();
        let found = async { Connection::take(self.source()).await?.first(sql, params, map).await };
        self.observed(operation, begin, found.await)
    }

    /// What one statement that writes, and tells nobody, wrote.
    async fn write(
        &self,
        operation: &'static str,
        sql: &'static str,
        params: &[(&'static str, Value)],
    ) -> Result<u64, Error> {
        let begin = Instant::now();
        let written = async { Connection::take(self.source()).await?.write(sql, params).await };
        self.observed(operation, begin, written.await)
    }

    /// Runs a statement that forgets rows; how many it forgot.
    async fn prune(
        &self,
        operation: &'static str,
        sql: &'static str,
        params: &[(&'static str, Value)],
    ) -> Result<usize, Error> {
        let n_pruned = self.write(operation, sql, params).await?;
        Ok(usize::try_from(n_pruned).unwrap_or(usize::MAX))
    }

    /// Pushes what a commit told, now that it is durable.
    fn finish<T>(
        &self,
        operation: &'static str,
        begin: Instant,
        result: Result<(T, Told), Failure>,
    ) -> Result<(T, Told), Error> {
        if let Ok((_, told)) = &result {
            self.inner.feeds.push(told);
        }
        self.observed(operation, begin, result)
    }

    fn observed<T>(&self, operation: &'static str, begin: Instant, result: Result<T, Failure>) -> Result<T, Error> {
        if let Some(observer) = &self.observer {
            observer(operation, begin.elapsed());
        }
        result.map_err(|failure| failure.into_error(operation))
    }
}

#[async_trait]
impl StoreClock for PostgresStore {
    async fn store_now(&self) -> Result<Timestamp, Error> {
        let now = self.first("store_now", NOW, &[], |row| RowColumns::of("clock", row).time("now")).await?;
        now.ok_or_else(|| Error::Corrupt {
            noun: "clock",
            key: "store_now".to_owned(),
            source: "it shows nothing".into(),
        })
    }
}
