//! systemd, through its own programs and always with a time limit: systemctl to restart, journalctl for the log.

use std::time::Duration;

use crate::command;
use crate::service_manager::{Error, ServiceManager, tail};

/// The unit of a packaged agent.
pub const UNIT: &str = "novacula-agent.service";

/// systemctl answers at once when it does not wait for the job; a busy PID 1 may take seconds.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(20);

/// journalctl may have to look through large files on slow disks.
const JOURNALCTL_LIMIT: Duration = Duration::from_secs(10);

/// Lines asked for; the report is cut by bytes afterwards.
const LINES: &str = "400";

/// One unit.
#[derive(Clone, Debug)]
pub struct Systemd {
    unit: String,
}

/// What systemd says about the unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct UnitStatus {
    /// `active`, `failed`, `activating`…
    pub active_state: String,
    /// `running`, `auto-restart`…
    pub sub_state: String,
    /// How the last run ended: `success`, `exit-code`, `signal`, `timeout`, `start-limit-hit`…
    pub result: String,
    /// How the last process ended, by the numbers of waitid(2): 1 exited, 2 killed, 3 dumped core.
    pub main_code: Option<i32>,
    /// Its exit status or signal.
    pub main_status: Option<i32>,
    /// Starts that systemd made by itself since the last one that was asked for.
    pub restarts: Option<u32>,
}

impl UnitStatus {
    /// Whether the unit failed only because it had to be killed when somebody stopped it. A start that timed out would have been
    /// followed by another one.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.result == "timeout" && self.restarts == Some(0)
    }
}

impl Default for Systemd {
    fn default() -> Self {
        Self { unit: UNIT.to_owned() }
    }
}

impl Systemd {
    /// Starts the unit without waiting, after its failures are forgotten.
    ///
    /// # Errors
    /// [`Error::Command`].
    pub async fn start(&self) -> Result<(), Error> {
        systemctl(["--no-block", "start", &self.unit]).await
    }

    /// Forgets the unit's failures and its start limit. A unit that is not loaded has none.
    pub async fn reset_failed(&self) {
        if let Err(error) = systemctl(["reset-failed", &self.unit]).await {
            tracing::debug!(%error, "nothing to reset");
        }
    }

    /// How the unit is doing.
    ///
    /// # Errors
    /// [`Error::Command`].
    pub async fn status(&self) -> Result<UnitStatus, Error> {
        let properties = "--property=ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,NRestarts";
        let words = ["show", &self.unit, properties].map(str::to_owned);
        let output = command::succeed("systemctl", words, SYSTEMCTL_LIMIT).await.map_err(Error::Command)?;
        Ok(parse(&output.stdout))
    }

    /// The unit's main process, while there is one.
    pub async fn main_process(&self) -> Option<u32> {
        let words = ["show", "--value", "--property=MainPID", &self.unit].map(str::to_owned);
        let output = command::succeed("systemctl", words, SYSTEMCTL_LIMIT).await.ok()?;
        output.stdout.trim().parse().ok().filter(|process| *process != 0)
    }

    async fn journalctl(&self, arguments: &[&str]) -> Option<String> {
        let arguments = arguments.iter().map(|word| (*word).to_owned());
        match command::succeed("journalctl", arguments, JOURNALCTL_LIMIT).await {
            Ok(output) => Some(output.stdout),
            Err(error) => {
                tracing::warn!(error = %executor_sdk::report::chain(&error), "the log cannot be read");
                None
            }
        }
    }
}

impl ServiceManager for Systemd {
    async fn restart(&self) -> Result<(), Error> {
        // Healthy restarts count against the start limit otherwise.
        self.reset_failed().await;
        let words = ["--no-block", "restart", &self.unit].map(str::to_owned);
        let asked = command::run("systemctl", words, SYSTEMCTL_LIMIT).await.map_err(Error::Command)?;
        if asked.success || asked.killed {
            // Asked from inside the unit, it is ended by the very restart that it asked for.
            return Ok(());
        }
        let said = asked.stderr.trim().to_owned();
        Err(Error::Command(command::Error::Failed { program: "systemctl".to_owned(), said }))
    }

    async fn log_cursor(&self) -> Option<String> {
        let output = self.journalctl(&["--quiet", "--lines=1", "--output=cat", "--show-cursor", "--no-pager"]).await?;
        output.lines().rev().find_map(|line| line.strip_prefix("-- cursor: ")).map(str::to_owned)
    }

    async fn log_tail(&self, cursor: Option<&str>) -> Vec<String> {
        // journald may not have come to the last lines yet. A full disk costs this, and not the lines that are there.
        self.journalctl(&["--sync"]).await;
        let unit = format!("--unit={}", self.unit);
        let lines = format!("--lines={LINES}");
        let mut arguments = vec!["--quiet", "--output=cat", "--no-pager", &unit, &lines];
        let after = cursor.map(|cursor| format!("--after-cursor={cursor}"));
        arguments.extend(after.as_deref());
        self.journalctl(&arguments).await.map(|text| tail(&text)).unwrap_or_default()
    }
}

/// `systemctl` with these words.
///
/// # Errors
/// [`Error::Command`].
pub async fn systemctl<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<(), Error> {
    let words: Vec<_> = words.into_iter().map(str::to_owned).collect();
    command::succeed("systemctl", words, SYSTEMCTL_LIMIT).await.map(drop).map_err(Error::Command)
}

fn parse(properties: &str) -> UnitStatus {
    let value = |name: &str| {
        let found = properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    UnitStatus {
        active_state: value("ActiveState"),
        sub_state: value("SubState"),
        result: value("Result"),
        main_code: value("ExecMainCode").parse().ok(),
        main_status: value("ExecMainStatus").parse().ok(),
        restarts: value("NRestarts").parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_in_any_order() {
        let status = parse("Result=exit-code\nActiveState=failed\nSubState=failed\n");
        assert_eq!((status.active_state.as_str(), status.result.as_str()), ("failed", "exit-code"));
        assert_eq!(parse("garbage"), UnitStatus::default());
    }

    #[test]
    fn a_stop_that_took_too_long_is_told_from_starts_that_did() {
        assert!(parse("ActiveState=failed\nResult=timeout\nNRestarts=0\n").was_stopped());
        assert!(!parse("ActiveState=failed\nResult=timeout\nNRestarts=3\n").was_stopped());
        assert!(!parse("ActiveState=failed\nResult=exit-code\nNRestarts=0\n").was_stopped());
        assert!(!parse("ActiveState=failed\nResult=timeout\n").was_stopped(), "an older systemd does not say");
    }
}
