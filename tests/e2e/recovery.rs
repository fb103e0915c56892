//! The recovery page is true: its blocks are run as they stand there, in their order, on an agent whose new version hangs.

use std::fs;
use std::time::Duration;

use agent::Misbehaviour;
use anyhow::{Context, Result, ensure};
use harness::{
    fleet::{FIRST, Fleet, Manager, Pace, control_plane::As, edition::Edition},
    lab,
    parts::{trial, workspace},
};
use libtest_mimic::Trial;

use crate::programs::programs;
use crate::upgrade::expect;
use crate::way_back::write_on_previous;

const NEXT: &str = "1.1.0";

/// What the new version says before it does nothing any more.
const HANGS: &str = "hanging, as this test build does";

/// A version that hangs is killed after the twenty seconds that the unit gives it to end.
const LIMIT: Duration = Duration::from_secs(90);

/// Longer than the trial: nothing comes back by itself here.
const PACE: Pace = Pace { probation: Duration::from_secs(2), window: Duration::from_secs(600) };

/// The unit that a failure starts comes to it late, as on a busy host: the person at work is the faster one, always.
const LATE: &str = "[Service]\nExecStartPre=/bin/sleep 3\n";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("recovery::the_page_is_true", lab::PARTS, page)]
}

fn page() -> Result<()> {
    let blocks = blocks()?;
    let [look, short, coreutils, reinstall, journal, again] = blocks.as_slice() else {
        anyhow::bail!("the page has {} blocks, and this trial knows six", blocks.len());
    };
    let mut fleet = Fleet::start(&programs(), Manager::Systemd, PACE)?;
    fleet.publish(NEXT, &Edition::bad(NEXT, Misbehaviour::HangAfterReady))?;
    let lab = fleet.host.machine()?;
    lab.unit("novacula-agent-rollback.service.d/late.conf", LATE)?;
    lab.run(["systemctl", "daemon-reload"])?;

    fleet.request(NEXT)?;
    fleet.wait_said(HANGS, 1)?;
    let seen = run(&mut fleet, look)?;
    for part in ["active (running)", FIRST, NEXT, HANGS, "novacula-agent.prev"] {
        ensure!(seen.contains(part), "{part:?} is not shown: {seen}");
    }
    run(&mut fleet, short)?;
    back(&fleet)?;

    fleet.request(NEXT)?;
    fleet.wait_said(HANGS, 2)?;
    run(&mut fleet, coreutils)?;
    back(&fleet)?;

    fleet.request(NEXT)?;
    fleet.wait_said(HANGS, 3)?;
    write_on_previous(&fleet)?;
    let refused = format!("{:#}", run(&mut fleet, short).err().context("a .prev that was written on was used")?);
    ensure!(refused.contains("was written on") && refused.contains("nothing was changed"), "{refused}");
    run(&mut fleet, reinstall)?;
    back(&fleet)?;

    let seen = fleet.control.shell(As::Owner, again).map_err(|error| fleet.told(error))?;
    for part in ["to 1.1.0, was rolled back (BY_HAND)", "version 1.1.0 is held here", "1.0.0 -> 1.1.0"] {
        ensure!(seen.contains(part), "{part:?} is not shown: {seen}");
    }
    let holds = fleet.executor()?["holds"].clone();
    ensure!(holds.as_array().is_some_and(Vec::is_empty), "asking by name clears the hold: {holds}");
    fleet.wait_said(HANGS, 4)?;
    fleet.host.machine()?.write("/var/lib/novacula/journal.json", "{")?;
    let refused = format!("{:#}", run(&mut fleet, short).err().context("a journal that cannot be read was read")?);
    ensure!(refused.contains("journal.json cannot be used"), "{refused}");
    run(&mut fleet, journal)?;
    run(&mut fleet, short)?;
    back(&fleet)
}

/// The old version is back because of a person, and the last known good is whole.
fn back(fleet: &Fleet) -> Result<()> {
    let attempt = fleet.wait_ended(LIMIT)?;
    expect(fleet, &attempt, "outcome", "OUTCOME_ROLLED_BACK")?;
    expect(fleet, &attempt, "errorCode", "BY_HAND")?;
    expect(fleet, &attempt, "rolledBackTo", FIRST)?;
    fleet.wait_online(FIRST)?;
    fleet.expect_live(&fleet.first())?;
    fleet.expect_previous(&fleet.first())?;
    fleet.host.expect_nothing_failed()
}

/// Every line has to succeed.
fn run(fleet: &mut Fleet, block: &str) -> Result<String> {
    let lab = fleet.host.machine()?;
    lab.run(["bash", "-e", "-c", block]).map_err(|error| fleet.told(error.context(block.to_owned())))
}

/// The page's `sh` blocks.
fn blocks() -> Result<Vec<String>> {
    let path = workspace().join("docs/operate/recovery.md");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    ensure!(text.matches("\n```").count() == 2 * text.matches("\n```sh\n").count(), "every block is of sh");
    let block = |rest: &str| {
        let (block, _) = rest.split_once("\n```").context("a block without an end")?;
        Ok(block.to_owned())
    };
    text.split("\n```sh\n").skip(1).map(block).collect()
}
