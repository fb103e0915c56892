//! A real PostgreSQL: one cluster a test binary, started by the first trial that asks.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cluster::{Cluster, Durability};
use libtest_mimic::{Completion, Failed, Trial};
use novacula_store::postgres::{OpenError, Options, PostgresStore};

static CLUSTER: RwLock<Option<Arc<Cluster>>> = RwLock::new(None);
static STARTING: Mutex<()> = Mutex::new(());

/// The cluster of this binary; none where PostgreSQL is not installed.
pub(crate) fn cluster() -> Result<Option<Arc<Cluster>>, cluster::Error> {
    let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = &*CLUSTER.read().unwrap_or_else(PoisonError::into_inner) {
        return Ok(Some(Arc::clone(running)));
    }
    match Cluster::start(Durability::Off) {
        Ok(started) => {
            let started = Arc::new(started);
            *CLUSTER.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&started));
            Ok(Some(started))
        }
        Err(cluster::Error::Missing) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stops the cluster: nothing static is ever dropped.
pub(crate) fn stop() {
    drop(CLUSTER.write().unwrap_or_else(PoisonError::into_inner).take());
}

/// A trial that runs only where PostgreSQL is.
pub(crate) fn trial(name: String, body: impl FnOnce(Arc<Cluster>) -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match cluster() {
        Ok(Some(cluster)) => body(cluster).map(|()| Completion::Completed),
        Ok(None) if std::env::var("NOVACULA_REQUIRE").is_ok_and(|required| required == "all") => {
            Err(cluster::Error::Missing.to_string().into())
        }
        Ok(None) => Ok(Completion::ignored_with(cluster::Error::Missing.to_string())),
        Err(error) => Err(format!("{error}: {:?}", std::error::Error::source(&error)).into()),
    })
}

/// A store that hears the others, as a process that serves has it.
pub(crate) async fn serve(options: &Options) -> Result<PostgresStore, OpenError> {
    let (store, listener) = PostgresStore::open(options).await?;
    tokio::spawn(listener.run());
    Ok(store)
}
