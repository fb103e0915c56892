//! Who supervises while an upgrade is open: the old version, also after the parent was killed and whatever runs this container has
//! started the binary that is live now, which is the new one.
//!
//! Asked before the configuration is read, since the new version may not even understand it. A binary that cannot be executed
//! cannot ask; `docs/operate/upgrades.md` says what helps then.

use std::path::PathBuf;

use domain::Sha256;
use executor_sdk::Journal;
use executor_sdk::journal::State;

use crate::disk::{Facts, own_digest};
use crate::layout::Layout;
use crate::rollback::{Verdict, verdict};

/// The old version's binary, when it has to supervise in this process's place.
#[must_use]
pub fn elder(layout: &Layout) -> Option<PathBuf> {
    let state = Journal::new(layout.state_dir()).read().ok()?;
    // Two binaries are hashed only when an upgrade is open.
    state.open.as_ref()?;
    let own = own_digest().ok()?;
    has_elder(&state, &Facts::read(layout), own).then(|| layout.previous())
}

fn has_elder(state: &State, facts: &Facts, own: Sha256) -> bool {
    matches!(verdict(state.open.as_ref(), facts), Verdict::PutBack { old } if old != own)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::{Content, content};
    use crate::fixture::Bench;

    fn digest(bench: &Bench, path: PathBuf) -> Sha256 {
        match content(&path) {
            Content::Is(digest) => digest,
            other => panic!("{other:?} at {path:?} of {:?}", bench.layout),
        }
    }

    #[test]
    fn the_old_version_supervises_while_the_new_one_is_unconfirmed() {
        let bench = Bench::new("old");
        assert_eq!(elder(&bench.layout), None, "no upgrade is open");
        bench.swap_in("new");
        assert_eq!(elder(&bench.layout), Some(bench.layout.previous()), "this program is not the old version");
        let facts = Facts::read(&bench.layout);
        let (old, new) = (digest(&bench, bench.layout.previous()), digest(&bench, bench.layout.binary().to_owned()));
        assert!(has_elder(&bench.state(), &facts, new));
        assert!(!has_elder(&bench.state(), &facts, old), "the old version has none, or it would start itself for ever");
    }

    #[test]
    fn nothing_but_the_old_version_is_put_in_charge() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        fs::write(bench.layout.previous(), "scribble").unwrap();
        assert_eq!(elder(&bench.layout), None, "written on");
        fs::remove_file(bench.layout.previous()).unwrap();
        assert_eq!(elder(&bench.layout), None, "gone");
        fs::write(bench.layout.previous(), "old").unwrap();
        fs::write(bench.layout.binary(), "old").unwrap();
        assert_eq!(elder(&bench.layout), None, "back in place already");
    }
}
