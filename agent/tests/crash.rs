//! The crash sweep: a child is killed at every fault point of a swap and of the way back, and whatever it left has to be
//! fully the old or fully the new version, with `.prev` byte for byte, once somebody looks again.
//!
//! Without systemd and in a temporary directory: SIGKILL keeps what was written, so this proves the order of the steps. What
//! is lost without a sync is proved on a disk that loses power (the crash matrix of the end-to-end suite).
//!
//! The child is this very program, told by an environment variable what to do.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Stage};
use domain::{AttemptId, Generation, Timestamp, Version};
use executor_sdk::Journal;
use executor_sdk::fault::{
    DISK_CREATED, DISK_RENAMED, DISK_SYNCED, DISK_WRITTEN, JOURNAL_AFTER_WRITE, JOURNAL_BEFORE_WRITE,
};
use executor_sdk::journal::{OpenAttempt, RollbackCause, State, Step};
use libtest_mimic::{Arguments, Failed, Trial};
use novacula_agent::apply::recover::{Recovered, recover};
use novacula_agent::apply::swap::{Incoming, swap};
use novacula_agent::disk::{Content, content};
use novacula_agent::fault::{BACK_POINTS, SWAP_POINTS, SWAP_RESTARTING};
use novacula_agent::layout::Layout;
use novacula_agent::rollback::put_back::put_back;
use novacula_agent::service_manager::Manager;
use uuid::Uuid;

/// Says to the child in which directory to do what: `swap:<dir>` or `back:<dir>`.
const TASK: &str = "NOVACULA_CRASH_TASK";

const OLD: &str = "the old binary, byte for byte";
const NEW: &str = "the new binary, which is longer than the old one";
const OLDER: &str = "what .prev held before";

const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    if let Ok(task) = std::env::var(TASK) {
        return child(&task);
    }
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for point in swap_points() {
        trials.push(Trial::test(format!("swap_killed_at_{}", name(&point)), move || swap_killed_at(&point)));
    }
    for point in back_points() {
        trials.push(Trial::test(format!("way_back_killed_at_{}", name(&point)), move || back_killed_at(&point)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn name(point: &str) -> String {
    point.replace(['-', ':'], "_")
}

/// The agent's own points, and those of the two journal writes around them.
fn swap_points() -> Vec<String> {
    with_journal(SWAP_POINTS.iter().filter(|point| **point != SWAP_RESTARTING), 2)
}

fn back_points() -> Vec<String> {
    with_journal(BACK_POINTS.iter(), 2)
}

fn with_journal<'p>(points: impl Iterator<Item = &'p &'static str>, writes: u32) -> Vec<String> {
    let mut all: Vec<String> = points.map(|point| (*point).to_owned()).collect();
    for point in [JOURNAL_BEFORE_WRITE, DISK_CREATED, DISK_WRITTEN, DISK_SYNCED, DISK_RENAMED, JOURNAL_AFTER_WRITE] {
        all.extend((1..=writes).map(|n| format!("{point}:{n}")));
    }
    all
}

fn layout(directory: &Path) -> Layout {
    Layout::new(directory.join("bin/novacula-agent"), directory.join("state"), directory.join("agent.toml"))
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn attempt(layout: &Layout, incoming: &Path) -> OpenAttempt {
    let digest = |path: &Path| match content(path) {
        Content::Is(digest) => Some(digest),
        Content::Missing | Content::Unreadable(_) => None,
    };
    let id = AttemptId::new(Uuid::from_u128(1));
    let mut open = OpenAttempt::new(id, Generation::default(), version("1.0.0"), version("1.1.0"));
    open.old_sha256 = digest(layout.binary());
    open.new_sha256 = digest(incoming);
    open
}

fn cause() -> RollbackCause {
    RollbackCause { stage: Stage::Start, code: ErrorCode::CrashLoop, message: "crashed".to_owned() }
}

/// Does one thing, and is killed in its midst if the environment says so.
fn child(task: &str) -> ExitCode {
    let (what, directory) = task.split_once(':').expect("task:directory");
    let layout = layout(Path::new(directory));
    let locked = Journal::new(layout.state_dir()).lock(PATIENCE).expect("the lock");
    let done = if what == "swap" {
        let path = incoming(&layout);
        let file = File::open(&path).expect("the incoming file");
        let open = attempt(&layout, &path);
        swap(&layout, &locked, open, Incoming { file: &file, path: &path }).is_ok()
    } else {
        put_back(&layout, &locked, &cause(), Vec::new(), Timestamp::EPOCH).is_ok()
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn incoming(layout: &Layout) -> PathBuf {
    layout.directory().join(".incoming")
}

/// A host with an old binary, an older `.prev` and a downloaded new one.
fn host() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().expect("a directory");
    let layout = layout(dir.path());
    for path in [layout.directory(), layout.state_dir()] {
        fs::create_dir_all(path).expect("a directory");
    }
    for (path, text) in [(layout.binary().to_owned(), OLD), (layout.previous(), OLDER), (incoming(&layout), NEW)] {
        fs::write(path, text).expect("a file");
    }
    (dir, layout)
}

fn run_child(task: &str, directory: &Path, fault: Option<&str>) -> Option<i32> {
    let own = std::env::current_exe().expect("this program");
    let mut command = Command::new(own);
    command.env(TASK, format!("{task}:{}", directory.display()));
    if let Some(fault) = fault {
        command.env("NOVACULA_FAULT_POINT", fault);
    }
    command.status().expect("a child").code()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn state(layout: &Layout) -> State {
    Journal::new(layout.state_dir()).read().expect("the journal is readable after any crash")
}

/// What the next start of whichever version is in place makes of it.
fn start(layout: &Layout) -> Result<Recovered, Failed> {
    let own = if text(layout.binary()) == NEW { version("1.1.0") } else { version("1.0.0") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(recover(layout, &Manager::Nobody, &own, None))?)
}

fn swap_killed_at(point: &str) -> Result<(), Failed> {
    let (dir, layout) = host();
    let code = run_child("swap", dir.path(), Some(point));
    if code.is_some() {
        return Err(format!("not killed at {point}: ended with {code:?}").into());
    }
    start(&layout)?;
    let (live, previous, state) = (text(layout.binary()), text(&layout.previous()), state(&layout));
    if live == NEW {
        assert_eq!(previous, OLD, "fully new: .prev is the old version");
        let open = state.open.ok_or("the new version is on probation")?;
        assert_eq!((open.step, open.starts), (Step::Swapped, 1));
    } else {
        assert_eq!(live, OLD, "neither old nor new");
        assert!(previous == OLDER || previous == OLD, "{previous:?}");
        assert!(state.open.is_none(), "an interrupted attempt is over");
        assert!(state.unsent.iter().all(|sent| sent.report.outcome == Outcome::Failed));
    }
    for left in [layout.previous_new(), layout.back()] {
        assert!(!left.exists(), "{} is left", left.display());
    }
    Ok(())
}

fn back_killed_at(point: &str) -> Result<(), Failed> {
    let (dir, layout) = host();
    assert_eq!(run_child("swap", dir.path(), None), Some(0));
    let code = run_child("back", dir.path(), Some(point));
    if code.is_some() {
        return Err(format!("not killed at {point}: ended with {code:?}").into());
    }
    // Before the decision is on disk the new version simply goes on; a second try brings the old one back all the same.
    start(&layout)?;
    assert_eq!(run_child("back", dir.path(), None), Some(0));
    assert_eq!((text(layout.binary()).as_str(), text(&layout.previous()).as_str()), (OLD, OLD));
    start(&layout)?;
    let state = state(&layout);
    assert!(state.open.is_none());
    assert_eq!(state.unsent.len(), 1, "one outcome, however often it was taken up");
    let report = &state.unsent[0].report;
    assert_eq!((report.outcome, report.error_code), (Outcome::RolledBack, Some(ErrorCode::CrashLoop)));
    assert!(!layout.back().exists() || content(&layout.back()) == content(&layout.previous()));
    Ok(())
}
