//! What an agent that has nothing to do costs its host: it wakes for its heartbeat, and for nothing else. Counted by the kernel.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{
    fleet::{FIRST, Fleet, Manager, SOON},
    lab,
    parts::trial,
    wait,
};
use libtest_mimic::Trial;

use crate::programs::programs;
use crate::upgrade::PACE;

/// As far apart as an administrator may set them, so that whatever wakes more often shows.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long is counted: a loop of one second would wake it twelve times more.
const WINDOW: Duration = Duration::from_secs(12);

/// Its timer, which the runtime comes to in two or three steps, the answer, and one to spare. A loop of one second would double it.
const PER_HEARTBEAT: u64 = 5;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("upgrade::idle_agent_wakes_for_its_heartbeat_alone_supervised", lab::PARTS, idle)]
}

fn idle() -> Result<()> {
    let mut fleet = Fleet::start(&programs(), Manager::Supervise, PACE)?;
    fleet.control.turn_off();
    fleet.control.set_heartbeat(HEARTBEAT);
    fleet.control.turn_on()?;
    fleet.wait_said("connected endpoint", 2)?;
    fleet.wait_online(FIRST)?;
    let agent = fleet.host.pid()?;
    let parent = parent(agent)?;
    let (before, parent_before, begin) = (sleeps(agent)?, sleeps(parent)?, Instant::now());
    wait::until("a heartbeat", SOON, || Ok(begin.elapsed()), |since| *since >= WINDOW)?;
    let (woken, parent_woken) = (woken_since(agent, &before)?, woken_since(parent, &parent_before)?);
    // On a machine that is busy the window is longer than it was meant to be.
    let heartbeats = 1 + begin.elapsed().as_secs() / HEARTBEAT.as_secs();
    let most = heartbeats * PER_HEARTBEAT;
    ensure!(woken <= most, "the agent was woken {woken} times for {heartbeats} heartbeats, which is more than {most}");
    // It may have been on its way to sleep when the first look was taken.
    ensure!(parent_woken <= 1, "its parent was woken {parent_woken} times for nothing");
    Ok(())
}

/// How often each thread of a process has gone to sleep by itself.
fn sleeps(pid: u32) -> Result<BTreeMap<OsString, u64>> {
    let mut sleeps = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("the process has ended")? {
        let task = task?;
        // A thread may end at any moment.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sleeps.insert(task.file_name(), line.context("a count")?.trim().parse()?);
    }
    Ok(sleeps)
}

/// How often it was woken since: whoever sleeps again was. What ended meanwhile took its count along.
fn woken_since(pid: u32, before: &BTreeMap<OsString, u64>) -> Result<u64> {
    let now = sleeps(pid)?;
    Ok(now.iter().map(|(thread, sleeps)| sleeps.saturating_sub(before.get(thread).copied().unwrap_or(0))).sum())
}

fn parent(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the agent has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).context("a parent")?;
    Ok(line.trim().parse()?)
}
