//! What an executor's row and its releases say.

use domain::attempt::ErrorCode;
use domain::executor::State;
use domain::warning::Code;
use domain::{Kind, Reason, Timestamp};

use super::Facts;

/// How an operator's log is read, whatever its Helm release is called: by the label that the chart gives its pods.
pub(super) const OPERATOR_LOG: &str =
    "in the operator's namespace `kubectl logs --selector novacula.dev/component=operator --tail 50`";

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Notice,
    /// It stands in the way.
    Blocking,
}

/// One thing that stands in the way, or stands well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// The machine's word, where there is one.
    pub reason: Option<Reason>,
    /// What is so.
    pub message: String,
    /// What to do next; empty: nothing.
    pub remedy: String,
    /// Since when, where known.
    pub since: Option<Timestamp>,
    /// Whether it tells of the attempt, not of the executor.
    pub about_attempt: bool,
}

// === impl Finding ===

impl Finding {
    pub(super) fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            reason: None,
            message: message.into(),
            remedy: String::new(),
            since: None,
            about_attempt: false,
        }
    }

    pub(super) fn blocking(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Severity::Blocking, message).because(reason)
    }

    pub(super) const fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    pub(super) const fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }
}

/// What the executor's row and presence say.
pub(super) fn of_executor(facts: &Facts) -> Vec<Finding> {
    let executor = &facts.executor;
    let name = &executor.name;
    let id = &name.executor;
    let mut findings = Vec::new();
    if executor.state == State::Deactivated {
        findings.push(
            Finding::blocking(Reason::ExecutorDeactivated, "it is deactivated: its certificate is refused")
                .remedy(format!("`novacula executor activate {id}`, when it is to come back")),
        );
    }
    if executor.kind.is_none() || executor.version.is_none() {
        findings.push(
            Finding::blocking(Reason::ExecutorNeverSynced, "it was enrolled and has never synced")
                .remedy(format!("on the host: `systemctl status novacula-agent`, then `novacula-agent doctor`; in a cluster, {OPERATOR_LOG}"))
                .since(Some(executor.create_time)),
        );
    }
    if let Some(since) = executor.duplicated_since {
        findings.push(
            Finding::blocking(Reason::DuplicateIdentity, "two instances displace each other under its identity: a cloned host, or a stolen key")
                .remedy(format!("find out which host is the right one; enrol the other under its own name, or take the name over with a replace join token; then `novacula executor activate {id}`"))
                .since(Some(since)),
        );
    }
    if let Some(why) = &executor.pinned {
        findings.push(Finding::blocking(Reason::ExecutorPinned, format!("it is pinned on its host: {why}")).remedy(
            if executor.kind == Some(Kind::Operator) {
                "set the image where the pin says; `novacula upgrade request` names the value, and upgrades nothing"
            } else {
                "on the host: `novacula-agent unpin`, or upgrade it with the package manager that owns it"
            },
        ));
    }
    findings.extend(of_presence(facts));
    findings.extend(of_version(facts));
    findings
}

fn of_presence(facts: &Facts) -> Option<Finding> {
    if facts.presence.connected || facts.executor.state == State::Deactivated || facts.executor.version.is_none() {
        return None;
    }
    let finding = if facts.presence.online {
        Finding::new(Severity::Notice, "its stream ended less than 30 s ago: it is reconnecting, or going away")
            .remedy("wait for half a minute, and look again")
    } else {
        let ago = facts.presence.last_seen.map(|seen| facts.now.since(seen).as_secs());
        let message = ago.map_or_else(
            || "it is offline, and no session of it is on record".to_owned(),
            |ago| format!("it is offline: last seen {} ago", words(ago)),
        );
        let look = if facts.executor.kind == Some(Kind::Operator) {
            format!("in the cluster: {OPERATOR_LOG}, and `kubectl get deployments,pods`")
        } else {
            "on the host: `systemctl status novacula-agent`, `journalctl -u novacula-agent -n 50`, `novacula-agent doctor`".to_owned()
        };
        Finding::blocking(Reason::ExecutorOffline, message).remedy(format!(
            "{look}; is the executor listener reachable from there? `novacula event list --target {}` shows when it went",
            facts.executor.name
        ))
    };
    Some(finding.since(facts.presence.last_seen))
}

fn of_version(facts: &Facts) -> Vec<Finding> {
    let executor = &facts.executor;
    let mut findings = Vec::new();
    if let Some(running) = executor.version.as_ref().filter(|version| version.is_out_of_support(&facts.server_version))
    {
        let oldest = facts.server_version.major().saturating_sub(1);
        findings.push(
            Finding::new(
                Severity::Notice,
                format!(
                    "it runs {running}, which is out of support: more than one major behind {}",
                    facts.server_version
                ),
            )
            .because(Reason::OutOfSupport)
            .remedy(format!(
                "bring it forward hop by hop to {oldest}.x; `novacula upgrade targets {}` shows the next",
                executor.name.executor
            )),
        );
    }
    if executor.effective_channel() != executor.channel {
        findings.push(Finding::new(
            Severity::Notice,
            format!("its host holds channel {} down to {}", executor.channel, executor.effective_channel()),
        ));
    }
    for hold in &executor.holds {
        findings.push(
            Finding::new(Severity::Notice, format!("version {} is held here: {}", hold.version, hold.cause))
                .because(Reason::VersionHeld)
                .remedy(format!(
                    "look at the log tail of {}/attempts/{}; asking for {} again clears the hold, rollouts skip it until then",
                    executor.name, hold.attempt, hold.version
                ))
                .since(Some(hold.since)),
        );
    }
    findings
}

/// What the releases say: only worth a word when nothing is under way.
pub(super) fn of_targets(facts: &Facts) -> Option<Finding> {
    let open = facts.attempt.as_ref().is_some_and(|attempt| !attempt.is_ended());
    if open || facts.executor.version.is_none() {
        return None;
    }
    let allowed = facts.targets.iter().filter(|row| row.target.blocked.is_none()).count();
    let id = &facts.executor.name.executor;
    Some(match (allowed, facts.targets.first()) {
        (0, None) => Finding::new(
            Severity::Notice,
            format!("no other release is shown to it on channel {}", facts.executor.effective_channel()),
        )
        .remedy("publish a release, or widen its channel"),
        (0, Some(first)) => {
            let first = &first.target;
            let why = first.blocked.as_ref().map_or("", |refusal| refusal.message.as_str());
            Finding::new(Severity::Notice, format!("no release is a direct target; {}: {why}", first.release.version))
                .remedy(format!("`novacula upgrade targets {id}` shows what blocks each"))
        }
        (n, _) => Finding::new(Severity::Ok, format!("{n} release(s) may be requested now"))
            .remedy(format!("`novacula upgrade targets {id}`")),
    })
}

/// What other executors said of the artifacts that this one may be sent (rule 11). Its own holds are told with its row.
pub(super) fn of_alarms(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for row in &facts.targets {
        let release = row.target.release.resource_name();
        for warning in row.warnings.iter().filter(|warning| warning.code == Code::ArtifactRefused) {
            let code = warning.values.get("error_code").and_then(|code| ErrorCode::parse(code));
            let finding = Finding::new(Severity::Notice, warning.message.clone()).since(Some(warning.time)).remedy(format!(
                "`novacula event list --target {release}` shows who and why; is it what was published? a request for it is accepted all the same"
            ));
            findings.push(match code.and_then(ErrorCode::reason) {
                Some(reason) => finding.because(reason),
                None => finding,
            });
        }
    }
    findings
}

/// `3 h 20 min`, as a person says it.
pub(super) fn words(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}
