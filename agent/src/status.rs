//! `novacula-agent status`: what runs here, what is kept, which upgrade is open. Read from journal and disk; asks nobody
//! outside this host.

use domain::Version;
use executor_sdk::Journal;
use executor_sdk::credentials::CredentialStore;
use executor_sdk::journal::{OpenAttempt, State};
use executor_sdk::report::chain;
use serde::Serialize;

use crate::disk::{Content, Facts};
use crate::exit::Failure;
use crate::layout::Layout;
use crate::output::{Format, print};
use crate::pin;
use crate::rollback::{Verdict, verdict};
use crate::service_manager::Manager;
use crate::service_manager::systemd::UnitStatus;

#[derive(Debug, Serialize)]
struct Status {
    version: String,
    executor: Option<String>,
    endpoints: Vec<String>,
    service_manager: &'static str,
    unit: Option<UnitStatus>,
    binary: Binary,
    previous: Binary,
    confirmed_version: Option<String>,
    floor: Option<String>,
    pinned: Option<String>,
    open_attempt: Option<Open>,
    holds: Vec<Held>,
    unsent_outcomes: usize,
}

#[derive(Debug, Serialize)]
struct Binary {
    path: String,
    sha256: Option<String>,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Open {
    attempt: String,
    from_version: String,
    target_version: String,
    step: &'static str,
    starts: u32,
    way_back: String,
}

#[derive(Debug, Serialize)]
struct Held {
    version: String,
    cause: String,
}

/// Prints the status.
///
/// # Errors
/// When the journal cannot be read.
pub async fn status(layout: &Layout, version: &Version, format: Format) -> Result<(), Failure> {
    let state = Journal::new(layout.state_dir()).read().map_err(|error| Failure::because(&error))?;
    let manager = Manager::of_host(layout);
    let unit = match &manager {
        Manager::Systemd(systemd) => systemd.status().await.ok(),
        Manager::Supervisor(_) | Manager::Nobody => None,
    };
    let status = collect(layout, version, state, manager.name(), unit);
    print(format, &status, text);
    Ok(())
}

fn collect(
    layout: &Layout,
    version: &Version,
    state: State,
    service_manager: &'static str,
    unit: Option<UnitStatus>,
) -> Status {
    let facts = Facts::read(layout);
    let credentials = CredentialStore::new(layout.state_dir()).load();
    let endpoints = credentials.as_ref().map(|found| found.endpoints.iter().map(ToString::to_string).collect());
    Status {
        version: version.to_string(),
        executor: credentials.as_ref().ok().map(|found| found.executor.to_string()),
        endpoints: endpoints.unwrap_or_default(),
        service_manager,
        unit,
        open_attempt: state.open.as_ref().map(|open| describe(open, &facts)),
        binary: binary(layout.binary().display().to_string(), facts.live),
        previous: binary(layout.previous().display().to_string(), facts.previous),
        confirmed_version: state.confirmed.map(|confirmed| confirmed.version.to_string()),
        floor: state.floor.map(|floor| floor.to_string()),
        pinned: pin::reason(layout),
        holds: state
            .holds
            .into_iter()
            .map(|hold| Held { version: hold.version.to_string(), cause: hold.cause })
            .collect(),
        unsent_outcomes: state.unsent.len(),
    }
}

fn describe(open: &OpenAttempt, facts: &Facts) -> Open {
    let way_back = match verdict(Some(open), facts) {
        Verdict::PutBack { .. } => format!("version {} can be put back", open.from_version),
        Verdict::AlreadyBack | Verdict::NeverSwapped => {
            format!("version {} is in place", open.from_version)
        }
        Verdict::ChangedLocally => "another binary was installed".to_owned(),
        Verdict::NothingOpen => String::new(),
        Verdict::Unusable(unusable) => chain(&unusable),
    };
    Open {
        attempt: open.attempt.to_string(),
        from_version: open.from_version.to_string(),
        target_version: open.target_version.to_string(),
        step: open.step.as_str(),
        starts: open.starts,
        way_back,
    }
}

fn binary(path: String, content: Content) -> Binary {
    let (sha256, problem) = match content {
        Content::Is(digest) => (Some(digest.to_string()), None),
        Content::Missing => (None, Some("missing".to_owned())),
        Content::Unreadable(why) => (None, Some(why)),
    };
    Binary { path, sha256, problem }
}

fn text(status: &Status) -> String {
    let or = |value: &Option<String>, other: &str| value.clone().unwrap_or_else(|| other.to_owned());
    let mut lines = vec![
        ("version", status.version.clone()),
        ("executor", or(&status.executor, "not enrolled")),
        ("control plane", status.endpoints.join(", ")),
        (
            "run by",
            match &status.unit {
                Some(unit) => format!("{} ({}, {})", status.service_manager, unit.active_state, unit.sub_state),
                None => status.service_manager.to_owned(),
            },
        ),
        ("binary", or(&status.binary.sha256, &or(&status.binary.problem, ""))),
        ("previous", or(&status.previous.sha256, &or(&status.previous.problem, ""))),
        ("confirmed", or(&status.confirmed_version, "as installed")),
        ("floor", or(&status.floor, "none")),
        ("pinned", or(&status.pinned, "no")),
    ];
    match &status.open_attempt {
        None => lines.push(("upgrade", "none open".to_owned())),
        Some(open) => {
            let (from, target) = (&open.from_version, &open.target_version);
            lines.push((
                "upgrade",
                format!("{} {from} → {target}, {}, {} start(s)", open.attempt, open.step, open.starts),
            ));
            lines.push(("way back", open.way_back.clone()));
        }
    }
    lines.extend(status.holds.iter().map(|held| ("held", format!("{}: {}", held.version, held.cause))));
    if status.unsent_outcomes > 0 {
        lines.push(("unsent", format!("{} outcome(s) not acknowledged yet", status.unsent_outcomes)));
    }
    lines.iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Bench, version};

    #[test]
    fn an_open_upgrade_and_its_way_back_are_told_in_both_forms() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        let status = collect(&bench.layout, &version("1.1.0"), bench.state(), "systemd", None);
        let printed = text(&status);
        assert!(printed.contains("1.0.0 → 1.1.0, swapped, 0 start(s)"), "{printed}");
        assert!(printed.contains("version 1.0.0 can be put back"), "{printed}");
        assert!(printed.contains("not enrolled"), "{printed}");
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["open_attempt"]["step"], "swapped");
        assert_eq!(json["previous"]["problem"], serde_json::Value::Null);
    }
}
