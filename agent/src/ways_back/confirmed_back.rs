//! Back from a version that was confirmed, because a person says so: no upgrade is open, and the last known good takes its place.
//!
//! The journal tells `.prev` by its SHA-256. Where it does not (an earlier release confirmed the version), `.prev` has to run.

use std::time::Duration;

use domain::Sha256;
use executor_sdk::journal::{Confirmed, Journal};
use executor_sdk::report::chain;

use crate::command;
use crate::disk::{self, Content, Facts};
use crate::exit::Failure;
use crate::layout::Layout;
use crate::rollback::put_back;
use crate::rollback::steps::LOCK_PATIENCE;

/// Long enough for a slow disk to load a program that prints a line.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// Puts `.prev` in place of the live binary.
///
/// # Errors
/// When there is nothing to go back to, or `.prev` is not what was put aside; then nothing was changed.
pub(super) async fn confirmed_back(layout: &Layout) -> Result<(), Failure> {
    let locked = Journal::new(layout.state_dir()).lock(LOCK_PATIENCE).map_err(|error| Failure::because(&error))?;
    let confirmed = locked.read().map_err(|error| Failure::because(&error))?.confirmed;
    let previous = previous(layout)?;
    match known(confirmed.as_ref()) {
        Some((kept, own)) if previous != kept && Some(previous) != own => {
            return Err(written_on(layout, previous, kept));
        }
        Some(_) => {}
        None => runs(layout).await?,
    }
    match put_back::exchange(layout, previous) {
        // It is in place and has to be started; what fails from here on is told, and undoes nothing.
        Err(put_back::Error::Sync(error)) => {
            tracing::error!(error = %chain(&error), "the old version's place may not survive a power cut");
        }
        exchanged => exchanged.map_err(|error| Failure::because(&error))?,
    }
    // It ran before and was confirmed then; which version it is it says itself at its next hello.
    let noted = locked.update(|state| {
        if state.confirmed.as_ref().is_some_and(|confirmed| confirmed.sha256 != Some(previous)) {
            state.confirmed = None;
        }
    });
    if let Err(error) = noted {
        tracing::error!(error = %chain(&error), "the journal does not say that the old version is in place");
    }
    disk::remove_if_there(&layout.back()).map_err(|error| Failure::because(&error))
}

/// What `.prev` holds, if that is another binary than the live one.
fn previous(layout: &Layout) -> Result<Sha256, Failure> {
    let (facts, path) = (Facts::read(layout), layout.previous());
    match (facts.previous, facts.live) {
        (Content::Is(previous), Content::Is(live)) if previous == live => {
            Err(Failure::failed("there is nothing to go back to: .prev is the version that runs"))
        }
        (Content::Is(previous), _) => Ok(previous),
        (Content::Missing, _) => Err(Failure::failed(format!("there is nothing to go back to: no {}", path.display()))),
        (Content::Unreadable(why), _) => Err(Failure::failed(format!("{} cannot be read: {why}", path.display()))),
    }
}

/// What the journal says may stand at `.prev`: the version before the confirmed one, or the confirmed one itself, which `install`
/// puts there.
fn known(confirmed: Option<&Confirmed>) -> Option<(Sha256, Option<Sha256>)> {
    confirmed.and_then(|confirmed| Some((confirmed.previous_sha256?, confirmed.sha256)))
}

fn written_on(layout: &Layout, found: Sha256, expected: Sha256) -> Failure {
    Failure::failed(format!(
        "the old binary {} was written on: its SHA-256 is {found}, the journal says {expected}; nothing was changed; \
         install the version that you want by hand",
        layout.previous().display()
    ))
}

/// Whether `.prev` is a program that starts on this host.
async fn runs(layout: &Layout) -> Result<(), Failure> {
    let path = layout.previous();
    let asked = command::succeed(&path.to_string_lossy(), ["--version".to_owned()], VERSION_LIMIT).await;
    asked.map(drop).map_err(|error| {
        Failure::failed(format!(
            "the old binary {} does not run, and the journal does not say what it was: {}; nothing was changed; \
             install the version that you want by hand",
            path.display(),
            chain(&error)
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::fixture::{Bench, version};

    const RUNS: &str = "#!/bin/sh\nexit 0\n";

    /// A host whose version was confirmed over a `.prev` of these bytes; `known`: by a release that kept their digest.
    fn bench(previous: &str, known: Option<&str>) -> Bench {
        let bench = Bench::new("new");
        let digest = |path: &std::path::Path| match disk::content(path) {
            Content::Is(digest) => Some(digest),
            other => panic!("{other:?}"),
        };
        put_previous(&bench, known.unwrap_or(previous));
        let confirmed = Confirmed {
            version: version("1.1.0"),
            sha256: digest(bench.layout.binary()),
            previous_sha256: known.and_then(|_| digest(&bench.layout.previous())),
        };
        bench.lock().update(|state| state.confirmed = Some(confirmed)).unwrap();
        put_previous(&bench, previous);
        bench
    }

    /// By another process: a file that this one has just written may be busy still when it is run, in a fork of another test.
    fn put_previous(bench: &Bench, bytes: &str) {
        let (beside, previous) = (bench.layout.directory().join("beside"), bench.layout.previous());
        fs::write(&beside, bytes).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
        let copied = std::process::Command::new("cp").arg("--preserve=mode").args([&beside, &previous]).status();
        assert!(copied.unwrap().success());
    }

    #[tokio::test]
    async fn a_person_goes_back_also_when_no_upgrade_is_open() {
        let bench = bench("old", Some("old"));
        confirmed_back(&bench.layout).await.unwrap();
        assert_eq!(bench.live(), "old");
        let nothing = confirmed_back(&bench.layout).await.unwrap_err();
        assert!(nothing.message.contains("nothing to go back to"), "{nothing}");
    }

    #[tokio::test]
    async fn a_previous_that_was_written_on_is_refused_though_it_runs() {
        let bench = bench(RUNS, Some("old"));
        let refused = confirmed_back(&bench.layout).await.unwrap_err().message;
        assert!(refused.contains("was written on") && refused.contains("nothing was changed"), "{refused}");
        assert!(refused.contains("install the version"), "{refused}");
        assert_eq!(bench.live(), "new");
        assert!(bench.state().confirmed.is_some());
    }

    #[tokio::test]
    async fn the_confirmed_version_itself_is_no_stranger_at_previous() {
        let bench = bench("new", Some("old"));
        fs::write(bench.layout.binary(), "installed by hand").unwrap();
        confirmed_back(&bench.layout).await.unwrap();
        assert_eq!(bench.live(), "new");
    }

    #[tokio::test]
    async fn a_previous_of_which_nothing_is_known_has_to_run() {
        let bench = bench(RUNS, None);
        confirmed_back(&bench.layout).await.unwrap();
        assert_eq!(bench.live(), RUNS);
        for damaged in ["a scribble", "#!/bin/sh\nexit 3\n"] {
            let bench = self::bench(damaged, None);
            let refused = confirmed_back(&bench.layout).await.unwrap_err().message;
            assert!(refused.contains("does not run") && refused.contains("nothing was changed"), "{refused}");
            assert_eq!(bench.live(), "new");
        }
    }
}
