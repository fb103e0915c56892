//! Rows for this crate's tests: plain ones, to be changed where a test says so.

use std::time::Duration;

use uuid::Uuid;

use crate::attempt::{Attempt, Phase};
use crate::audit::Actor;
use crate::channel::Channel;
use crate::digest::Sha256;
use crate::executor::{Executor, Kind};
use crate::hold::Hold;
use crate::id::{AttemptId, ExecutorUid, Generation, ReleaseId, Revision};
use crate::release::{Artifact, Location, Release, Status};
use crate::time::Timestamp;
use crate::version::Version;

pub(crate) fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

pub(crate) fn attempt_id(n: u128) -> AttemptId {
    AttemptId::new(Uuid::from_u128(n))
}

/// `seconds` after the beginning of the test's time.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_000_000_000_000_000).plus(Duration::from_secs(seconds))
}

pub(crate) fn executor(running: &str) -> Executor {
    let name = "organizations/acme/executors/web-1".parse().expect("a name");
    Executor {
        kind: Some(Kind::Agent),
        version: Some(version(running)),
        platform: Some("linux/amd64".parse().expect("a platform")),
        ..Executor::new(ExecutorUid::new(Uuid::from_u128(1)), name, at(0))
    }
}

pub(crate) fn hold(on: &str) -> Hold {
    Hold { version: version(on), attempt: attempt_id(9), cause: "it crashed".to_owned(), since: at(0) }
}

/// A published stable agent release for linux/amd64.
pub(crate) fn release(of: &str) -> Release {
    Release {
        id: ReleaseId { kind: Kind::Agent, version: version(of) },
        revision: Revision::default(),
        channel: Channel::Stable,
        status: Status::Published,
        notes: format!("notes of {of}"),
        floor: None,
        sequence: None,
        artifacts: vec![binary("linux/amd64")],
        create_time: at(0),
        publish_time: Some(at(0)),
        yank_reason: None,
    }
}

pub(crate) fn binary(platform: &str) -> Artifact {
    Artifact::Agent {
        platform: platform.parse().expect("a platform"),
        file: "novacula-agent".to_owned(),
        size: 1,
        sha256: Sha256::new([0; 32]),
        location: Location::Stored,
        signatures: Vec::new(),
    }
}

pub(crate) fn image() -> Artifact {
    Artifact::Operator {
        image: "registry.example/operator".to_owned(),
        digest: Sha256::new([0; 32]),
        signatures: Vec::new(),
    }
}

/// Asked at 0 s, to be picked up until 900 s, under generation 1.
pub(crate) fn attempt(from: &str, to: &str) -> Attempt {
    let executor = executor(from);
    Attempt {
        id: attempt_id(1),
        executor: executor.uid,
        executor_name: executor.name,
        revision: Revision::default(),
        release: ReleaseId { kind: Kind::Agent, version: version(to) },
        from_version: version(from),
        generation: Generation(1),
        phase: Phase::Requested,
        refused: None,
        waiting: None,
        rollback_requested: false,
        ending: None,
        corrected: false,
        bytes_done: 0,
        bytes_total: 0,
        request_time: at(0),
        deliver_time: None,
        progress_time: None,
        apply_time: None,
        end_time: None,
        expire_time: at(900),
        requested_by: Actor::Console,
        request_id: None,
    }
}
