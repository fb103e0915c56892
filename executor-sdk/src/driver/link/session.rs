//! One stream, from hello to its end.

use std::time::Duration;

use domain::sync::{Hello, Request, Response, Welcome};
use proto::convert::sync;
use proto::v1;
use proto::v1::sync_service_client::SyncServiceClient;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::connect::{Cause, Connection, Error};

/// From hello to welcome. A full control plane answers `reconnect` rather than nothing.
const OPEN_DEADLINE: Duration = Duration::from_secs(20);

/// What may wait to be written: all unsent outcomes at once, and the rest of a connect.
const OUTBOX: usize = 32;

/// Largest message taken; the control plane's are a few KiB.
const MESSAGE_MAX: usize = 1 << 20;

/// A stream that is open.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) outbox: mpsc::Sender<v1::SyncExecutorRequest>,
    pub(super) inbox: Streaming<v1::SyncExecutorResponse>,
    pub(super) since: Instant,
    /// Since when a heartbeat waits for an answer.
    pub(super) unanswered: Option<Instant>,
}

/// What a hello led to.
pub(super) enum Answer {
    Welcome(Box<Session>, Welcome),
    Later(Duration),
}

impl Session {
    /// What the control plane does not read in time falls.
    pub(super) fn say(&mut self, request: Request) {
        if matches!(request, Request::Heartbeat { .. }) {
            self.unanswered.get_or_insert_with(Instant::now);
        }
        if self.outbox.try_send(request.into()).is_err() {
            tracing::debug!("the control plane does not read; a message was dropped");
        }
    }

    /// Whether what is said now does not fall, and leaves room for what is urgent.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.capacity() > OUTBOX / 2
    }
}

/// Says hello, and waits for the answer.
pub(super) async fn open(connection: Connection, hello: Hello) -> Result<Answer, Error> {
    let (outbox, messages) = mpsc::channel(OUTBOX);
    // The channel is new and empty: there is room.
    let _ = outbox.try_send(Request::Hello(Box::new(hello)).into());
    let mut client = SyncServiceClient::new(connection.channel()).max_decoding_message_size(MESSAGE_MAX);
    let answer = async {
        let mut inbox = client.sync_executor(ReceiverStream::new(messages)).await?.into_inner();
        while let Some(wire) = inbox.message().await? {
            match sync::response(wire) {
                Ok(Some(Response::Welcome(welcome))) => {
                    let session = Session {
                        connection: connection.clone(),
                        outbox,
                        inbox,
                        since: Instant::now(),
                        unanswered: None,
                    };
                    return Ok(Answer::Welcome(Box::new(session), welcome));
                }
                Ok(Some(Response::Reconnect { after, .. })) => return Ok(Answer::Later(after)),
                // Nothing else comes before welcome; what a later version adds is not for us.
                Ok(_) => {}
                Err(error) => return Err(tonic::Status::internal(error.to_string())),
            }
        }
        Err(tonic::Status::unavailable("the control plane ended the stream before its welcome"))
    };
    match timeout(OPEN_DEADLINE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(connection.error(&status)),
        Err(_) => Err(connection.failed(Cause::Timeout)),
    }
}
