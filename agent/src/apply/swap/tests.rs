//! The swap on a disk that works, and on one that does not.

use std::time::Duration;

use executor_sdk::Journal;

use super::*;
use crate::disk::{Content, Facts, content};
use crate::fixture::{Bench, version};

fn swap_in(bench: &Bench, bytes: &str) -> Result<(), Error> {
    let (path, file) = bench.incoming(bytes);
    let open = bench.attempt_for(&path);
    let locked = Journal::new(bench.layout.state_dir()).lock(Duration::from_secs(5)).unwrap();
    swap(&bench.layout, &locked, open, Incoming { file: &file, path: &path })
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_new_binary_is_live_and_the_old_one_is_previous_byte_for_byte() {
    let bench = Bench::new("old");
    swap_in(&bench, "new").unwrap();
    assert_eq!((text(bench.layout.binary()), text(&bench.layout.previous())), ("new".into(), "old".into()));
    assert_eq!(content(&bench.layout.previous_new()), Content::Missing);
    assert_eq!(bench.state().open.unwrap().step, Step::Swapped);
}

#[test]
fn a_previous_that_is_the_live_file_itself_leaves_no_second_name() {
    let bench = Bench::new("old");
    fs::hard_link(bench.layout.binary(), bench.layout.previous()).unwrap();
    swap_in(&bench, "new").unwrap();
    assert_eq!(text(&bench.layout.previous()), "old");
    assert_eq!(content(&bench.layout.previous_new()), Content::Missing);
}

#[test]
fn an_unconfirmed_version_begins_no_other_swap() {
    let bench = Bench::new("old");
    swap_in(&bench, "new").unwrap();
    let refused = swap_in(&bench, "newer").unwrap_err();
    assert!(matches!(refused, Error::Unconfirmed(target) if target == version("1.1.0")));
    assert_eq!((text(bench.layout.binary()), text(&bench.layout.previous())), ("new".into(), "old".into()));
}

#[test]
fn a_file_replaced_after_it_was_verified_is_not_swapped_in() {
    let bench = Bench::new("old");
    let (path, file) = bench.incoming("new");
    let open = bench.attempt_for(&path);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another").unwrap();
    let locked = Journal::new(bench.layout.state_dir()).lock(Duration::from_secs(5)).unwrap();
    let refused = swap(&bench.layout, &locked, open, Incoming { file: &file, path: &path });
    assert!(matches!(refused, Err(Error::Replaced)));
    assert_eq!(bench.state().open, None);
}

#[test]
fn a_step_that_fails_leaves_the_old_version_and_no_open_attempt() {
    let bench = Bench::new("old");
    // A directory in the way of `.prev` makes its rename fail.
    fs::create_dir(bench.layout.previous()).unwrap();
    let before = Facts::read(&bench.layout).live;
    assert!(matches!(swap_in(&bench, "new"), Err(Error::Disk(_))));
    assert_eq!(Facts::read(&bench.layout).live, before);
    assert_eq!(bench.state().open, None);
    assert_eq!(content(&bench.layout.previous_new()), Content::Missing);
}
