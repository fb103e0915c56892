//! The main job on real parts, by one table under systemd and under `--supervise`.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    fleet::{
        FIRST, Fleet, Manager, Pace,
        edition::{Conduct, Edition},
        host::UNIT,
    },
    lab,
    parts::trial,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::programs::programs;
use crate::scenario::{Scenario, bad};

/// The version that is asked for.
const NEXT: &str = "1.1.0";

/// Longest that any attempt may take: four starts fifty seconds apart, three starts that time out.
const LIMIT: Duration = Duration::from_secs(280);

/// The start limit, scaled as the slow crashes are.
const SCALED: &str = "[Unit]\nStartLimitIntervalSec=12\n";

/// The pace of scenarios in which nothing goes wrong.
pub(crate) const PACE: Pace = Pace { probation: Duration::from_secs(2), window: Duration::from_secs(300) };

pub(crate) fn trials() -> Vec<Trial> {
    let managers = [(Manager::Systemd, "systemd"), (Manager::Supervise, "supervise")];
    let mut trials = Vec::new();
    // The longest first, so that nothing waits for them at the end.
    for (manager, name) in managers.into_iter().rev() {
        for scenario in bad(manager) {
            let name = format!("upgrade::{name}::{}", scenario.name);
            trials.push(trial(name, lab::PARTS, move || check(manager, &scenario)));
        }
        let name = format!("upgrade::{name}::good_version_takes_over");
        trials.push(trial(name, lab::PARTS, move || good(manager)));
    }
    trials
}

fn good(manager: Manager) -> Result<()> {
    let fleet = Fleet::start(&programs(), manager, PACE)?;
    let next = fleet.publish(NEXT, &Edition::good(NEXT))?;
    let before = fleet.host.pid()?;
    let attempt = fleet.upgrade(NEXT, LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    expect(&fleet, &attempt, "outcomeSource", "OUTCOME_SOURCE_REPORTED")?;
    fleet.wait_online(NEXT)?;
    ensure!(fleet.executor()?["pendingUpgrade"].is_null(), "it is cleared");
    ensure!(fleet.host.pid()? != before, "another process");
    fleet.expect_live(&next)?;
    fleet.expect_previous(&fleet.first())?;
    fleet.host.expect_nothing_failed()
}

/// One row: the old version is back byte for byte and online, and the attempt says the truth about the new one.
fn check(manager: Manager, scenario: &Scenario) -> Result<()> {
    let pace = Pace { probation: scenario.probation, window: scenario.window };
    let mut fleet = Fleet::start(&programs(), manager, pace)?;
    if let Manager::Systemd = manager
        && scenario.failure.code == "TOO_MANY_STARTS"
    {
        let lab = fleet.host.machine()?;
        lab.unit(&format!("{UNIT}.d/scaled.conf"), SCALED)?;
        lab.run(["systemctl", "daemon-reload"])?;
    }
    let edition = Edition::new(scenario.says.unwrap_or(NEXT), scenario.conduct);
    fleet.publish(NEXT, &edition)?;
    let attempt = fleet.upgrade(NEXT, LIMIT)?;
    expect_back(&fleet, &attempt, scenario)?;
    fleet.wait_online(FIRST)?;
    fleet.expect_live(&fleet.first())?;
    fleet.expect_previous(&fleet.first())?;
    let executor = fleet.executor()?;
    ensure!(executor["pendingUpgrade"].is_null(), "it is cleared");
    ensure!(executor["holds"][0]["version"] == NEXT, "the version is held: {executor:#}");
    fleet.host.expect_nothing_failed()
}

fn expect_back(fleet: &Fleet, attempt: &Value, scenario: &Scenario) -> Result<()> {
    expect(fleet, attempt, "outcome", "OUTCOME_ROLLED_BACK")?;
    expect(fleet, attempt, "outcomeSource", "OUTCOME_SOURCE_REPORTED")?;
    expect(fleet, attempt, "rolledBackTo", FIRST)?;
    expect(fleet, attempt, "errorCode", scenario.failure.code)?;
    expect(fleet, attempt, "stage", scenario.failure.stage)?;
    expect_last_lines(fleet, scenario.conduct)
}

/// The failing version's own words are in the attempt.
fn expect_last_lines(fleet: &Fleet, conduct: Conduct) -> Result<()> {
    let word = match conduct {
        Conduct::Bad(misbehaviour) => format!("misbehaviour={misbehaviour:?}"),
        Conduct::Good => "the new binary says that it is".to_owned(),
    };
    let tail = fleet.log_tail()?;
    ensure!(tail.iter().any(|line| line.contains(&word)), "{word:?} is not in the log tail: {tail:#?}");
    Ok(())
}

/// Checks one field of an attempt; the error shows everything.
pub(crate) fn expect(fleet: &Fleet, attempt: &Value, field: &str, wanted: &str) -> Result<()> {
    if attempt[field] == wanted {
        return Ok(());
    }
    Err(fleet.told(anyhow::anyhow!("{field} is not {wanted}: {attempt:#}")))
}
