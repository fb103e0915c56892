//! The agent's own fault points: between any two writes of a swap and of the way back. See [`executor_sdk::fault`].

pub(crate) use executor_sdk::fault::reach;

/// The attempt is in the journal, nothing else was changed.
pub const SWAP_JOURNALLED: &str = "swap-journalled";
/// The artifact's bytes are on disk.
pub const SWAP_ARTIFACT_SYNCED: &str = "swap-artifact-synced";
/// `.prev.new` is a link to the live binary.
pub const SWAP_LINKED: &str = "swap-linked";
/// `.prev` is the live binary; the directory is not synced.
pub const SWAP_PREVIOUS_RENAMED: &str = "swap-previous-renamed";
/// `.prev` is durable.
pub const SWAP_PREVIOUS_SYNCED: &str = "swap-previous-synced";
/// The artifact is the live binary; the directory is not synced.
pub const SWAP_RENAMED: &str = "swap-renamed";
/// The swap is durable; the journal does not say so yet.
pub const SWAP_SYNCED: &str = "swap-synced";
/// The journal says so; no restart was asked for.
pub const SWAP_NOTED: &str = "swap-noted";
/// The restart was asked for.
pub const SWAP_RESTARTING: &str = "swap-restarting";

/// The journal says that and why the old version is put back.
pub const BACK_JOURNALLED: &str = "back-journalled";
/// A synced copy of `.prev` lies beside the binary.
pub const BACK_COPIED: &str = "back-copied";
/// The copy is the live binary; the directory is not synced.
pub const BACK_RENAMED: &str = "back-renamed";
/// The old version is in place, durably; the attempt is still open.
pub const BACK_SYNCED: &str = "back-synced";
/// The attempt has its outcome; no restart was asked for.
pub const BACK_CLOSED: &str = "back-closed";

/// Every fault point of a swap, in order.
pub const SWAP_POINTS: &[&str] = &[
    SWAP_JOURNALLED,
    SWAP_ARTIFACT_SYNCED,
    SWAP_LINKED,
    SWAP_PREVIOUS_RENAMED,
    SWAP_PREVIOUS_SYNCED,
    SWAP_RENAMED,
    SWAP_SYNCED,
    SWAP_NOTED,
    SWAP_RESTARTING,
];

/// Every fault point of the way back, in order.
pub const BACK_POINTS: &[&str] = &[BACK_JOURNALLED, BACK_COPIED, BACK_RENAMED, BACK_SYNCED, BACK_CLOSED];
