//! The end of a session, in the store and in the feed. One that cannot be written is noted and written later: a session without
//! an end makes an executor look connected for as long as this process lives.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::audit::EventKind;
use domain::{Actor, Epoch, Event, ExecutorName, ExecutorUid};

use crate::app::App;
use crate::app::error::Error;
use crate::observe;

/// How long the write of an end is waited for.
const FAREWELL: Duration = Duration::from_secs(5);

/// A session that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Whose.
    pub(crate) uid: ExecutorUid,
    /// Its name.
    pub(crate) name: ExecutorName,
    /// Which session.
    pub(crate) epoch: Epoch,
    /// A word for the feed.
    pub(crate) why: &'static str,
}

/// Ends that could not be written yet. As many at most as sessions were open when the store went away.
#[derive(Debug, Default)]
pub(crate) struct Unwritten(Mutex<Vec<Ended>>);

// === impl Unwritten ===

impl Unwritten {
    fn add(&self, ended: impl IntoIterator<Item = Ended>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
    }

    fn take(&self) -> Vec<Ended> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl App ===

impl App {
    /// Sessions are over. What cannot be written of it now is written once the store is back.
    pub(crate) async fn sync_closed(&self, ended: Vec<Ended>) {
        let mut left = ended.into_iter();
        while let Some(one) = left.next() {
            let why = match tokio::time::timeout(FAREWELL, self.write_end(&one)).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => observe::chain(&error),
                Err(late) => late.to_string(),
            };
            tracing::warn!(executor = %one.name, epoch = %one.epoch, error = why, "the end of a session is written later");
            // The store is away for the others too.
            self.unwritten_ends.add(std::iter::once(one).chain(left.by_ref()));
        }
    }

    /// Writes the ends that are left over.
    ///
    /// # Errors
    /// The store's; the rest is tried again the next time.
    pub(crate) async fn sync_close_rest(&self) -> Result<(), Error> {
        let mut left = self.unwritten_ends.take().into_iter();
        while let Some(one) = left.next() {
            if let Err(error) = self.write_end(&one).await {
                self.unwritten_ends.add(std::iter::once(one).chain(left.by_ref()));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write_end(&self, ended: &Ended) -> Result<(), Error> {
        let event = Event {
            kind: EventKind::ExecutorDisconnected,
            actor: Actor::Executor(ended.uid),
            target: ended.name.to_string(),
            organization: Some(ended.name.organization.clone()),
            time: self.now().await?,
            details: vec![("epoch", ended.epoch.to_string()), ("reason", ended.why.to_owned())],
        };
        // Not the newest any more: then its end was written when the newer one opened.
        self.store.session_close(ended.uid, ended.epoch, &[event]).await?;
        Ok(())
    }
}
