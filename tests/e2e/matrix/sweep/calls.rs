//! What a sweep goes through: parts of an upgrade, kinds of calls, errors.

use std::fmt;

use agent::fault::{BACK_BEGUN, CONFIRM_BEGUN, DOWNLOAD_CREATED, Passage, SWAP_BEGUN, SWAP_RESTARTING};

use super::Phase;

/// More than there are calls of one kind in any part, but for those that move a binary's bytes.
const MOST: usize = 24;

/// A part of an upgrade that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    PickUp,
    Download,
    Swap,
    Count,
    Start,
    Confirm,
    PutBack,
    CrashLoop,
}

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sync,
    Rename,
    Link,
    /// Of the journal's bytes, or a probe's.
    Write,
    /// Of a binary's bytes. They are hundreds of calls in one loop: the first, the fourth, the sixteenth and so on.
    Bytes,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    Io,
    NoSpace,
}

// === impl Part ===

impl Part {
    pub(super) const fn slug(self) -> &'static str {
        match self {
            Self::PickUp => "pick_up",
            Self::Download => "download",
            Self::Swap => "swap",
            Self::Count => "count",
            Self::Start => "start",
            Self::Confirm => "confirm",
            Self::PutBack => "put_back",
            Self::CrashLoop => "crash_loop",
        }
    }

    pub(super) const fn phase(self) -> Phase {
        match self {
            Self::PickUp | Self::Download | Self::Swap | Self::Count | Self::Start => Phase::Apply,
            Self::Confirm => Phase::Confirm,
            Self::PutBack => Phase::PutBack,
            Self::CrashLoop => Phase::CrashLoop,
        }
    }

    /// Where it begins; none: with the request.
    pub(super) const fn begins(self) -> Option<Passage> {
        let point = match self {
            Self::PickUp => return None,
            Self::Download => DOWNLOAD_CREATED,
            Self::Swap => SWAP_BEGUN,
            Self::Count | Self::Start => SWAP_RESTARTING,
            Self::Confirm => CONFIRM_BEGUN,
            Self::PutBack | Self::CrashLoop => BACK_BEGUN,
        };
        Some(Passage { scope: point, point, nth: 1 })
    }

    /// How many processes begin with the journal, after the one that stops, until the one that is meant. What they read: each one
    /// goes on when it reads something else than what stopped it.
    pub(super) const fn then(self) -> &'static [&'static str] {
        match self {
            Self::Count => &["journal-kept-linked:1"],
            Self::Start => &["journal-kept-linked:1", "journal-kept-linked:01"],
            Self::PickUp | Self::Download | Self::Swap | Self::Confirm | Self::PutBack | Self::CrashLoop => &[],
        }
    }

    /// Whether threads are traced that do not live yet when it begins: the one that will write may end of idleness before. Not
    /// where it is at work already, and another one tries again at once, which is not to be hit as well.
    pub(super) const fn follows(self) -> bool {
        matches!(self, Self::PickUp | Self::Download | Self::Start | Self::Confirm)
    }

    pub(super) const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::PickUp | Self::Swap | Self::Confirm => &[Kind::Sync, Kind::Rename, Kind::Link, Kind::Write],
            Self::Download => &[Kind::Bytes],
            // What a failed rename or link of the journal does is seen in the other parts.
            Self::Count | Self::Start => &[Kind::Sync, Kind::Write],
            Self::CrashLoop => &[Kind::Sync],
            Self::PutBack => &[Kind::Sync, Kind::Rename, Kind::Link, Kind::Write, Kind::Bytes],
        }
    }
}

// === impl Kind ===

impl Kind {
    /// The names of the call, as strace takes them; those that this machine lacks are left out.
    pub(super) const fn calls(self) -> &'static str {
        match self {
            Self::Sync => "fsync,fdatasync",
            Self::Rename => "?rename,renameat,renameat2",
            Self::Link => "?link,linkat",
            Self::Write | Self::Bytes => "write,pwrite64,writev",
        }
    }

    /// Which of the calls fail, one an upgrade.
    pub(super) fn numbers(self) -> Vec<usize> {
        match self {
            Self::Bytes => (0..MOST).map(|power| 1 << (2 * power)).collect(),
            Self::Sync | Self::Rename | Self::Link | Self::Write => (1..=MOST).collect(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Write => "write",
            Self::Bytes => "bytes",
        })
    }
}

// === impl Error ===

impl Error {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
        }
    }

    pub(super) const fn slug(self) -> &'static str {
        match self {
            Self::Io => "eio",
            Self::NoSpace => "enospc",
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Io => "Input/output error",
            Self::NoSpace => "No space left on device",
        }
    }
}
