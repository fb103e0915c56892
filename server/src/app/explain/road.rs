//! Where the attempt is on its road, and what it waits for.

use std::time::Duration;

use domain::attempt::{Ending, ErrorCode, Outcome, Phase, Report, WaitingSince};
use domain::{Attempt, Kind, Reason};

use super::Facts;
use super::finding::{Finding, OPERATOR_LOG, Severity, words};

/// An executor acknowledges within milliseconds; after this long it is not slow, it is stuck.
const ACKNOWLEDGE: Duration = Duration::from_secs(15);

/// What the attempt says.
pub(super) fn of_attempt(facts: &Facts) -> Vec<Finding> {
    let Some(attempt) = &facts.attempt else {
        return Vec::new();
    };
    let mut findings = match (&attempt.ending, &attempt.refused) {
        (Some(ending), _) => vec![ended(facts, attempt, ending)],
        (None, Some(report)) => vec![refused(facts, attempt, report)],
        (None, None) => vec![match attempt.waits().filter(|_| !is_too_late(facts, attempt)) {
            Some(kept) => waiting(facts, attempt, kept),
            None => open(facts, attempt),
        }],
    };
    for finding in &mut findings {
        finding.about_attempt = true;
    }
    findings
}

fn open(facts: &Facts, attempt: &Attempt) -> Finding {
    let target = attempt.target_version();
    let left = words(attempt.expire_time.since(facts.now).as_secs());
    if attempt.rollback_requested {
        return Finding::new(
            Severity::Notice,
            format!("{} was asked for after leave: the executor is to bring it back", attempt.from_version),
        )
        .because(Reason::RollbackRequested)
        .since(attempt.apply_time);
    }
    match attempt.phase {
        Phase::Requested | Phase::Delivered if is_too_late(facts, attempt) => {
            Finding::blocking(Reason::TtlExpired, format!("nobody picked up the upgrade to {target} in time; it ends as expired within seconds"))
                .remedy("see that the executor is online, and ask again; `--ttl` gives it longer")
                .since(Some(attempt.expire_time))
        }
        Phase::Requested => unacknowledged(facts, attempt, &left),
        Phase::Delivered => Finding::new(Severity::Notice, format!("the executor knows of the upgrade to {target} and has not begun to download; {left} are left"))
            .remedy(match facts.executor.kind {
                Some(Kind::Operator) => format!("it may be confirming an earlier one, or its registry or the cluster's API is away: it asks them until the time is over. Its own log says which: {OPERATOR_LOG}"),
                Some(Kind::Agent) | None => "it may be confirming an earlier one, or checking disk and manifest; its own log says which: `journalctl -u novacula-agent -n 20`".to_owned(),
            })
            .since(attempt.deliver_time),
        Phase::Downloading => Finding::new(Severity::Ok, format!("it is downloading {target}: {}", bytes(attempt)))
            .remedy(format!("without a new byte for {} it ends as failed", words(facts.policy.progress_deadline.as_secs())))
            .since(attempt.progress_time),
        Phase::Verifying => Finding::new(Severity::Ok, format!("it is checking the bytes of {target}")).since(attempt.progress_time),
        Phase::ReadyToSwap => Finding::new(Severity::Ok, format!("it has {target}, verified, and asks for leave")).since(attempt.progress_time),
        Phase::Applying => Finding::new(Severity::Ok, format!("leave was given: it is swapping to {target} and can no longer be stopped"))
            .remedy(format!(
                "without word of the swap for {} it ends as failed; asking for {} is carried out as the rollback",
                words(facts.policy.leave_deadline.as_secs()),
                attempt.from_version
            ))
            .since(attempt.apply_time),
        Phase::Restarting => Finding::new(Severity::Ok, format!("the swap was made and {target} is starting"))
            .remedy("if it does not come up, the host brings the old version back by itself")
            .since(attempt.apply_time),
        Phase::Confirming => Finding::new(Severity::Ok, format!("{target} runs and is waiting for its confirmation: it has to run unbroken through probation"))
            .remedy(format!("asking for {} brings the old version back", attempt.from_version))
            .since(attempt.progress_time.or(attempt.apply_time)),
    }
}

/// Whether its time to be picked up is over.
fn is_too_late(facts: &Facts, attempt: &Attempt) -> bool {
    attempt.phase < Phase::Downloading && facts.now >= attempt.expire_time
}

/// What the executor says that it waits out, and what a person does about that.
fn waiting(facts: &Facts, attempt: &Attempt, kept: &WaitingSince) -> Finding {
    let target = attempt.target_version();
    let why = kept.waiting.sentence();
    let (message, end) = if attempt.phase < Phase::Downloading {
        let left = words(attempt.expire_time.since(facts.now).as_secs());
        (
            format!("the executor cannot begin with the upgrade to {target} yet, and tries again by itself: {why}"),
            format!("{left} are left, then it ends as expired"),
        )
    } else if attempt.has_leave() {
        (
            format!("{target} does not come up yet, and is given some time: {why}"),
            format!("where it lasts the executor brings {} back by itself", attempt.from_version),
        )
    } else {
        let limit = words(facts.policy.progress_deadline.as_secs());
        (
            format!("the download of {target} broke off and is tried again by itself, {}: {why}", bytes(attempt)),
            format!("without a new byte for {limit} it ends as failed"),
        )
    };
    let remedy = remedy(facts, Some(kept.waiting.error_code));
    Finding::new(Severity::Notice, message).remedy(format!("{remedy}; {end}")).since(Some(kept.since))
}

fn unacknowledged(facts: &Facts, attempt: &Attempt, left: &str) -> Finding {
    let target = attempt.target_version();
    let waited = facts.now.since(attempt.request_time);
    let since = Some(attempt.request_time);
    if !facts.presence.connected {
        return Finding::new(
            Severity::Notice,
            format!("the upgrade to {target} is delivered as soon as the executor opens its stream; {left} are left"),
        )
        .since(since);
    }
    if waited < ACKNOWLEDGE {
        return Finding::new(Severity::Ok, format!("the upgrade to {target} is on the stream")).since(since);
    }
    Finding::new(
        Severity::Blocking,
        format!("the upgrade to {target} was sent {} ago and is not acknowledged, though the stream is open", words(waited.as_secs())),
    )
    .remedy(format!(
        "the executor's process hangs, or its network swallows data: {}; nothing is lost by it, the upgrade is sent again",
        match facts.executor.kind {
            Some(Kind::Operator) => "in the operator's namespace `kubectl delete pod --selector novacula.dev/component=operator`",
            Some(Kind::Agent) | None => "on the host `systemctl restart novacula-agent`",
        }
    ))
    .since(since)
}

fn refused(facts: &Facts, attempt: &Attempt, report: &Report) -> Finding {
    let code = report.error_code.map_or("OTHER", ErrorCode::as_str);
    let message = format!(
        "the executor refused {} ({code}): {}; it stays pending, marked, for {}",
        attempt.target_version(),
        report.message,
        words(attempt.expire_time.since(facts.now).as_secs())
    );
    Finding::new(Severity::Blocking, message).remedy(remedy(facts, report.error_code)).since(attempt.progress_time)
}

fn ended(facts: &Facts, attempt: &Attempt, ending: &Ending) -> Finding {
    let target = attempt.target_version();
    let code = ending.error_code.map(|code| format!(" ({})", code.as_str())).unwrap_or_default();
    let (severity, message) = match ending.outcome {
        Outcome::Succeeded => (Severity::Ok, format!("the last upgrade, to {target}, succeeded")),
        Outcome::RolledBack => {
            (Severity::Notice, format!("the last upgrade, to {target}, was rolled back{code}: {}", ending.message))
        }
        Outcome::Refused => {
            (Severity::Notice, format!("the last upgrade, to {target}, was refused{code}: {}", ending.message))
        }
        Outcome::Failed => {
            (Severity::Notice, format!("the last upgrade, to {target}, failed{code}: {}", ending.message))
        }
        Outcome::Expired if waited_for(ending).is_some() => {
            (Severity::Notice, format!("the last upgrade, to {target}, expired{code}: {}", ending.message))
        }
        Outcome::Expired if attempt.deliver_time.is_some() => (
            Severity::Notice,
            format!("the last upgrade, to {target}, expired: the executor knew of it and did not begin to download"),
        ),
        Outcome::Expired => {
            (Severity::Notice, format!("the last upgrade, to {target}, expired before it was picked up"))
        }
        Outcome::Cancelled | Outcome::Superseded => (
            Severity::Ok,
            format!("the last upgrade, to {target}, was {}: {}", ending.outcome.as_str(), ending.message),
        ),
    };
    let finding = Finding::new(severity, message).since(attempt.end_time);
    let finding = match ending.reason {
        Some(reason) => finding.because(reason),
        None => finding,
    };
    match (severity, ending.log_tail.is_empty()) {
        (Severity::Ok, _) => finding,
        (_, false) => finding.remedy(
            "the failing version's last lines are in this answer's attempt; fix what they say, publish, ask again",
        ),
        (_, true)
            if ending.outcome == Outcome::Expired && attempt.deliver_time.is_some() && waited_for(ending).is_none() =>
        {
            finding.remedy(waited(facts))
        }
        (_, true) => finding.remedy(remedy(facts, ending.error_code)),
    }
}

/// What an executor waited out until the time to be picked up was over, where it said so.
fn waited_for(ending: &Ending) -> Option<ErrorCode> {
    ending.error_code.filter(|code| *code != ErrorCode::SpecExpired)
}

/// What a person does about an executor that knew, did not begin and said nothing.
fn waited(facts: &Facts) -> String {
    match facts.executor.kind {
        Some(Kind::Operator) => {
            format!("its registry or the cluster's API may have been away, and its log says which: {OPERATOR_LOG}; ask again when it is back")
        }
        Some(Kind::Agent) | None => {
            "its own log says what it waited for: `journalctl -u novacula-agent -n 50`; ask again when its cause is gone".to_owned()
        }
    }
}

/// What a person does about a typed error.
fn remedy(facts: &Facts, code: Option<ErrorCode>) -> &'static str {
    let Some(code) = code else {
        return "ask again when its cause is gone";
    };
    if facts.executor.kind == Some(Kind::Operator)
        && let Some(remedy) = remedy_of_operator(code)
    {
        return remedy;
    }
    match code {
        ErrorCode::CrashLoop
        | ErrorCode::StartTimeout
        | ErrorCode::CleanExit
        | ErrorCode::Hang
        | ErrorCode::TooManyStarts => {
            "read the failing version's last lines in the attempt; yank the release if it fails everywhere"
        }
        ErrorCode::WrongVersion => {
            "the binary says another version than its release: yank the release and publish a correct one"
        }
        ErrorCode::NoConnection => {
            "the new version could not reach the control plane where the old one could: compare their configuration on the host"
        }
        ErrorCode::ByHand => "a person brought the old version back on the host: ask them why",
        ErrorCode::NoSpace => "free disk space on the host, then ask again",
        ErrorCode::ReadOnly | ErrorCode::NotPermitted | ErrorCode::CrossDevice => {
            "on the host: `novacula-agent doctor` names the path and what is wrong with it; `novacula-agent install` writes units that fit"
        }
        ErrorCode::Io | ErrorCode::Journal => {
            "the host's disk fails or is full: look at `dmesg` and `df`, then ask again"
        }
        ErrorCode::Pinned => "on the host: `novacula-agent unpin`, or use the package manager that owns the binary",
        ErrorCode::Unreachable | ErrorCode::HttpStatus => {
            "see that the artifact's URL answers from that host, then ask again"
        }
        ErrorCode::UrlNotAllowed => {
            "the host refuses that URL (scheme, redirect or private address): publish the artifact here, or allow the address in the host's configuration"
        }
        ErrorCode::TooLarge | ErrorCode::Truncated | ErrorCode::DigestMismatch => {
            "the bytes served are not the bytes signed: do not ask again before a person has looked at where the artifact comes from"
        }
        ErrorCode::UnknownKey => {
            "no signature is by a key that this executor trusts: compare its release_key_ids with the release's signatures, and add one with `novacula release` and the right key"
        }
        ErrorCode::BadSignature | ErrorCode::LegacySignature | ErrorCode::BadManifest => {
            "the signature is wrong: treat it as an alarm, find out who signed, and sign again with `minisign -S`"
        }
        ErrorCode::ManifestMismatch | ErrorCode::KindMismatch | ErrorCode::PlatformMismatch => {
            "what was signed is not what was offered: treat it as an alarm, and compare the release with its manifests"
        }
        ErrorCode::MajorHop => "ask for the next major first; `novacula upgrade targets` shows it",
        ErrorCode::BelowFloor => {
            "the executor has confirmed a release that forbids going so far back; ask for a version at or above its floor"
        }
        ErrorCode::ChannelCeiling => {
            "the host's own ceiling keeps this channel out; raise it there, or ask for a more finished release"
        }
        ErrorCode::SpecExpired => "it came too late: ask again, with a longer `--ttl` if the host is slow",
        ErrorCode::PreviousUnusable => {
            "on the host: `novacula-agent doctor`; the old binary is gone or was written on, and an upgrade would have no way back"
        }
        ErrorCode::ServiceManager => "on the host: `systemctl status` and `novacula-agent doctor` say what refused",
        ErrorCode::ImageNotFound
        | ErrorCode::RegistryUnauthorized
        | ErrorCode::RegistryUnreachable
        | ErrorCode::ImagePull
        | ErrorCode::ContainerConfig
        | ErrorCode::OutOfMemory
        | ErrorCode::Unschedulable
        | ErrorCode::AdmissionRefused
        | ErrorCode::NeverReady
        | ErrorCode::ProgressDeadline
        | ErrorCode::UnsafeDeployment
        | ErrorCode::Cluster => remedy_in_cluster(code),
        ErrorCode::NoWord => "the executor fell silent: look at the host; the truth is told when it comes back",
        ErrorCode::Other => "the message says what a newer version meant; upgrade the control plane to read it better",
    }
}

/// The same, for what agents say, too, where it is something else in a cluster.
const fn remedy_of_operator(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::Pinned => {
            Some("set the image where the pin says; `novacula upgrade request` names the value, and upgrades nothing")
        }
        ErrorCode::NotPermitted | ErrorCode::Other => {
            Some("the message says what is under way in the cluster: ask again when it is over")
        }
        _ => None,
    }
}

/// The same, for what operators alone say.
fn remedy_in_cluster(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::ImageNotFound => {
            "the registry has no such image: see that it was pushed, by that digest, to the repository that the release names"
        }
        ErrorCode::RegistryUnauthorized => {
            "the registry refuses the cluster's pull secret: renew it in the operator's namespace, then ask again"
        }
        ErrorCode::RegistryUnreachable => {
            "see that the registry runs and answers from the operator's namespace (DNS, network policies, a proxy); the operator asks it again while there is time, after that ask for the upgrade again"
        }
        ErrorCode::ImagePull => {
            "the cluster's nodes cannot pull the image, while the operator could see it: compare their credentials, mirrors and network"
        }
        ErrorCode::ContainerConfig => {
            "the new container cannot be made: the message names what its pod template asks for and the cluster lacks"
        }
        ErrorCode::OutOfMemory => {
            "the new version needs more memory than its limit: raise `resources.limits.memory` in the chart's values, then ask again"
        }
        ErrorCode::Unschedulable => {
            "no node has room for one more pod beside the old one: the message says what they lack"
        }
        ErrorCode::AdmissionRefused => {
            "a quota or an admission policy refuses the new pod: the message is theirs; change it, or the chart's values"
        }
        ErrorCode::NeverReady => {
            "the new version could not reach the control plane where the old one could: read its last lines in the attempt, and compare network policies"
        }
        ErrorCode::ProgressDeadline => {
            "the rollout stood still for longer than the Deployment allows: the message says in which state its pod was"
        }
        ErrorCode::UnsafeDeployment => {
            "the Deployment could not come back from a bad version: the message names the field and the value that the chart sets; set it, then ask again"
        }
        ErrorCode::Cluster => {
            "the cluster's API refused or did not answer: the message says which, and the verb and the resource where the operator's Role lacks a right"
        }
        // Only those above are asked.
        _ => "look at the operator's namespace: `kubectl get deployments,pods,events`",
    }
}

fn bytes(attempt: &Attempt) -> String {
    match attempt.bytes_total {
        0 => format!("{} bytes so far", attempt.bytes_done),
        total => format!("{} % of {total} bytes", attempt.bytes_done.min(total).saturating_mul(100) / total),
    }
}
