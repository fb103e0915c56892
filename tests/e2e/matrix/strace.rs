//! Single system calls that fail: the nth sync, rename, link or journal write of a swap, for every n there is.
//!
//! The agent is stopped when leave is in hand and nothing was written, strace takes hold of it, and it goes on. Before the
//! swap a failure is said with its cause, the very process runs on, and asking again works. After it nothing is undone. A
//! sweep fails as well when a call that it has to hit was never made: then the swap is another one than was thought.

use agent::fault::{Passage, SWAP_BEGUN, SWAP_JOURNALLED, SWAP_NOTED};
use anyhow::{Context, Result, bail, ensure};
use harness::{
    fleet::SOON,
    lab::{self, Lab},
    parts::{Part, trial},
    wait,
};
use libtest_mimic::Trial;
use serde_json::Value;

use super::{lane::Lane, row::Phase};

/// More than there are calls of one kind in a swap.
const MOST: usize = 12;

/// Where strace writes, inside.
const LOG: &str = "/var/tmp/strace.log";

const PID: &str = "/var/tmp/strace.pid";

/// Calls that change files, but for `write`; those that this machine lacks are left out.
const CHANGES: &str =
    "openat,?link,linkat,?rename,renameat,renameat2,?unlink,unlinkat,fsync,fdatasync,?fchmod,fchmodat,ftruncate";

/// What the agent logs at each fault point.
const PASSED: &str = "fault point passed point=";

/// A lab's parts, and strace.
const PARTS: &[Part] = &{
    let mut parts = [Part::Strace; lab::PARTS.len() + 1];
    let mut at = 0;
    while at < lab::PARTS.len() {
        parts[at] = lab::PARTS[at];
        at += 1;
    }
    parts
};

/// One kind of call that fails.
struct Sweep {
    name: &'static str,
    /// Names of the call, as strace takes them; those that this machine lacks are left out.
    calls: &'static str,
    error: &'static str,
    /// The error in words.
    words: &'static str,
    /// Only with this file.
    file: Option<&'static str>,
    /// Parts of what must have been hit.
    sites: &'static [&'static str],
}

const SWEEPS: [Sweep; 4] = [
    Sweep {
        name: "sync",
        calls: "fsync,fdatasync",
        error: "EIO",
        words: "Input/output error",
        file: None,
        sites: &["journal.json.new>", "/novacula>", ".novacula-download-", "/bin>"],
    },
    Sweep {
        name: "rename",
        calls: "?rename,renameat,renameat2",
        error: "EIO",
        words: "Input/output error",
        file: None,
        sites: &["journal.json.last.new\"", "journal.json.new\"", "novacula-agent.prev.new\"", ".novacula-download-"],
    },
    Sweep {
        name: "link",
        calls: "?link,linkat",
        error: "EIO",
        words: "Input/output error",
        file: None,
        sites: &["journal.json.last.new\"", "novacula-agent.prev.new\""],
    },
    Sweep {
        name: "journal_write",
        calls: "write",
        error: "ENOSPC",
        words: "No space left on device",
        file: Some("/var/lib/novacula/journal.json.new"),
        sites: &["journal.json.new>"],
    },
];

pub(crate) fn trials() -> Vec<Trial> {
    let sweep = |sweep: Sweep| {
        let name = format!("disk::every_{}_of_a_swap_may_fail_with_{}", sweep.name, sweep.error.to_lowercase());
        trial(name, PARTS, move || run(&sweep))
    };
    let between = "disk::a_fault_point_lies_between_any_two_writes_of_a_swap";
    SWEEPS.into_iter().map(sweep).chain([trial(between, PARTS, between_any_two)]).collect()
}

/// The claim that the crash matrix rests on, from the kernel's side.
fn between_any_two() -> Result<()> {
    let mut lane = Lane::start(Phase::Apply)?;
    let begun = Passage { scope: SWAP_BEGUN, point: SWAP_BEGUN, nth: 1 };
    let attempt = lane.upgrade_with(&begun, |lab, pid| {
        attach(lab, &format!("-e trace={CHANGES},write"), pid)?;
        lab.resume(pid)
    })?;
    ensure!(lane.judge(&attempt)?.runs == "new", "the swap was made");
    let log = detach(lane.fleet.host.machine()?)?;
    let begins = |line: &&str| line.contains(PASSED) && line.contains(SWAP_JOURNALLED);
    let thread = log.lines().find(begins).and_then(|line| line.split(' ').next()).context("nobody swapped")?;
    let mut last = None;
    let mut changes = 0;
    for line in log.lines().filter(|line| line.split(' ').next() == Some(thread)) {
        if line.contains(PASSED) {
            last = None;
        } else if is_change(line) {
            ensure!(last.is_none(), "no fault point between\n{}\n{line}", last.unwrap_or_default());
            (last, changes) = (Some(line), changes + 1);
        }
        if line.contains(SWAP_NOTED) {
            // Two writes of the journal, seven calls each; the artifact, a link, two renames, two syncs of the directory.
            ensure!(changes >= 2 * 7 + 6, "only {changes} changes were seen:\n{log}");
            return Ok(());
        }
    }
    bail!("the swap did not come to its end:\n{log}")
}

/// Whether a line of strace's is a call that changed something on the agent's disks.
fn is_change(line: &str) -> bool {
    let ours = line.contains("/opt/novacula") || line.contains("/var/lib/novacula");
    let reads = line.contains("openat(") && !line.contains("O_CREAT");
    // The lock is a file that is there already.
    ours && !reads && !line.contains("/lock\"") && !line.contains(" = -1 ")
}

fn run(sweep: &Sweep) -> Result<()> {
    let mut lane = Lane::start(Phase::Apply)?;
    let mut hit = String::new();
    for nth in 1..=MOST {
        let struck = strike(&mut lane, sweep, nth);
        let about = format!("{} {nth}", sweep.name);
        let injected = struck.map_err(|error| lane.told(&about, error))?;
        if injected.is_empty() {
            // The swap makes fewer such calls than this: all of them were hit.
            let missed: Vec<_> = sweep.sites.iter().filter(|site| !hit.contains(**site)).collect();
            ensure!(missed.is_empty(), "never hit: {missed:?}; hit were:\n{hit}");
            return lane.fleet.host.expect_nothing_failed();
        }
        hit += &injected;
    }
    bail!("{MOST} swaps were not enough to hit every {}:\n{hit}", sweep.name)
}

/// One upgrade, whose `nth` call fails; if that ended it, another one that has to succeed. Returns the calls that failed.
fn strike(lane: &mut Lane, sweep: &Sweep, nth: usize) -> Result<String> {
    let before = lane.fleet.host.pid()?;
    let begun = Passage { scope: SWAP_BEGUN, point: SWAP_BEGUN, nth: 1 };
    let attempt = lane.upgrade_with(&begun, |lab, pid| {
        let Sweep { calls, error, file, .. } = sweep;
        let only = file.map(|file| format!("-P {file}")).unwrap_or_default();
        attach(lab, &format!("-e trace={calls} -e inject={calls}:error={error}:when={nth} {only}"), pid)?;
        lab.resume(pid)
    })?;
    let ending = lane.judge(&attempt)?;
    let log = detach(lane.fleet.host.machine()?)?;
    let injected = log.lines().filter(|line| line.contains("(INJECTED)"));
    let injected: String = injected.map(|line| format!("{line}\n")).collect();
    if ending.runs == "new" {
        return Ok(injected);
    }
    says(sweep, &attempt).with_context(|| injected.clone())?;
    ensure!(lane.fleet.host.pid()? == before, "the old version did not run on: {injected}");
    let wanted = lane.other.number;
    lane.ask()?;
    let again = lane.fleet.attempt()?;
    ensure!(lane.judge(&again)?.runs == "new", "{wanted} was not reached by asking again: {injected}{again:#}");
    Ok(injected)
}

/// The attempt failed at the swap, and says why.
fn says(sweep: &Sweep, attempt: &Value) -> Result<()> {
    ensure!(attempt["outcome"] == "OUTCOME_FAILED" && attempt["stage"] == "swap", "it did not fail at the swap");
    ensure!(attempt["errorCode"] == "IO" || attempt["errorCode"] == "JOURNAL", "the code is another");
    let message = attempt["message"].as_str().unwrap_or_default();
    ensure!(message.contains(sweep.words), "the cause is not said: {message}");
    Ok(())
}

/// Lets strace, inside, take hold of every thread of a process, and of none that comes later: a call fails once, and what
/// is tried again after a while is let through.
fn attach(lab: &Lab, options: &str, pid: u32) -> Result<()> {
    let strace = format!("strace -qq -y -s 256 -o {LOG} {options}");
    let threads = format!("$(ls /proc/{pid}/task | sed 's/^/-p /')");
    let script = format!("exec > /dev/null 2>&1 < /dev/null; echo $$ > {PID}; exec {strace} {threads}");
    lab.run(["rm", "-f", LOG, PID])?;
    lab.run(["setsid", "--fork", "sh", "-c", &script])?;
    let untraced = format!("grep -L 'TracerPid:\t[1-9]' /proc/{pid}/task/*/status");
    // grep -L ends with 0 or 1 by its version; what counts is what it prints.
    let look = || Ok(lab.exec(["sh", "-c", &untraced])?.stdout.len());
    wait::until("strace to have every thread", SOON, look, |untraced| *untraced == 0).map(drop)
}

/// Lets the process go; returns what strace saw.
fn detach(lab: &Lab) -> Result<String> {
    // It has ended by itself when the agent was restarted.
    lab.exec(["sh", "-c", &format!("kill $(cat {PID})")])?;
    let gone = || Ok(lab.exec(["sh", "-c", &format!("kill -0 $(cat {PID})")])?.status.success());
    wait::until("strace to let go", SOON, gone, |there| !there)?;
    Ok(String::from_utf8_lossy(&lab.read(LOG)?).into_owned())
}
