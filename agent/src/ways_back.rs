//! The commands that bring a version back: what the units run, and what a person types. They look and do in one go.
//!
//! Those that units run work under a broken configuration and end with 0 unless they could not do their work: a failing
//! helper must not become a second failed unit.

mod confirmed_back;

mod runtime;

use std::path::Path;

use executor_sdk::credentials::CredentialStore;
use executor_sdk::journal::Journal;
use executor_sdk::report::chain;

use crate::config::Config;
use crate::exit::Failure;
use crate::layout::{Layout, RUNTIME_DIR};
use crate::output::tell;
use crate::rollback::crash_loop::{self, Exit};
use crate::rollback::dead_man::Probed;
use crate::rollback::put_back::{Done, by_hand};
use crate::rollback::steps::{self, Looked};
use crate::service_manager::systemd::{Systemd, UnitStatus};
use crate::service_manager::{Manager, ServiceManager};

/// `ExecStartPre=`.
///
/// # Errors
/// When the journal cannot be used; the start goes on.
pub async fn before_start(layout: &Layout) -> Result<(), Failure> {
    let invocation = std::env::var("INVOCATION_ID").ok();
    match steps::before_start(layout, &Manager::of_host(layout), invocation.as_deref()).await {
        Ok(Some(done)) => tracing::warn!(?done, "the start was one too many, or a rollback was interrupted"),
        Ok(None) => {}
        Err(error) => return Err(Failure::because(&error)),
    }
    Ok(())
}

/// The timer: one look of the dead man. With nothing open, as nearly always, it costs one read of the journal: nobody is asked
/// and no program is started.
///
/// # Errors
/// When the journal cannot be used or the old version cannot be brought back.
pub async fn dead_man(layout: &Layout) -> Result<(), Failure> {
    let state = Journal::new(layout.state_dir()).read().map_err(|error| Failure::because(&error))?;
    if state.open.is_none() {
        return Ok(());
    }
    let config = Config::read_leniently(layout.config());
    let manager = Manager::of_host(layout);
    if is_stopped(&manager).await {
        return Ok(());
    }
    let looked = steps::look(layout, &manager, config.dead_man_window, async || probe(layout).await).await;
    match looked.map_err(|error| Failure::because(&error))? {
        Looked::Nothing => return Ok(()),
        Looked::Wake => {
            tracing::warn!("the new version is silent and the old code reaches the control plane: waking it")
        }
        Looked::Back(version) => {
            tracing::warn!(%version, "the new version stayed silent: the old version is back")
        }
    }
    manager.restart().await.map_err(|error| Failure::because(&error))
}

/// Whether a person stopped the agent: silence is what they wanted then.
async fn is_stopped(manager: &Manager) -> bool {
    match manager {
        Manager::Systemd(systemd) => systemd.status().await.is_ok_and(|status| status.active_state == "inactive"),
        Manager::Supervisor(_) | Manager::Nobody => false,
    }
}

/// Asks with this process's own code whether the control plane can be reached.
pub async fn probe(layout: &Layout) -> Probed {
    let probed = match CredentialStore::new(layout.state_dir()).load() {
        Ok(credentials) => executor_sdk::probe::probe(&credentials).await.map(drop).map_err(|error| chain(&error)),
        Err(error) => Err(chain(&error)),
    };
    match probed {
        Ok(()) => Probed::Reached,
        Err(error) => {
            tracing::info!(error, "the old code cannot reach the control plane either");
            Probed::NotReached
        }
    }
}

/// `OnFailure=`: ends a crash loop, by bringing the old version back or by starting again after a pause.
///
/// The unit runs it twice, from `.prev` and from the live binary, in case the first cannot run. What the first one settled is no
/// business of the second: a person may be at work by then.
///
/// # Errors
/// When systemd does not start the unit.
pub async fn rollback_on_failure(layout: &Layout) -> Result<(), Failure> {
    let (runtime, invocation) = (Path::new(RUNTIME_DIR), std::env::var("INVOCATION_ID").ok());
    if runtime::is_settled(runtime, invocation.as_deref()) {
        tracing::info!("settled by the old code; nothing is left to do");
        return Ok(());
    }
    let systemd = Systemd::default();
    let status = systemd.status().await.map_err(|error| Failure::because(&error))?;
    let begun = runtime::is_begun(runtime, invocation.as_deref());
    match due(&status, begun) {
        Due::Nothing(why) => tracing::info!("{why}: nothing is left to do"),
        Due::Stopped => {
            tracing::warn!("the agent was stopped and had to be killed: it stays stopped, as whoever stopped it wants");
            systemd.reset_failed().await;
        }
        Due::Act => {
            runtime::begin(runtime, invocation.as_deref());
            act_on_failure(layout, &systemd, &status).await?;
        }
    }
    runtime::settle(runtime, invocation.as_deref());
    Ok(())
}

/// What is due when `OnFailure=` has started us, by how the unit is doing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The failure is somebody's already.
    Nothing(&'static str),
    /// It failed to end when it was stopped, and is to stay stopped.
    Stopped,
    /// It failed by itself.
    Act,
}

/// `begun`: a process of this same start has taken the failure on, and may have been killed after it had the failure forgotten.
fn due(status: &UnitStatus, begun: bool) -> Due {
    match status.active_state.as_str() {
        "active" | "activating" | "reloading" => Due::Nothing("the agent runs"),
        // A unit stays failed until somebody says otherwise. So this is a person at work (the recovery page's `reset-failed`, say),
        // who was faster than this process: the binary that is in place now is that person's.
        "inactive" if !begun => Due::Nothing("somebody had the failure forgotten"),
        _ if status.was_stopped() => Due::Stopped,
        _ => Due::Act,
    }
}

async fn act_on_failure(layout: &Layout, systemd: &Systemd, status: &UnitStatus) -> Result<(), Failure> {
    let open = Journal::new(layout.state_dir()).read().inspect_err(|error| {
        tracing::error!(error = %chain(error), "the journal cannot be read: no binary is changed");
    });
    let back = match open.ok().and_then(|state| state.open) {
        Some(open) => {
            let cause = crash_loop::cause(&open, &exit(status));
            steps::go_back(layout, &systemd_manager(systemd), &cause).await
        }
        None => Ok(Done::NothingOpen),
    };
    // A pause is no failure to look at: the unit is only waiting.
    systemd.reset_failed().await;
    match back {
        Ok(Done::Back(version) | Done::WasBack(version)) => {
            tracing::warn!(%version, "a crash loop: the old version is back");
            runtime::forget_crash_loops(Path::new(RUNTIME_DIR));
        }
        Ok(Done::NothingOpen | Done::ChangedLocally) => pause("a crash loop that no upgrade caused").await,
        Err(error) => pause(&format!("a crash loop and no way back: {}", chain(&error))).await,
    }
    systemd.start().await.map_err(|error| Failure::because(&error))
}

fn systemd_manager(systemd: &Systemd) -> Manager {
    Manager::Systemd(systemd.clone())
}

/// Waits longer each time. The count is in /run, since the disk may be what is full.
async fn pause(why: &str) {
    let pause = crash_loop::pause(runtime::count_crash_loop(Path::new(RUNTIME_DIR)));
    tracing::error!(?pause, "{why}; starting again after a pause");
    tokio::time::sleep(pause).await;
}

fn exit(status: &UnitStatus) -> Exit {
    // CLD_EXITED, CLD_KILLED and CLD_DUMPED of waitid(2), as systemd prints them.
    match (status.result.as_str(), status.main_code, status.main_status) {
        ("timeout" | "watchdog", _, _) => Exit::NotReady,
        (_, Some(1), Some(code)) => Exit::Status(code),
        (_, Some(2 | 3), Some(signal)) => Exit::Signal(signal),
        (result, _, _) => Exit::Other(result.to_owned()),
    }
}

/// `novacula-agent rollback`: brings the previous version back because a person says so.
///
/// # Errors
/// When there is nothing to go back to, or it cannot be done; then nothing was changed.
pub async fn by_a_person(layout: &Layout, reason: Option<&str>) -> Result<(), Failure> {
    let manager = Manager::of_host(layout);
    let message = match reason {
        Some(reason) => format!("rolled back by hand on the host: {reason}"),
        None => "rolled back by hand on the host".to_owned(),
    };
    let done = steps::go_back(layout, &manager, &by_hand(message)).await;
    match done.map_err(|error| Failure::because(&error))? {
        Done::Back(version) | Done::WasBack(version) => tell(&format!("version {version} is back in place")),
        Done::NothingOpen => {
            confirmed_back::confirmed_back(layout).await?;
            tell("the last known good binary is back in place");
        }
        Done::ChangedLocally => {
            return Err(Failure::failed(
                "the binary in place is neither version of the open upgrade; install the one you want by hand",
            ));
        }
    }
    if matches!(manager, Manager::Nobody) {
        tell("no service manager runs it: start it yourself");
        return Ok(());
    }
    manager.restart().await.map_err(|error| Failure::because(&error))?;
    tell("restarting");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_somebody_had_forgotten_is_that_persons() {
        let status = |active_state: &str, result: &str, restarts| UnitStatus {
            active_state: active_state.to_owned(),
            result: result.to_owned(),
            restarts: Some(restarts),
            ..UnitStatus::default()
        };
        assert_eq!(due(&status("failed", "exit-code", 2), false), Due::Act);
        assert_eq!(due(&status("failed", "timeout", 0), false), Due::Stopped);
        for active_state in ["active", "activating", "inactive"] {
            let due = due(&status(active_state, "success", 0), false);
            assert!(matches!(due, Due::Nothing(_)), "{active_state}: {due:?}");
        }
        // The first process was killed between forgetting the failure and starting the unit: the second one does not leave it there.
        assert_eq!(due(&status("inactive", "success", 0), true), Due::Act);
    }

    #[test]
    fn systemds_words_are_read_as_ends() {
        let status = |result: &str, code, value| UnitStatus {
            result: result.to_owned(),
            main_code: Some(code),
            main_status: Some(value),
            ..UnitStatus::default()
        };
        assert_eq!(exit(&status("exit-code", 1, 3)), Exit::Status(3));
        assert_eq!(exit(&status("start-limit-hit", 1, 0)), Exit::Status(0));
        assert_eq!(exit(&status("protocol", 1, 0)), Exit::Status(0));
        assert_eq!(exit(&status("core-dump", 3, 6)), Exit::Signal(6));
        assert_eq!(exit(&status("timeout", 2, 15)), Exit::NotReady);
        assert_eq!(
            exit(&UnitStatus { result: "resources".to_owned(), ..UnitStatus::default() }),
            Exit::Other("resources".to_owned())
        );
    }
}
