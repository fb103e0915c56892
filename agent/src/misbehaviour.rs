//! Test builds only: an agent that goes wrong in one exact way, so that the ways back are tested on real binaries.
//!
//! Behind the feature `fault-points`, which the `dist` profile refuses. A version that lies about itself needs no
//! misbehaviour: `agent::main("9.9.9")` in a binary whose manifest says 1.2.0.

use std::path::Path;
use std::time::Duration;

use executor_sdk::Journal;
use executor_sdk::credentials::CredentialStore;
use executor_sdk::fault::misbehaviour::{CRASHED, Chosen, end};
use executor_sdk::journal::Step;

use crate::layout::Layout;

/// How an agent goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// It ends with status 3 before its first line.
    CrashAtStart,
    /// It never becomes ready.
    HangBeforeReady,
    /// It becomes ready and then does nothing at all.
    HangAfterReady,
    /// It becomes ready and ends with status 0.
    ExitClean,
    /// It never reaches the control plane.
    NeverConnects,
    /// It ends with status 3 as soon as its stream is up and noted, before it is confirmed.
    CrashAfterConnect,
    /// All is well, but it connects only a while after it is ready.
    ConnectsLate,
    /// It ends with status 3 this long after each start.
    CrashEvery(Duration),
}

static CHOSEN: Chosen<Misbehaviour> = Chosen::none();

/// Long enough for a test to do something between READY and the first connection.
const LATE: Duration = Duration::from_secs(4);

/// Chooses, once a process.
pub(crate) fn choose(misbehaviour: Misbehaviour) {
    CHOSEN.choose(misbehaviour);
}

/// At the very beginning of `run`; the other commands behave, as those of `.prev` would.
pub(crate) fn at_start() {
    match CHOSEN.announced() {
        Some(Misbehaviour::CrashAtStart) => crash("crashing at start, as this test build does"),
        Some(Misbehaviour::HangBeforeReady) => hang(),
        Some(Misbehaviour::CrashEvery(after)) => {
            let after = *after;
            std::thread::spawn(move || {
                pause(after);
                crash("crashing after a while, as this test build does");
            });
        }
        _ => {}
    }
}

/// At the very beginning of `run --supervise`: a version that hangs or crashes is no better as a parent.
pub(crate) fn at_supervision() {
    match CHOSEN.get() {
        Some(Misbehaviour::CrashAtStart) => crash("crashing as a parent, as this test build does"),
        Some(Misbehaviour::HangBeforeReady | Misbehaviour::HangAfterReady) => hang(),
        _ => {}
    }
}

/// After READY.
pub(crate) fn after_ready(layout: &Layout) {
    match CHOSEN.get() {
        Some(Misbehaviour::HangAfterReady) => hang(),
        Some(Misbehaviour::ExitClean) => end(0),
        Some(Misbehaviour::ConnectsLate) => pause(LATE),
        Some(Misbehaviour::CrashAfterConnect) => {
            let journal = Journal::new(layout.state_dir());
            std::thread::spawn(move || {
                loop {
                    let open = journal.read().ok().and_then(|state| state.open);
                    if open.is_some_and(|open| open.step == Step::Connected) {
                        crash("crashing after connecting, as this test build does");
                    }
                    pause(Duration::from_millis(20));
                }
            });
        }
        _ => {}
    }
}

/// Credentials that lead to a port where nobody listens, for a version that never connects.
pub(crate) fn credential_store(layout: &Layout) -> CredentialStore {
    let real = CredentialStore::new(layout.state_dir());
    if CHOSEN.get() != Some(&Misbehaviour::NeverConnects) {
        return real;
    }
    let elsewhere = layout.state_dir().join("nowhere");
    let store = CredentialStore::new(&elsewhere);
    let copied = copy_to_nowhere(&real, &store, &elsewhere);
    if let Err(error) = copied {
        tracing::error!(%error, "the test build cannot lead its credentials astray");
    }
    store
}

fn copy_to_nowhere(real: &CredentialStore, store: &CredentialStore, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut credentials = real.load()?;
    // The discard port: nothing of ours or the host's listens there.
    credentials.endpoints = vec!["127.0.0.1:9".parse()?];
    store.save(&credentials)?;
    Ok(())
}

fn crash(why: &str) -> ! {
    tracing::error!("{why}");
    end(CRASHED)
}

fn hang() -> ! {
    tracing::warn!("hanging, as this test build does");
    loop {
        pause(Duration::from_secs(3600));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test build that is meant to block its thread")]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
