//! What happens around an upgrade and must not be mistaken for a bad version, and what must not hide one.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use agent::Misbehaviour;
use anyhow::{Context, Result, bail, ensure};
use harness::{
    fleet::{
        FIRST, Fleet, Manager, Pace,
        edition::Edition,
        host::{self, Host, UNIT},
    },
    lab,
    parts::trial,
    wait,
};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::programs::programs;
use crate::scenario::{PATIENT, SHORT};
use crate::upgrade::{PACE, expect};

const NEXT: &str = "1.1.0";

const LIMIT: Duration = Duration::from_secs(120);

/// The time for five upgrades.
const A_MINUTE: Duration = Duration::from_secs(60);

/// Looks of the dead man that found nobody; he asks only when the window is over.
const LOOKS: usize = 3;

/// How long an outage lasts that nobody goes back for: six windows of these trials.
const TWO_MINUTES: Duration = Duration::from_secs(120);

/// Crashes far enough apart for something to be broken before the first crash loop is seen.
const SPACING: Duration = Duration::from_secs(3);

/// Settings with a mistake that a person makes.
const BROKEN: &str = "[upgrade]\nchanel = \"stable\"\n";

/// What the way back says when there is nothing to bring back.
const NO_UPGRADE: &str = "a crash loop that no upgrade caused";

type Body = fn() -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let bodies: [(&str, Body); 20] = [
        ("outage_and_its_end_roll_nothing_back", || outage(Manager::Systemd, Outage::OnProbation)),
        ("outage_and_its_end_roll_nothing_back_supervised", || outage(Manager::Supervise, Outage::OnProbation)),
        ("outage_since_the_restart_rolls_nothing_back", || outage(Manager::Systemd, Outage::SinceRestart)),
        ("outage_since_the_restart_rolls_nothing_back_supervised", || outage(Manager::Supervise, Outage::SinceRestart)),
        ("five_upgrades_in_a_row_are_no_crash_loop", || five(Manager::Systemd)),
        ("five_upgrades_in_a_row_are_no_crash_loop_supervised", || five(Manager::Supervise)),
        ("crash_loop_long_after_success_swaps_nothing", bad_settings),
        ("crash_loop_long_after_success_swaps_nothing_supervised", bad_settings_supervised),
        ("settings_broken_before_the_takeover_cost_no_supervisor", || taken_over(Broken::Settings)),
        ("binary_broken_before_the_takeover_costs_no_supervisor", || taken_over(Broken::Binary)),
        ("crash_loop_on_a_full_disk_swaps_nothing", full_disk),
        ("power_cut_after_the_swap_hides_no_hang", || power_cut(Misbehaviour::HangAfterReady, SHORT, &["HANG"])),
        // One start was before the cut, and its count may have been lost.
        ("power_cut_after_the_swap_hides_no_clean_exit", || {
            power_cut(Misbehaviour::ExitClean, PATIENT, &["TOO_MANY_STARTS", "CLEAN_EXIT"])
        }),
        ("power_cut_after_the_swap_hides_no_deafness", || {
            power_cut(Misbehaviour::NeverConnects, SHORT, &["NO_CONNECTION"])
        }),
        ("end_of_the_container_after_the_swap_hides_no_hang", || {
            new_supervisor(Misbehaviour::HangAfterReady, SHORT, &["HANG"])
        }),
        // Starts before the end count, and the parent after it counts those that it sees in a row.
        ("end_of_the_container_after_the_swap_hides_no_clean_exit", || {
            new_supervisor(Misbehaviour::ExitClean, PATIENT, &["TOO_MANY_STARTS", "CLEAN_EXIT"])
        }),
        ("end_of_the_container_after_the_swap_hides_no_crash_loop", || {
            new_supervisor(Misbehaviour::CrashAtStart, PATIENT, &["TOO_MANY_STARTS", "CRASH_LOOP"])
        }),
        ("end_of_the_container_with_broken_settings_hides_no_crash_loop", unread_settings),
        ("crash_loop_on_a_full_disk_swaps_nothing_supervised", full_disk_supervised),
        ("crash_loop_that_an_upgrade_caused_comes_back_from_a_full_disk_supervised", full_disk_on_probation),
    ];
    bodies.into_iter().map(|(name, body)| trial(format!("upgrade::{name}"), lab::PARTS, body)).collect()
}

/// When the control plane goes away.
enum Outage {
    /// Before the new version has ever connected.
    SinceRestart,
    /// After it has.
    OnProbation,
}

fn outage(manager: Manager, outage: Outage) -> Result<()> {
    // Time to turn the control plane off before the version is confirmed, and to start on a busy machine.
    let pace = Pace { probation: Duration::from_secs(10), window: Duration::from_secs(20) };
    let mut fleet = Fleet::start(&programs(), manager, pace)?;
    let edition = match outage {
        Outage::SinceRestart => Edition::bad(NEXT, Misbehaviour::ConnectsLate),
        Outage::OnProbation => Edition::good(NEXT),
    };
    let next = fleet.publish(NEXT, &edition)?;
    fleet.request(NEXT)?;
    match outage {
        Outage::SinceRestart => fleet.wait_said("goes wrong on purpose", 1)?,
        Outage::OnProbation => fleet.wait_phase("PHASE_CONFIRMING").map(drop)?,
    }
    fleet.control.turn_off();
    let since = Instant::now();
    fleet.wait_said("the old code cannot reach the control plane either", LOOKS)?;
    if let Outage::OnProbation = outage {
        wait::until("two minutes", TWO_MINUTES + LIMIT, || Ok(since.elapsed()), |away| *away >= TWO_MINUTES)?;
    }
    fleet.expect_live(&next)?;
    fleet.control.turn_on()?;
    let attempt = fleet.wait_ended(LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    fleet.wait_online(NEXT)?;
    fleet.expect_live(&next)?;
    fleet.host.expect_nothing_failed()
}

fn five(manager: Manager) -> Result<()> {
    let pace = Pace { probation: Duration::from_secs(1), ..PACE };
    let fleet = Fleet::start(&programs(), manager, pace)?;
    let mut editions = Vec::new();
    for version in ["1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0"] {
        editions.push((version, fleet.publish(version, &Edition::good(version))?));
    }
    let mut before = fleet.first();
    let mut took = Vec::new();
    for (version, next) in editions {
        let begin = Instant::now();
        let attempt = fleet.upgrade(version, LIMIT)?;
        took.push(begin.elapsed());
        expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
        fleet.expect_previous(&before)?;
        before = next;
    }
    // Inside one start limit, or they could not be taken for a crash loop.
    let all: Duration = took.iter().sum();
    ensure!(all < A_MINUTE, "they took {took:?}");
    fleet.expect_live(&before)?;
    ensure!(fleet.host.said("crash loop")? == 0, "a crash loop was seen");
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
    lab.write(SETTINGS, BROKEN)?;
    // Fails at once, which is what is wanted.
    lab.exec(["systemctl", "restart", "--no-block", UNIT])?;
    fleet.wait_said(NO_UPGRADE, 2)?;
    fleet.host.expect_nothing_failed()?;
    fleet.expect_live(&next)?;
    fleet.expect_previous(&fleet.first())?;
    fleet.host.machine()?.write(SETTINGS, good)?;
    fleet.wait_online(NEXT)?;
    fleet.host.expect_nothing_failed()
}

/// The same where the agent's own parent starts it again; with settings that cannot be read neither of them may change a binary.
fn bad_settings_supervised() -> Result<()> {
    let mut fleet = Fleet::start(&programs(), Manager::Supervise, PACE)?;
    let next = fleet.publish(NEXT, &Edition::good(NEXT))?;
    let attempt = fleet.upgrade(NEXT, LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    // The old version, the new one, and the new one under a parent of its own version.
    fleet.wait_said("connected endpoint", 3)?;
    let settings = fleet.host.state_dir()?.with_file_name("agent.toml");
    let good = fs::read(&settings)?;
    fs::write(&settings, BROKEN)?;
    let child = Pid::from_raw(i32::try_from(fleet.host.pid()?)?).context("a process id")?;
    kill_process(child, Signal::KILL)?;
    fleet.wait_said(NO_UPGRADE, 1)?;
    fleet.expect_live(&next)?;
    fleet.expect_previous(&fleet.first())?;
    fs::write(&settings, good)?;
    fleet.wait_online(NEXT)?;
    fleet.expect_live(&next)
}

/// What a parent that takes over would need.
enum Broken {
    /// The file of the settings.
    Settings,
    /// The right to execute the binary, which runs already.
    Binary,
}

/// A version is confirmed, and the parent cannot become it as things are: it does not end, and the agent comes back once they are
/// mended.
fn taken_over(broken: Broken) -> Result<()> {
    // Time to break something before the version is confirmed.
    let pace = Pace { probation: Duration::from_secs(10), ..PACE };
    let mut fleet = Fleet::start(&programs(), Manager::Supervise, pace)?;
    let next = fleet.publish(NEXT, &Edition::good(NEXT))?;
    fleet.request(NEXT)?;
    fleet.wait_phase("PHASE_CONFIRMING")?;
    let (settings, binary) = (fleet.host.state_dir()?.with_file_name("agent.toml"), fleet.host.live()?);
    let good = fs::read(&settings)?;
    let says = match broken {
        Broken::Settings => {
            fs::write(&settings, BROKEN)?;
            "supervising with what another version left"
        }
        Broken::Binary => {
            fs::set_permissions(&binary, fs::Permissions::from_mode(0o644))?;
            "the version before supervises the confirmed one"
        }
    };
    let attempt = fleet.wait_ended(LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    fleet.wait_said(says, 1)?;
    fleet.wait_said(NO_UPGRADE, 1)?;
    fs::write(&settings, good)?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
    // The old version, the new one, and the new one after its parent's trouble.
    fleet.wait_said("connected endpoint", 3)?;
    fleet.wait_online(NEXT)?;
    fleet.expect_live(&next)?;
    fleet.expect_previous(&fleet.first())
}

/// The state directory's disk is full and the agent dies again and again, long after its last upgrade.
fn full_disk() -> Result<()> {
    let builder = host::lab("full").data_disk_of("/var/lib/novacula", 16);
    let fleet = Fleet::start_on(&programs(), Manager::Systemd, PACE, builder)?;
    let next = fleet.publish(NEXT, &Edition::good(NEXT))?;
    let attempt = fleet.upgrade(NEXT, LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    let Host::Machine(lab) = &fleet.host else { bail!("only a machine has a disk of its own") };
    let full = lab.exec(["dd", "if=/dev/zero", "of=/var/lib/novacula/filler", "bs=4k"])?;
    ensure!(!full.status.success(), "the disk is not full");
    let kill_and_look = || {
        // Between two starts there is nobody to kill.
        lab.exec(["systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT])?;
        fleet.host.said(NO_UPGRADE)
    };
    wait::until("the crash loop to be met with a pause", LIMIT, kill_and_look, |times| *times >= 1)?;
    // It comes back while the disk is still full.
    fleet.wait_online(NEXT)?;
    fleet.host.expect_nothing_failed()?;
    fleet.expect_live(&next)?;
    fleet.expect_previous(&fleet.first())
}

/// The same where the parent starts the agent again: its own notes find no room either.
fn full_disk_supervised() -> Result<()> {
    let mut fleet = Fleet::start(&programs(), Manager::Supervise, PACE)?;
    let next = fleet.publish(NEXT, &Edition::good(NEXT))?;
    let attempt = fleet.upgrade(NEXT, LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    // The old version, the new one, and the new one under a parent of its own version.
    fleet.wait_said("connected endpoint", 3)?;
    fleet.host.kill()?;
    fleet.host.keep_state_on_a_small_disk()?;
    fleet.host.start()?;
    fleet.wait_said("connected endpoint", 4)?;
    fill(&fleet.host.state_dir()?)?;
    let kill_and_look = || {
        let child = Pid::from_raw(i32::try_from(fleet.host.pid()?)?).context("a process id")?;
        // It may have ended since.
        let _ = kill_process(child, Signal::KILL);
        fleet.host.said(NO_UPGRADE)
    };
    wait::until("the crash loop to be met with a pause", LIMIT, kill_and_look, |times| *times >= 1)?;
    // It comes back while the disk is still full.
    fleet.wait_online(NEXT)?;
    fleet.expect_live(&next)?;
    fleet.expect_previous(&fleet.first())
}

/// A version that nobody has confirmed crashes, and the disk of the state is full.
fn full_disk_on_probation() -> Result<()> {
    let pace = Pace { probation: Duration::from_secs(60), ..PACE };
    let mut fleet = Fleet::start(&programs(), Manager::Supervise, pace)?;
    fleet.host.kill()?;
    fleet.host.keep_state_on_a_small_disk()?;
    fleet.host.start()?;
    fleet.wait_said("connected endpoint", 2)?;
    fleet.publish(NEXT, &Edition::bad(NEXT, Misbehaviour::CrashEvery(SPACING)))?;
    fleet.request(NEXT)?;
    fleet.wait_said("goes wrong on purpose", 1)?;
    fill(&fleet.host.state_dir()?)?;
    came_back(&fleet, &["CRASH_LOOP", "TOO_MANY_STARTS"])?;
    ensure!(fleet.host.said("No space left on device")? > 0, "nothing was in want of room");
    Ok(())
}

/// Until not a byte fits.
fn fill(folder: &Path) -> Result<()> {
    let mut filler = fs::File::create(folder.join("filler"))?;
    let full = loop {
        if let Err(error) = filler.write_all(&[0; 4096]) {
            break error;
        }
    };
    ensure!(full.kind() == ErrorKind::StorageFull, "{full}");
    Ok(())
}

fn power_cut(misbehaviour: Misbehaviour, window: Duration, codes: &[&str]) -> Result<()> {
    let pace = Pace { probation: Duration::from_secs(3), window };
    let builder = host::lab("cut").data_disk("/opt/novacula").data_disk("/var/lib/novacula");
    let mut fleet = Fleet::start_on(&programs(), Manager::Systemd, pace, builder)?;
    let next = fleet.publish(NEXT, &Edition::bad(NEXT, misbehaviour))?;
    fleet.request(NEXT)?;
    fleet.wait_said("goes wrong on purpose", 1)?;
    let lab = fleet.host.machine()?;
    lab.power_cut()?;
    let swapped = lab.path("/opt/novacula/bin/novacula-agent")?;
    ensure!(same(&swapped, &next)?, "the swap outlasted the cut");
    lab.boot()?;
    came_back(&fleet, codes)
}

/// Parent and child are gone right after the swap; what is started again is a version that fails, as a parent too.
fn new_supervisor(misbehaviour: Misbehaviour, window: Duration, codes: &[&str]) -> Result<()> {
    let pace = Pace { probation: Duration::from_secs(3), window };
    let mut fleet = Fleet::start(&programs(), Manager::Supervise, pace)?;
    let next = fleet.publish(NEXT, &Edition::bad(NEXT, misbehaviour))?;
    fleet.request(NEXT)?;
    fleet.wait_said("goes wrong on purpose", 1)?;
    fleet.host.kill()?;
    fleet.expect_live(&next)?;
    fleet.host.start()?;
    came_back(&fleet, codes)
}

/// Nor can the old version read the settings when it supervises in the new one's place.
fn unread_settings() -> Result<()> {
    let mut fleet = Fleet::start(&programs(), Manager::Supervise, PACE)?;
    fleet.publish(NEXT, &Edition::bad(NEXT, Misbehaviour::CrashEvery(SPACING)))?;
    fleet.request(NEXT)?;
    fleet.wait_said("goes wrong on purpose", 1)?;
    fleet.host.kill()?;
    let settings = fleet.host.state_dir()?.with_file_name("agent.toml");
    let good = fs::read(&settings)?;
    fs::write(&settings, BROKEN)?;
    fleet.host.start()?;
    // It is brought back all the same; that it refuses the settings is nobody's upgrade.
    fleet.wait_said(NO_UPGRADE, 1)?;
    fleet.expect_live(&fleet.first())?;
    fs::write(&settings, good)?;
    came_back(&fleet, &["TOO_MANY_STARTS", "CRASH_LOOP"])
}

/// The version of which all this was is gone, for one of these reasons, and the one before runs in its place.
fn came_back(fleet: &Fleet, codes: &[&str]) -> Result<()> {
    let attempt = fleet.wait_ended(LIMIT)?;
    expect(fleet, &attempt, "outcome", "OUTCOME_ROLLED_BACK")?;
    let code = attempt["errorCode"].as_str().unwrap_or_default();
    if !codes.contains(&code) {
        return Err(fleet.told(anyhow::anyhow!("{code} is none of {codes:?}: {attempt:#}")));
    }
    fleet.wait_online(FIRST)?;
    fleet.expect_live(&fleet.first())?;
    fleet.expect_previous(&fleet.first())?;
    fleet.host.expect_nothing_failed()
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    Ok(fs::read(one)? == fs::read(other)?)
}
