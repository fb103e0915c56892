//! Test builds only: an operator that goes wrong in one exact way, so that the way back is tested on real pods.
//!
//! Behind the feature `fault-points`, which the `dist` profile refuses. A version that lies about itself needs no misbehaviour.

use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use executor_sdk::fault::misbehaviour::{CRASHED, Chosen, end};

use crate::fault::Point;

/// How an operator goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// It ends with status 3 after its first line.
    CrashAtStart,
    /// It ends with status 0 after its first line.
    ExitClean,
    /// It takes more and more memory, and touches it.
    TakeMemory,
    /// It runs, and never proves itself.
    NeverProve,
    /// All is well until it leads; so long after that it ends with status 3.
    CrashAfterLead(Duration),
    /// It stands still at this point, once a pod, until somebody makes the file [`GO`].
    StopAt(Point),
}

/// Says that a pod's process stood still, or does; it lives as long as the pod. A signal would not do: the first process of a pod cannot
/// stop itself.
pub const STOPPED: &str = "/run/novacula/stopped";

/// Lets it go on.
pub const GO: &str = "/run/novacula/go";

/// How often it looks for that.
const LOOK: Duration = Duration::from_millis(20);

static CHOSEN: Chosen<Misbehaviour> = Chosen::none();

/// A bite of memory.
const BITE: usize = 16 * 1024 * 1024;

/// Chooses, once a process.
pub(crate) fn choose(misbehaviour: Misbehaviour) {
    CHOSEN.choose(misbehaviour);
}

/// At the very beginning of `run`.
pub(crate) fn at_start() {
    match CHOSEN.announced() {
        Some(Misbehaviour::CrashAtStart) => end(CRASHED),
        Some(Misbehaviour::ExitClean) => end(0),
        Some(Misbehaviour::TakeMemory) => take_memory(),
        _ => {}
    }
}

/// Stands still here, if this is where, and no process of this pod has.
pub(crate) fn reach(point: Point) {
    let here = CHOSEN.get() == Some(&Misbehaviour::StopAt(point));
    if here && fs::OpenOptions::new().write(true).create_new(true).open(STOPPED).is_ok() {
        tracing::info!(point = point.as_str(), "standing still here, as this test build does");
        // All of it, as a frozen process does: it runs on one thread.
        while !Path::new(GO).exists() {
            thread::park_timeout(LOOK);
        }
    }
}

/// Whether this process may prove itself.
pub(crate) fn may_prove() -> bool {
    CHOSEN.get() != Some(&Misbehaviour::NeverProve)
}

/// Beside everything that a leader does.
pub(crate) async fn while_leading() {
    match CHOSEN.get() {
        Some(Misbehaviour::CrashAfterLead(after)) => {
            tokio::time::sleep(*after).await;
            end(CRASHED);
        }
        _ => std::future::pending().await,
    }
}

fn take_memory() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(vec![1_u8; BITE]);
        std::hint::black_box(&taken);
    }
}
