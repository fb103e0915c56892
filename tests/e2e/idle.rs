//! What an agent that has nothing to do costs its host: it wakes for its heartbeat, and for nothing else. Counted by the kernel.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{
    fleet::{FIRST, Fleet, Manager, SOON},
    lab,
    parts::trial,
    sleeps::Sleeps,
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
    let parent = fleet.host.parent_pid()?;
    let (before, parent_before, begin) = (Sleeps::of(agent)?, Sleeps::of(parent)?, Instant::now());
    wait::until("a heartbeat", SOON, || Ok(begin.elapsed()), |since| *since >= WINDOW)?;
    let (woken, parent_woken) = (before.woken_since()?, parent_before.woken_since()?);
    // On a machine that is busy the window is longer than it was meant to be.
    let heartbeats = 1 + begin.elapsed().as_secs() / HEARTBEAT.as_secs();
    let most = heartbeats * PER_HEARTBEAT;
    ensure!(woken <= most, "the agent was woken {woken} times for {heartbeats} heartbeats, which is more than {most}");
    // It may have been on its way to sleep when the first look was taken.
    ensure!(parent_woken <= 1, "its parent was woken {parent_woken} times for nothing");
    Ok(())
}
