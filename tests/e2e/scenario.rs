//! One table for both contracts: what goes wrong with a new version, and how its attempt has to end.

use std::time::Duration;

use agent::Misbehaviour;
use harness::fleet::Manager;
use harness::fleet::edition::Conduct;

/// A new version, and what becomes of it.
pub(crate) struct Scenario {
    /// The claim.
    pub(crate) name: &'static str,
    /// How the new version behaves.
    pub(crate) conduct: Conduct,
    /// The version it says it is, when not the one it was published as.
    pub(crate) says: Option<&'static str>,
    /// Where it has to be said to have failed, and with which error.
    pub(crate) failure: Failure,
    /// The dead-man window that lets this way back come first.
    pub(crate) window: Duration,
    /// The probation that outlasts the misbehaviour.
    pub(crate) probation: Duration,
}

/// How an attempt failed.
pub(crate) struct Failure {
    pub(crate) stage: &'static str,
    pub(crate) code: &'static str,
}

/// So long that the dead man never comes first.
pub(crate) const PATIENT: Duration = Duration::from_secs(300);

/// Long enough for a start and a connection on a busy machine.
pub(crate) const SHORT: Duration = Duration::from_secs(12);

const PROBATION: Duration = Duration::from_secs(3);

/// Every bad version. Under systemd the spacing of slow crashes is scaled with the start limit; the supervising parent's
/// start limit is the real one, and so are they.
pub(crate) fn bad(manager: Manager) -> Vec<Scenario> {
    let slow = match manager {
        Manager::Systemd => Duration::from_secs(8),
        Manager::Supervise => Duration::from_secs(50),
    };
    let row = |name, misbehaviour, stage, code, window| Scenario {
        name,
        conduct: Conduct::Bad(misbehaviour),
        says: None,
        failure: Failure { stage, code },
        window,
        probation: PROBATION,
    };
    vec![
        // First, since it takes longest.
        Scenario {
            probation: slow * 2,
            ..row("slow_crashes_come_back", Misbehaviour::CrashEvery(slow), "confirm", "TOO_MANY_STARTS", PATIENT)
        },
        row("crash_at_start_comes_back", Misbehaviour::CrashAtStart, "start", "CRASH_LOOP", PATIENT),
        row("hang_before_ready_comes_back", Misbehaviour::HangBeforeReady, "start", "START_TIMEOUT", PATIENT),
        row("hang_after_ready_comes_back", Misbehaviour::HangAfterReady, "start", "HANG", SHORT),
        row("clean_exit_comes_back", Misbehaviour::ExitClean, "start", "CLEAN_EXIT", PATIENT),
        row("never_connecting_comes_back", Misbehaviour::NeverConnects, "connect", "NO_CONNECTION", SHORT),
        row("crash_after_connect_comes_back", Misbehaviour::CrashAfterConnect, "confirm", "CRASH_LOOP", PATIENT),
        Scenario {
            conduct: Conduct::Good,
            says: Some("1.0.9"),
            ..row("wrong_version_comes_back", Misbehaviour::CrashAtStart, "confirm", "WRONG_VERSION", PATIENT)
        },
    ]
}
