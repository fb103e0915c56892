//! The program as people run it, where it has to say no.

use std::{fs, process::Command};

/// What it says on stderr, and that it failed.
fn refused(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_novacula-image")).args(words).output().expect("cargo built it");
    assert!(!output.status.success(), "{words:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_file_that_is_no_program_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("novacula-server");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let said = refused(&["server", "--binary", file.to_str().unwrap(), "--packages", "/nowhere"]);
    assert_eq!(said, format!("novacula-image: {} is no Linux program for amd64 or arm64\n", file.display()));
}

#[test]
fn a_base_without_its_packages_says_where_they_come_from() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("os-release"), "ID=debian\nVERSION_ID=\"12\"\n").unwrap();
    let program = env!("CARGO_BIN_EXE_novacula-image");
    let said = refused(&["agent", "--binary", program, "--packages", folder.path().to_str().unwrap()]);
    assert!(said.contains("no package ca-certificates among those in"), "{said}");
    assert!(said.contains("run deploy/dev/parts"), "{said}");
}

#[test]
fn a_user_without_a_password_is_a_mistake_of_usage() {
    let said = refused(&["server", "--binary", "x", "--user", "me"]);
    assert!(said.contains("--password"), "{said}");
}
