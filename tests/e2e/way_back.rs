//! A way back that was damaged while it was needed: said plainly, nothing made worse, and used as soon as it is mended. And one that
//! is asked for after leave (rule 4).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use agent::Misbehaviour;
use anyhow::{Context, Result, ensure};
use harness::{
    fleet::{FIRST, Fleet, Manager, Pace, edition::Edition},
    lab,
    parts::trial,
};
use libtest_mimic::Trial;

use crate::programs::programs;
use crate::upgrade::expect;

const NEXT: &str = "1.1.0";

/// Three crash loops with the pauses between them.
const LIMIT: Duration = Duration::from_secs(120);

/// Crashes far enough apart for the damage to be done before the first crash loop is seen.
const SPACING: Duration = Duration::from_secs(3);

/// So far from the end of a program, its sections are over and nothing that runs is touched.
const BEHIND_THE_CODE: usize = 4096;

type Damage = fn(&Fleet) -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let damages: [(&str, Damage, &str); 2] = [
        ("missing_previous_is_said_and_makes_nothing_worse", remove_previous, "(.prev) is missing"),
        ("previous_written_on_is_said_and_makes_nothing_worse", write_on_previous, "(.prev) was written on"),
    ];
    let damaged = |(name, damage, says)| trial(format!("way_back::{name}"), lab::PARTS, move || check(damage, says));
    let asked = [
        trial("way_back::the_version_before_is_brought_back_when_it_is_asked_for", lab::PARTS, asked),
        trial("way_back::asked_for_in_vain_it_leaves_the_new_version_to_be_confirmed", lab::PARTS, asked_in_vain),
    ];
    damages.into_iter().map(damaged).chain(asked).collect()
}

/// The control plane wants the old version back while the new one is on probation.
fn asked() -> Result<()> {
    let pace = Pace { probation: Duration::from_secs(60), window: Duration::from_secs(300) };
    let (fleet, _) = on_probation(pace)?;
    fleet.request(FIRST)?;
    let attempt = fleet.wait_ended(LIMIT)?;
    expect(&fleet, &attempt, "targetVersion", NEXT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_ROLLED_BACK")?;
    expect(&fleet, &attempt, "errorCode", "BY_HAND")?;
    expect(&fleet, &attempt, "rolledBackTo", FIRST)?;
    fleet.wait_online(FIRST)?;
    fleet.expect_live(&fleet.first())?;
    fleet.expect_previous(&fleet.first())?;
    fleet.host.expect_nothing_failed()
}

/// The same, and there is nothing to bring back.
fn asked_in_vain() -> Result<()> {
    let pace = Pace { probation: Duration::from_secs(20), window: Duration::from_secs(300) };
    let (fleet, next) = on_probation(pace)?;
    remove_previous(&fleet)?;
    fleet.request(FIRST)?;
    fleet.wait_said("(.prev) is missing", 1)?;
    let attempt = fleet.wait_ended(LIMIT)?;
    expect(&fleet, &attempt, "targetVersion", NEXT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    fleet.wait_online(NEXT)?;
    fleet.expect_live(&next)?;
    fleet.host.expect_nothing_failed()
}

/// A good new version that has connected and is not confirmed, and its binary.
fn on_probation(pace: Pace) -> Result<(Fleet, PathBuf)> {
    let fleet = Fleet::start(&programs(), Manager::Systemd, pace)?;
    fleet.publish(FIRST, &Edition::good(FIRST))?;
    let next = fleet.publish(NEXT, &Edition::good(NEXT))?;
    fleet.request(NEXT)?;
    fleet.wait_phase("PHASE_CONFIRMING")?;
    Ok((fleet, next))
}

fn check(damage: Damage, says: &str) -> Result<()> {
    let pace = Pace { probation: Duration::from_secs(60), window: Duration::from_secs(300) };
    let fleet = Fleet::start(&programs(), Manager::Systemd, pace)?;
    let next = fleet.publish(NEXT, &Edition::bad(NEXT, Misbehaviour::CrashEvery(SPACING)))?;
    fleet.request(NEXT)?;
    fleet.wait_said("goes wrong on purpose", 1)?;
    damage(&fleet)?;

    // The crash loop is met with a pause and a start, as one that no upgrade caused.
    fleet.wait_said("a crash loop and no way back", 1)?;
    fleet.wait_said(says, 1)?;
    fleet.expect_live(&next)?;
    let output = fleet.host.agent(&["rollback"])?;
    let refused = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "a damaged .prev was used: {refused}");
    ensure!(refused.contains(says) && refused.contains("nothing was changed"), "{refused}");
    let status = String::from_utf8_lossy(&fleet.host.agent(&["status"])?.stdout).into_owned();
    ensure!(status.contains(says), "status does not say it: {status}");
    fleet.expect_live(&next)?;
    fleet.host.expect_nothing_failed()?;
    fleet.wait_said("goes wrong on purpose", 4)?;

    // Mended by hand, it is used at the next start, or at the end of the next crash loop.
    put_previous(&fleet, &fs::read(fleet.first())?)?;
    let attempt = fleet.wait_ended(LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_ROLLED_BACK")?;
    expect(&fleet, &attempt, "rolledBackTo", FIRST)?;
    fleet.wait_online(FIRST)?;
    fleet.expect_live(&fleet.first())?;
    fleet.host.expect_nothing_failed()
}

fn remove_previous(fleet: &Fleet) -> Result<()> {
    fs::remove_file(fleet.host.previous()?).context("remove .prev")
}

/// Changes one byte of `.prev` that does not keep it from running.
pub(crate) fn write_on_previous(fleet: &Fleet) -> Result<()> {
    let mut bytes = fs::read(fleet.host.previous()?).context("read .prev")?;
    let at = bytes.len().checked_sub(BEHIND_THE_CODE).context("a program is longer")?;
    bytes[at] ^= 1;
    put_previous(fleet, &bytes)
}

/// Under another name first: the units run it, and a program that runs cannot be written on.
fn put_previous(fleet: &Fleet, bytes: &[u8]) -> Result<()> {
    let previous = fleet.host.previous()?;
    let beside = previous.with_extension("beside");
    fs::write(&beside, bytes).context("write beside .prev")?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o755))?;
    fs::rename(&beside, &previous).context("rename to .prev")
}
