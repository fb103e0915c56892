//! A store in a schema of its own, whose clock stands still until it is told to move.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::Cluster;
use novacula_store::postgres::{Options, PostgresStore};

use crate::postgres;

/// Where the clock of a new schema stands, in microseconds since 1970: as those of the other backends do.
const BEGIN: i64 = 1_700_000_000_000_000;

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// The schema of one store.
pub(crate) struct Schema {
    name: String,
    now: Mutex<i64>,
    cluster: Arc<Cluster>,
}

/// An empty store in a schema of its own.
pub(crate) async fn open(cluster: &Arc<Cluster>) -> (PostgresStore, Schema) {
    let name = format!("case_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let options = Options::new(&cluster.socket_url()).and_then(|options| options.with_schema(&name));
    let options = options.and_then(|options| options.with_pool_size(4)).expect("good options");
    let store = postgres::serve(&options).await.expect("a new schema");
    let schema = Schema { name, now: Mutex::new(BEGIN), cluster: Arc::clone(cluster) };
    schema.advance(Duration::ZERO).await;
    (store, schema)
}

impl Schema {
    /// Moves the schema's clock later.
    pub(crate) async fn advance(&self, by: Duration) {
        let now = {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            *now += i64::try_from(by.as_micros()).expect("a short while");
            *now
        };
        let sql = format!(
            "CREATE OR REPLACE FUNCTION {}.store_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE \
             AS 'SELECT timestamptz ''epoch'' + {now} * interval ''1 microsecond'''",
            self.name
        );
        let cluster = Arc::clone(&self.cluster);
        let moved = tokio::task::spawn_blocking(move || cluster.sql(&sql)).await;
        moved.expect("no panic").expect("the clock moves");
    }
}
