//! `run --supervise` with real processes: crash loop, restart, confirmation, an end in order.
//!
//! This program plays all parts. A test starts it as the parent, which starts copies of it as children; what a child does is
//! written behind the copy's last byte, so that two children are two binaries with two digests.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use domain::attempt::{ErrorCode, Outcome};
use domain::{AttemptId, Generation};
use executor_sdk::Journal;
use executor_sdk::journal::{OpenAttempt, State, Step};
use executor_sdk::program;
use libtest_mimic::{Arguments, Failed, Trial};
use novacula_agent::disk::{Content, content};
use novacula_agent::layout::Layout;
use novacula_agent::rollback::dead_man::Probed;
use novacula_agent::service_manager::supervise::Child;
use novacula_agent::service_manager::supervise::handover::Origin;
use novacula_agent::service_manager::supervise::parent::{Ended, Parent};
use novacula_agent::service_manager::{SUPERVISED, ServiceManager};
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

/// Makes this program the parent of this directory's layout.
const PARENT: &str = "NOVACULA_TEST_PARENT";

/// Makes that parent one that took over from another.
const TOOK_OVER: &str = "NOVACULA_TEST_TOOK_OVER";

/// Before a child's part, behind its binary's last byte.
const PART: &str = "\n#part:";

/// Everything here is done within seconds, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if std::env::var_os(SUPERVISED).is_some() {
        return child();
    }
    if let Some(directory) = std::env::var_os(PARENT) {
        return parent(Path::new(&directory));
    }
    let trials = vec![
        Trial::test("a_crash_loop_brings_the_old_version_back_with_its_last_words", crash_loop),
        Trial::test("a_version_that_exits_cleanly_is_no_better", clean_exit),
        Trial::test("a_silent_version_is_woken_and_then_rolled_back", silent),
        Trial::test("a_version_that_logs_without_pause_is_judged_like_any_other", spam),
        Trial::test("a_log_that_nobody_reads_keeps_nobody_from_ending", unread),
        Trial::test("a_child_that_goes_back_by_itself_reads_its_own_last_words", own_words),
        Trial::test("a_restart_runs_what_is_on_disk_then", restart),
        Trial::test("a_confirmed_version_takes_the_parent_over", confirmed),
        Trial::test("sigterm_ends_both_in_order", stopped),
        Trial::test("a_parent_that_cannot_begin_ends_unless_it_took_over", no_socket),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn layout(directory: &Path) -> Layout {
    Layout::new(directory.join("agent"), directory.join("state"), directory.join("agent.toml"))
}

fn parent(directory: &Path) -> ExitCode {
    let took_over = std::env::var_os(TOOK_OVER).is_some();
    if took_over {
        // What keeps it from beginning is told there.
        program::log(program::LogFormat::Text, tracing::Level::INFO, std::io::stderr);
    }
    let parent = Parent {
        layout: layout(directory),
        arguments: vec![directory.into()],
        window: Duration::from_secs(2),
        origin: if took_over { Origin::TookOver } else { Origin::Started },
        probe: async || Probed::Reached,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(parent.run()) {
        Ok(Ended::Stopped) => ExitCode::from(10),
        Ok(Ended::Reexecute) => ExitCode::from(11),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Plays what is written behind its own binary.
fn child() -> ExitCode {
    let directory = PathBuf::from(std::env::args_os().nth(1).expect("the directory"));
    let own = fs::read("/proc/self/exe").expect("its own binary");
    let text = String::from_utf8_lossy(&own[own.len() - 64..]).into_owned();
    let part = text.rsplit_once(PART).map_or("", |(_, part)| part.split('\n').next().unwrap_or(""));
    writeln!(std::io::stderr(), "playing {part}").expect("the parent listens");
    let manager = Child::new(&layout(&directory));
    match part {
        "crash" => return ExitCode::from(3),
        "exit" => return ExitCode::SUCCESS,
        _ => sd_notify::notify(&[sd_notify::NotifyState::Ready]).expect("the parent listens"),
    }
    // Tells the test that it is up.
    fs::write(directory.join(format!("up-{part}")), std::process::id().to_string()).expect("a note");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match part {
        "ask" => runtime.block_on(manager.restart()).expect("the parent listens"),
        "read" => {
            writeln!(std::io::stderr(), "my last words").expect("the parent listens");
            let tail = runtime.block_on(manager.log_tail(None));
            fs::write(directory.join("read.new"), tail.join("\n")).expect("a note");
            fs::rename(directory.join("read.new"), directory.join("read")).expect("a note");
        }
        "spam" => {
            let line = [&[b'x'; 4095][..], b"\n"].concat();
            while std::io::stderr().write_all(&line).is_ok() {}
        }
        "confirm" => manager.confirmed().expect("the parent listens"),
        _ => {}
    }
    runtime.block_on(std::future::pending::<()>());
    ExitCode::SUCCESS
}

struct Stage {
    dir: tempfile::TempDir,
    layout: Layout,
    parent: std::process::Child,
}

impl Stage {
    /// A parent whose binary plays `live`, beside a `.prev` that plays "old"; between them an open attempt, if asked.
    fn set(live: &str, open: bool) -> Self {
        Self::set_with(live, open, Stdio::null())
    }

    /// The same, with the parent's log going there.
    fn set_with(live: &str, open: bool, log: Stdio) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = layout(dir.path());
        fs::create_dir(layout.state_dir()).expect("a directory");
        play(layout.binary(), live);
        play(&layout.previous(), "old");
        if open {
            let id = AttemptId::new(Uuid::from_u128(5));
            let version = |text: &str| text.parse().expect("a version");
            let mut attempt = OpenAttempt::new(id, Generation::default(), version("1.0.0"), version("1.1.0"));
            attempt.old_sha256 = digest(&layout.previous());
            attempt.new_sha256 = digest(layout.binary());
            attempt.step = Step::Swapped;
            let journal = Journal::new(layout.state_dir());
            journal.update(LIMIT, |state| state.open = Some(attempt)).expect("a journal");
        }
        let parent = started(dir.path(), |command| command.stderr(log));
        Self { dir, layout, parent }
    }

    fn state(&self) -> State {
        Journal::new(self.layout.state_dir()).read().expect("a readable journal")
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) -> Result<(), Failed> {
        let begin = Instant::now();
        while !done() {
            if begin.elapsed() > LIMIT {
                return Err(format!("waited in vain for: {what}; journal: {:?}", self.state()).into());
            }
            // Looks again soon; what counts is the condition.
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(())
    }

    fn up(&self, part: &str) -> Result<(), Failed> {
        let note = self.dir.path().join(format!("up-{part}"));
        self.wait(part, || note.exists())
    }

    fn stop(&mut self) -> Option<i32> {
        let pid = i32::try_from(self.parent.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::TERM).expect("the parent runs");
        self.parent.wait().expect("its end").code()
    }

    /// The old version came back for this reason.
    fn came_back(&mut self, code: ErrorCode) -> Result<State, Failed> {
        self.up("old")?;
        let state = self.state();
        let report = &state.unsent[0].report;
        assert_eq!((report.outcome, report.error_code), (Outcome::RolledBack, Some(code)), "{report:?}");
        assert_eq!(digest(self.layout.binary()), digest(&self.layout.previous()));
        assert_eq!(self.stop(), Some(10));
        Ok(state)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.parent.kill();
        let _ = self.parent.wait();
    }
}

/// This program as a parent over the stage in `directory`.
fn started(directory: &Path, set_up: impl FnOnce(&mut Command) -> &mut Command) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    set_up(command.env(PARENT, directory)).spawn().expect("a parent")
}

fn play(path: &Path, part: &str) {
    fs::copy("/proc/self/exe", path).expect("a copy");
    let mut file = OpenOptions::new().append(true).open(path).expect("the copy");
    file.write_all(format!("{PART}{part}\n").as_bytes()).expect("its part");
}

fn digest(path: &Path) -> Option<domain::Sha256> {
    match content(path) {
        Content::Is(digest) => Some(digest),
        Content::Missing | Content::Unreadable(_) => None,
    }
}

fn crash_loop() -> Result<(), Failed> {
    let state = Stage::set("crash", true).came_back(ErrorCode::CrashLoop)?;
    let tail = &state.unsent[0].report.log_tail;
    assert_eq!(tail.iter().filter(|line| *line == "playing crash").count(), 3, "{tail:?}");
    Ok(())
}

fn clean_exit() -> Result<(), Failed> {
    Stage::set("exit", true).came_back(ErrorCode::CleanExit).map(drop)
}

fn silent() -> Result<(), Failed> {
    // It becomes ready and never notes its start in the journal.
    Stage::set("silent", true).came_back(ErrorCode::Hang).map(drop)
}

fn spam() -> Result<(), Failed> {
    Stage::set("spam", true).came_back(ErrorCode::Hang).map(drop)
}

fn unread() -> Result<(), Failed> {
    let mut stage = Stage::set_with("spam", false, Stdio::piped());
    let kept = stage.layout.state_dir().join("supervise.log");
    // More than the pipe to us holds.
    stage.wait("the child's output", || fs::metadata(&kept).is_ok_and(|file| file.len() > 100_000))?;
    assert_eq!(stage.stop(), Some(10));
    Ok(())
}

fn own_words() -> Result<(), Failed> {
    let stage = Stage::set("read", false);
    let note = stage.dir.path().join("read");
    stage.wait("the child to read", || note.exists())?;
    let tail = fs::read_to_string(note)?;
    assert_eq!(tail.lines().last(), Some("my last words"), "{tail}");
    Ok(())
}

fn restart() -> Result<(), Failed> {
    let mut stage = Stage::set("ask", false);
    stage.up("ask")?;
    let next = stage.dir.path().join("next");
    play(&next, "old");
    fs::rename(&next, stage.layout.binary()).expect("a rename");
    stage.up("old")?;
    assert_eq!(stage.stop(), Some(10));
    Ok(())
}

fn confirmed() -> Result<(), Failed> {
    let mut stage = Stage::set("confirm", false);
    // The child is another binary than the parent, so the parent has to become it.
    assert_eq!(stage.parent.wait()?.code(), Some(11));
    Ok(())
}

fn stopped() -> Result<(), Failed> {
    let mut stage = Stage::set("old", false);
    stage.up("old")?;
    let pid = fs::read_to_string(stage.dir.path().join("up-old"))?;
    assert_eq!(stage.stop(), Some(10));
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "the child is gone");
    Ok(())
}

fn no_socket() -> Result<(), Failed> {
    let mut stage = Stage::set("old", false);
    stage.up("old")?;
    assert_eq!(stage.stop(), Some(10));
    fs::remove_file(stage.dir.path().join("up-old"))?;
    // A folder takes the place of the socket, and cannot be removed as one.
    let socket = stage.layout.state_dir().join("supervise.sock");
    fs::remove_file(&socket)?;
    fs::create_dir(&socket)?;
    stage.parent = started(stage.dir.path(), |command| command);
    assert_eq!(stage.parent.wait()?.code(), Some(1), "somebody looks");
    let log = stage.dir.path().join("log");
    let file = fs::File::create(&log)?;
    stage.parent = started(stage.dir.path(), |command| command.env(TOOK_OVER, "1").stderr(file));
    stage
        .wait("the pause", || fs::read_to_string(&log).is_ok_and(|said| said.contains("trying again after a pause")))?;
    fs::remove_dir(&socket)?;
    stage.up("old")?;
    assert_eq!(stage.stop(), Some(10));
    Ok(())
}
