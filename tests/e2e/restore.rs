//! The control plane's store goes back to before an upgrade that a real agent has made: the agent is believed, is asked nothing
//! twice, and takes the next upgrade. The page on backups is followed word for word; and once its one command is forgotten.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use executor_sdk::Journal;
use harness::{
    fleet::{Fleet, Manager, SOON, edition::Edition},
    page::commands,
    parts::{Part, trial},
    wait,
};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::programs::programs;
use crate::upgrade::{PACE, expect};

/// An agent tells its last outcomes once more when a stream has been up for a minute.
const TOLD_AGAIN: Duration = Duration::from_secs(120);

const PAGE: &str = "docs/operate/backup.md";

/// What the page says for a store that went back.
const AFTER_RESTORE: &str = "novacula-server after-restore ";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("restore::an_agent_that_upgraded_after_the_backup_is_believed", &[Part::Sqlite3], believed)]
}

fn believed() -> Result<()> {
    let mut fleet = Fleet::start(&programs(), Manager::Supervise, PACE)?;
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        fleet.publish(version, &Edition::good(version))?;
    }
    // The backup knows the request, and not what came of it.
    let agent = pid(&fleet)?;
    kill_process(agent, Signal::STOP)?;
    fleet.request("1.1.0")?;
    let backup = tempfile::tempdir()?;
    for line in commands(PAGE, "Back up")? {
        carry_out(&mut fleet, backup.path(), &line)?;
    }
    kill_process(agent, Signal::CONT)?;
    let attempt = fleet.wait_ended(SOON)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    fleet.wait_online("1.1.0")?;

    let restore = commands(PAGE, "Restore")?;
    ensure!(restore.iter().any(|line| line.starts_with(AFTER_RESTORE)), "the page says another command: {restore:?}");
    lived_through(&mut fleet, backup.path(), &restore, Lived { now: "1.1.0", next: "1.2.0" })?;
    // What follows is no good idea, and ends in the truth too.
    let forgetful: Vec<_> = restore.into_iter().filter(|line| !line.starts_with(AFTER_RESTORE)).collect();
    lived_through(&mut fleet, backup.path(), &forgetful, Lived { now: "1.2.0", next: "1.3.0" })
}

/// What an agent runs when the store goes back under it, and what it is asked for then.
#[derive(Clone, Copy)]
struct Lived {
    now: &'static str,
    next: &'static str,
}

/// The store goes back to before 1.1.0 was taken.
fn lived_through(fleet: &mut Fleet, backup: &Path, restore: &[String], lived: Lived) -> Result<()> {
    let seen = seen(fleet)?;
    let live = fs::metadata(fleet.host.live()?)?.ino();
    for line in restore {
        carry_out(fleet, backup, line)?;
    }
    fleet.wait_online(lived.now)?;
    let told = |attempt: &Value| attempt["targetVersion"] == "1.1.0" && attempt["outcome"] == "OUTCOME_SUCCEEDED";
    wait::until("the old request to end in the truth", TOLD_AGAIN, || fleet.attempt(), told)
        .map_err(|error| fleet.told(error))?;
    let pending = |executor: &Value| !executor["pendingUpgrade"].is_null();
    wait::until("nothing to be pending", SOON, || fleet.executor(), |executor| !pending(executor))?;
    ensure!(fs::metadata(fleet.host.live()?)?.ino() == live, "something was put in place once more");

    let attempt = fleet.upgrade(lived.next, SOON)?;
    expect(fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    let generation: u64 = attempt["generation"].as_str().context("a generation")?.parse()?;
    ensure!(generation > seen, "asked under {generation}, and {seen} was seen before");
    fleet.wait_online(lived.next)
}

/// The highest generation that the agent has seen, by its own journal.
fn seen(fleet: &mut Fleet) -> Result<u64> {
    Ok(Journal::new(&fleet.host.state_dir()?).read()?.generation.0)
}

fn pid(fleet: &Fleet) -> Result<Pid> {
    Pid::from_raw(i32::try_from(fleet.host.pid()?)?).context("a process id")
}

/// Does what a line of the page says, with this control plane in place of the service.
fn carry_out(fleet: &mut Fleet, backup: &Path, line: &str) -> Result<()> {
    match line {
        "systemctl stop novacula-server" => fleet.control.turn_off(),
        "systemctl start novacula-server" => fleet.control.turn_on()?,
        _ => {
            let text = |path: &Path| path.to_str().map(str::to_owned).context("a path of text");
            let line = line.replace("/var/lib/novacula-server", &text(&fleet.control.data())?);
            let line = line.replace("/backup/", &format!("{}/", text(backup)?));
            let line = match line.strip_prefix("novacula-server ") {
                Some(rest) => format!("{} {rest}", text(&programs().server)?),
                None => line,
            };
            let output = Command::new("bash").args(["-euo", "pipefail", "-c", &line]).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{line}: {}: {said}", output.status);
        }
    }
    Ok(())
}
