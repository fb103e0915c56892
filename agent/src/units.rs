//! The units that `install` writes, as texts. `deploy/systemd` holds the same ones for packagers; a test compares them.
//!
//! The ways back are in the units, so that they need no new code: `ExecStartPre=` counts starts with `.prev`, `OnFailure=`
//! acts on a crash loop, the timer runs the dead man. Where `.prev` cannot run, the live binary is tried.

use std::time::Duration;

use crate::layout::{self, Layout};
use crate::service_manager::contract::{
    DEAD_MAN_PERIOD, RESTART_PAUSE, START_LIMIT_BURST, START_LIMIT_INTERVAL, START_TIMEOUT, STOP_TIMEOUT,
};

/// Where administrators' and our units go.
pub const DIRECTORY: &str = "/etc/systemd/system";

/// One unit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its file name.
    pub name: &'static str,
    /// Its text.
    pub text: String,
}

/// What wakes the dead man.
const DEAD_MAN_TIMER: &str = "novacula-agent-deadman.timer";

/// Units that are enabled and started; the others are pulled in by them.
pub const ENABLED: [&str; 2] = ["novacula-agent.service", DEAD_MAN_TIMER];

/// Longest that putting back or backing off may take: a copy on a slow disk, the longest pause (5 min), a busy systemd.
const ROLLBACK_LIMIT: Duration = Duration::from_secs(600);

/// Probing has its own limits; this one ends a process that hangs all the same.
const DEAD_MAN_LIMIT: Duration = Duration::from_secs(120);

/// Every unit for this layout.
#[must_use]
pub fn all(layout: &Layout) -> Vec<Unit> {
    vec![
        Unit { name: "novacula-agent.service", text: agent(layout) },
        Unit { name: "novacula-agent-rollback.service", text: rollback(layout) },
        Unit { name: "novacula-agent-deadman.service", text: dead_man(layout) },
        Unit { name: DEAD_MAN_TIMER, text: timer() },
    ]
}

fn agent(layout: &Layout) -> String {
    let (binary, previous, flags) = words(layout);
    let (interval, burst) = (START_LIMIT_INTERVAL.as_secs(), START_LIMIT_BURST);
    let (start, stop, pause) = (START_TIMEOUT.as_secs(), STOP_TIMEOUT.as_secs(), RESTART_PAUSE.as_secs());
    format!(
        "\
# Written by `novacula-agent install`. Change it with a drop-in: systemctl edit novacula-agent.service
[Unit]
Description=Novacula agent
Documentation=https://github.com/novacula/novacula
# The timer too, so that nobody can start the one without the other.
Wants=network-online.target {DEAD_MAN_TIMER}
After=network-online.target
# A crash loop ends here, never in a failed unit: the old version comes back, or it is started again with pauses.
StartLimitIntervalSec={interval}
StartLimitBurst={burst}
OnFailure=novacula-agent-rollback.service

[Service]
Type=notify
NotifyAccess=main
# Counts the starts of a version that is not confirmed, with the old code: the fourth brings the old version back.
ExecStartPre=-{previous} before-start{flags}
ExecStart={binary} run{flags}
Restart=always
RestartSec={pause}
TimeoutStartSec={start}
TimeoutStopSec={stop}
StateDirectory=novacula
StateDirectoryMode=0700
{hardening}
[Install]
WantedBy=multi-user.target
",
        hardening = hardening(layout),
    )
}

fn rollback(layout: &Layout) -> String {
    let (binary, previous, flags) = words(layout);
    let limit = ROLLBACK_LIMIT.as_secs();
    format!(
        "\
# Written by `novacula-agent install`. Started by OnFailure= of novacula-agent.service.
[Unit]
Description=Bring the Novacula agent back after a crash loop
StartLimitIntervalSec=0

[Service]
Type=oneshot
# The second line finds nothing left to do, unless .prev could not run.
ExecStart=-{previous} rollback-on-failure{flags}
ExecStart=-{binary} rollback-on-failure{flags}
TimeoutStartSec={limit}
StateDirectory=novacula
StateDirectoryMode=0700
RuntimeDirectory=novacula-agent
RuntimeDirectoryPreserve=yes
{hardening}",
        hardening = hardening(layout),
    )
}

fn dead_man(layout: &Layout) -> String {
    let (_, previous, flags) = words(layout);
    let limit = DEAD_MAN_LIMIT.as_secs();
    format!(
        "\
# Written by `novacula-agent install`. Started by novacula-agent-deadman.timer; does nothing unless an upgrade is open.
[Unit]
Description=Look whether an upgraded Novacula agent went silent
StartLimitIntervalSec=0

[Service]
Type=oneshot
# The old code alone: the live binary may be what went silent.
ExecStart=-{previous} dead-man{flags}
# What it says is kept; that it began and ended, again and again, is not.
SyslogLevel=notice
LogLevelMax=notice
TimeoutStartSec={limit}
StateDirectory=novacula
StateDirectoryMode=0700
{hardening}",
        hardening = hardening(layout),
    )
}

fn timer() -> String {
    let period = DEAD_MAN_PERIOD.as_secs();
    format!(
        "\
# Written by `novacula-agent install`. Always on: what arms it is an open upgrade in the agent's journal.
[Unit]
Description=Look now and then whether an upgraded Novacula agent went silent

[Timer]
OnActiveSec={period}
OnUnitInactiveSec={period}
AccuracySec=5

[Install]
WantedBy=timers.target
"
    )
}

/// What the agent needs, and nothing else: its own directory, its state, sockets, systemd's own socket.
fn hardening(layout: &Layout) -> String {
    let directory = layout.directory().display();
    let state = if layout.state_dir() == std::path::Path::new(layout::STATE_DIR) {
        String::new()
    } else {
        format!(" {}", layout.state_dir().display())
    };
    format!(
        "\
# The whole directory: a swap links and renames in it.
ReadWritePaths={directory}{state}
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
CapabilityBoundingSet=
NoNewPrivileges=yes
UMask=0077
"
    )
}

/// The installed binary as a person types it: `install` puts nothing on `PATH`.
#[must_use]
pub fn typed(layout: &Layout) -> String {
    let (binary, _, flags) = words(layout);
    format!("{binary}{flags}")
}

/// Binary, `.prev`, and the flags that a layout of one's own needs.
fn words(layout: &Layout) -> (String, String, String) {
    let default = Layout::default();
    let mut flags = String::new();
    for (flag, path, usual) in [
        ("--binary", layout.binary(), default.binary()),
        ("--state-dir", layout.state_dir(), default.state_dir()),
        ("--config", layout.config(), default.config()),
    ] {
        if path != usual {
            flags.push_str(&format!(" {flag} {}", path.display()));
        }
    }
    (layout.binary().display().to_string(), layout.previous().display().to_string(), flags)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn golden() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd")
    }

    /// `NOVACULA_UPDATE=1 cargo test -p novacula-agent units` writes them anew.
    #[test]
    fn the_packagers_units_are_what_install_writes() {
        for unit in all(&Layout::default()) {
            let path = golden().join(unit.name);
            if std::env::var_os("NOVACULA_UPDATE").is_some() {
                std::fs::write(&path, &unit.text).unwrap();
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(found, unit.text, "{}: run it with NOVACULA_UPDATE=1", path.display());
        }
    }

    #[test]
    fn the_unit_keeps_the_contract() {
        let agent = agent(&Layout::default());
        for line in [
            "Type=notify",
            "Restart=always",
            "Wants=network-online.target novacula-agent-deadman.timer",
            "StartLimitBurst=3",
            "StartLimitIntervalSec=120",
            "OnFailure=novacula-agent-rollback.service",
            "StateDirectory=novacula",
            "ReadWritePaths=/opt/novacula/bin",
            "ProtectSystem=strict",
            "NoNewPrivileges=yes",
        ] {
            assert!(agent.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn a_layout_of_ones_own_is_in_every_command() {
        let layout = Layout::new("/srv/agent", "/srv/state", "/srv/agent.toml");
        for unit in all(&layout) {
            for line in unit.text.lines().filter(|line| line.starts_with("Exec")) {
                assert!(
                    line.ends_with("--binary /srv/agent --state-dir /srv/state --config /srv/agent.toml"),
                    "{line}"
                );
            }
            let hardened = unit.text.contains("ProtectSystem");
            assert_eq!(unit.text.contains("ReadWritePaths=/srv /srv/state"), hardened, "{}", unit.name);
        }
    }

    /// systemd checks that the programs exist, so the units name this test's own file.
    #[test]
    fn systemd_finds_nothing_to_complain_about() {
        let Some(analyze) =
            ["/usr/bin/systemd-analyze", "/bin/systemd-analyze"].iter().find(|path| Path::new(path).exists())
        else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("novacula-agent");
        for path in [binary.clone(), Layout::new(&binary, "/s", "/c").previous()] {
            std::fs::copy("/bin/true", path).unwrap();
        }
        let units = all(&Layout::new(&binary, layout::STATE_DIR, layout::CONFIG));
        for unit in &units {
            std::fs::write(dir.path().join(unit.name), &unit.text).unwrap();
        }
        let output = std::process::Command::new(analyze)
            .arg("verify")
            .arg("--man=no")
            .args(units.iter().map(|unit| dir.path().join(unit.name)))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let ours: Vec<_> = said.lines().filter(|line| line.contains("novacula")).collect();
        assert!(ours.is_empty(), "{ours:#?}");
    }
}
