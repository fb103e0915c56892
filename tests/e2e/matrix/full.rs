//! Disks that are full for real: before the first byte, in the middle of the download, and when the swap is about to be
//! journalled. The old version runs on, the error says what is full, nothing is left behind, and with room again it works.
//! And when the old version is to come back: it does.

use std::time::Duration;

use agent::fault::{DOWNLOAD_CREATED, Passage, SWAP_BEGUN, SWAP_SYNCED};
use anyhow::{Context, Result, ensure};
use executor_sdk::fault::JOURNAL_KEPT;
use harness::{
    fleet::{FIRST, Fleet, SOON, host::UNIT},
    lab::{self, Lab},
    parts::trial,
    wait,
};
use libtest_mimic::Trial;
use serde_json::Value;

use super::{lane::Lane, row::Phase};
use crate::upgrade::expect;

const NEXT: &str = "1.1.0";

const LIMIT: Duration = Duration::from_secs(100);

const BINARIES: &str = "/opt/novacula";

const STATE: &str = "/var/lib/novacula";

type Body = fn() -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let bodies: [(&str, Body); 4] = [
        ("full_before_the_download_is_refused", before),
        ("full_in_the_midst_of_the_download_fails", midst),
        ("full_when_the_swap_is_journalled_fails", journal),
        ("full_at_the_way_back_is_no_obstacle", way_back),
    ];
    bodies.into_iter().map(|(name, body)| trial(format!("disk::{name}"), lab::PARTS, body)).collect()
}

fn before() -> Result<()> {
    let mut lane = Lane::start(Phase::Apply)?;
    let fleet = &mut lane.fleet;
    let names = names(fleet)?;
    fill(fleet.host.machine()?, BINARIES)?;
    fleet.request(NEXT)?;
    let attempt = fleet.wait_refused()?;
    expect(fleet, &attempt, "stage", "preflight")?;
    says(fleet, &attempt, "NO_SPACE", "bytes free")?;
    ensure!(attempt["bytesDone"] == "0", "a byte was fetched: {attempt:#}");
    free(fleet.host.machine()?, BINARIES)?;
    unharmed(fleet, &names)
}

fn midst() -> Result<()> {
    let mut lane = Lane::start(Phase::Apply)?;
    let names = names(&mut lane.fleet)?;
    let before = lane.fleet.host.pid()?;
    let created = Passage { scope: DOWNLOAD_CREATED, point: DOWNLOAD_CREATED, nth: 1 };
    let attempt = lane.upgrade_with(&created, |lab, pid| {
        fill(lab, BINARIES)?;
        // Half of the artifact fits, more or less.
        let lines = format!("truncate -s -6M {BINARIES}/filler-1; sync -f {BINARIES}");
        lab.run(["bash", "-c", &lines])?;
        lab.resume(pid)
    })?;
    expect(&lane.fleet, &attempt, "outcome", "OUTCOME_FAILED")?;
    expect(&lane.fleet, &attempt, "stage", "download")?;
    says(&lane.fleet, &attempt, "NO_SPACE", "No space left on device")?;
    ensure!(lane.fleet.host.pid()? == before, "the old version did not run on");
    free(lane.fleet.host.machine()?, BINARIES)?;
    unharmed(&mut lane.fleet, &names)
}

fn journal() -> Result<()> {
    let mut lane = Lane::start(Phase::Apply)?;
    let names = names(&mut lane.fleet)?;
    let before = lane.fleet.host.pid()?;
    // A write of the journal first lets go of the content before the last one, whose room is enough for the new one. So the
    // disk is filled when that is done.
    let kept = Passage { scope: SWAP_BEGUN, point: JOURNAL_KEPT, nth: 1 };
    let attempt = lane.upgrade_with(&kept, |lab, pid| {
        fill(lab, STATE)?;
        lab.resume(pid)?;
        // Not even the outcome can be written: it waits, and is told when there is room.
        let said = || {
            let entries = lab.journal(Some(UNIT))?;
            Ok(entries.iter().any(|entry| entry.message.contains("an outcome could not be journalled")))
        };
        wait::until("the outcome to be waiting", SOON, said, |yes| *yes)?;
        free(lab, STATE)
    })?;
    let fleet = &lane.fleet;
    expect(fleet, &attempt, "outcome", "OUTCOME_FAILED")?;
    expect(fleet, &attempt, "stage", "swap")?;
    says(fleet, &attempt, "JOURNAL", "No space left on device")?;
    ensure!(fleet.host.pid()? == before, "the old version did not run on");
    unharmed(&mut lane.fleet, &names)
}

/// The new version crashes, and there is no room for a copy of the old one.
fn way_back() -> Result<()> {
    let mut lane = Lane::start(Phase::CrashLoop)?;
    let before = names(&mut lane.fleet)?;
    let synced = Passage { scope: SWAP_BEGUN, point: SWAP_SYNCED, nth: 1 };
    let attempt = lane.upgrade_with(&synced, |lab, pid| {
        fill(lab, BINARIES)?;
        lab.resume(pid)
    })?;
    expect(&lane.fleet, &attempt, "outcome", "OUTCOME_ROLLED_BACK")?;
    expect(&lane.fleet, &attempt, "errorCode", "CRASH_LOOP")?;
    ensure!(linked(&mut lane.fleet)? == 1, "there was room for a copy");
    free(lane.fleet.host.machine()?, BINARIES)?;
    let ending = lane.judge(&attempt)?;
    ensure!(ending.runs == "old", "{ending:?}");
    let after = names(&mut lane.fleet)?;
    ensure!(after == before, "left behind: {after:?}, before: {before:?}");
    // One file under both names is swapped as any other, and with room again the way back is a copy.
    lane.ask()?;
    let attempt = lane.fleet.attempt()?;
    let ending = lane.judge(&attempt)?;
    ensure!(ending.outcome == "rolled_back" && linked(&mut lane.fleet)? == 1, "{ending:?}");
    lane.fleet.host.expect_nothing_failed()
}

/// How often a way back had no room for a copy.
fn linked(fleet: &mut Fleet) -> Result<usize> {
    let entries = fleet.host.machine()?.journal(None)?;
    Ok(entries.iter().filter(|entry| entry.message.contains("linked into place")).count())
}

/// The old version is in place and alone, and the next try succeeds.
fn unharmed(fleet: &mut Fleet, before: &str) -> Result<()> {
    fleet.wait_online(FIRST)?;
    fleet.expect_live(&fleet.first())?;
    let after = names(fleet)?;
    ensure!(after == before, "left behind: {after:?}, before: {before:?}");
    let attempt = fleet.upgrade(NEXT, LIMIT)?;
    expect(fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    fleet.wait_online(NEXT)?;
    fleet.expect_previous(&fleet.first())?;
    fleet.host.expect_nothing_failed()
}

fn says(fleet: &Fleet, attempt: &Value, code: &str, words: &str) -> Result<()> {
    expect(fleet, attempt, "errorCode", code)?;
    let message = attempt["message"].as_str().context("a failure says why")?;
    ensure!(message.contains(words), "{words:?} is not said: {message}");
    Ok(())
}

/// What is in the directory of the binaries.
fn names(fleet: &mut Fleet) -> Result<String> {
    fleet.host.machine()?.run(["ls", "-A", "/opt/novacula/bin"])
}

fn fill(lab: &Lab, disk: &str) -> Result<()> {
    // Room that was let go of shows when the disk is synced; what is fetched meanwhile takes some too. So: several times,
    // until not a byte fits.
    let lines = format!(
        "for n in 1 2 3; do dd if=/dev/zero of={disk}/filler-$n bs=64k; sync -f {disk}; done
         dd if=/dev/zero of={disk}/filler bs=1"
    );
    let filled = lab.exec(["bash", "-c", &lines])?;
    ensure!(!filled.status.success(), "{disk} is not full");
    Ok(())
}

fn free(lab: &Lab, disk: &str) -> Result<()> {
    lab.run(["bash", "-c", &format!("rm {disk}/filler*")]).map(drop)
}
