//! A wall clock that is set back changes no deadline of an executor: those count on the clock since boot.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use domain::Timestamp;
use executor_sdk::clock;
use harness::daemon::succeeded;
use harness::day::Day;
use harness::parts::Part;
use libtest_mimic::Trial;

use crate::{Result, trial};

/// Says that this process is to read its clocks and nothing else.
const READ: &str = "NOVACULA_TEST_READ_CLOCKS";

/// Far longer than a process takes to start.
const MOMENT: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("a_wall_clock_that_is_set_back_leaves_the_clock_of_deadlines_alone", &[Part::Faketime], set_back)]
}

/// In a process that was started for it: prints both clocks, in microseconds.
#[expect(clippy::print_stdout, reason = "its reader is the trial")]
pub(crate) fn read() -> Option<ExitCode> {
    std::env::var_os(READ)?;
    println!("{} {}", clock::wall().as_micros(), clock::since_boot().as_micros());
    Some(ExitCode::SUCCESS)
}

async fn set_back() -> Result {
    let day = Duration::from_secs(24 * 60 * 60);
    let (wall, boot) = (clock::wall(), clock::since_boot());
    let mut command = Command::new(std::env::current_exe()?);
    Day::days_ago(1)?.set(command.env(READ, "1"));
    let printed = succeeded(&command.output()?)?;
    let (its_wall, its_boot) = printed.trim().split_once(' ').context("two clocks")?;
    let (its_wall, its_boot) = (Timestamp::from_micros(its_wall.parse()?), Duration::from_micros(its_boot.parse()?));
    ensure!(its_wall.plus(day) >= wall && its_wall.plus(day) < wall.plus(MOMENT), "its wall clock was not set back");
    ensure!(its_boot >= boot && its_boot < boot + MOMENT, "{its_boot:?} follows the wall clock; {boot:?} before");
    Ok(())
}
