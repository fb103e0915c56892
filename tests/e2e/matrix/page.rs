//! `docs/operate/crash-matrix.md`: a table a phase.

use harness::matrix::{self, Page, Table};

use super::row::{self, Phase, Row};

const HEAD: &str = "\
# Crash matrix

What becomes of an upgrade when the agent dies at any of its steps. Written by a test, from what happened: `just crash-matrix` runs every
row on real machines and writes this page; `cargo test` fails when a row ends in another way, or when a step is missing here.

Each row is an upgrade of its own: a real control plane, the real agent under systemd, its binaries and its state each on an ext4 disk that commits
nothing by itself. At the step, just after what its name says, the process is stopped and then killed (`SIGKILL`), or the machine loses its power
(`power cut`: every process dies at once, and what was not synced is gone; the disks are checked, mounted and the machine is booted). Then nobody helps.

Checked in every row: the live binary is the old or the new one byte for byte, and so is `.prev`, which is the old one whenever the new one runs; no leftover of the swap; the
executor is online with the version of its binary; the attempt has one ending, reported by the executor, which is the one below; and the machine takes the next upgrade, which is
the next row. A journal write has its own steps, named after the file that is replaced. The names are those in `agent/src/fault.rs`.

What to read from it: up to the rename that makes the new binary live nothing is lost, and an attempt that was journalled ends as failed; from that rename on, once it is
durable, the new version runs. A power cut differs from a kill exactly where a name was not synced yet: there the step has not happened. A way back that has begun is
finished by whoever starts next, and the cause that was journalled first is the one that is reported.

Trials beside this one (`cargo test -p novacula-tests --test e2e -- disk::`) let calls fail that the agent goes on after. Disks that are full for real; and every single call that
syncs, renames, links or writes beside the binary or in the state directory, in turn, with `EIO` and with `ENOSPC`, while an upgrade is picked up, downloaded, swapped in,
confirmed and put back (of the hundreds of writes that move a binary's bytes the first, the fourth, the sixteenth and so on). They print a line for each call. The start of
the new version, and the count that the old one keeps of it, are swept by syncs with `EIO` and writes with `ENOSPC`; enrolment and renewal of the certificate by
all of them (`--test operate -- every_write_of`).
";

/// The page with every row that there is.
pub(crate) fn page() -> Page {
    let mut tables: Vec<Table> = Vec::new();
    for phase in Phase::ALL {
        let rows = row::all().into_iter().filter(|row| row.phase == phase).map(|row| shown(&row));
        match tables.last_mut().filter(|table| table.title == phase.title()) {
            Some(table) => table.rows.extend(rows),
            None => tables.push(Table { title: phase.title(), story: phase.story(), rows: rows.collect() }),
        }
    }
    Page { file: "docs/operate/crash-matrix.md", head: HEAD, remedy: "just crash-matrix", tables }
}

/// A row as the page shows it.
pub(crate) fn shown(row: &Row) -> matrix::Row {
    matrix::Row { table: row.phase.title(), step: row.step(), fault: row.fault.to_string() }
}
