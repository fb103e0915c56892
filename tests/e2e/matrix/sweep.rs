//! Single system calls that fail with EIO or ENOSPC: the nth sync, rename, link or write of every part of an upgrade that
//! writes, for every n there is.
//!
//! ```text
//! pick-up   from the request on: the journal takes the generation down, and a swap is tried on small files
//! download  the artifact's bytes
//! swap      from leave to restart
//! count     the old version's code counts the start of the new one
//! start     the new version's first run, up to its probation
//! confirm   probation over → told and acknowledged
//! put-back  the new version is another than was asked for, and puts the old one back
//! crash-loop  the same, by the old version's code after a crash loop
//! ```
//!
//! strace takes hold of the agent, lets one call fail, and lets go: what is tried again works. Whatever failed, the old or the
//! new version runs, whole; the control plane hears one true outcome; the journal can be read; nothing is left lying about;
//! and the next upgrade works. A sweep ends when its part makes no further such call, and fails when a call that it has to
//! hit was never made: then the part is another one than was thought.

mod calls;

use std::fmt;

use agent::fault::CONFIRM_BEGUN;
use anyhow::{Result, bail, ensure};
use harness::{
    fleet::{SOON, edition::Edition},
    lab::Lab,
    matrix::Ending,
    parts::trial,
    wait,
};
use libtest_mimic::Trial;
use serde_json::Value;

use super::lane::{FAULT, Lane, at_step};
use super::row::Phase;
use super::strace::{PARTS, attach, detach, failed};
use calls::{Error, Kind, Part};

/// A version that nothing is wrong with, for lanes whose own one is bad.
const AFTERWARDS: &str = "1.2.0";

const STATE: &str = "/var/lib/novacula";

const BINARIES: &str = "/opt/novacula/bin";

/// All the calls of one kind in one part.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    part: Part,
    kind: Kind,
    error: Error,
}

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    let errors = [Error::Io, Error::NoSpace];
    // Those that wait longest come first.
    for parts in [&[Part::Confirm][..], &[Part::PutBack], &[Part::PickUp, Part::Download]] {
        for error in errors {
            let of = |part: &Part| {
                let part = *part;
                part.kinds().iter().map(move |kind| Sweep { part, kind: *kind, error })
            };
            let about = parts.last().map_or("", |part| part.slug());
            trials.push(swept(about, parts.iter().flat_map(of).collect()));
        }
    }
    // The errors that disks mostly answer with: the bytes find no room, or cannot be made durable.
    for part in [Part::Count, Part::Start] {
        let sweeps = [(Kind::Sync, Error::Io), (Kind::Write, Error::NoSpace)];
        let sweeps = sweeps.map(|(kind, error)| Sweep { part, kind, error });
        let name = format!("disk::every_sync_and_write_of_{}_may_fail", part.slug());
        trials.push(trial(name, PARTS, move || run(&sweeps)));
    }
    let crash_loop = Sweep { part: Part::CrashLoop, kind: Kind::Sync, error: Error::Io };
    trials.push(swept("crash_loop_sync", vec![crash_loop]));
    // The swap's are many: a machine for each kind.
    for error in errors {
        for kind in Part::Swap.kinds() {
            trials.push(swept(&format!("swap_{kind}"), vec![Sweep { part: Part::Swap, kind: *kind, error }]));
        }
    }
    trials
}

fn swept(about: &str, sweeps: Vec<Sweep>) -> Trial {
    let error = sweeps.first().map_or("", |sweep| sweep.error.slug());
    trial(format!("disk::every_call_of_{about}_may_fail_with_{error}"), PARTS, move || run(&sweeps))
}

/// One machine's sweeps.
#[expect(clippy::print_stdout, reason = "which call led to what is what this suite is run for")]
fn run(sweeps: &[Sweep]) -> Result<()> {
    let Some(first) = sweeps.first() else { return Ok(()) };
    let mut lane = Lane::start(first.part.phase())?;
    let mut table = String::new();
    for sweep in sweeps {
        let done = sweep.run(&mut lane, &mut table);
        done.map_err(|error| lane.told(&format!("{sweep}, after\n{table}"), error))?;
    }
    print!("{table}");
    afterwards(&mut lane, first.part)
}

/// A good version is taken, whatever happened before.
fn afterwards(lane: &mut Lane, part: Part) -> Result<()> {
    if matches!(part, Part::PutBack | Part::CrashLoop) {
        lane.fleet.publish(AFTERWARDS, &Edition::good(AFTERWARDS))?;
        let attempt = lane.fleet.upgrade(AFTERWARDS, SOON)?;
        ensure!(attempt["outcome"] == "OUTCOME_SUCCEEDED", "{attempt:#}");
        lane.fleet.wait_online(AFTERWARDS)?;
    }
    lane.fleet.host.expect_nothing_failed()
}

// === impl Sweep ===

impl Sweep {
    fn run(self, lane: &mut Lane, table: &mut String) -> Result<()> {
        let mut hit = String::new();
        for nth in self.kind.numbers() {
            let (attempt, calls) = self.strike(lane, nth)?;
            let ending = lane.judge(&attempt)?;
            table.push_str(&self.row(nth, &calls, &ending));
            if calls.is_empty() || self.is_beyond(lane, &attempt)? {
                // There are fewer such calls than this: all of them were hit.
                let missed: Vec<_> = self.sites().into_iter().filter(|site| !hit.contains(*site)).collect();
                ensure!(missed.is_empty(), "never hit: {missed:?}; hit were:\n{hit}");
                return Ok(());
            }
            self.check(lane, &attempt, &ending)?;
            clean(lane.fleet.host.machine()?)?;
            // Where disks are full, the next strike is what is asked again.
            if self.part == Part::Swap && ending.runs == "old" && self.error == Error::Io {
                lane.ask()?;
                let again = lane.fleet.attempt()?;
                ensure!(lane.judge(&again)?.runs == "new", "asked again, it was not reached: {again:#}");
            }
            hit += &calls;
        }
        bail!("never ended; hit were:\n{hit}")
    }

    /// One upgrade, whose `nth` call fails. Returns the attempt and the calls that failed.
    fn strike(self, lane: &mut Lane, nth: usize) -> Result<(Value, String)> {
        let before = lane.fleet.host.pid()?;
        let mut calls = String::new();
        let attempt = match self.part.begins() {
            None => {
                self.attach(lane.fleet.host.machine()?, before, nth)?;
                lane.upgrade_while(None, |lab, over| until_hit(lab, over).map(|hit| calls = hit))?
            }
            Some(passage) => lane.upgrade_while(Some(&passage), |lab, over| {
                at_step(lab, |lab, pid| {
                    let pid = later(lab, pid, self.part.then())?;
                    self.attach(lab, pid, nth)?;
                    lab.resume(pid)
                })?;
                until_hit(lab, over).map(|hit| calls = hit)
            })?,
        };
        if attempt["outcome"] == "OUTCOME_FAILED" || attempt["refused"] == true {
            ensure!(lane.fleet.host.pid()? == before, "the old version did not run on: {calls}");
        }
        Ok((attempt, calls))
    }

    fn attach(self, lab: &Lab, pid: u32, nth: usize) -> Result<()> {
        let (calls, error) = (self.kind.calls(), self.error.name());
        let only = match (self.kind, self.part) {
            (Kind::Sync | Kind::Rename | Kind::Link, _) => String::new(),
            (Kind::Write, Part::PickUp) => {
                let probe = format!(".novacula-probe.{pid}");
                format!("-P {STATE}/journal.json.new -P {STATE}/{probe} -P {BINARIES}/{probe}")
            }
            (Kind::Write, _) => format!("-P {STATE}/journal.json.new"),
            (Kind::Bytes, Part::PutBack | Part::CrashLoop) => format!("-P {BINARIES}/novacula-agent.back"),
            (Kind::Bytes, _) => {
                format!("-P {}", lab.run(["sh", "-c", &format!("ls {BINARIES}/.novacula-download-*")])?)
            }
        };
        let follow = if self.part.follows() { "-f" } else { "" };
        attach(lab, &format!("{follow} -e trace={calls} -e inject={calls}:error={error}:when={nth} {only}"), pid)
    }

    /// Parts of what has to be hit.
    fn sites(self) -> Vec<&'static str> {
        let mut sites = match self.kind {
            Kind::Sync => vec!["journal.json.new>", "/novacula>"],
            Kind::Rename => vec!["journal.json.last.new\"", "journal.json.new\""],
            Kind::Link => vec!["journal.json.last.new\""],
            Kind::Write => vec!["journal.json.new>"],
            Kind::Bytes => Vec::new(),
        };
        sites.extend(match (self.part, self.kind) {
            (Part::PickUp, Kind::Sync | Kind::Write) => &["/bin/.novacula-probe.", "/novacula/.novacula-probe."][..],
            (Part::PickUp, Kind::Rename | Kind::Link) => &[".novacula-probe."],
            (Part::Swap, Kind::Sync) => &[".novacula-download-", "/bin>"],
            (Part::Swap, Kind::Rename) => &["novacula-agent.prev.new\"", ".novacula-download-"],
            (Part::Swap, Kind::Link) => &["novacula-agent.prev.new\""],
            (Part::Download, Kind::Bytes) => &[".novacula-download-"],
            (Part::PutBack | Part::CrashLoop, Kind::Sync) => &["novacula-agent.back>", "/bin>"],
            (Part::PutBack, Kind::Rename) => &["novacula-agent.back\""],
            (Part::PutBack, Kind::Bytes) => &["novacula-agent.back>"],
            _ => &[],
        });
        sites
    }

    /// Whether what failed belongs to the next part already.
    fn is_beyond(self, lane: &mut Lane, attempt: &Value) -> Result<bool> {
        Ok(match self.part {
            Part::PickUp => attempt["stage"] == "swap",
            // A confirmation that could not be written down is begun again.
            Part::Start => lane.passed(CONFIRM_BEGUN)? > 1,
            Part::Download | Part::Swap | Part::Count | Part::Confirm | Part::PutBack | Part::CrashLoop => false,
        })
    }

    fn check(self, lane: &Lane, attempt: &Value, ending: &Ending) -> Result<()> {
        let Ending { runs, outcome, stage, code } = ending;
        match (self.part, *runs) {
            // What the journal says then only helps; a swap that is made is not undone; a confirmation is tried again.
            (Part::PickUp | Part::Swap, "new") => {}
            (Part::PickUp, _) => {
                let wanted = if self.error == Error::NoSpace { "NO_SPACE" } else { "IO" };
                ensure!(outcome == "refused" && stage == "preflight", "{ending:?}");
                ensure!(code == wanted || code == "JOURNAL", "{ending:?}");
                self.says(attempt)?;
            }
            (Part::Count | Part::Start | Part::Confirm, runs) => ensure!(runs == "new", "{ending:?}"),
            (Part::Download, _) => {
                let wanted = if self.error == Error::NoSpace { "NO_SPACE" } else { "IO" };
                ensure!(outcome == "failed" && stage == "download" && code == wanted, "{ending:?}");
                self.says(attempt)?;
            }
            (Part::Swap, _) => {
                ensure!(outcome == "failed" && stage == "swap" && (code == "IO" || code == "JOURNAL"), "{ending:?}");
                self.says(attempt)?;
            }
            (Part::PutBack, _) => {
                ensure!(outcome == "rolled_back" && stage == "confirm" && code == "WRONG_VERSION", "{ending:?}");
            }
            (Part::CrashLoop, _) => {
                // Where the way back could not even be written down, the fourth start takes it.
                let known = code == "CRASH_LOOP" || code == "TOO_MANY_STARTS";
                ensure!(outcome == "rolled_back" && stage == "start" && known, "{ending:?}");
            }
        }
        let status = lane.fleet.host.agent(&["status"])?;
        ensure!(status.status.success(), "status: {}", String::from_utf8_lossy(&status.stderr));
        Ok(())
    }

    /// The cause is said.
    fn says(self, attempt: &Value) -> Result<()> {
        let message = attempt["message"].as_str().unwrap_or_default();
        ensure!(message.contains(self.error.words()), "the cause is not said: {message}");
        Ok(())
    }

    fn row(self, nth: usize, calls: &str, ending: &Ending) -> String {
        let Ending { runs, outcome, stage, code } = ending;
        let call = calls.lines().next().map_or("no such call".to_owned(), shown);
        format!("{self} {nth} | {call} | {runs} | {outcome} | {stage} | {code}\n")
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.part.slug(), self.error.name(), self.kind)
    }
}

/// Lets the process that has stopped go on, and waits for the next one that begins with the journal: as often as there are words.
fn later(lab: &Lab, mut pid: u32, words: &[&str]) -> Result<u32> {
    for word in words {
        lab.write(FAULT, word)?;
        lab.resume(pid)?;
        pid = lab.wait_stopped("novacula-agent", SOON)?;
    }
    if !words.is_empty() {
        lab.write(FAULT, "")?;
    }
    Ok(pid)
}

/// A line of strace's as its call and the last names of its files: `rename journal.json.new journal.json`.
fn shown(line: &str) -> String {
    let (call, rest) = line.split_once('(').unwrap_or((line, ""));
    let ours = rest.split(['<', '>', '"']).filter(|part| part.starts_with(BINARIES) || part.starts_with(STATE));
    let names: Vec<_> = ours.filter_map(|path| path.rsplit('/').next()).collect();
    format!("{} {}", call.rsplit(' ').next().unwrap_or(call), names.join(" "))
}

/// Waits until a call has failed, or until there is nothing more to come: the attempt is over, and its outcome acknowledged.
/// Lets the process go and returns the calls that failed.
fn until_hit(lab: &mut Lab, over: &dyn Fn() -> bool) -> Result<String> {
    let look = || {
        let told = || lab.read(format!("{STATE}/journal.json")).is_ok_and(|journal| !is_waiting(&journal));
        Ok(!failed(lab)?.is_empty() || (over() && told()))
    };
    wait::until("a call to fail, or the end", SOON * 2, look, |done| *done)?;
    detach(lab)?;
    failed(lab)
}

/// Whether a journal holds an outcome that was not acknowledged.
fn is_waiting(journal: &[u8]) -> bool {
    String::from_utf8_lossy(journal).contains("\"unsent_outcomes\"")
}

/// Nothing is left beside what belongs there.
fn clean(lab: &Lab) -> Result<()> {
    let names = lab.run(["ls", "-A", BINARIES, STATE])?;
    let strays: Vec<_> = names.lines().filter(|name| is_stray(name)).collect();
    ensure!(strays.is_empty(), "left behind: {strays:?}");
    Ok(())
}

fn is_stray(name: &str) -> bool {
    [".new", ".back", ".unusable"].iter().any(|end| name.ends_with(end)) || name.starts_with(".novacula-")
}
