//! Hears what other processes committed.
//!
//! ```text
//! connect → LISTEN → list what changed since the last change heard → hear notifications → (cut) → wait, list, again
//! ```
//!
//! LISTEN comes before the list, so that nothing falls between them. While there is no connection the list is read
//! through the pool every second: a broken LISTEN alone (a pooler that swallows it) delays a push and loses none.
//!
//! The cursor follows notifications only, this process's own among them: they come in the order of commits, and
//! what is pushed at once after a local commit may be ahead of what others committed before it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use domain::{ExecutorUid, Generation};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Socket};
use uuid::Uuid;

use super::connection::Source;
use super::failure::Failure;
use super::open::OpenError;
use super::options::Options;
use super::tls::{Connector, Stream};
use super::{change, event};
use crate::change::{Change, ChangeNumber};
use crate::feeds::{Feeds, Told};

/// How long LISTEN may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Between two tries to listen, and two lists while nobody listens.
const AGAIN: Duration = Duration::from_secs(1);

/// Changes read at once after a cut.
const PAGE: usize = 1_000;

/// Hears what other processes commit, and pushes it to this process's subscribers.
pub struct Listener {
    hearing: Hearing,
    /// Listens already.
    first: (Client, Wire),
    /// Ends with the store.
    closing: watch::Receiver<()>,
}

struct Hearing {
    config: tokio_postgres::Config,
    connector: Connector,
    source: Arc<Source>,
    feeds: Feeds,
    /// The last change that was heard of in order.
    cursor: ChangeNumber,
}

type Wire = tokio_postgres::Connection<Socket, Stream>;

/// A notification's payload cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the notification {0:?} is not of the form that `tell` writes")]
struct Garbled(String);

/// Why there is no connection that listens.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("the server refused or dropped the connection")]
    Engine(#[source] tokio_postgres::Error),
    #[error("LISTEN was not answered within {DEADLINE:?}")]
    Silent,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("cursor", &self.hearing.cursor).finish_non_exhaustive()
    }
}

impl Listener {
    /// Listens already when it answers.
    pub(super) async fn new(
        options: &Options,
        source: Arc<Source>,
        feeds: Feeds,
        closing: watch::Receiver<()>,
    ) -> Result<Self, OpenError> {
        let (config, tls) = options.listen.clone().unwrap_or_else(|| (options.config.clone(), options.tls.clone()));
        let connector = Connector::new(&tls).map_err(OpenError::Tls)?;
        let cursor = ChangeNumber::default();
        let mut hearing = Hearing { config, connector, source, feeds, cursor };
        let first = hearing.connect().await.map_err(|error| match error {
            ConnectError::Engine(error) => OpenError::of_engine(error, options),
            silent @ ConnectError::Silent => {
                OpenError::Unreachable { hosts: "the listen URL".to_owned(), source: silent.into() }
            }
        })?;
        // After LISTEN, so that nothing falls between.
        hearing.cursor = change::head(&hearing.source).await.map_err(OpenError::of_failure)?;
        let last_event = event::newest(&hearing.source).await.map_err(OpenError::of_failure)?;
        hearing.feeds.push(&Told { changes: Vec::new(), last_event });
        Ok(Self { hearing, first, closing })
    }

    /// Hears until the last clone of the store is dropped.
    pub async fn run(self) {
        let Self { mut hearing, first, mut closing } = self;
        tokio::select! {
            // Nothing is ever sent: the sender is gone.
            _ = closing.changed() => {}
            () = hearing.listen(first) => {}
        }
    }
}

impl Hearing {
    async fn listen(&mut self, first: (Client, Wire)) {
        let mut listening = Some(first);
        loop {
            if let Some((client, wire)) = listening.take() {
                self.hear(client, wire).await;
                tracing::warn!(
                    "the connection that hears other replicas is cut; reading what changes until it is back"
                );
            }
            tokio::time::sleep(AGAIN).await;
            match self.connect().await {
                Ok(connected) => listening = Some(connected),
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "nobody listens yet"),
            }
            let back = listening.is_some();
            match self.heal().await {
                Ok(()) if back => tracing::info!("other replicas are heard again"),
                Ok(()) => {}
                Err(failure) => {
                    let error = failure.into_error("change_list_since");
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "what changed meanwhile cannot be read yet"
                    );
                    // Nothing may fall between: listen anew once the list can be read.
                    listening = None;
                }
            }
        }
    }

    /// A connection that listens.
    async fn connect(&self) -> Result<(Client, Wire), ConnectError> {
        let connect = self.config.connect(self.connector.clone());
        let (client, mut wire) = connect.await.map_err(ConnectError::Engine)?;
        let listen = format!("LISTEN {}", self.source.statements.schema());
        let listen = async {
            let answer = client.batch_execute(&listen);
            tokio::pin!(answer);
            loop {
                tokio::select! {
                    answer = &mut answer => return answer.map_err(ConnectError::Engine),
                    // What is heard before the answer is read again by `heal`.
                    message = poll_fn(|cx| wire.poll_message(cx)) => match message {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Err(ConnectError::Engine(error)),
                        None => return Err(ConnectError::Silent),
                    },
                }
            }
        };
        timeout(DEADLINE, listen).await.unwrap_or(Err(ConnectError::Silent))?;
        Ok((client, wire))
    }

    /// Takes in notifications until the connection ends.
    async fn hear(&mut self, client: Client, mut wire: Wire) {
        loop {
            match poll_fn(|cx| wire.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(notification))) => self.take_in(notification.payload()),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the connection that listens broke");
                    break;
                }
                None => break,
            }
        }
        drop(client);
    }

    fn take_in(&mut self, payload: &str) {
        match parse(payload) {
            Ok((origin, told)) => {
                self.cursor = told.changes.iter().map(|change| change.number).fold(self.cursor, ChangeNumber::max);
                // Our own were pushed when they were committed.
                if origin != self.source.origin {
                    self.feeds.push(&told);
                }
            }
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a notification is passed over"),
        }
    }

    /// Pushes what changed since the last change that was heard of.
    async fn heal(&mut self) -> Result<(), Failure> {
        loop {
            let changes = change::list_since(&self.source, self.cursor, PAGE).await?;
            let full = changes.len() == PAGE;
            self.cursor = changes.last().map_or(self.cursor, |change| change.number);
            let last_event = event::newest(&self.source).await?;
            self.feeds.push(&Told { changes, last_event });
            if !full {
                return Ok(());
            }
        }
    }
}

/// `origin last_event uid:number:generation …`
fn parse(payload: &str) -> Result<(Uuid, Told), Garbled> {
    let garbled = || Garbled(payload.chars().take(120).collect());
    let mut words = payload.split(' ').filter(|word| !word.is_empty());
    let origin = words.next().and_then(|word| word.parse().ok()).ok_or_else(garbled)?;
    let last_event = words.next().and_then(|word| word.parse().ok()).ok_or_else(garbled)?;
    let changes = words.map(|word| {
        let mut parts = word.split(':');
        let executor: ExecutorUid = parts.next()?.parse().ok()?;
        let number = ChangeNumber(parts.next()?.parse().ok()?);
        let generation = Generation(parts.next()?.parse().ok()?);
        Some(Change { number, executor, generation })
    });
    let changes = changes.collect::<Option<Vec<_>>>().ok_or_else(garbled)?;
    Ok((origin, Told { changes, last_event }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read_and_garbled_ones_refused() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (origin, told) = parse(&format!("{a} 7 {b}:12:3 {a}:13:4")).expect("a payload");
        assert_eq!((origin, told.last_event, told.changes.len()), (a, 7, 2));
        assert_eq!(
            told.changes[0],
            Change { number: ChangeNumber(12), executor: ExecutorUid::new(b), generation: Generation(3) }
        );
        assert_eq!(parse(&format!("{a} 7 ")).expect("events alone").1.changes, []);
        for payload in ["", "x", "x 1", &format!("{a} x"), &format!("{a} 1 {b}:1"), &format!("{a} 1 {b}:x:1")] {
            assert!(parse(payload).is_err(), "{payload}");
        }
    }
}
