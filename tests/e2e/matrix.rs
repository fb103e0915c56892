//! The crash matrix: a real agent under systemd is stopped at every fault point, and killed there or its power cut; what
//! runs afterwards, and what the control plane is told, is held by `docs/operate/crash-matrix.md`.
//!
//! ```text
//! agent::fault::*_passages ─> rows ─> lanes (a machine each, rows one after another) ─> endings ─> the page
//! ```
//!
//! The agent's directory and its state are each on a disk of its own that commits nothing by itself, so that a power cut
//! loses whatever was not synced. Every row is a new attempt. `just crash-matrix` writes the page anew.

mod full;

mod lane;

mod page;

mod row;

mod strace;

mod sweep;

use anyhow::{Context, Result, ensure};
use harness::{lab, parts::trial};
use libtest_mimic::Trial;

use lane::Lane;
use row::{Fault, Phase, Row};

/// Machines that share the rows of one phase and fault: as many as even the times out.
const SHARES: [(Phase, Fault, usize); 14] = [
    (Phase::CrashLoop, Fault::PowerCut, 2),
    (Phase::CrashLoop, Fault::Kill, 2),
    (Phase::Apply, Fault::PowerCut, 3),
    (Phase::PutBack, Fault::PowerCut, 3),
    (Phase::Confirm, Fault::PowerCut, 1),
    (Phase::Hang, Fault::PowerCut, 1),
    (Phase::ExitClean, Fault::PowerCut, 1),
    (Phase::NoConnection, Fault::PowerCut, 1),
    (Phase::Apply, Fault::Kill, 2),
    (Phase::PutBack, Fault::Kill, 2),
    (Phase::Confirm, Fault::Kill, 1),
    (Phase::Hang, Fault::Kill, 1),
    (Phase::ExitClean, Fault::Kill, 1),
    (Phase::NoConnection, Fault::Kill, 1),
];

pub(crate) fn trials() -> Vec<Trial> {
    // They wait longest.
    let mut trials = sweep::trials();
    for (phase, fault, machines) in SHARES {
        let rows: Vec<Row> = row::all().into_iter().filter(|row| row.phase == phase && row.fault == fault).collect();
        for (at, share) in rows.chunks(rows.len().div_ceil(machines)).enumerate() {
            let name = format!("matrix::{}::{}_{}", phase.slug(), fault.slug(), at + 1);
            let share = share.to_vec();
            trials.push(trial(name, lab::PARTS, move || run(phase, &share)));
        }
    }
    for phase in [Phase::Apply, Phase::Confirm, Phase::PutBack] {
        let name = format!("matrix::every_point_of_{}_is_listed", phase.slug());
        trials.push(trial(name, lab::PARTS, move || rehearse(phase)));
    }
    trials.extend(full::trials());
    trials.extend(strace::trials());
    trials.push(trial("matrix::page_holds_every_row_and_no_other", &[], || page::page().is_whole()));
    trials
}

/// A real agent passes what the list says, in its order, and nothing else: a step that is new in the code is missed here.
fn rehearse(phase: Phase) -> Result<()> {
    let wanted: Vec<_> = phase.passages().iter().map(|passage| passage.point).collect();
    let (first, last) = (wanted.first().copied().unwrap_or_default(), wanted.last().copied().unwrap_or_default());
    let processes = Lane::start(phase)?.rehearse()?;
    let passed = processes.iter().find_map(|points| {
        let from = points.iter().position(|point| point == first)?;
        let to = points.iter().rposition(|point| point == last)?;
        points.get(from..=to)
    });
    let passed = passed.with_context(|| format!("no process passed {first} and {last}: {processes:?}"))?;
    ensure!(passed == wanted, "passed {passed:?}, listed {wanted:?}");
    Ok(())
}

/// One machine's rows.
fn run(phase: Phase, rows: &[Row]) -> Result<()> {
    let mut lane = Lane::start(phase)?;
    let mut endings = Vec::new();
    for row in rows {
        endings.push((page::shown(row), lane.run(row)?));
    }
    lane.check_feed(endings.len())?;
    lane.fleet.host.expect_nothing_failed()?;
    page::page().hold(&endings)
}
