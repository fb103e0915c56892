//! `docs/operate/crash-matrix.md`: a table a phase, a row an experiment.
//!
//! Each lane compares its own rows with the page, or with `NOVACULA_UPDATE=1` writes them into it. The page as a whole is
//! compared with what would be printed from the endings it holds: so a step that is new in the code, or gone, shows at once.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use harness::parts::workspace;

use super::lane::Ending;
use super::row::{self, Phase, Row};

/// What to do about a stale page.
pub(crate) const REMEDY: &str =
    "docs/operate/crash-matrix.md does not say so: look whether the change is meant, then `just crash-matrix`";

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

const COLUMNS: &str =
    "| step | fault | runs afterwards | outcome | stage | error code |\n| --- | --- | --- | --- | --- | --- |\n";

/// One lane's write must not undo another's.
static WRITING: Mutex<()> = Mutex::new(());

type Key = (&'static str, String, String);

/// Compares endings with the page and returns the rows that differ; or writes them, when told so.
pub(crate) fn compare_or_update(endings: &[(Row, Ending)]) -> Result<Vec<String>> {
    let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut known = read()?;
    if is_update() {
        known.extend(endings.iter().map(|(row, ending)| (key(row), cells(ending))));
        fs::write(path(), print(&known)).context("write the page")?;
        return Ok(Vec::new());
    }
    let differing = endings.iter().filter_map(|(row, ending)| {
        let (now, page) = (cells(ending), known.get(&key(row)));
        let held = page.map_or("nothing", String::as_str);
        (page != Some(&now)).then(|| format!("{row}: ended with {now}, and the page says {held}"))
    });
    Ok(differing.collect())
}

/// Prints one lane's part of the matrix.
#[expect(clippy::print_stdout, reason = "the matrix is what this suite is run for")]
pub(crate) fn show(endings: &[(Row, Ending)]) {
    let rows = endings.iter().map(|(row, ending)| format!("{row} → {}\n", cells(ending)));
    print!("{}", rows.collect::<String>());
}

/// Whether the page shows exactly the rows that there are.
pub(crate) fn is_whole() -> Result<()> {
    if is_update() {
        let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        return fs::write(path(), print(&read()?)).context("write the page");
    }
    let text = fs::read_to_string(path()).context("read the page")?;
    let known = parse(&text);
    for row in row::all() {
        ensure!(known.contains_key(&key(&row)), "{row}: {REMEDY}");
    }
    ensure!(text == print(&known), "the page shows a row that is none, or was edited by hand: {REMEDY}");
    Ok(())
}

fn is_update() -> bool {
    std::env::var_os("NOVACULA_UPDATE").is_some()
}

fn path() -> PathBuf {
    workspace().join("docs/operate/crash-matrix.md")
}

/// A page that is not there yet holds nothing.
fn read() -> Result<HashMap<Key, String>> {
    match fs::read_to_string(path()) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(error) => Err(error).context("read the page"),
    }
}

fn key(row: &Row) -> Key {
    (row.phase.title(), row.step(), row.fault.to_string())
}

/// An ending as the last four cells of its row.
fn cells(ending: &Ending) -> String {
    let Ending { runs, outcome, stage, code } = ending;
    format!("{runs} | {outcome} | {stage} | {code}")
}

fn parse(text: &str) -> HashMap<Key, String> {
    let mut known = HashMap::new();
    let mut phase = None;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            phase = Phase::ALL.into_iter().find(|phase| phase.title() == title);
            continue;
        }
        let cells = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |"));
        let mut parts = cells.into_iter().flat_map(|cells| cells.splitn(3, " | "));
        if let (Some(phase), Some(step), Some(fault), Some(rest)) = (phase, parts.next(), parts.next(), parts.next()) {
            known.insert((phase.title(), step.to_owned(), fault.to_owned()), rest.to_owned());
        }
    }
    known
}

/// Rows without an ending are left out; [`is_whole`] misses them.
fn print(known: &HashMap<Key, String>) -> String {
    let mut text = HEAD.to_owned();
    let rows = row::all();
    let mut before = "";
    for phase in Phase::ALL {
        if std::mem::replace(&mut before, phase.title()) != phase.title() {
            let _ = write!(text, "\n## {}\n\n{}\n\n{COLUMNS}", phase.title(), phase.story());
        }
        for row in rows.iter().filter(|row| row.phase == phase) {
            if let Some(cells) = known.get(&key(row)) {
                let _ = writeln!(text, "| {} | {} | {cells} |", row.step(), row.fault);
            }
        }
    }
    text
}
