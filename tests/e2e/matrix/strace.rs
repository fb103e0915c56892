//! strace inside a lab: what a process asks of the kernel, and single calls that fail. And, from the kernel's side, the claim
//! that the crash matrix rests on.

use agent::fault::{Passage, SWAP_BEGUN, SWAP_JOURNALLED, SWAP_NOTED};
use anyhow::{Context, Result, bail, ensure};
use harness::{
    fleet::SOON,
    lab::{self, Lab},
    parts::{Part, trial},
    wait,
};
use libtest_mimic::Trial;

use super::{lane::Lane, row::Phase};

/// Where strace writes, inside.
const LOG: &str = "/var/tmp/strace.log";

const PID: &str = "/var/tmp/strace.pid";

/// Calls that change files, but for `write`; those that this machine lacks are left out.
const CHANGES: &str =
    "openat,?link,linkat,?rename,renameat,renameat2,?unlink,unlinkat,fsync,fdatasync,?fchmod,fchmodat,ftruncate";

/// What the agent logs at each fault point.
const PASSED: &str = "fault point passed point=";

/// What strace adds to a call that it let fail.
const INJECTED: &str = "(INJECTED)";

/// A lab's parts, and strace.
pub(crate) const PARTS: &[Part] = &{
    let mut parts = [Part::Strace; lab::PARTS.len() + 1];
    let mut at = 0;
    while at < lab::PARTS.len() {
        parts[at] = lab::PARTS[at];
        at += 1;
    }
    parts
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("disk::a_fault_point_lies_between_any_two_writes_of_a_swap", PARTS, between_any_two)]
}

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

/// Lets strace, inside, take hold of every thread of a process.
pub(crate) fn attach(lab: &Lab, options: &str, pid: u32) -> Result<()> {
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

/// The calls that failed so far, a line each.
pub(crate) fn failed(lab: &Lab) -> Result<String> {
    let log = lab.read(LOG).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    Ok(log.lines().filter(|line| line.contains(INJECTED)).map(|line| format!("{line}\n")).collect())
}

/// Lets the process go; returns what strace saw.
pub(crate) fn detach(lab: &Lab) -> Result<String> {
    // It has ended by itself when the agent was restarted. Asked to end while the agent ends, it may wait for ever: so it is
    // not asked. Its log is written by the line.
    lab.exec(["sh", "-c", &format!("kill -KILL $(cat {PID})")])?;
    let gone = || Ok(lab.exec(["sh", "-c", &format!("kill -0 $(cat {PID})")])?.status.success());
    wait::until("strace to let go", SOON, gone, |there| !there)?;
    Ok(String::from_utf8_lossy(&lab.read(LOG)?).into_owned())
}
