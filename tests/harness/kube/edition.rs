//! The operator as any version and with any misbehaviour, as a program of its own: its last line says
//! `novacula-edition <version> <conduct>`, as the agent's editions do ([`crate::fleet::edition`]).

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use operator::{Misbehaviour, fault::Point};

const MARK: &str = "novacula-edition";

/// The last line of an edition.
#[must_use]
pub fn line(says: &str, misbehaviour: Option<Misbehaviour>) -> String {
    let conduct = match misbehaviour {
        None => "good".to_owned(),
        Some(Misbehaviour::CrashAtStart) => "crash-at-start".to_owned(),
        Some(Misbehaviour::ExitClean) => "exit-clean".to_owned(),
        Some(Misbehaviour::TakeMemory) => "take-memory".to_owned(),
        Some(Misbehaviour::NeverProve) => "never-prove".to_owned(),
        Some(Misbehaviour::StopAt(point)) => format!("stop-at:{}", point.as_str()),
        Some(Misbehaviour::CrashAfterLead(after)) => format!("crash-after-lead:{}", after.as_millis()),
    };
    format!("\n{MARK} {says} {conduct}\n")
}

/// The edition that this process runs: what it says it is, and how it goes wrong.
///
/// # Errors
/// The program has no such last line.
pub fn of_this_program() -> Result<(String, Option<Misbehaviour>)> {
    let program = fs::read("/proc/self/exe").context("read this program")?;
    let tail = String::from_utf8_lossy(&program[program.len().saturating_sub(256)..]).into_owned();
    parse(tail.lines().last().unwrap_or_default())
}

fn parse(line: &str) -> Result<(String, Option<Misbehaviour>)> {
    let words: Vec<_> = line.split(' ').collect();
    let &[MARK, says, conduct] = words.as_slice() else {
        bail!("the program's last line is no edition: {line:?}");
    };
    let misbehaviour = match conduct.split_once(':') {
        None => match conduct {
            "good" => None,
            "crash-at-start" => Some(Misbehaviour::CrashAtStart),
            "exit-clean" => Some(Misbehaviour::ExitClean),
            "take-memory" => Some(Misbehaviour::TakeMemory),
            "never-prove" => Some(Misbehaviour::NeverProve),
            _ => bail!("no conduct is called {conduct:?}"),
        },
        Some(("crash-after-lead", after)) => Some(Misbehaviour::CrashAfterLead(Duration::from_millis(after.parse()?))),
        Some(("stop-at", name)) => Some(Misbehaviour::StopAt(point(name)?)),
        Some(_) => bail!("no conduct is called {conduct:?}"),
    };
    Ok((says.to_owned(), misbehaviour))
}

fn point(name: &str) -> Result<Point> {
    let point = Point::ALL.into_iter().find(|point| point.as_str() == name);
    point.with_context(|| format!("no fault point is called {name:?}"))
}
