//! `examples/executor.rs` does what it shows: with leave, the new binary is in place, the old one beside it, and the journal
//! says so.

#[path = "../../examples/executor.rs"]
#[expect(dead_code, reason = "its own main")]
mod executor;

use std::sync::Arc;

use domain::Generation;
use domain::sync::Response;
use novacula_executor_sdk::credentials::CredentialStore;
use novacula_executor_sdk::driver::{self, End, Options};
use novacula_executor_sdk::executor::{Applied, Executor as _};
use novacula_executor_sdk::in_place::InPlace;
use novacula_executor_sdk::journal::{Journal, Step};
use novacula_executor_sdk::machine::Live;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::executor::Mine;
use crate::authority::Authority;
use crate::control_plane::{ControlPlane, PATIENCE};
use crate::scene::{BINARY, SELDOM, asked_for_leave, attempt, desired, downloads, serve, signed, version};

#[tokio::test]
async fn the_example_swaps_itself_and_goes_back() {
    let Some(signature) = signed() else { return };
    let authority = Authority::new();
    let (mut control_plane, web) = (ControlPlane::new(&authority).await, serve(&authority).await);
    let home = tempfile::tempdir().expect("a directory");
    let folder = home.path().join("bin");
    std::fs::create_dir(&folder).expect("a directory");
    let binary = folder.join("mine");
    let old = "the old version";
    std::fs::write(&binary, old).expect("writes");
    authority.enrolled(&CredentialStore::new(home.path()), &control_plane.endpoint, 300);
    let journal = Journal::new(home.path());
    let mine = Arc::new(Mine(InPlace::new(binary.clone(), home.path()).expect("reads")));
    let options = Options { downloads: downloads(&authority), ..Options::new(home.path()) };
    let running = tokio::spawn(driver::run(Arc::clone(&mine), options, CancellationToken::new()));

    let (mut stream, hello) = control_plane.welcome(SELDOM, SELDOM).await;
    assert_eq!(hello.version, version(env!("CARGO_PKG_VERSION")));
    stream.say(desired(&web, 5, vec![signature])).await;
    assert_eq!(asked_for_leave(&mut stream).await, (attempt(), Generation(5)));
    assert_eq!(std::fs::read_to_string(&binary).expect("reads"), old, "no leave, no swap");
    stream.say(Response::Proceed { attempt: attempt(), generation: Generation(5) }).await;
    let end = timeout(PATIENCE, running).await.expect("ends in time").expect("does not panic").expect("no error");
    assert_eq!(end, End::Restart);

    assert_eq!(std::fs::read(&binary).expect("reads"), BINARY);
    assert_eq!(std::fs::read_to_string(folder.join("mine.prev")).expect("reads"), old);
    let open = journal.read().expect("reads").open.expect("an open attempt");
    assert_eq!((open.attempt, open.step, &open.target_version), (attempt(), Step::Swapped, &version("1.1.0")));
    let mut names: Vec<_> =
        std::fs::read_dir(&folder).expect("reads").map(|entry| entry.expect("one").file_name()).collect();
    names.sort();
    assert_eq!(names, ["mine", "mine.prev"], "nothing is left beside them");

    assert!(open.old_sha256.is_some() && open.new_sha256.is_some(), "the next start tells by the disk which it is");
    let next = Mine(InPlace::new(binary.clone(), home.path()).expect("reads"));
    assert_eq!((mine.live(&open), next.live(&open)), (Live::New, Live::New));

    assert_eq!(next.roll_back(attempt()).await, Ok(Applied::Restart));
    assert_eq!(next.live(&open), Live::Old);
    assert_eq!(std::fs::read_to_string(&binary).expect("reads"), old);
}
