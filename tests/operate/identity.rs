//! A disk that fails under an executor's identity: every write, sync and rename of an enrolment and of a renewal in turn, let
//! fail by strace with EIO and with ENOSPC.
//!
//! An enrolment says the cause, and the same token does it when the disk is well. A renewal that fails costs nothing: the old
//! certificate counts, the stream stays, and the next try renews. A sweep ends when there is no further such call, and fails when
//! a file that it has to hit was not written.

use std::fmt;
use std::fs;

use anyhow::{Context as _, ensure};
use executor_sdk::clock;
use harness::daemon::{Daemon, SOON, succeeded};
use harness::day::Day;
use harness::parts::Part;
use harness::wait;
use libtest_mimic::Trial;
use proto::v1;

use crate::agent::{Agent, online};
use crate::{Result, server, trial};

/// More than there are calls of one kind.
const MOST: usize = 16;

/// So long ago that a certificate of then is to be renewed, and counts still.
const FORTNIGHT: u32 = 14;

const NAME: &str = "web-1";

/// What has to be hit.
const FILES: [&str; 2] = ["pending-key.pem", "credentials.json"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("every_write_of_an_enrolment_may_fail", &[Part::Strace], enrolment),
        trial("every_write_of_a_renewal_may_fail", &[Part::Strace, Part::Faketime], renewal),
    ]
}

/// The nth calls of one kind, in their order.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    calls: &'static str,
    error: &'static str,
    words: &'static str,
}

const SWEEPS: [Sweep; 6] = {
    const SYNCS: &str = "fsync,fdatasync";
    const RENAMES: &str = "?rename,renameat,renameat2";
    const WRITES: &str = "write,pwrite64,writev";
    const IO: (&str, &str) = ("EIO", "Input/output error");
    const NO_SPACE: (&str, &str) = ("ENOSPC", "No space left on device");
    const fn sweep(calls: &'static str, (error, words): (&'static str, &'static str)) -> Sweep {
        Sweep { calls, error, words }
    }
    [
        sweep(WRITES, IO),
        sweep(WRITES, NO_SPACE),
        sweep(SYNCS, IO),
        sweep(SYNCS, NO_SPACE),
        sweep(RENAMES, IO),
        sweep(RENAMES, NO_SPACE),
    ]
};

// === impl Sweep ===

impl Sweep {
    /// strace beside an agent, which lets the `nth` of the calls fail.
    fn tracer(self, agent: &Agent, nth: usize) -> Vec<String> {
        let Self { calls, error, .. } = self;
        let state = agent.state();
        let files = FILES.map(|file| format!("-P {}", state.join(format!("{file}.new")).display()));
        let log = agent.note("strace.log");
        let line = format!(
            "strace -D -f -qq -y -s 256 -o {} -e trace={calls} -e inject={calls}:error={error}:when={nth} {} -P {}",
            log.display(),
            files.join(" "),
            state.display(),
        );
        line.split(' ').map(str::to_owned).collect()
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.error, self.calls)
    }
}

/// The calls that failed so far, a line each.
fn failed(agent: &Agent) -> String {
    let log = fs::read_to_string(agent.note("strace.log")).unwrap_or_default();
    log.lines().filter(|line| line.contains("(INJECTED)")).map(|line| format!("{line}\n")).collect()
}

fn expect_hit(sweep: Sweep, hit: &str) -> Result {
    for file in FILES {
        ensure!(hit.contains(file), "{sweep} never hit {file}; hit were:\n{hit}");
    }
    Ok(())
}

/// What lies about.
fn left(agent: &Agent) -> Result<Vec<String>> {
    let names = fs::read_dir(agent.state())?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(names.into_iter().filter(|name| name.ends_with(".new")).collect())
}

async fn count(daemon: &Daemon, name: &str, kind: &str) -> Result<usize> {
    let request = v1::ListEventsRequest {
        parent: "organizations/acme".to_owned(),
        target: format!("organizations/acme/executors/{name}"),
        types: vec![kind.to_owned()],
        ..v1::ListEventsRequest::default()
    };
    Ok(daemon.client("owner").await?.events().list_events(request).await?.into_inner().events.len())
}

async fn enrolment() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    let agent = Agent::new("unnamed")?;
    let mut hosts = 0;
    for sweep in SWEEPS {
        let mut hit = String::new();
        for nth in 1..=MOST {
            hosts += 1;
            let name = format!("web-{hosts}");
            let word = daemon.join_word(&name).await?;
            agent.forget(None)?;
            let output = agent.enroll_under(&sweep.tracer(&agent, nth), &word)?;
            let calls = failed(&agent);
            if calls.is_empty() {
                succeeded(&output).with_context(|| sweep.to_string())?;
                break;
            }
            ensure!(nth < MOST, "{sweep} never ended");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(!output.status.success() && said.contains(sweep.words), "{sweep} {nth}: {calls}{said}");
            // The disk is well again, and the token as good as before.
            succeeded(&agent.enroll_by(&word)?).with_context(|| calls.clone())?;
            let enrolled = agent.credentials()?.executor.to_string();
            ensure!(enrolled == format!("organizations/acme/executors/{name}"), "{enrolled}: {calls}");
            ensure!(count(&daemon, &name, "executor.enrolled").await? == 1, "enrolled more than once: {calls}");
            ensure!(left(&agent)?.is_empty(), "{:?} is left: {calls}", left(&agent)?);
            ensure!(!agent.state().join(FILES[0]).exists(), "the pending key is left: {calls}");
            hit += &calls;
        }
        expect_hit(sweep, &hit)?;
    }
    Ok(())
}

async fn renewal() -> Result {
    let then = Day::days_ago(FORTNIGHT)?;
    let mut daemon = Daemon::empty(server())?;
    daemon.on_day(Some(then.clone()));
    daemon.bootstrap()?;
    daemon.start()?;
    let mut agent = Agent::new(NAME)?;
    let word = crate::absence::novacula(&daemon, &then, &["join-token", "create", "--executor", NAME])?;
    agent.enroll(word.trim(), Some(&then))?;
    let old = agent.credentials()?;
    let kept = tempfile::tempdir()?;
    fs::copy(agent.state().join("credentials.json"), kept.path().join("credentials.json"))?;
    daemon.kill();
    daemon.on_day(None);
    daemon.start()?;
    for sweep in SWEEPS {
        let mut hit = String::new();
        for nth in 1..=MOST {
            agent.forget(Some(kept.path()))?;
            let calls = one_renewal(&daemon, &mut agent, sweep, nth).await?;
            if calls.is_empty() {
                break;
            }
            ensure!(nth < MOST, "{sweep} never ended");
            hit += &calls;
        }
        expect_hit(sweep, &hit)?;
    }
    let renewed = agent.credentials()?;
    ensure!(renewed.uid == old.uid && renewed.chain() != old.chain(), "the same executor with a new certificate");
    Ok(())
}

/// A start that renews while the `nth` call fails, and one that may. Returns the calls that failed; none: there are fewer.
async fn one_renewal(daemon: &Daemon, agent: &mut Agent, sweep: Sweep, nth: usize) -> Result<String> {
    const RENEWED: &str = "the certificate was renewed";
    agent.start_under(&sweep.tracer(agent, nth), None)?;
    let about = |agent: &Agent| format!("{sweep} {nth}: {}{}", failed(agent), agent.log());
    let look = || Ok(agent.log());
    let told = |log: &String| log.contains(RENEWED) || log.contains(sweep.words);
    let log = wait::until("the end of a renewal", SOON, look, told).with_context(|| about(agent))?;
    let calls = failed(agent);
    if calls.is_empty() {
        ensure!(log.contains(RENEWED), "{}", about(agent));
    } else {
        ensure!(log.contains(sweep.words), "the cause is not said: {}", about(agent));
    }
    // The journal is written before the first dial, in the same directory: without it there is no run, and a service manager starts it again.
    let began = !log.contains("begin with the journal");
    ensure!(!began || daemon.metric("novacula_streams").await? > 0.0, "it was cut off: {}", about(agent));
    gone(daemon, agent).await?;

    agent.start(None)?;
    online(daemon, NAME).await.with_context(|| about(agent))?;
    let due = || Ok(agent.credentials().is_ok_and(|now| now.validity().renew_in(clock::wall(), 0.0).is_zero()));
    wait::until("a certificate that is not due", SOON, due, |due| !due).with_context(|| about(agent))?;
    // A pending key whose certificate is kept may stay: it is used for the next request.
    wait::until("nothing to be left", SOON, || left(agent), Vec::is_empty).with_context(|| about(agent))?;
    gone(daemon, agent).await?;
    Ok(calls)
}

/// Kills it, and waits until the control plane knows: a start that displaces its own stream too often would be a duel.
async fn gone(daemon: &Daemon, agent: &mut Agent) -> Result {
    agent.kill();
    let end = tokio::time::Instant::now() + SOON;
    while daemon.metric("novacula_streams").await? > 0.0 {
        ensure!(tokio::time::Instant::now() < end, "its stream is open still");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(())
}
