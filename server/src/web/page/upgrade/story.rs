//! What a person is told before an upgrade is asked for: what will happen, for how long, and how one gets back. Pure.

use domain::{Reason, Version};
use proto::v1;

use crate::web::show;

/// Times to be picked up that are offered beside the server's own.
const TIMES: [u64; 4] = [15 * 60, 60 * 60, 4 * 60 * 60, 24 * 60 * 60];

/// What is asked of whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move<'a> {
    /// Agent or operator.
    pub(super) kind: v1::Kind,
    /// What runs.
    pub(super) from: &'a str,
    /// What is asked for.
    pub(super) to: &'a str,
    /// Bytes to fetch; none: an image, or not known.
    pub(super) size: Option<u64>,
    /// The floor that the target sets; empty: none.
    pub(super) floor: &'a str,
}

// === impl Move ===

impl Move<'_> {
    /// What will happen, step by step.
    pub(super) fn steps(&self) -> Vec<String> {
        let to = self.to;
        if self.kind == v1::Kind::Operator {
            return vec![
                "The request is written and sent down the operator's open stream in the same moment.".to_owned(),
                "The operator proves the signed digest, looks for the image in its registry, and asks the cluster for a dry \
                 run. Until then it can be cancelled."
                    .to_owned(),
                format!("It asks for leave and sets its Deployment to the image of {to}. The old pod runs until the new one is ready."),
                "The new pod takes over the stream and is confirmed after one unbroken probation (two minutes, unless its \
                 settings say otherwise)."
                    .to_owned(),
            ];
        }
        let bytes = self.size.map(|size| format!(" ({})", show::bytes(size))).unwrap_or_default();
        vec![
            "The request is written and sent down the agent's open stream in the same moment.".to_owned(),
            format!(
                "The agent proves the signed manifest, downloads {to}{bytes} beside its binary and proves the bytes. Until then \
                 it can be cancelled, and nothing on the host has changed."
            ),
            "It asks for leave, keeps the running binary as `.prev`, renames the new one into its place and restarts."
                .to_owned(),
            format!(
                "{to} is confirmed after one unbroken process of it has kept its stream up through probation (two minutes, \
                 unless its host says otherwise)."
            ),
        ]
    }

    /// How one gets back when it goes wrong, without anybody.
    pub(super) fn way_back(&self) -> Vec<String> {
        let from = self.from;
        if self.kind == v1::Kind::Operator {
            return vec![
                format!("The old pod watches the rollout, and sets the image of {from} again when the new one cannot come up."),
                "If only the new pod is left, it counts its own starts and goes back at the fourth without a confirmation.".to_owned(),
                "If neither is there, whichever starts first and can prove itself goes on from the annotation on the Deployment."
                    .to_owned(),
            ];
        }
        vec![
            format!(
                "It crashes or is not ready, three times in two minutes: systemd's start limit runs `.prev`, and {from} is back at once."
            ),
            "It crashes now and then: `.prev` counts the starts, and is back at the fourth without a confirmation."
                .to_owned(),
            "It hangs, or never reaches the control plane: a dead-man timer runs `.prev` after five minutes."
                .to_owned(),
        ]
    }

    /// How one gets back later, by asking.
    pub(super) fn later(&self) -> String {
        let (from, to) = (self.from, self.to);
        if self.is_final() {
            return format!(
                "Once {to} is confirmed there is no way back to {from}: it sets the floor to {}, below which this executor \
                 accepts nothing.",
                self.floor
            );
        }
        format!("Once {to} is confirmed, the way back is to ask for {from} on the executor's page.")
    }

    /// Whether confirming it closes the way back.
    pub(super) fn is_final(&self) -> bool {
        match (self.from.parse::<Version>(), self.floor.parse::<Version>()) {
            (Ok(from), Ok(floor)) => from < floor,
            _ => false,
        }
    }
}

/// Times to be picked up: seconds and words, the server's own first and unsaid.
pub(super) fn times(default: u64) -> Vec<(String, String)> {
    let mut times = vec![(String::new(), format!("{} (default)", words(default)))];
    times.extend(TIMES.iter().filter(|time| **time != default).map(|time| (time.to_string(), words(*time))));
    times
}

/// `15 min`, `4 h`.
fn words(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=3_599 => format!("{} min", seconds / 60),
        seconds if seconds.is_multiple_of(3_600) => format!("{} h", seconds / 3_600),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// Whether asking the same once more could ever be answered otherwise while this page is open.
pub(super) fn may_ask(reason: &str) -> bool {
    !matches!(
        Reason::parse(reason),
        Some(
            Reason::MajorHopRequired
                | Reason::BelowFloor
                | Reason::PlatformMissing
                | Reason::ChannelNotVisible
                | Reason::ReleaseNotPublished
                | Reason::ReleaseYanked
                | Reason::VersionNotAvailable
                | Reason::KindMismatch
                | Reason::AlreadyRunning
                | Reason::NotFound
        )
    )
}

/// What to do about a refusal, on this page or beside it. The sentence before it is the API's.
pub(super) fn remedy(reason: &str) -> &'static str {
    match Reason::parse(reason) {
        Some(Reason::ExecutorOffline) => {
            "The executor's page says since when, and what to look at on its host. What you chose stays below: ask again once it is online."
        }
        Some(Reason::VersionMismatch) => {
            "Something else changed it in between. This form now says what it runs: read it again before you confirm."
        }
        Some(Reason::UpgradePending) => "Wait for it, cancel it on its page, or tick “Replace” below.",
        Some(Reason::AttemptApplying) => {
            "Leave was given, so that nothing can take its place any more. Wait for its outcome; asking for the version it came from rolls it back."
        }
        Some(Reason::MajorHopRequired) => {
            "Go by the version that the message names first: the executor's page shows the whole way."
        }
        Some(Reason::BelowFloor) => "Choose a version at or above the floor; a floor is never lowered.",
        Some(Reason::PlatformMissing) => "Publish a new release that has an artifact for this platform.",
        Some(Reason::ChannelNotVisible) => "Widen the executor's channel, unless its host sets a ceiling.",
        Some(Reason::ReleaseYanked) => "Choose another release.",
        Some(Reason::ExecutorPinned) => {
            "Unpin it where it was pinned (on a host `novacula-agent unpin`), or upgrade it the way the message says."
        }
        Some(Reason::ExecutorDeactivated) => "Activate it first, if it is to come back.",
        Some(Reason::DuplicateIdentity) => "Find the clone, enrol it anew, then activate this one.",
        Some(Reason::AlreadyRunning) => "There is nothing to do.",
        Some(Reason::RequestIdReused) => "This form has a new request id now: ask once more.",
        Some(Reason::RateLimited | Reason::Unavailable) => {
            "Ask again in a moment: the same form asks for the same attempt, never for a second one."
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> Move<'static> {
        Move { kind: v1::Kind::Agent, from: "1.0.0", to: "1.1.0", size: Some(12 << 20), floor: "" }
    }

    #[test]
    fn an_agent_keeps_prev_and_an_operator_its_old_image() {
        let agent = agent();
        assert!(agent.steps()[1].contains("downloads 1.1.0 (12.0 MiB)") && agent.way_back().len() == 3);
        assert!(agent.way_back().iter().all(|way| way.contains(".prev")));
        let operator = Move { kind: v1::Kind::Operator, ..agent };
        let said = [operator.steps(), operator.way_back()].concat().join(" ");
        assert!(said.contains("sets the image of 1.0.0 again") && !said.contains(".prev"), "{said}");
    }

    #[test]
    fn a_floor_above_what_runs_closes_the_way_back_and_is_said() {
        assert!(!agent().is_final() && agent().later().contains("ask for 1.0.0"));
        assert!(!Move { floor: "1.0.0", ..agent() }.is_final());
        let closing = Move { floor: "1.1.0", ..agent() };
        assert!(closing.is_final() && closing.later().contains("sets the floor to 1.1.0"), "{}", closing.later());
    }

    #[test]
    fn times_begin_with_the_servers_own() {
        let said: Vec<_> = times(900).into_iter().map(|(_, words)| words).collect();
        assert_eq!(said, ["15 min (default)", "1 h", "4 h", "24 h"]);
        assert_eq!(times(5_400)[0], (String::new(), "1 h 30 min (default)".to_owned()));
        assert_eq!(times(5_400).len(), 5);
    }

    #[test]
    fn what_can_never_be_answered_otherwise_is_not_offered_again() {
        for (reason, may) in
            [("EXECUTOR_OFFLINE", true), ("UPGRADE_PENDING", true), ("MAJOR_HOP_REQUIRED", false), ("", true)]
        {
            assert_eq!(may_ask(reason), may, "{reason}");
        }
        assert!(remedy("VERSION_MISMATCH").contains("read it again") && remedy("SOMETHING_NEW").is_empty());
    }
}
