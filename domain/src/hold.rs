//! A hold: a version that rolled back or was refused on an executor. Rollouts skip it; a person who asks for it again is
//! told, and clears it by asking.

use crate::id::AttemptId;
use crate::time::Timestamp;
use crate::version::Version;

/// Most holds kept of one executor, in its journal and by the control plane: the oldest goes. Every list of executors carries them
/// all.
pub const HOLDS_MAX: usize = 64;

/// Why a version is held on one executor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// The version.
    pub version: Version,
    /// The attempt that ended badly.
    pub attempt: AttemptId,
    /// What happened, in a sentence for people.
    pub cause: String,
    /// When.
    pub since: Timestamp,
}
