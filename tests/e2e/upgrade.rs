//! The main job on real parts, by one table under systemd and under `--supervise`.

use std::time::{Duration, Instant};

use agent::Misbehaviour;
use anyhow::{Result, ensure};
use harness::{
    fleet::{
        FIRST, Fleet, Manager, Pace,
        edition::{Conduct, Edition},
        host::{self, UNIT},
    },
    lab,
    parts::trial,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::programs::programs;
use crate::scenario::{Failure, PATIENT, Scenario, bad};

/// The version that is asked for.
const NEXT: &str = "1.1.0";

/// Longest that any attempt may take: four starts fifty seconds apart, three starts that time out.
const LIMIT: Duration = Duration::from_secs(280);

/// The start limit, scaled as the slow crashes are.
const SCALED: &str = "[Unit]\nStartLimitIntervalSec=12\n";

/// What systemd makes of the unit as `install` writes it, and nothing of the tests' in it.
const SHIPPED: [(&str, &str); 6] = [
    ("DropInPaths", ""),
    ("Restart", "always"),
    ("RestartUSec", "1s"),
    ("StartLimitBurst", "3"),
    ("StartLimitIntervalUSec", "2min"),
    ("TimeoutStartUSec", "30s"),
];

/// The control plane's default.
const SHIPPED_PROBATION: Duration = Duration::from_secs(120);

/// Too far apart for the shipped start limit, and shorter than the shipped probation.
const SLOW: Duration = Duration::from_secs(50);

/// The pace of scenarios in which nothing goes wrong.
pub(crate) const PACE: Pace = Pace { probation: Duration::from_secs(2), window: Duration::from_secs(300) };

pub(crate) fn trials() -> Vec<Trial> {
    let managers = [(Manager::Systemd, "systemd"), (Manager::Supervise, "supervise")];
    // The longest first, so that nothing waits for them at the end.
    let mut trials =
        vec![trial("upgrade::systemd::slow_crashes_come_back_by_the_shipped_numbers", lab::PARTS, shipped)];
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
    comes_back(&mut fleet, scenario)
}

/// The slow crashes once more, with no number scaled: units, windows and probation are those that people get.
fn shipped() -> Result<()> {
    let scenario = Scenario {
        name: "",
        conduct: Conduct::Bad(Misbehaviour::CrashEvery(SLOW)),
        says: None,
        failure: Failure { stage: "confirm", code: "TOO_MANY_STARTS" },
        window: PATIENT,
        probation: SHIPPED_PROBATION,
    };
    let pace = Pace { probation: scenario.probation, window: scenario.window };
    // What is shipped refuses to keep its state in memory.
    let builder = host::lab("shipped").data_disk("/opt/novacula").data_disk("/var/lib/novacula");
    let mut fleet = Fleet::start_on(&programs(), Manager::Systemd, pace, builder)?;
    let lab = fleet.host.machine()?;
    // The tests' own drop-ins, and the window in the settings, which are the default's five minutes.
    lab.run(["sh", "-c", "rm -r /etc/systemd/system/novacula-agent*.d /etc/novacula/agent.toml"])?;
    lab.run(["systemctl", "daemon-reload"])?;
    lab.run(["systemctl", "restart", UNIT, "novacula-agent-deadman.timer"])?;
    for (property, wanted) in SHIPPED {
        let found = lab.property(UNIT, property)?;
        ensure!(found == wanted, "{property} is {found}, not {wanted}");
    }
    let timer = lab.property("novacula-agent-deadman.timer", "DropInPaths")?;
    ensure!(timer.is_empty(), "the dead man's clock has {timer}");
    fleet.wait_online(FIRST)?;
    let begun = Instant::now();
    comes_back(&mut fleet, &scenario)?;
    ensure!(begun.elapsed() >= SLOW * 3, "three starts that lived for {SLOW:?} in {:?}", begun.elapsed());
    ensure!(fleet.host.said("goes wrong on purpose")? == 3, "the fourth start is the old version's");
    Ok(())
}

/// Asks for the scenario's version, and checks what becomes of it.
fn comes_back(fleet: &mut Fleet, scenario: &Scenario) -> Result<()> {
    let edition = Edition::new(scenario.says.unwrap_or(NEXT), scenario.conduct);
    fleet.publish(NEXT, &edition)?;
    let attempt = fleet.upgrade(NEXT, LIMIT)?;
    expect_back(fleet, &attempt, scenario)?;
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
