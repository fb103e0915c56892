//! The stream's messages, both ways. A member of the oneof that this build does not know is nothing (`None`), never an error.

mod hello;

mod inventory;

use domain::sync::{DEFAULT_HEARTBEAT_INTERVAL, DEFAULT_PROBATION};
use domain::sync::{Progress, Request, Response, Welcome};
use domain::{Desired, Epoch, Generation};

use crate::convert::{Error, field, text, vocabulary, waiting};
use crate::v1;
use crate::v1::sync_executor_request::Message as Said;
use crate::v1::sync_executor_response::Message as Answered;

/// From the wire; none when this build does not know the message, or a word in it without which it says nothing.
///
/// # Errors
/// [`Error`] with the path to the field, beginning at the message: `hello.uid`.
pub fn request(wire: v1::SyncExecutorRequest) -> Result<Option<Request>, Error> {
    let Some(message) = wire.message else {
        return Ok(None);
    };
    let generation = |value| field::counter("generation", value).map(Generation);
    Ok(Some(match message {
        Said::Hello(hello) => Request::Hello(Box::new(hello.try_into().map_err(|error: Error| error.within("hello"))?)),
        Said::Heartbeat(heartbeat) => {
            let generation = generation(heartbeat.generation).map_err(|error| error.within("heartbeat"))?;
            Request::Heartbeat { generation }
        }
        Said::Progress(wire) => match progress(&wire).map_err(|error| error.within("progress"))? {
            Some(progress) => Request::Progress(progress),
            None => return Ok(None),
        },
        Said::ReadyToSwap(wire) => {
            let within = |error: Error| error.within("ready_to_swap");
            let attempt = field::required("attempt", &wire.attempt).map_err(within)?;
            Request::ReadyToSwap { attempt, generation: generation(wire.generation).map_err(within)? }
        }
        Said::Report(report) => {
            Request::Report(Box::new(report.try_into().map_err(|error: Error| error.within("report"))?))
        }
        Said::Inventory(inventory) => {
            Request::Inventory(inventory.try_into().map_err(|error: Error| error.within("inventory"))?)
        }
    }))
}

/// None when this build does not know the phase: then it says nothing.
fn progress(wire: &v1::Progress) -> Result<Option<Progress>, Error> {
    let attempt = field::required("attempt", &wire.attempt)?;
    let generation = Generation(field::counter("generation", wire.generation)?);
    let bytes_done = field::counter("bytes_done", wire.bytes_done)?;
    let bytes_total = field::counter("bytes_total", wire.bytes_total)?;
    let waiting = wire.waiting.as_ref().and_then(waiting::waiting);
    let phase = vocabulary::phase(wire.phase);
    Ok(phase.map(|phase| Progress { attempt, generation, phase, bytes_done, bytes_total, waiting }))
}

/// From the wire; none when this build does not know the message.
///
/// # Errors
/// [`Error`] with the path to the field, beginning at the message: `desired.agent.sha256`.
pub fn response(wire: v1::SyncExecutorResponse) -> Result<Option<Response>, Error> {
    let Some(message) = wire.message else {
        return Ok(None);
    };
    Ok(Some(match message {
        Answered::Welcome(welcome) => {
            Response::Welcome(welcome.try_into().map_err(|error: Error| error.within("welcome"))?)
        }
        Answered::Desired(desired) => {
            Response::Desired(Desired::try_from(desired).map_err(|error| error.within("desired"))?)
        }
        Answered::Proceed(wire) => {
            let attempt = field::required("attempt", &wire.attempt).map_err(|error| error.within("proceed"))?;
            Response::Proceed { attempt, generation: Generation(wire.generation) }
        }
        Answered::Withdrawn(wire) => {
            let attempt = field::required("attempt", &wire.attempt).map_err(|error| error.within("withdrawn"))?;
            Response::Withdrawn { attempt, reason: text::line(&wire.reason, text::NOTE_MAX_BYTES) }
        }
        Answered::ReportAck(wire) => Response::ReportAck {
            attempt: field::required("attempt", &wire.attempt).map_err(|error| error.within("report_ack"))?,
        },
        Answered::Reconnect(wire) => {
            let after =
                field::duration("after", wire.after).map_err(|error| error.within("reconnect"))?.unwrap_or_default();
            Response::Reconnect { after, reason: text::line(&wire.reason, text::NOTE_MAX_BYTES) }
        }
        Answered::HeartbeatAck(_) => Response::HeartbeatAck,
    }))
}

impl From<Request> for v1::SyncExecutorRequest {
    fn from(request: Request) -> Self {
        let message = match request {
            Request::Hello(hello) => Said::Hello((*hello).into()),
            Request::Heartbeat { generation } => Said::Heartbeat(v1::Heartbeat { generation: generation.0 }),
            Request::Progress(progress) => Said::Progress(v1::Progress {
                attempt: progress.attempt.to_string(),
                generation: progress.generation.0,
                phase: v1::Phase::from(progress.phase).into(),
                bytes_done: progress.bytes_done,
                bytes_total: progress.bytes_total,
                waiting: progress.waiting.as_ref().map(v1::Waiting::from),
            }),
            Request::ReadyToSwap { attempt, generation } => {
                Said::ReadyToSwap(v1::ReadyToSwap { attempt: attempt.to_string(), generation: generation.0 })
            }
            Request::Report(report) => Said::Report((*report).into()),
            Request::Inventory(inventory) => Said::Inventory(inventory.into()),
        };
        Self { message: Some(message) }
    }
}

impl From<Response> for v1::SyncExecutorResponse {
    fn from(response: Response) -> Self {
        let message = match response {
            Response::Welcome(welcome) => Answered::Welcome(welcome.into()),
            Response::Desired(desired) => Answered::Desired(desired.into()),
            Response::Proceed { attempt, generation } => {
                Answered::Proceed(v1::Proceed { attempt: attempt.to_string(), generation: generation.0 })
            }
            Response::Withdrawn { attempt, reason } => {
                Answered::Withdrawn(v1::Withdrawn { attempt: attempt.to_string(), reason })
            }
            Response::ReportAck { attempt } => Answered::ReportAck(v1::ReportAck { attempt: attempt.to_string() }),
            Response::Reconnect { after, reason } => {
                Answered::Reconnect(v1::Reconnect { after: Some(field::to_duration(after)), reason })
            }
            Response::HeartbeatAck => Answered::HeartbeatAck(v1::HeartbeatAck {}),
        };
        Self { message: Some(message) }
    }
}

impl From<Welcome> for v1::Welcome {
    fn from(welcome: Welcome) -> Self {
        Self {
            epoch: welcome.epoch.0,
            heartbeat_interval: Some(field::to_duration(welcome.heartbeat_interval)),
            probation: Some(field::to_duration(welcome.probation)),
            server_version: field::text(welcome.server_version.as_ref()),
            out_of_support: welcome.out_of_support,
            renew_certificate_after: welcome.renew_certificate_after.map(field::to_duration),
        }
    }
}

impl TryFrom<v1::Welcome> for Welcome {
    type Error = Error;

    fn try_from(wire: v1::Welcome) -> Result<Self, Error> {
        let or = |name, value, default| Ok::<_, Error>(field::duration(name, value)?.unwrap_or(default));
        Ok(Self {
            epoch: Epoch(wire.epoch),
            heartbeat_interval: or("heartbeat_interval", wire.heartbeat_interval, DEFAULT_HEARTBEAT_INTERVAL)?,
            probation: or("probation", wire.probation, DEFAULT_PROBATION)?,
            server_version: wire.server_version.parse().ok(),
            out_of_support: wire.out_of_support,
            renew_certificate_after: field::duration("renew_certificate_after", wire.renew_certificate_after)?,
        })
    }
}
