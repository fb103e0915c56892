//! What happened to the fleet in three days, told by its executors themselves.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::control_plane::ControlPlane;
use harness::fake_executor::{Stream, refusal};
use proto::v1;
use proto::v1::sync_executor_request::Message as Say;
use proto::v1::sync_executor_response::Message as Hear;

use super::fleet::{Bent, Member};
use super::{Stage, ask, attempt};
use crate::Result;

const HOUR: Duration = Duration::from_secs(3600);

/// What the control plane waits for at most until it notices that a request's time is over.
const SOON: Duration = Duration::from_secs(60);

/// What a release weighs, nearly: see `catalog`.
const TOTAL: u64 = 1_347_514;

/// The last words of a version that does not start.
const LOG: [&str; 9] = [
    "INFO  novacula-agent 4.2.1 starts, pid 21877",
    "INFO  journal: /var/lib/novacula-agent/journal, format 3, attempt open",
    "INFO  config: /etc/novacula/agent.toml",
    "WARN  resolver: /etc/resolv.conf names no server",
    "ERROR tls: open /etc/novacula/ca.d: permission denied (os error 13)",
    "ERROR cannot start: no authority to trust",
    "systemd: novacula-agent.service: main process exited, code=exited, status=78/CONFIG",
    "systemd: novacula-agent.service: scheduled restart job, restart counter is at 5",
    "systemd: novacula-agent.service: start request repeated too quickly",
];

/// Plays it, and leaves everybody connected who is there.
pub(crate) async fn play(stage: &mut Stage, fleet: Vec<Member>) -> Result {
    for member in fleet.iter().filter(|member| member.row.bent == Bent::Away) {
        member.executor.connect_with(member.hello(member.row.version)).await?;
    }
    let clock = |hours: u32| stage.plane.clock().advance(HOUR * hours);
    clock(28);
    for id in ["web-1", "web-2", "api-1"] {
        stage.shown.succeeded = succeeds(&stage.plane, find(&fleet, id)?, "4.2.0").await?;
    }
    clock(17);
    stage.shown.rolled_back = comes_back(&stage.plane, find(&fleet, "web-1")?).await?;
    is_refused(&stage.plane, find(&fleet, "edge-sin-1")?).await?;
    stage.shown.expired = goes_away(&stage.plane, find(&fleet, "api-3")?).await?;
    clock(2);
    access(&stage.plane).await?;
    stage.shown.waiting = goes_away(&stage.plane, find(&fleet, "api-2")?).await?;
    // A clock that is moved wakes nobody: the request before this line did, and without it half a minute passes.
    wait_expired(&stage.plane, &stage.shown.expired).await?;
    stage.plane.clock().advance(Duration::from_secs(4 * 60));
    for member in fleet {
        if member.row.bent == Bent::Away {
            continue;
        }
        let runs = if ["web-1", "web-2", "api-1"].contains(&member.row.id) { "4.2.0" } else { member.row.version };
        let hello = member.hello(runs);
        if member.row.id == "web-3" {
            stage.shown.downloading = downloads(stage, member).await?;
        } else {
            stage.connect(member.executor, hello).await?;
        }
    }
    Ok(())
}

fn find<'a>(fleet: &'a [Member], id: &str) -> Result<&'a Member> {
    fleet.iter().find(|member| member.row.id == id).with_context(|| format!("no {id} in the fleet"))
}

async fn succeeds(plane: &ControlPlane, member: &Member, to: &str) -> Result<String> {
    let (attempt, desired, mut stream) = applies(plane, member, member.row.version, to).await?;
    let report = v1::Report {
        attempt: desired.attempt,
        outcome: v1::Outcome::Succeeded.into(),
        running_version: to.to_owned(),
        target_version: to.to_owned(),
        from_version: member.row.version.to_owned(),
        ..v1::Report::default()
    };
    stream.report(report).await?;
    Ok(attempt)
}

async fn comes_back(plane: &ControlPlane, member: &Member) -> Result<String> {
    let (attempt, desired, mut stream) = applies(plane, member, "4.2.0", "4.2.1").await?;
    let report = v1::Report {
        attempt: desired.attempt,
        outcome: v1::Outcome::RolledBack.into(),
        stage: "start".to_owned(),
        error_code: "CRASH_LOOP".to_owned(),
        message: "4.2.1 ended five times in 41 s; 4.2.0 was put back".to_owned(),
        running_version: "4.2.0".to_owned(),
        rolled_back_to: "4.2.0".to_owned(),
        log_tail: LOG.map(str::to_owned).to_vec(),
        target_version: "4.2.1".to_owned(),
        from_version: "4.2.0".to_owned(),
    };
    stream.report(report).await?;
    Ok(attempt)
}

/// To where leave is given.
async fn applies(plane: &ControlPlane, member: &Member, from: &str, to: &str) -> Result<(String, v1::Desired, Stream)> {
    let mut stream = member.executor.connect_with(member.hello(from)).await?;
    let attempt = ask(plane, member.executor.name(), to).await?.name;
    let desired = stream.desired().await?;
    for phase in [v1::Phase::Downloading, v1::Phase::Verifying] {
        stream.say(progress(&desired, phase, TOTAL)).await?;
    }
    let ready = v1::ReadyToSwap { attempt: desired.attempt.clone(), generation: desired.generation };
    stream.say(Say::ReadyToSwap(ready)).await?;
    stream.until("leave", |word| matches!(word, Hear::Proceed(_))).await?;
    Ok((attempt, desired, stream))
}

async fn is_refused(plane: &ControlPlane, member: &Member) -> Result {
    let mut stream = member.executor.connect_with(member.hello("4.2.0")).await?;
    ask(plane, member.executor.name(), "4.2.1").await?;
    let desired = stream.desired().await?;
    let report = v1::Report {
        running_version: "4.2.0".to_owned(),
        message: "no signature by a key that this host trusts".to_owned(),
        ..refusal(&desired)
    };
    stream.report(report).await
}

/// It is asked, and never says that it heard.
async fn goes_away(plane: &ControlPlane, member: &Member) -> Result<String> {
    let _stream = member.executor.connect_with(member.hello(member.row.version)).await?;
    Ok(ask(plane, member.executor.name(), "4.2.1").await?.name)
}

async fn downloads(stage: &mut Stage, member: Member) -> Result<String> {
    let hello = member.hello(member.row.version);
    let mut stream = member.executor.connect_with(hello).await?;
    let attempt = ask(&stage.plane, member.executor.name(), "4.2.1").await?.name;
    let desired = stream.desired().await?;
    stream.say(progress(&desired, v1::Phase::Downloading, 820_000)).await?;
    stage.keep(member.executor, stream);
    Ok(attempt)
}

fn progress(desired: &v1::Desired, phase: v1::Phase, bytes_done: u64) -> Say {
    Say::Progress(v1::Progress {
        attempt: desired.attempt.clone(),
        generation: desired.generation,
        phase: phase.into(),
        bytes_done,
        bytes_total: TOTAL,
        waiting: None,
    })
}

async fn wait_expired(plane: &ControlPlane, name: &str) -> Result {
    let end = tokio::time::Instant::now() + SOON;
    loop {
        let seen = attempt(plane, name).await?;
        if seen.outcome() == v1::Outcome::Expired {
            return Ok(());
        }
        ensure!(tokio::time::Instant::now() < end, "it does not expire: {seen:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Tokens of people and of joins.
async fn access(plane: &ControlPlane) -> Result {
    let parent = format!("organizations/{}", harness::control_plane::ORGANIZATION);
    let owner = plane.owner();
    let people =
        [("deploy pipeline", v1::Role::Admin), ("on call", v1::Role::Admin), ("wall screen", v1::Role::Member)];
    for (display_name, role) in people {
        let request = v1::CreateTokenRequest {
            parent: parent.clone(),
            role: role.into(),
            display_name: display_name.to_owned(),
            ..v1::CreateTokenRequest::default()
        };
        owner.organizations().create_token(request).await?;
    }
    for (executor_id, max_uses) in [("web-10", 1), ("", 50)] {
        let request = v1::CreateJoinTokenRequest {
            parent: parent.clone(),
            executor_id: executor_id.to_owned(),
            max_uses,
            ..v1::CreateJoinTokenRequest::default()
        };
        owner.organizations().create_join_token(request).await?;
    }
    Ok(())
}
