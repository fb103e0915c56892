//! What happens around an upgrade and must not be mistaken for a bad version, and what must not hide one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use agent::Misbehaviour;
use anyhow::{Result, ensure};
use harness::{
    fleet::{
        FIRST, Fleet, Manager, Pace, SOON,
        edition::Edition,
        host::{self, UNIT},
    },
    lab,
    parts::trial,
    wait,
};
use libtest_mimic::Trial;

use crate::programs::programs;
use crate::upgrade::{PACE, expect};

const NEXT: &str = "1.1.0";

const LIMIT: Duration = Duration::from_secs(120);

/// Looks of the dead man that found nobody: with one a second, longer than the window.
const LOOKS: usize = 8;

type Body = fn() -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let bodies: [(&str, Body); 4] = [
        ("outage_and_its_end_roll_nothing_back", outage),
        ("five_upgrades_in_a_row_are_no_crash_loop", five),
        ("crash_loop_long_after_success_swaps_nothing", bad_settings),
        ("power_cut_after_the_swap_hides_no_hang", power_cut),
    ];
    bodies.into_iter().map(|(name, body)| trial(format!("upgrade::{name}"), lab::PARTS, body)).collect()
}

fn outage() -> Result<()> {
    let pace = Pace { probation: Duration::from_secs(4), window: Duration::from_secs(6) };
    let mut fleet = Fleet::start(&programs(), Manager::Systemd, pace)?;
    let next = fleet.publish(NEXT, &Edition::good(NEXT))?;
    fleet.request(NEXT)?;
    fleet.wait_phase("PHASE_CONFIRMING")?;
    fleet.control.turn_off();
    let lab = fleet.host.machine()?;
    wait::until(
        "the dead man to find nobody for longer than his window",
        LIMIT,
        || said(lab, "the old code cannot reach the control plane either"),
        |times| *times >= LOOKS,
    )?;
    fleet.expect_live(&next)?;
    fleet.control.turn_on()?;
    let attempt = fleet.wait_ended(LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    fleet.wait_online(NEXT)?;
    fleet.expect_live(&next)?;
    fleet.host.expect_nothing_failed()
}

fn five() -> Result<()> {
    let pace = Pace { probation: Duration::from_secs(1), ..PACE };
    let mut fleet = Fleet::start(&programs(), Manager::Systemd, pace)?;
    let mut before = fleet.first();
    for version in ["1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0"] {
        let next = fleet.publish(version, &Edition::good(version))?;
        let attempt = fleet.upgrade(version, LIMIT)?;
        expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
        fleet.expect_previous(&before)?;
        before = next;
    }
    fleet.expect_live(&before)?;
    let acted = fleet.host.machine()?.journal(Some("novacula-agent-rollback.service"))?;
    ensure!(acted.is_empty(), "a crash loop was seen: {acted:#?}");
    fleet.host.expect_nothing_failed()
}

fn bad_settings() -> Result<()> {
    const SETTINGS: &str = "/etc/novacula/agent.toml";
    let mut fleet = Fleet::start(&programs(), Manager::Systemd, PACE)?;
    let next = fleet.publish(NEXT, &Edition::good(NEXT))?;
    let attempt = fleet.upgrade(NEXT, LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    let lab = fleet.host.machine()?;
    let good = lab.read(SETTINGS)?;
    lab.write(SETTINGS, "[upgrade]\nchanel = \"stable\"\n")?;
    // Fails at once, which is what is wanted.
    lab.exec(["systemctl", "restart", "--no-block", UNIT])?;
    wait::until(
        "the crash loop to be met with a pause",
        LIMIT,
        || said(lab, "a crash loop that no upgrade caused"),
        |times| *times >= 2,
    )?;
    fleet.host.expect_nothing_failed()?;
    fleet.expect_live(&next)?;
    fleet.expect_previous(&fleet.first())?;
    fleet.host.machine()?.write(SETTINGS, good)?;
    fleet.wait_online(NEXT)?;
    fleet.host.expect_nothing_failed()
}

fn power_cut() -> Result<()> {
    let pace = Pace { probation: Duration::from_secs(3), window: Duration::from_secs(6) };
    let builder = host::lab("cut").data_disk("/opt/novacula").data_disk("/var/lib/novacula");
    let mut fleet = Fleet::start_on(&programs(), Manager::Systemd, pace, builder)?;
    let next = fleet.publish(NEXT, &Edition::bad(NEXT, Misbehaviour::HangAfterReady))?;
    fleet.request(NEXT)?;
    hanging(&mut fleet)?;
    let lab = fleet.host.machine()?;
    lab.power_cut()?;
    let swapped = lab.path("/opt/novacula/bin/novacula-agent")?;
    ensure!(same(&swapped, &next)?, "the swap outlasted the cut");
    lab.boot()?;
    let attempt = fleet.wait_ended(LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_ROLLED_BACK")?;
    expect(&fleet, &attempt, "errorCode", "HANG")?;
    fleet.wait_online(FIRST)?;
    fleet.expect_live(&fleet.first())?;
    fleet.host.expect_nothing_failed()
}

/// Waits until the new version runs and hangs.
pub(crate) fn hanging(fleet: &mut Fleet) -> Result<()> {
    hanging_again(fleet, 1)
}

/// Waits until it does so for the nth time.
pub(crate) fn hanging_again(fleet: &mut Fleet, nth: usize) -> Result<()> {
    let lab = fleet.host.machine()?;
    let waited = wait::until(
        "the new version to hang",
        SOON,
        || said(lab, "hanging, as this test build does"),
        |times| *times >= nth,
    );
    waited.map(drop).map_err(|error| fleet.told(error))
}

/// How often the machine's journal says it.
fn said(lab: &lab::Lab, words: &str) -> Result<usize> {
    let entries = lab.journal(None)?;
    let hits = entries.iter().filter(|entry| entry.message.contains(words));
    Ok(hits.count())
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    Ok(fs::read(one)? == fs::read(other)?)
}
