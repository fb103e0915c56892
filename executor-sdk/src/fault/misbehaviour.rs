//! How a test build goes wrong on purpose: chosen once, before its first line, and for its whole life.

use std::fmt::Debug;
use std::process;
use std::sync::OnceLock;

/// Status of a crash on purpose.
pub const CRASHED: i32 = 3;

/// The one way, of those that a program `M` knows, in which this process goes wrong; none in a build that means well.
#[derive(Debug)]
pub struct Chosen<M>(OnceLock<M>);

impl<M: Debug> Chosen<M> {
    /// None yet.
    #[must_use]
    pub const fn none() -> Self {
        Self(OnceLock::new())
    }

    /// Chooses. The first choice of a process stays.
    pub fn choose(&self, misbehaviour: M) {
        let _ = self.0.set(misbehaviour);
    }

    /// What was chosen.
    #[must_use]
    pub fn get(&self) -> Option<&M> {
        self.0.get()
    }

    /// What was chosen, said in the log: a report's log tail is known by this line.
    #[must_use]
    pub fn announced(&self) -> Option<&M> {
        let chosen = self.get();
        if let Some(misbehaviour) = chosen {
            tracing::info!(?misbehaviour, "this is a test build that goes wrong on purpose");
        }
        chosen
    }
}

/// Ends on the spot, from any thread: no destructor, no goodbye.
#[expect(clippy::exit, reason = "a test build that has to end on the spot")]
pub fn end(status: i32) -> ! {
    process::exit(status)
}
