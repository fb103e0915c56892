//! The stream's messages, both ways. A member of the oneof that this build does not know is nothing (`None`), never an error.

use domain::sync::{AttemptReport, Hello, Inventory, Node, Progress, Request, Response, Welcome};
use domain::sync::{DEFAULT_HEARTBEAT_INTERVAL, DEFAULT_PROBATION};
use domain::{Desired, Epoch, Generation};

use crate::convert::{Error, field, text, vocabulary};
use crate::v1;
use crate::v1::sync_executor_request::Message as Said;
use crate::v1::sync_executor_response::Message as Answered;

/// Most entries of a list in `hello` (key ids, capabilities, unsent outcomes): a hundred times what a good executor sends.
const LIST_MAX: usize = 256;

/// Longest name of a machine, in bytes (RFC 1123).
const NODE_NAME_MAX_BYTES: usize = 253;

/// From the wire; none when this build does not know the message, or a word in it without which it says nothing.
///
/// # Errors
/// [`Error`] with the path to the field, beginning at the message: `hello.uid`.
pub fn request(wire: v1::SyncExecutorRequest) -> Result<Option<Request>, Error> {
    let Some(message) = wire.message else {
        return Ok(None);
    };
    Ok(Some(match message {
        Said::Hello(hello) => Request::Hello(Box::new(
            hello.try_into().map_err(|error: Error| error.within("hello"))?,
        )),
        Said::Heartbeat(heartbeat) => Request::Heartbeat {
            generation: Generation(heartbeat.generation),
        },
        Said::Progress(wire) => {
            let attempt = field::required("attempt", &wire.attempt).map_err(|error| error.within("progress"))?;
            let Some(phase) = vocabulary::phase(wire.phase) else {
                return Ok(None);
            };
            let generation = Generation(wire.generation);
            Request::Progress(Progress {
                attempt,
                generation,
                phase,
                bytes_done: wire.bytes_done,
                bytes_total: wire.bytes_total,
            })
        }
        Said::ReadyToSwap(wire) => {
            let attempt = field::required("attempt", &wire.attempt).map_err(|error| error.within("ready_to_swap"))?;
            Request::ReadyToSwap {
                attempt,
                generation: Generation(wire.generation),
            }
        }
        Said::Report(report) => Request::Report(Box::new(
            report.try_into().map_err(|error: Error| error.within("report"))?,
        )),
        Said::Inventory(inventory) => {
            Request::Inventory(inventory.try_into().map_err(|error: Error| error.within("inventory"))?)
        }
    }))
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
            Response::Proceed {
                attempt,
                generation: Generation(wire.generation),
            }
        }
        Answered::Withdrawn(wire) => {
            let attempt = field::required("attempt", &wire.attempt).map_err(|error| error.within("withdrawn"))?;
            Response::Withdrawn {
                attempt,
                reason: text::line(&wire.reason, text::NOTE_MAX_BYTES),
            }
        }
        Answered::ReportAck(wire) => Response::ReportAck {
            attempt: field::required("attempt", &wire.attempt).map_err(|error| error.within("report_ack"))?,
        },
        Answered::Reconnect(wire) => {
            let after = field::duration("after", wire.after)
                .map_err(|error| error.within("reconnect"))?
                .unwrap_or_default();
            Response::Reconnect {
                after,
                reason: text::line(&wire.reason, text::NOTE_MAX_BYTES),
            }
        }
        Answered::HeartbeatAck(_) => Response::HeartbeatAck,
    }))
}

impl From<Request> for v1::SyncExecutorRequest {
    fn from(request: Request) -> Self {
        let message = match request {
            Request::Hello(hello) => Said::Hello((*hello).into()),
            Request::Heartbeat { generation } => Said::Heartbeat(v1::Heartbeat {
                generation: generation.0,
            }),
            Request::Progress(progress) => Said::Progress(v1::Progress {
                attempt: progress.attempt.to_string(),
                generation: progress.generation.0,
                phase: v1::Phase::from(progress.phase).into(),
                bytes_done: progress.bytes_done,
                bytes_total: progress.bytes_total,
            }),
            Request::ReadyToSwap { attempt, generation } => Said::ReadyToSwap(v1::ReadyToSwap {
                attempt: attempt.to_string(),
                generation: generation.0,
            }),
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
            Response::Proceed { attempt, generation } => Answered::Proceed(v1::Proceed {
                attempt: attempt.to_string(),
                generation: generation.0,
            }),
            Response::Withdrawn { attempt, reason } => Answered::Withdrawn(v1::Withdrawn {
                attempt: attempt.to_string(),
                reason,
            }),
            Response::ReportAck { attempt } => Answered::ReportAck(v1::ReportAck {
                attempt: attempt.to_string(),
            }),
            Response::Reconnect { after, reason } => Answered::Reconnect(v1::Reconnect {
                after: Some(field::to_duration(after)),
                reason,
            }),
            Response::HeartbeatAck => Answered::HeartbeatAck(v1::HeartbeatAck {}),
        };
        Self { message: Some(message) }
    }
}

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            uid: hello.uid.to_string(),
            instance_id: hello.instance.to_string(),
            kind: v1::Kind::from(hello.kind).into(),
            version: hello.version.to_string(),
            binary_sha256: field::text(hello.binary_sha256.as_ref()),
            platform: field::text(hello.platform.as_ref()),
            release_key_ids: hello.release_key_ids,
            capabilities: hello.capabilities,
            generation: hello.generation.0,
            open_attempt: field::text(hello.open_attempt.as_ref()),
            phase: vocabulary::number(hello.phase.map(v1::Phase::from)),
            unsent_outcomes: hello.unsent_outcomes.into_iter().map(v1::Report::from).collect(),
            pinned: hello.pinned.is_some(),
            pinned_reason: hello.pinned.unwrap_or_default(),
            channel: vocabulary::number(hello.channel.map(v1::Channel::from)),
            channel_ceiling: vocabulary::number(hello.channel_ceiling.map(v1::Channel::from)),
            floor: field::text(hello.floor.as_ref()),
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = Error;

    fn try_from(wire: v1::Hello) -> Result<Self, Error> {
        let unknown_kind = || Error::new("kind", "is neither agent nor operator", &wire.kind.to_string());
        Ok(Self {
            uid: field::required("uid", &wire.uid)?,
            instance: field::required("instance_id", &wire.instance_id)?,
            kind: vocabulary::kind(wire.kind).ok_or_else(unknown_kind)?,
            version: field::required("version", &wire.version)?,
            binary_sha256: field::optional("binary_sha256", &wire.binary_sha256)?,
            platform: field::optional("platform", &wire.platform)?,
            release_key_ids: key_ids(wire.release_key_ids)?,
            capabilities: capabilities(wire.capabilities),
            generation: Generation(wire.generation),
            open_attempt: field::optional("open_attempt", &wire.open_attempt)?,
            phase: vocabulary::phase(wire.phase),
            unsent_outcomes: unsent(wire.unsent_outcomes)?,
            pinned: wire.pinned.then(|| pinned(&wire.pinned_reason)),
            channel: vocabulary::channel(wire.channel),
            channel_ceiling: vocabulary::channel(wire.channel_ceiling),
            floor: field::optional("floor", &wire.floor)?,
        })
    }
}

fn key_ids(ids: Vec<String>) -> Result<Vec<String>, Error> {
    // minisign prints an id as a number, without leading zeros.
    let fits = |id: &String| {
        (1..=16).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    };
    if let Some(bad) = ids.iter().find(|id| !fits(id)) {
        return Err(Error::new(
            "release_key_ids",
            "is not 1 to 16 upper-case hexadecimal digits",
            bad,
        ));
    }
    if ids.len() > LIST_MAX {
        return Err(too_many("release_key_ids", ids.len()));
    }
    Ok(ids)
}

/// Only what could be the name of a capability; the rest nobody here would know anyway.
fn capabilities(names: Vec<String>) -> Vec<String> {
    let fits = |name: &String| (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    names.into_iter().filter(fits).take(LIST_MAX).collect()
}

fn unsent(reports: Vec<v1::Report>) -> Result<Vec<AttemptReport>, Error> {
    if reports.len() > LIST_MAX {
        return Err(too_many("unsent_outcomes", reports.len()));
    }
    let one = |report: v1::Report| {
        report
            .try_into()
            .map_err(|error: Error| error.within("unsent_outcomes"))
    };
    reports.into_iter().map(one).collect()
}

fn too_many(field: &'static str, given: usize) -> Error {
    Error::new(field, format!("has more than {LIST_MAX} entries"), &given.to_string())
}

fn pinned(reason: &str) -> String {
    let reason = text::line(reason, text::NOTE_MAX_BYTES);
    if reason.is_empty() {
        "no reason given".to_owned()
    } else {
        reason
    }
}

impl From<Inventory> for v1::Inventory {
    fn from(inventory: Inventory) -> Self {
        let nodes = |nodes: Vec<Node>| nodes.into_iter().map(v1::Node::from).collect();
        match inventory {
            Inventory::Full(all) => Self {
                full: true,
                nodes: nodes(all),
                removed_node_names: Vec::new(),
            },
            Inventory::Delta { present, removed } => Self {
                full: false,
                nodes: nodes(present),
                removed_node_names: removed,
            },
        }
    }
}

impl TryFrom<v1::Inventory> for Inventory {
    type Error = Error;

    fn try_from(wire: v1::Inventory) -> Result<Self, Error> {
        let one = |node: v1::Node| Node::try_from(node).map_err(|error| error.within("nodes"));
        let present = wire.nodes.into_iter().map(one).collect::<Result<_, _>>()?;
        if wire.full {
            return Ok(Self::Full(present));
        }
        let name = |name: &String| node_name("removed_node_names", name);
        Ok(Self::Delta {
            present,
            removed: wire.removed_node_names.iter().map(name).collect::<Result<_, _>>()?,
        })
    }
}

impl From<Node> for v1::Node {
    /// Without `executor` and `report_time`: those are the control plane's to say.
    fn from(node: Node) -> Self {
        Self {
            node_name: node.name,
            executor: String::new(),
            platform: node.platform,
            kernel_version: node.kernel_version,
            os_image: node.os_image,
            kubelet_version: node.kubelet_version,
            ready: node.ready,
            report_time: None,
        }
    }
}

impl TryFrom<v1::Node> for Node {
    type Error = Error;

    fn try_from(wire: v1::Node) -> Result<Self, Error> {
        let note = |value: &str| text::line(value, text::NOTE_MAX_BYTES);
        Ok(Self {
            name: node_name("node_name", &wire.node_name)?,
            platform: note(&wire.platform),
            kernel_version: note(&wire.kernel_version),
            os_image: note(&wire.os_image),
            kubelet_version: note(&wire.kubelet_version),
            ready: wire.ready,
        })
    }
}

/// Hosts have names that no RFC allows; they are kept as they are, but for what a terminal would obey.
fn node_name(field: &'static str, name: &str) -> Result<String, Error> {
    if name.is_empty() {
        Err(Error::missing(field))
    } else {
        Ok(text::line(name, NODE_NAME_MAX_BYTES))
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
            heartbeat_interval: or(
                "heartbeat_interval",
                wire.heartbeat_interval,
                DEFAULT_HEARTBEAT_INTERVAL,
            )?,
            probation: or("probation", wire.probation, DEFAULT_PROBATION)?,
            server_version: wire.server_version.parse().ok(),
            out_of_support: wire.out_of_support,
            renew_certificate_after: field::duration("renew_certificate_after", wire.renew_certificate_after)?,
        })
    }
}
