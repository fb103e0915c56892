//! What systemd itself says of our units: the agent's, as `install` writes them, and the control plane's, as it is packaged.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use harness::{
    fleet::{Fleet, Manager, edition::Edition, host::Host},
    lab::{self, Lab, Network},
    parts::trial,
    wait,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::programs::programs;
use crate::upgrade::{PACE, expect};

const UNITS: [&str; 4] = ["novacula-agent.service", "novacula-agent-rollback.service", DEAD_MAN, TIMER];

const DEAD_MAN: &str = "novacula-agent-deadman.service";

/// A systemctl that the dead man alone finds, and that leaves a trace.
const DECOY: &str = "
    mkdir -p /opt/decoy /etc/systemd/system/novacula-agent-deadman.service.d
    printf '#!/bin/bash\\necho > /var/lib/novacula/asked\\n' > /opt/decoy/systemctl
    chmod 755 /opt/decoy/systemctl
    printf '[Service]\\nEnvironment=PATH=/opt/decoy\\n' > /etc/systemd/system/novacula-agent-deadman.service.d/decoy.conf
    systemctl daemon-reload";

/// Everything that an agent may leave behind; drop-ins are their author's.
const LEFT: &str = "
    find /opt/novacula /var/lib/novacula /etc/novacula /run/novacula-agent -type f 2>/dev/null
    find /etc/systemd/system -name 'novacula-agent*' -not -type d -not -path '*.d/*'
    true";

const NEXT: &str = "1.1.0";

const TIMER: &str = "novacula-agent-deadman.timer";

/// Of ten: what `systemd-analyze security` calls `OK` ends at 5. An agent is root with a network and its own directory; what it does
/// not need is taken away.
const EXPOSURE_MAX: f64 = 2.5;

const SERVER: &str = "novacula-server.service";

const DATA: &str = "/var/lib/novacula-server";

/// Longer than a start on a busy machine.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("units::systemd_finds_nothing_to_complain_about", lab::PARTS, check),
        trial("units::readme_ends_with_a_dead_man_that_looks", lab::PARTS, readme),
        trial("units::idle_dead_man_asks_nobody_and_says_nothing", lab::PARTS, idle),
        trial("units::host_is_pinned_freed_upgraded_and_left_clean", lab::PARTS, host),
        trial("units::the_control_plane_runs_as_a_service", lab::PARTS, serves),
    ]
}

fn check() -> Result<()> {
    let mut fleet = Fleet::start(&programs(), Manager::Systemd, PACE)?;
    let lab = fleet.host.machine()?;
    expect_no_complaint(lab, &UNITS)
}

/// Whoever types what README says has a dead man at once, and `doctor` would say so if not.
fn readme() -> Result<()> {
    let mut fleet = Fleet::start(&programs(), Manager::Systemd, PACE)?;
    fleet.host.machine()?.wait_for(TIMER, "ActiveState", "active", SOON)?;
    fleet.host.doctor()?;
    fleet.host.machine()?.run(["systemctl", "stop", TIMER])?;
    let output = fleet.host.agent(&["doctor"])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(1) && said.contains(&format!("{TIMER} is not active")), "{said}");
    ensure!(said.contains(&format!("systemctl start {TIMER}")), "no remedy: {said}");
    Ok(())
}

/// Nothing is open: a look starts no other program and leaves no line, of its own or of systemd's.
fn idle() -> Result<()> {
    let mut fleet = Fleet::start(&programs(), Manager::Systemd, PACE)?;
    let lab = fleet.host.machine()?;
    lab.run(["bash", "-e", "-c", DECOY])?;
    let begin = || lab.property(DEAD_MAN, "ExecMainStartTimestampMonotonic");
    for _ in 0..3 {
        let last = begin()?;
        wait::until("the dead man's next look", SOON, begin, |now| *now != last)?;
    }
    ensure!(lab.property(DEAD_MAN, "ExecMainStatus")? == "0", "he did not look");
    ensure!(!lab.exists("/var/lib/novacula/asked")?, "systemctl was started");
    let said: Vec<_> = lab.journal(Some(DEAD_MAN))?.into_iter().map(|entry| entry.message).collect();
    ensure!(said.is_empty(), "lines of an idle host: {said:#?}");
    Ok(())
}

/// What a person does with a host in its life: pin it, free it, upgrade it, remove everything, install again.
fn host() -> Result<()> {
    let mut fleet = Fleet::start(&programs(), Manager::Systemd, PACE)?;
    fleet.publish(NEXT, &Edition::good(NEXT))?;
    pinned(&fleet, &["pin", "--reason", "audit week"], true)?;
    let refused = fleet.request(NEXT).err().context("a pinned host was asked")?;
    let said = format!("{refused:#}");
    ensure!(said.contains("EXECUTOR_PINNED") && said.contains("audit week"), "{said}");
    pinned(&fleet, &["unpin"], false)?;
    let attempt = fleet.upgrade(NEXT, SOON)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;

    person(&fleet, &["uninstall", "--purge"])?;
    let lab = fleet.host.machine()?;
    let left = lab.run(["bash", "-c", LEFT])?;
    ensure!(left.is_empty(), "left by uninstall --purge: {left}");
    let units = lab.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "novacula*"])?;
    ensure!(units.is_empty(), "units after uninstall --purge: {units}");

    fleet.host.install()?;
    let lab = fleet.host.machine()?;
    for unit in ["novacula-agent.service", TIMER] {
        ensure!(lab.property(unit, "ActiveState")? == "active", "install started no {unit}");
        ensure!(lab.property(unit, "UnitFileState")? == "enabled", "install enabled no {unit}");
    }
    fleet.host.expect_nothing_failed()
}

/// Does so, and waits until the control plane knows: at the next connection.
fn pinned(fleet: &Fleet, words: &[&str], pinned: bool) -> Result<()> {
    person(fleet, words)?;
    let Host::Machine(lab) = &fleet.host else { bail!("units are systemd's") };
    lab.run(["systemctl", "restart", "novacula-agent.service"])?;
    let known = |executor: &Value| executor["online"] == true && (executor["pinned"] == true) == pinned;
    wait::until("the pin to be known", SOON, || fleet.executor(), known).map(drop)
}

fn person(fleet: &Fleet, words: &[&str]) -> Result<()> {
    let output = fleet.host.agent(words)?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn expect_no_complaint(lab: &Lab, units: &[&str]) -> Result<()> {
    let verified = lab.exec([&["systemd-analyze", "verify", "--man=no"], units].concat())?;
    let said = [verified.stdout, verified.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(verified.status.success() && said.is_empty(), "verify: {}: {said}", verified.status);
    for unit in units.iter().filter(|unit| unit.ends_with(".service")) {
        let table = lab.run(["systemd-analyze", "security", "--no-pager", unit])?;
        let exposure = exposure(&table).with_context(|| format!("no exposure is told: {table}"))?;
        ensure!(exposure <= EXPOSURE_MAX, "{unit} is exposed by {exposure}: {table}");
    }
    Ok(())
}

/// The control plane's unit, its user, and its program where a package puts them.
fn package(lab: &Lab) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    lab.install(programs().server, "/usr/bin/novacula-server")?;
    lab.write("/usr/lib/sysusers.d/novacula-server.conf", fs::read(folder.join("novacula-server.sysusers"))?)?;
    lab.unit(SERVER, &fs::read_to_string(folder.join(SERVER))?)
}

/// From bootstrap by root, through a reload and a kill, to an orderly stop.
fn serves() -> Result<()> {
    let mut lab = Lab::builder("server-unit").network(Network::Own).build()?;
    package(&lab)?;
    lab.boot()?;
    lab.run(["systemd-sysusers"])?;
    expect_no_complaint(&lab, &[SERVER])?;
    let bootstrap = ["bootstrap", "--data-dir", DATA, "--organization", "acme", "--token-dir", "/root/tokens"];
    lab.run([&["/usr/bin/novacula-server"], &bootstrap[..]].concat())?;
    lab.run(["systemctl", "start", SERVER])?;
    let owner = lab.run(["stat", "--format=%U %a", DATA])?;
    ensure!(owner.trim() == "novacula-server 700", "the data directory is {owner}");
    let pid = lab.property(SERVER, "MainPID")?;
    lab.run(["systemctl", "reload", SERVER])?;
    ensure!(lab.property(SERVER, "MainPID")? == pid, "a reload starts nothing anew");
    lab.run(["systemctl", "kill", "--signal=KILL", SERVER])?;
    lab.wait_for(SERVER, "NRestarts", "1", SOON)?;
    lab.wait_for(SERVER, "ActiveState", "active", SOON)?;
    lab.run(["systemctl", "stop", SERVER])?;
    ensure!(lab.property(SERVER, "Result")? == "success", "a stop is no failure");
    lab.stop()
}

/// The last line: `→ Overall exposure level for novacula-agent.service: 2.1 OK`.
fn exposure(table: &str) -> Option<f64> {
    let (_, level) = table.lines().rev().find(|line| line.contains("Overall exposure"))?.rsplit_once(": ")?;
    level.split(' ').next()?.parse().ok()
}
