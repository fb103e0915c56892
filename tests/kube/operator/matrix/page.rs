//! `docs/operate/operator-crash-matrix.md`: a table a part of an upgrade.

use harness::matrix::{self, Page, Table};

use super::{Fault, Part, Row};

const HEAD: &str = "\
# Crash matrix of the operator

What becomes of an upgrade when something dies at any of the operator's steps. Written by a test, from what happened: `just operator-crash-matrix`
runs every row in real clusters and writes this page; `cargo test` fails when a row ends in another way, or when a step is missing here.

Each row is an upgrade of its own in a real cluster: API server, controllers, scheduler, kubelet, containerd and a registry. At the step the process
that speaks for the executor stands still. Then its pod's process is killed (`SIGKILL`; the kubelet starts another one), or the API server is killed
and another one takes its place, or the registry is killed and stays away until the attempt has ended. Then nobody helps.

Checked in every row: the attempt has one ending, reported by an executor, which is the one below; the Deployment names one version's image and has
rolled it out, nothing of the attempt is left on it, and the executor is online with that version. The steps are those in `operator/src/fault.rs`.

The agent's is the [crash matrix](crash-matrix.md).
";

/// The page with every row that there is.
pub(super) fn page() -> Page {
    let rows =
        |part| Fault::ALL.into_iter().flat_map(Row::all).filter(move |row| row.part == part).map(shown).collect();
    let table = |part: Part| Table { title: part.title(), story: part.story(), rows: rows(part) };
    Page {
        file: "docs/operate/operator-crash-matrix.md",
        head: HEAD,
        remedy: "just operator-crash-matrix",
        tables: Part::ALL.map(table).into(),
    }
}

/// A row as the page shows it.
pub(super) fn shown(row: Row) -> matrix::Row {
    matrix::Row {
        table: row.part.title(),
        step: format!("`{}`", row.point.as_str()),
        fault: row.fault.name().to_owned(),
    }
}
