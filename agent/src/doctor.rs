//! `novacula-agent doctor`: everything an upgrade and its way back need, each with what to do about it.

use executor_sdk::Journal;
use executor_sdk::clock;
use executor_sdk::credentials::CredentialStore;
use executor_sdk::journal::State;
use executor_sdk::report::chain;
use serde::Serialize;

use crate::apply::mount;
use crate::apply::obstacle::Obstacle;
use crate::apply::package;
use crate::apply::preflight::{Host, Volatile};
use crate::args::Doctor;
use crate::config::Config;
use crate::disk::{Content, Facts};
use crate::exit::{FAILED, Failure};
use crate::layout::Layout;
use crate::output::print;
use crate::pin;
use crate::rollback::dead_man::Probed;
use crate::rollback::{Verdict, verdict};
use crate::service_manager::Manager;
use crate::service_manager::systemd::{Systemd, systemctl};
use crate::units;
use crate::ways_back;

/// Room for an artifact whose size nobody knows yet: a large agent.
const ARTIFACT: u64 = 64 * 1024 * 1024;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    /// Whether it is as it should be.
    ok: bool,
    /// What was found.
    found: String,
    /// What to do; empty when nothing is.
    remedy: String,
}

#[derive(Debug, Serialize)]
struct Report {
    healthy: bool,
    checks: Vec<Check>,
}

/// Looks at everything and prints it.
///
/// # Errors
/// Exit code 1 when something is not as it should be.
pub async fn doctor(layout: &Layout, arguments: &Doctor) -> Result<(), Failure> {
    let config = Config::read(layout.config());
    let volatile = config.as_ref().map_or(Volatile::Refused, |config| config.volatile_state);
    let mut checks = vec![match config {
        Ok(_) => good("configuration", layout.config().display()),
        Err(error) => bad("configuration", error.mistakes.join("; "), format!("edit {}", layout.config().display())),
    }];
    checks.extend(of_swapping(layout, volatile).await);
    checks.extend(of_state(layout));
    checks.push(of_enrolment(layout));
    checks.extend(of_units(layout).await);
    if !arguments.offline {
        checks.push(of_connection(layout).await);
    }
    let report = Report { healthy: checks.iter().all(|check| check.ok), checks };
    print(arguments.print.output, &report, text);
    if report.healthy {
        Ok(())
    } else {
        Err(Failure { code: FAILED, message: "not everything is as an upgrade needs it".to_owned() })
    }
}

fn good(name: &'static str, found: impl ToString) -> Check {
    Check { name, ok: true, found: found.to_string(), remedy: String::new() }
}

fn bad(name: &'static str, found: impl ToString, remedy: impl Into<String>) -> Check {
    Check { name, ok: false, found: found.to_string(), remedy: remedy.into() }
}

async fn of_swapping(layout: &Layout, volatile: Volatile) -> Vec<Check> {
    let mut found = Host::look(layout).obstacles(layout, ARTIFACT, volatile);
    found.extend(package::owner(layout.binary()).await);
    found.extend(pin::reason(layout).map(|reason| Obstacle::Pinned { reason }));
    match Manager::of_host(layout) {
        Manager::Systemd(systemd) => found.extend(of_unit(layout, &systemd).await),
        Manager::Supervisor(_) => {}
        Manager::Nobody => found.push(Obstacle::NoServiceManager),
    }
    if found.is_empty() {
        return vec![good("swap", "this host can swap its binary")];
    }
    found.iter().map(|obstacle| bad("swap", obstacle, obstacle.remedy(layout))).collect()
}

/// What the running unit sees otherwise than a person's shell does.
async fn of_unit(layout: &Layout, systemd: &Systemd) -> Option<Obstacle> {
    let directory = std::fs::canonicalize(layout.directory()).ok()?;
    let (here, there) = (mount::of(&directory)?, mount::seen_by(systemd.main_process().await?, &directory)?);
    let hardened = there.here_read_only && !here.here_read_only && !here.filesystem_read_only;
    hardened.then(|| Obstacle::TooHardened { path: layout.directory().to_owned() })
}

fn of_state(layout: &Layout) -> Vec<Check> {
    match Journal::new(layout.state_dir()).read() {
        Ok(state) => vec![good("journal", journal(&state)), of_previous(layout, &state, &Facts::read(layout))],
        Err(error) => {
            let remedy = "put journal.json.last, which lies beside it, in its place while the agent is stopped: docs/operate/recovery.md, 5";
            vec![bad("journal", chain(&error), remedy)]
        }
    }
}

fn journal(state: &State) -> String {
    state.open.as_ref().map_or_else(
        || "no upgrade is open".to_owned(),
        |open| format!("an upgrade to {} is {}", open.target_version, open.step.as_str()),
    )
}

fn of_previous(layout: &Layout, state: &State, facts: &Facts) -> Check {
    match (verdict(state.open.as_ref(), facts), &facts.previous) {
        (Verdict::Unusable(unusable), _) => {
            let version = state.open.as_ref().map(|open| open.from_version.to_string()).unwrap_or_default();
            bad("way back", unusable, format!("put the binary of version {version} at .prev again"))
        }
        (_, Content::Is(_)) => good("way back", "a previous binary is kept"),
        (_, Content::Missing) => {
            bad("way back", "no .prev: the units have no old code to run", layout.command("install"))
        }
        (_, Content::Unreadable(why)) => {
            bad("way back", why, format!("remove .prev, then: {}", layout.command("install")))
        }
    }
}

fn of_enrolment(layout: &Layout) -> Check {
    match CredentialStore::new(layout.state_dir()).load() {
        Ok(credentials) if credentials.validity().is_over(clock::wall()) => bad(
            "certificate",
            "it is over by this host's clock",
            "check the clock; the agent renews it by itself for 180 days, then enroll again",
        ),
        Ok(credentials) => good("certificate", credentials.executor),
        Err(error) => bad("certificate", chain(&error), layout.command("enroll --join-token-file FILE")),
    }
}

async fn of_units(layout: &Layout) -> Vec<Check> {
    if !matches!(Manager::of_host(layout), Manager::Systemd(_)) {
        return Vec::new();
    }
    let mut checks = Vec::new();
    for name in units::ENABLED {
        let enabled = systemctl(["--quiet", "is-enabled", name]).await.is_ok();
        let active = systemctl(["--quiet", "is-active", name]).await.is_ok();
        checks.push(of_enabled(layout, name, enabled, active));
    }
    for unit in units::all(layout) {
        let found = std::fs::read_to_string(std::path::Path::new(units::DIRECTORY).join(unit.name));
        if !found.is_ok_and(|text| text == unit.text) {
            let what = format!("{} is not what this version installs", unit.name);
            checks.push(bad("unit", what, format!("{}; keep your own changes in drop-ins", layout.command("install"))));
        }
    }
    checks
}

/// A dead man that only begins to look at the next boot is none until then.
fn of_enabled(layout: &Layout, name: &str, enabled: bool, active: bool) -> Check {
    match (enabled, active) {
        (true, true) => good("unit", format!("{name} is enabled and active")),
        (true, false) => bad("unit", format!("{name} is not active"), format!("systemctl start {name}")),
        (false, _) => bad("unit", format!("{name} is not enabled"), layout.command("install")),
    }
}

async fn of_connection(layout: &Layout) -> Check {
    match ways_back::probe(layout).await {
        Probed::Reached => good("control plane", "reached, and it knows this host"),
        Probed::NotReached => {
            bad("control plane", "not reached", "the log above says why; check network, name and port")
        }
    }
}

fn text(report: &Report) -> String {
    let line = |check: &Check| {
        let mark = if check.ok { "ok  " } else { "BAD " };
        let remedy = if check.remedy.is_empty() { String::new() } else { format!("\n{:20}→ {}", "", check.remedy) };
        format!("{mark} {:<15}{}{remedy}\n", check.name, check.found)
    };
    report.checks.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fixture::Bench;

    #[test]
    fn a_lost_way_back_is_found_while_it_can_still_be_mended() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        assert!(of_state(&bench.layout).iter().all(|check| check.ok));
        fs::write(bench.layout.previous(), "scribble").unwrap();
        let check = of_previous(&bench.layout, &bench.state(), &Facts::read(&bench.layout));
        assert!(!check.ok && check.found.contains("written on") && check.remedy.contains("1.0.0"), "{check:?}");
    }

    #[tokio::test]
    async fn everything_bad_comes_with_a_remedy() {
        let bench = Bench::new("old");
        pin::pin(&bench.layout, "audit").unwrap();
        let mut checks = of_swapping(&bench.layout, Volatile::Refused).await;
        checks.extend(of_state(&bench.layout));
        checks.push(of_enrolment(&bench.layout));
        let bad: Vec<_> = checks.iter().filter(|check| !check.ok).collect();
        assert!(bad.len() >= 3 && bad.iter().all(|check| !check.remedy.is_empty()), "{checks:#?}");
        let printed = text(&Report { healthy: false, checks: checks.clone() });
        let unpin = bench.layout.command("unpin");
        assert!(unpin.starts_with('/') && printed.contains(&format!("→ {unpin}")), "{printed}");
    }
}
