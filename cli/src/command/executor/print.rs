//! How executors and attempts look to people.

use proto::v1;

use crate::args::Channel;
use crate::command::Session;
use crate::error::Error;
use crate::output::facts;
use crate::{progress, time};

pub(super) fn show(session: &Session, executor: &v1::Executor) -> Result<(), Error> {
    session.printer.message(executor, |executor| {
        let labels: Vec<String> = executor.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let holds: Vec<String> =
            executor.holds.iter().map(|hold| format!("{} ({})", hold.version, hold.cause)).collect();
        facts(&[
            ("Name", executor.name.clone()),
            ("Uid", executor.uid.clone()),
            ("Kind", kind(executor.kind()).to_owned()),
            ("Version", executor.version.clone()),
            ("Platform", executor.platform.clone()),
            ("Channel", channel(executor.channel()).to_owned()),
            ("Status", status(executor)),
            ("Pinned", executor.pinned_reason.clone()),
            ("Pending", executor.pending_upgrade.as_ref().map(target).unwrap_or_default()),
            ("Attempt", executor.open_attempt.clone()),
            ("Holds", holds.join("; ")),
            ("Floor", executor.floor.clone()),
            ("Labels", labels.join(" ")),
            ("Last seen", time::ago(executor.last_seen_time.as_ref())),
            ("Enrolled", time::stamp(executor.create_time.as_ref())),
        ])
    })
}

pub(super) fn status(executor: &v1::Executor) -> String {
    let mut words = vec![if executor.online { "online" } else { "offline" }];
    if executor.state() == v1::executor::State::Deactivated {
        words = vec!["deactivated"];
    }
    words.extend(executor.duplicated_since_time.map(|_| "duplicated"));
    words.extend(executor.out_of_support.then_some("out-of-support"));
    words.extend(executor.pinned.then_some("pinned"));
    words.extend((!executor.holds.is_empty()).then_some("held"));
    words.join(",")
}

pub(super) fn target(pending: &v1::PendingUpgrade) -> String {
    use v1::pending_upgrade::Spec;
    let version = match &pending.spec {
        Some(Spec::Agent(spec)) => spec.target_version.clone(),
        Some(Spec::Operator(spec)) => spec.target_version.clone(),
        None => "?".to_owned(),
    };
    if pending.refused_error_code.is_empty() { version } else { format!("{version} (refused)") }
}

pub(in crate::command) fn attempt_facts(attempt: &v1::Attempt) -> String {
    let bytes =
        if attempt.bytes_total > 0 { format!("{}/{}", attempt.bytes_done, attempt.bytes_total) } else { String::new() };
    let since = attempt.waiting.as_ref().and_then(|waiting| waiting.since_time.as_ref());
    let waits_out = match since {
        Some(since) => format!("{} (since {})", progress::waits_out(attempt), time::stamp(Some(since))),
        None => progress::waits_out(attempt),
    };
    facts(&[
        ("Attempt", attempt.name.clone()),
        ("Executor", attempt.executor.clone()),
        ("Move", format!("{} -> {}", attempt.from_version, attempt.target_version)),
        ("Phase", progress::phase(attempt)),
        ("Outcome", progress::outcome(attempt)),
        ("Reason", attempt.reason.clone()),
        ("Stage", attempt.stage.clone()),
        ("Error", attempt.error_code.clone()),
        ("Message", attempt.message.clone()),
        ("Back on", attempt.rolled_back_to.clone()),
        ("Bytes", bytes),
        ("Waits out", waits_out),
        ("Requested", format!("{} by {}", time::stamp(attempt.request_time.as_ref()), asked_by(attempt))),
        ("Until", time::stamp(attempt.expire_time.as_ref())),
    ])
}

/// Whose token it was, and which: people may share a name.
fn asked_by(attempt: &v1::Attempt) -> String {
    match attempt.requested_by_display_name.as_str() {
        "" => attempt.requested_by.clone(),
        called => format!("{called} ({})", attempt.requested_by),
    }
}

pub(in crate::command) fn kind(kind: v1::Kind) -> &'static str {
    match kind {
        v1::Kind::Unspecified => "-",
        v1::Kind::Agent => "agent",
        v1::Kind::Operator => "operator",
    }
}

pub(in crate::command) fn channel(channel: v1::Channel) -> &'static str {
    match channel {
        v1::Channel::Unspecified => "-",
        v1::Channel::Stable => "stable",
        v1::Channel::Beta => "beta",
        v1::Channel::Dev => "dev",
    }
}

pub(in crate::command) const fn wire_channel(channel: Channel) -> v1::Channel {
    match channel {
        Channel::Stable => v1::Channel::Stable,
        Channel::Beta => v1::Channel::Beta,
        Channel::Dev => v1::Channel::Dev,
    }
}

pub(in crate::command) fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
