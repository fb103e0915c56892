//! A spec that a real agent comes to too late, on a host whose wall clock was set back meanwhile: it is not begun. The agent
//! alone is the judge, since the control plane stands still.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::attempt::{ErrorCode, Outcome};
use executor_sdk::{Journal, clock, fault::JOURNAL_BEFORE_WRITE};
use harness::{
    day::Day,
    fleet::{FIRST, Fleet, Manager, NAME, SOON, control_plane::As, edition::Edition},
    parts::{Part, trial},
    wait,
};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::programs::programs;
use crate::upgrade::{PACE, expect};

const NEXT: &str = "1.1.0";

/// Time to be picked up: longer than it takes to stop both sides.
const TTL: Duration = Duration::from_secs(8);

/// The wall clock then: the TTL would have another hour to go.
const SET_BACK: &str = "-1h";

pub(crate) fn trials() -> Vec<Trial> {
    let name = "late::a_spec_past_its_time_is_not_begun_by_a_host_whose_clock_was_set_back";
    vec![trial(name, &[Part::Faketime], too_late)]
}

fn too_late() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (time, fault) = (folder.path().join("time"), folder.path().join("fault"));
    fs::write(&time, "+0")?;
    fs::write(&fault, "")?;
    let mut fleet = Fleet::start(&programs(), Manager::Supervise, PACE)?;
    fleet.publish(NEXT, &Edition::good(NEXT))?;
    fleet.host.kill()?;
    for (name, value) in Day::told_by(&time)?.variables() {
        fleet.host.set(name, value)?;
    }
    fleet.host.set("NOVACULA_FAULT_FILE", &fault)?;
    fleet.host.set("NOVACULA_FAULT_ACTION", "freeze")?;
    fleet.host.start()?;
    fleet.wait_said("connected endpoint", 2)?;
    fleet.wait_online(FIRST)?;

    // It has heard of the upgrade, and stops where it takes that down; and so does the control plane.
    fs::write(&fault, JOURNAL_BEFORE_WRITE)?;
    let ttl = format!("{}s", TTL.as_secs());
    fleet.control.succeed(As::Owner, &["upgrade", "request", NAME, NEXT, "--ttl", &ttl])?;
    let over = clock::since_boot() + TTL;
    let agent = fleet.host.pid()?;
    wait::until("the agent to stop at its fault point", SOON, || state(agent), |state| state == "T")?;
    fleet.control.hold()?;
    ensure!(clock::since_boot() < over, "too slow to tell anything");
    fs::write(&time, SET_BACK)?;
    wait::until("the time to be over", TTL * 2, || Ok(clock::since_boot()), |now| *now > over)?;

    fs::write(&fault, "")?;
    let agent = Pid::from_raw(i32::try_from(agent)?).context("a process id")?;
    kill_process(agent, Signal::CONT)?;
    let journal = Journal::new(&fleet.host.state_dir()?);
    let ended = || Ok(journal.read()?.unsent.first().map(|unsent| (unsent.report.outcome, unsent.report.error_code)));
    let ended = wait::until("the agent to end the attempt", SOON, ended, Option::is_some);
    let ended = ended.map_err(|error| fleet.told(error))?;
    ensure!(ended == Some((Outcome::Expired, Some(ErrorCode::SpecExpired))), "{ended:?}");
    let said = fleet.host.last_words();
    ensure!(went_back(&said), "the agent's wall clock was not set back: {said}");
    ensure!(fleet.host.said("download")? == 0, "a download was begun: {said}");
    fleet.expect_live(&fleet.first())?;

    // With a clock that is right again, both sides agree, and nothing is in the way of the next try.
    fs::write(&time, "+0")?;
    fleet.control.go_on()?;
    let attempt = fleet.wait_ended(SOON)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_EXPIRED")?;
    let attempt = fleet.upgrade(NEXT, SOON)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")
}

/// `T` when it is stopped.
fn state(pid: u32) -> Result<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the agent has ended")?;
    let (_, rest) = stat.rsplit_once(") ").context("a state")?;
    Ok(rest.chars().take(1).collect())
}

/// Whether a line of a log was written at an earlier time than one before it, by more than a moment.
fn went_back(log: &str) -> bool {
    // `2026-11-21T20:43:24.537982Z`: the hour tells.
    let hours: Vec<_> = log.lines().filter_map(|line| line.get(..13)).filter(|hour| hour.contains('T')).collect();
    hours.windows(2).any(|pair| matches!(pair, [before, after] if after < before))
}
