//! One machine and its rows, one after another: each a new attempt, from whatever runs by then.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::{fmt, fs};

use agent::fault::Passage;
use anyhow::{Context, Result, ensure};
use harness::{
    fleet::{
        FIRST, Fleet, Manager, NAME, Programs, SOON,
        control_plane::As,
        host::{self, UNIT},
    },
    lab::Lab,
    matrix::Ending,
};
use serde_json::Value;

use super::row::{Fault, Phase, Row};
use crate::programs::programs;

const NEXT: &str = "1.1.0";

/// Where the agent's own directory is.
const DIRECTORY: &str = "/opt/novacula/bin";

/// What the agents read at each fault point.
pub(super) const FAULT: &str = "/etc/novacula/fault";

/// Arms every process of the agent.
const ARMED: &str = "[Service]\nEnvironment=NOVACULA_FAULT_FILE=/etc/novacula/fault NOVACULA_FAULT_ACTION=freeze\n";

/// A killed agent is started sooner than a person would; and no row is about a start that takes long, which it may here.
const SOONER: &str = "[Service]\nRestartSec=200ms\nTimeoutStartSec=30\n";

/// The dead man as he is installed: looking once a second, as the other trials let him, costs what the machines here need.
const UNHURRIED: &str = "[Timer]\nOnActiveSec=\nOnUnitInactiveSec=\nOnActiveSec=30\nOnUnitInactiveSec=30\n";

/// Longest that one attempt may take.
const LIMIT: &str = "100s";

/// Room for four binaries and the reserve of a download.
const BINARIES_MIB: u64 = 224;

const STATE_MIB: u64 = 48;

/// A machine with its control plane.
pub(crate) struct Lane {
    pub(crate) fleet: Fleet,
    /// What runs now, and what it is to be replaced by.
    pub(crate) running: Version,
    pub(crate) other: Version,
}

/// A release and its bytes.
pub(crate) struct Version {
    pub(crate) number: &'static str,
    bytes: Vec<u8>,
}

// === impl Lane ===

impl Lane {
    pub(crate) fn start(phase: Phase) -> Result<Self> {
        let builder = host::lab("matrix")
            .data_disk_of("/opt/novacula", BINARIES_MIB)
            .data_disk_of("/var/lib/novacula", STATE_MIB);
        let mut fleet = Fleet::start_on(&small()?, Manager::Systemd, phase.pace(), builder)?;
        fleet.publish(FIRST, &harness::fleet::edition::Edition::good(FIRST))?;
        let next = fleet.publish(NEXT, &phase.edition(NEXT))?;
        let running = Version { number: FIRST, bytes: fs::read(fleet.first())? };
        let other = Version { number: NEXT, bytes: fs::read(next)? };
        arm_units(fleet.host.machine()?, phase)?;
        fleet.wait_online(FIRST)?;
        Ok(Self { fleet, running, other })
    }

    /// One row: asks, waits for the step, kills or cuts, and looks what became of it.
    pub(crate) fn run(&mut self, row: &Row) -> Result<Ending> {
        let ending = self.suffer(row).and_then(|attempt| self.judge(&attempt));
        ending.map_err(|error| self.told(row, error))
    }

    fn suffer(&mut self, row: &Row) -> Result<Value> {
        self.upgrade_with(&row.passage, |lab, pid| match row.fault {
            Fault::Kill => lab.kill(pid),
            Fault::PowerCut => {
                lab.power_cut()?;
                lab.boot()
            }
        })
    }

    /// Asks for the other version and waits for the end, whichever.
    pub(crate) fn ask(&mut self) -> Result<()> {
        let words = ["upgrade", "request", NAME, self.other.number, "--wait", "--wait-timeout", LIMIT];
        self.fleet.control.output(As::Owner, &words).map(drop)
    }

    /// Asks for the other version, does something to the process that has stopped at `passage`, and returns the attempt as
    /// it ended.
    pub(crate) fn upgrade_with(
        &mut self,
        passage: &Passage,
        strike: impl FnOnce(&mut Lab, u32) -> Result<()>,
    ) -> Result<Value> {
        self.upgrade_while(Some(passage), |lab, _| at_step(lab, strike))
    }

    /// Asks for the other version, does something meanwhile that may look whether an answer has come, and returns the attempt
    /// as it ended. Whoever passes `passage` stops there.
    pub(crate) fn upgrade_while(
        &mut self,
        passage: Option<&Passage>,
        meanwhile: impl FnOnce(&mut Lab, &dyn Fn() -> bool) -> Result<()>,
    ) -> Result<Value> {
        let Fleet { host, control, .. } = &mut self.fleet;
        let lab = host.machine()?;
        // The starts of earlier rows are days ago on a host that is upgraded now and then.
        lab.run(["systemctl", "reset-failed", UNIT])?;
        lab.write(FAULT, passage.map(ToString::to_string).unwrap_or_default())?;
        let words = ["upgrade", "request", NAME, self.other.number, "--wait", "--wait-timeout", LIMIT];
        let said = thread::scope(|scope| {
            let asking = scope.spawn(|| control.output(As::Owner, &words));
            let struck = meanwhile(lab, &|| asking.is_finished());
            // Also after an error: the request ends by itself.
            let said = asking.join().map_err(|_| anyhow::anyhow!("asking panicked"));
            struck.and_then(|()| said?)
        });
        let said = said?;
        let attempt = self.fleet.attempt()?;
        let ended = attempt["outcome"].as_str().is_some_and(|outcome| outcome != "OUTCOME_UNSPECIFIED");
        ensure!(
            ended || attempt["refused"] == true,
            "no outcome after {LIMIT}: {}\n{attempt:#}",
            String::from_utf8_lossy(&said.stderr)
        );
        Ok(attempt)
    }

    /// Looks what runs, whether everything fits, and takes it for what the next upgrade begins with.
    pub(crate) fn judge(&mut self, attempt: &Value) -> Result<Ending> {
        let word = |field: &str| attempt[field].as_str().filter(|word| !word.is_empty()).unwrap_or("–").to_owned();
        let live = fs::read(self.fleet.host.live()?).context("read the live binary")?;
        let previous = fs::read(self.fleet.host.previous()?).context("read .prev")?;
        let (old, new) = (&self.running, &self.other);
        ensure!(word("targetVersion") == new.number, "it is another attempt");
        // One that was refused is pending still.
        let refused = attempt["refused"] == true;
        ensure!(refused || word("outcomeSource") == "OUTCOME_SOURCE_REPORTED", "nobody guesses");
        let outcome = word("outcome").trim_start_matches("OUTCOME_").to_lowercase();
        let outcome = if refused { "refused".to_owned() } else { outcome };
        let runs = if live == new.bytes {
            ensure!(outcome == "succeeded", "the new version runs");
            ensure!(previous == old.bytes, ".prev is not the old version");
            self.fleet.wait_online(new.number)?;
            "new"
        } else {
            ensure!(live == old.bytes, "the live binary is neither version");
            ensure!(["failed", "rolled_back", "refused"].contains(&outcome.as_str()), "the old version runs");
            ensure!(previous == old.bytes || previous == new.bytes, ".prev is no whole version");
            self.fleet.wait_online(old.number)?;
            "old"
        };
        for left in ["novacula-agent.prev.new", "novacula-agent.back"] {
            let there = self.fleet.host.machine()?.exists(format!("{DIRECTORY}/{left}"))?;
            ensure!(!there, "{left} is left");
        }
        if runs == "new" {
            std::mem::swap(&mut self.running, &mut self.other);
        }
        Ok(Ending { runs, outcome, stage: word("stage"), code: word("errorCode") })
    }

    /// An error with what both sides knew, without the dead man's looks.
    pub(crate) fn told(&mut self, about: &impl fmt::Display, error: anyhow::Error) -> anyhow::Error {
        let attempt = self.fleet.attempt().map_or_else(|error| format!("{error:#}"), |attempt| format!("{attempt:#}"));
        let entries = self.fleet.host.machine().and_then(|lab| lab.journal(None)).unwrap_or_default();
        let ours = entries.iter().filter(|entry| entry.identifier.starts_with("novacula"));
        let lines: Vec<_> = ours.map(|entry| format!("{} {}", entry.pid, entry.message)).collect();
        let lines = lines[lines.len().saturating_sub(60)..].join("\n");
        error.context(format!("{about}: {attempt}\n{lines}\n{}", self.fleet.control.last_words()))
    }

    /// How often the process that speaks for the executor now has passed a fault point.
    pub(crate) fn passed(&mut self, point: &str) -> Result<usize> {
        let pid = self.fleet.host.pid()?.to_string();
        let entries = self.fleet.host.machine()?.journal(Some(UNIT))?;
        let passed = format!("fault point passed point=\"{point}\"");
        Ok(entries.iter().filter(|entry| entry.pid == pid && entry.message.contains(&passed)).count())
    }

    /// The fault points that an upgrade passes when nothing is armed, process by process.
    pub(crate) fn rehearse(&mut self) -> Result<Vec<Vec<String>>> {
        self.ask()?;
        let entries = self.fleet.host.machine()?.journal(None)?;
        let mut processes: Vec<(String, Vec<String>)> = Vec::new();
        for entry in entries {
            let point =
                entry.message.split_once("fault point passed point=").map(|(_, name)| name.trim().trim_matches('"'));
            let Some(point) = point else { continue };
            if processes.last().is_none_or(|(pid, _)| *pid != entry.pid) {
                processes.push((entry.pid, Vec::new()));
            }
            if let Some((_, points)) = processes.last_mut() {
                points.push(point.to_owned());
            }
        }
        Ok(processes.into_iter().map(|(_, points)| points).collect())
    }

    /// Every attempt ended once, and no ending was taken back.
    pub(crate) fn check_feed(&self, attempts: usize) -> Result<()> {
        for (kind, wanted) in [("attempt.ended", attempts), ("attempt.corrected", 0)] {
            let words = ["event", "list", "--type", kind, "--limit", "500"];
            let events = self.fleet.control.json(As::Owner, &words)?;
            let targets: Vec<_> = events.as_array().into_iter().flatten().map(|event| &event["target"]).collect();
            ensure!(targets.len() == wanted, "{} events {kind}, {wanted} wanted: {targets:?}", targets.len());
        }
        Ok(())
    }
}

/// Waits for the step, disarms every process, and lets the fault come.
pub(crate) fn at_step(lab: &mut Lab, strike: impl FnOnce(&mut Lab, u32) -> Result<()>) -> Result<()> {
    let pid = lab.wait_stopped("novacula-agent", SOON)?;
    lab.write(FAULT, "")?;
    strike(lab, pid)
}

fn arm_units(lab: &Lab, phase: Phase) -> Result<()> {
    lab.write(FAULT, "")?;
    for service in ["novacula-agent", "novacula-agent-rollback", "novacula-agent-deadman"] {
        lab.unit(&format!("{service}.service.d/fault.conf"), ARMED)?;
    }
    lab.unit(&format!("{UNIT}.d/sooner.conf"), SOONER)?;
    if phase.pace().window >= SOON {
        lab.unit("novacula-agent-deadman.timer.d/unhurried.conf", UNHURRIED)?;
    }
    lab.run(["systemctl", "daemon-reload"])?;
    lab.run(["systemctl", "restart", UNIT, "novacula-agent-deadman.timer"]).map(drop)
}

/// The agent without its debug information, where that can be taken away: it is written and hashed many times.
fn small() -> Result<Programs> {
    static SMALL: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut known = SMALL.lock().unwrap_or_else(PoisonError::into_inner);
    let programs = programs();
    let agent = match known.take() {
        Some(agent) => agent,
        None => {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
            let making = folder.join(format!("agent-{}", std::process::id()));
            let made = Command::new("strip").arg("-o").arg(&making).arg(&programs.agent).status();
            if made.is_ok_and(|status| status.success()) {
                let agent = folder.join("agent-stripped");
                fs::rename(&making, &agent).context("name the stripped agent")?;
                agent
            } else {
                programs.agent.clone()
            }
        }
    };
    *known = Some(agent.clone());
    Ok(Programs { agent, ..programs })
}
