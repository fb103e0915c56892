//! Stored bytes that no release names: marked when that is first seen, deleted when it is still so a grace later.
//!
//! ```text
//! stored ── no release names it ──> marked ── and still none, a grace later ──> deleted
//!    ^                                │  a release names it; somebody sends it again, or is about to name it
//!    └────────────────────────────────┘
//! ```
//!
//! A mark is a file of its own, `unused/<sha256>`, that says since when by the store's clock: a restart and another replica go on
//! counting. Whoever is about to name bytes takes their mark away before the release is written, so that a catalog that was read before
//! deletes nothing; and that and a deletion exclude each other by a lock of the file, an upload and a deletion by a lock of its part.
//! Where a file system has no locks, nothing is deleted. A crash leaves bytes without a mark, which are marked anew, or a mark without
//! bytes, which is taken away.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::{Sha256, Timestamp};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Error, io_error, part};

/// Where marks are.
pub(super) const FOLDER: &str = "unused";

/// Bytes that were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// What they were called.
    pub sha256: Sha256,
    /// How many.
    pub size: u64,
}

/// What is seen of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Its bytes are here.
    stored: bool,
    /// A release names it.
    named: bool,
    /// Since when its mark says that none does.
    since: Option<Timestamp>,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Mark,
    Unmark,
    /// If the mark still says this when everybody else is kept out.
    Delete(Timestamp),
}

fn decide(seen: Seen, now: Timestamp, grace: Duration) -> Step {
    match (seen.stored && !seen.named, seen.since) {
        (false, None) => Step::Nothing,
        (false, Some(_)) => Step::Unmark,
        // One of a time that is to come says nothing: clocks were set, or a store restored.
        (true, Some(since)) if since <= now => {
            if now.since(since) >= grace {
                Step::Delete(since)
            } else {
                Step::Nothing
            }
        }
        (true, _) => Step::Mark,
    }
}

/// One pass over everything that is stored. Blocks on the disk.
pub(super) fn pass(
    folder: &Path,
    named: &HashSet<Sha256>,
    now: Timestamp,
    grace: Duration,
) -> Result<Vec<Forgotten>, Error> {
    let stored: HashSet<Sha256> = names(folder)?.into_iter().collect();
    let mut marks: HashMap<Sha256, Option<Timestamp>> = HashMap::new();
    for sha256 in names(&folder.join(FOLDER))? {
        marks.insert(sha256, read(&mark(folder, &sha256)));
    }
    let mut forgotten = Vec::new();
    for sha256 in stored.iter().chain(marks.keys().filter(|sha256| !stored.contains(*sha256))) {
        let since = marks.get(sha256).copied().flatten();
        let seen = Seen { stored: stored.contains(sha256), named: named.contains(sha256), since };
        match decide(seen, now, grace) {
            // One that cannot be read, of what is not marked any more.
            Step::Nothing if since.is_none() && marks.contains_key(sha256) => unmark(folder, sha256)?,
            Step::Nothing => {}
            Step::Mark => write(folder, sha256, now)?,
            Step::Unmark => unmark(folder, sha256)?,
            Step::Delete(since) => forgotten.extend(delete(folder, sha256, since)?),
        }
    }
    Ok(forgotten)
}

/// The size of stored bytes that somebody is about to name, from now on without a mark; none: they are not stored. Blocks on the
/// disk.
pub(super) fn claim(folder: &Path, sha256: &Sha256) -> Result<Option<u64>, Error> {
    let path = folder.join(sha256.to_string());
    let failed = |operation| {
        let path = path.clone();
        move |source| io_error(operation, &path, source)
    };
    loop {
        let Some(file) = there(File::open(&path)).map_err(failed("open"))? else { return Ok(None) };
        match flock(&file, FlockOperation::LockShared) {
            // Nothing is deleted there.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => {}
            Err(errno) => return Err(failed("lock")(errno.into())),
        }
        // Before the lock it may have been deleted, or sent again.
        let ours = file.metadata().map_err(failed("look at"))?;
        match there(fs::metadata(&path)).map_err(failed("look at"))? {
            Some(now) if (now.dev(), now.ino()) == (ours.dev(), ours.ino()) => {
                unmark(folder, sha256)?;
                return Ok(Some(ours.len()));
            }
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// Takes the mark away, if there is one.
pub(super) fn unmark(folder: &Path, sha256: &Sha256) -> Result<(), Error> {
    let mark = mark(folder, sha256);
    there(fs::remove_file(&mark)).map(drop).map_err(|source| io_error("remove", &mark, source))
}

/// Deletes bytes whose mark says `since`, with uploads and claims of them kept out; none: somebody was quicker.
fn delete(folder: &Path, sha256: &Sha256, since: Timestamp) -> Result<Option<Forgotten>, Error> {
    let part = part::path(folder, sha256);
    let held = match part::take(&part, sha256) {
        Ok(held) => held,
        Err(Error::Busy(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let deleted = delete_locked(folder, sha256, since);
    // What an earlier upload left stays, as it would have.
    if held.metadata().is_ok_and(|part| part.len() == 0) {
        let _ = fs::remove_file(&part);
    }
    deleted
}

fn delete_locked(folder: &Path, sha256: &Sha256, since: Timestamp) -> Result<Option<Forgotten>, Error> {
    let path = folder.join(sha256.to_string());
    let failed = |operation| {
        let path = path.clone();
        move |source| io_error(operation, &path, source)
    };
    let Some(file) = there(File::open(&path)).map_err(failed("open"))? else { return Ok(None) };
    // In use, or a file system without locks.
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    if read(&mark(folder, sha256)) != Some(since) {
        return Ok(None);
    }
    let size = file.metadata().map_err(failed("look at"))?.len();
    fs::remove_file(&path).map_err(failed("remove"))?;
    unmark(folder, sha256)?;
    Ok(Some(Forgotten { sha256: *sha256, size }))
}

fn mark(folder: &Path, sha256: &Sha256) -> PathBuf {
    folder.join(FOLDER).join(sha256.to_string())
}

fn write(folder: &Path, sha256: &Sha256, now: Timestamp) -> Result<(), Error> {
    let mark = mark(folder, sha256);
    fs::write(&mark, format!("{}\n", now.as_micros())).map_err(|source| io_error("write", &mark, source))
}

/// Since when; nothing when it is not there, or is not whole.
fn read(mark: &Path) -> Option<Timestamp> {
    // Without its end it may be the beginning of a number, which is a smaller one.
    fs::read_to_string(mark).ok()?.strip_suffix('\n')?.parse().ok().map(Timestamp::from_micros)
}

/// The files of a folder that are called by a digest.
fn names(folder: &Path) -> Result<Vec<Sha256>, Error> {
    let failed = |source| io_error("list", folder, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            names.push(name);
        }
    }
    Ok(names)
}

/// What is not there is no error.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::artifacts::{ArtifactStorage, Unfinished};
    use crate::tls::authority::sha256;

    const GRACE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn at(hours: u32) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000).plus(HOUR * hours)
    }

    fn content(n: u8) -> Vec<u8> {
        vec![n; 8]
    }

    fn name(n: u8) -> Sha256 {
        sha256(&content(n))
    }

    /// What happens to one of a few artifacts.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Upload(u8),
        /// It is claimed, and a release names it: before the next pass, or after it read an older catalog.
        Name(u8, bool),
        Unname(u8),
        Pass,
        Later(u32),
        /// The pass is over in the midst of its work: only a mark, or only the bytes are left.
        Lose(u8, bool),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            1 => (0..3u8).prop_map(Act::Upload),
            1 => (0..3u8, any::<bool>()).prop_map(|(n, late)| Act::Name(n, late)),
            1 => (0..3u8).prop_map(Act::Unname),
            3 => Just(Act::Pass),
            2 => (1..200u32).prop_map(Act::Later),
            1 => (0..3u8, any::<bool>()).prop_map(|(n, of_mark)| Act::Lose(n, of_mark)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        /// Nothing that a release names goes, nothing goes that was not marked for the whole grace, and all else does.
        #[test]
        fn deciding_deletes_what_was_unused_for_long_and_nothing_else(
            stored in any::<bool>(), named in any::<bool>(), since in prop::option::of(0..400u32), now in 0..400u32,
        ) {
            let seen = Seen { stored, named, since: since.map(at) };
            let step = decide(seen, at(now), GRACE);
            let long = since.is_some_and(|since| now >= since && HOUR * (now - since) >= GRACE);
            prop_assert_eq!(matches!(step, Step::Delete(_)), stored && !named && long);
            if named || !stored {
                prop_assert_eq!(step == Step::Unmark, since.is_some());
            }
            // Seen again at once, it is at rest: nothing is marked without end.
            if step == Step::Mark {
                prop_assert_eq!(decide(Seen { since: Some(at(now)), ..seen }, at(now), GRACE), Step::Nothing);
            }
        }

        /// Whatever is uploaded, named, left and lost in whatever order: what a release names is there, and in the end nothing
        /// else is.
        #[test]
        fn no_order_of_things_deletes_what_is_named(acts in prop::collection::vec(act(), 1..40)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let folder = tempfile::tempdir().expect("a folder");
            let storage = ArtifactStorage::open(folder.path()).expect("opened");
            let (mut named, mut now, mut stale) = (HashSet::new(), 0, HashSet::new());
            for act in acts {
                match act {
                    Act::Upload(n) => runtime.block_on(async {
                        let mut upload = storage.begin(name(n), 8, Unfinished::Discard).await.expect("begun");
                        upload.write(content(n).into()).await.expect("written");
                        upload.finish().await.expect("finished");
                    }),
                    Act::Name(n, late) => {
                        stale.clone_from(&named);
                        if claim(folder.path(), &name(n)).expect("claimed").is_some() {
                            named.insert(name(n));
                        }
                        if late {
                            pass(folder.path(), &stale, at(now), GRACE).expect("passed");
                        }
                    }
                    Act::Unname(n) => drop(named.remove(&name(n))),
                    Act::Pass => drop(pass(folder.path(), &named, at(now), GRACE).expect("passed")),
                    Act::Later(hours) => now += hours,
                    Act::Lose(n, true) => unmark(folder.path(), &name(n)).expect("lost"),
                    Act::Lose(n, false) if !named.contains(&name(n)) => {
                        there(fs::remove_file(storage.path(&name(n)))).map(drop).expect("lost");
                    }
                    Act::Lose(_, false) => {}
                }
                for sha256 in &named {
                    prop_assert!(storage.path(sha256).exists(), "{} is gone after {:?}", sha256, act);
                }
            }
            for hours in [0, 200] {
                pass(folder.path(), &named, at(now + hours), GRACE).expect("passed");
            }
            let left: HashSet<Sha256> = names(folder.path()).expect("listed").into_iter().collect();
            prop_assert_eq!(left, named);
            prop_assert!(names(&folder.path().join(FOLDER)).expect("listed").is_empty(), "marks are left");
            prop_assert_eq!(fs::read_dir(folder.path().join(part::FOLDER)).expect("listed").count(), 0);
        }
    }

    #[tokio::test]
    async fn bytes_that_are_being_sent_or_named_are_not_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = ArtifactStorage::open(folder.path()).expect("opened");
        fs::write(storage.path(&name(1)), content(1)).expect("stored");
        let none = HashSet::new();
        assert_eq!(pass(folder.path(), &none, at(0), GRACE).expect("passed"), []);
        // Somebody sends them once more.
        let upload = storage.begin(name(1), 8, Unfinished::Keep).await.expect("begun");
        assert_eq!(pass(folder.path(), &none, at(400), GRACE).expect("passed"), []);
        drop(upload);
        // Somebody is just about to name them.
        let file = File::open(storage.path(&name(1))).expect("opened");
        flock(&file, FlockOperation::LockShared).expect("locked");
        assert_eq!(pass(folder.path(), &none, at(400), GRACE).expect("passed"), []);
        drop(file);
        let forgotten = pass(folder.path(), &none, at(400), GRACE).expect("passed");
        assert_eq!(forgotten, [Forgotten { sha256: name(1), size: 8 }]);
        assert_eq!(claim(folder.path(), &name(1)).expect("looked"), None);
    }

    #[test]
    fn a_mark_that_is_not_whole_counts_from_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = ArtifactStorage::open(folder.path()).expect("opened");
        fs::write(storage.path(&name(1)), content(1)).expect("stored");
        for torn in ["", "17", "seventeen\n"] {
            fs::write(mark(folder.path(), &name(1)), torn).expect("torn");
            assert_eq!(pass(folder.path(), &HashSet::new(), at(400), GRACE).expect("passed"), [], "{torn:?}");
            assert_eq!(read(&mark(folder.path(), &name(1))), Some(at(400)), "{torn:?}");
        }
    }
}
