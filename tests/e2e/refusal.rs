//! Hosts that cannot swap: refused by name before the first byte, the old version runs on, and what stood in the way can be
//! taken away.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{
    fleet::{FIRST, Fleet, Manager, edition::Edition, host},
    lab::{self, Lab},
    parts::trial,
};
use libtest_mimic::Trial;

use crate::programs::programs;
use crate::upgrade::{PACE, expect};

const NEXT: &str = "1.1.0";

const LIMIT: Duration = Duration::from_secs(60);

const DIRECTORY: &str = "/opt/novacula/bin";

/// What stands in the way of a swap.
struct Obstacle {
    name: &'static str,
    /// Shell lines that put it there.
    put: &'static str,
    /// Shell lines that take it away.
    take: &'static str,
    code: &'static str,
    /// What the refusal says.
    says: &'static str,
}

const OBSTACLES: [Obstacle; 5] = [
    Obstacle {
        name: "read_only_directory",
        put: "mount -o remount,ro /opt/novacula",
        take: "mount -o remount,rw /opt/novacula",
        code: "READ_ONLY",
        says: "is read-only; remount it writable",
    },
    Obstacle {
        name: "directory_mounted_read_only",
        put: "mount --bind /opt/novacula/bin /opt/novacula/bin
              mount -o remount,bind,ro /opt/novacula/bin
              systemctl restart novacula-agent.service",
        take: "systemctl stop novacula-agent.service
               umount /opt/novacula/bin
               systemctl start novacula-agent.service",
        code: "READ_ONLY",
        says: "is read-only; remount it writable",
    },
    Obstacle {
        name: "directory_of_another_owner",
        put: "chown daemon /opt/novacula/bin",
        take: "chown root /opt/novacula/bin",
        code: "NOT_PERMITTED",
        says: "is owned by uid 1, and this process runs as uid 0; chown 0",
    },
    Obstacle {
        name: "immutable_binary",
        put: "chattr +i /opt/novacula/bin/novacula-agent",
        take: "chattr -i /opt/novacula/bin/novacula-agent",
        code: "NOT_PERMITTED",
        says: "has the immutable or append-only attribute; chattr -i",
    },
    Obstacle {
        name: "unit_too_hardened",
        put: "mkdir -p /etc/systemd/system/novacula-agent.service.d
              printf '[Service]\\nReadWritePaths=\\n' > /etc/systemd/system/novacula-agent.service.d/hardened.conf
              systemctl daemon-reload
              systemctl restart novacula-agent.service",
        take: "rm /etc/systemd/system/novacula-agent.service.d/hardened.conf
               systemctl daemon-reload
               systemctl restart novacula-agent.service",
        code: "READ_ONLY",
        says: "the unit is too hardened; add ReadWritePaths=/opt/novacula/bin",
    },
];

pub(crate) fn trials() -> Vec<Trial> {
    let refused = |obstacle: Obstacle| {
        let name = format!("refusal::{}_is_named_before_the_first_byte", obstacle.name);
        trial(name, lab::PARTS, move || check(&obstacle))
    };
    OBSTACLES.into_iter().map(refused).collect()
}

fn check(obstacle: &Obstacle) -> Result<()> {
    // On ext4, which knows attributes and can be made read-only without the rest of the root.
    let builder = host::lab("refusing").data_disk("/opt/novacula");
    let mut fleet = Fleet::start_on(&programs(), Manager::Systemd, PACE, builder)?;
    let next = fleet.publish(NEXT, &Edition::good(NEXT))?;
    let lab = fleet.host.machine()?;
    shell(lab, obstacle.put)?;
    let names = lab.run(["ls", "-a", DIRECTORY])?;
    let before = fleet.host.pid()?;

    fleet.request(NEXT)?;
    let attempt = fleet.wait_refused()?;
    expect(&fleet, &attempt, "stage", "preflight")?;
    expect(&fleet, &attempt, "errorCode", obstacle.code)?;
    let message = attempt["message"].as_str().context("a refusal says why")?;
    ensure!(message.contains(obstacle.says), "{message}");
    ensure!(attempt["bytesDone"] == "0", "a byte was fetched: {attempt:#}");
    ensure!(fleet.host.pid()? == before, "the old version runs on");
    fleet.wait_online(FIRST)?;
    fleet.expect_live(&fleet.first())?;
    ensure!(fleet.host.machine()?.run(["ls", "-a", DIRECTORY])? == names, "nothing came or went in {DIRECTORY}");
    doctor_names_it(&fleet, obstacle)?;

    shell(fleet.host.machine()?, obstacle.take)?;
    let attempt = fleet.upgrade(NEXT, LIMIT)?;
    expect(&fleet, &attempt, "outcome", "OUTCOME_SUCCEEDED")?;
    fleet.expect_live(&next)?;
    fleet.host.expect_nothing_failed()
}

/// `doctor` says the same to whoever is on the host, with the same remedy.
fn doctor_names_it(fleet: &Fleet, obstacle: &Obstacle) -> Result<()> {
    let output = fleet.host.agent(&["doctor"])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() == Some(1), "doctor finds it: {}: {said}", output.status);
    for part in obstacle.says.split("; ") {
        ensure!(said.contains(part), "doctor does not say {part:?}: {said}");
    }
    Ok(())
}

fn shell(lab: &Lab, lines: &str) -> Result<()> {
    lab.run(["bash", "-e", "-c", lines]).map(drop)
}
