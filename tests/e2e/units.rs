//! What systemd itself says of the units that `install` writes, on a machine where it wrote them.

use anyhow::{Context, Result, ensure};
use harness::{
    fleet::{Fleet, Manager},
    lab,
    parts::trial,
};
use libtest_mimic::Trial;

use crate::programs::programs;
use crate::upgrade::PACE;

const UNITS: [&str; 4] = [
    "novacula-agent.service",
    "novacula-agent-rollback.service",
    "novacula-agent-deadman.service",
    "novacula-agent-deadman.timer",
];

/// Of ten: what `systemd-analyze security` calls `OK` ends at 5. An agent is root with a network and its own directory; what it does
/// not need is taken away.
const EXPOSURE_MAX: f64 = 2.5;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("units::systemd_finds_nothing_to_complain_about", lab::PARTS, check)]
}

fn check() -> Result<()> {
    let mut fleet = Fleet::start(&programs(), Manager::Systemd, PACE)?;
    let lab = fleet.host.machine()?;
    let verified = lab.exec([&["systemd-analyze", "verify", "--man=no"], &UNITS[..]].concat())?;
    let said = [verified.stdout, verified.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(verified.status.success() && said.is_empty(), "verify: {}: {said}", verified.status);
    for unit in UNITS.into_iter().filter(|unit| unit.ends_with(".service")) {
        let table = lab.run(["systemd-analyze", "security", "--no-pager", unit])?;
        let exposure = exposure(&table).with_context(|| format!("no exposure is told: {table}"))?;
        ensure!(exposure <= EXPOSURE_MAX, "{unit} is exposed by {exposure}: {table}");
    }
    Ok(())
}

/// The last line: `→ Overall exposure level for novacula-agent.service: 2.1 OK`.
fn exposure(table: &str) -> Option<f64> {
    let (_, level) = table.lines().rev().find(|line| line.contains("Overall exposure"))?.rsplit_once(": ")?;
    level.split(' ').next()?.parse().ok()
}
