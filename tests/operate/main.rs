//! The control plane as people run it: `novacula-server` as a process, its commands and signals, every command of
//! `novacula`, the calls that our pages show, restored backups, long absences, what it logs, replicas over one database, and
//! peers that mean harm measured against its memory.

mod absence;

mod agent;

mod balancer;

mod batch;

mod calls;

mod certificates;

mod cli;

mod clocks;

mod commands;

mod deploy;

mod drain;

mod enrol;

mod flood;

mod http;

mod identity;

mod import;

mod logs;

mod offers;

mod operators;

mod replicas;

mod restore;

mod rolling;

mod rotation;

mod slow;

mod watch;

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use harness::parts::{self, Part};
use libtest_mimic::{Arguments, Trial};

/// No case takes this long unless it is stuck.
const STUCK: Duration = Duration::from_secs(240);

/// Trials at once: most of them wait, for leases, for processes to start, for a database to come back.
const AT_ONCE: usize = 4;

type Result<T = ()> = anyhow::Result<T>;

fn main() -> ExitCode {
    if let Some(read) = clocks::read() {
        return read;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let mut trials = commands::trials();
    trials.extend(batch::trials());
    trials.extend(drain::trials());
    trials.extend(certificates::trials());
    trials.extend(calls::trials());
    trials.extend(http::trials());
    trials.extend(cli::trials());
    trials.extend(clocks::trials());
    trials.extend(logs::trials());
    trials.extend(enrol::trials());
    trials.extend(identity::trials());
    trials.extend(flood::trials());
    trials.extend(absence::trials());
    trials.extend(restore::trials());
    trials.extend(replicas::trials());
    trials.extend(offers::trials());
    trials.extend(operators::trials());
    trials.extend(import::trials());
    trials.extend(rotation::trials());
    trials.extend(watch::trials());
    trials.extend(slow::trials());
    trials.extend(balancer::trials());
    trials.extend(rolling::trials());
    trials.extend(deploy::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// `novacula-server`, as cargo built it for this suite.
fn server() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_fixture-server"))
}

/// A case on a runtime of its own.
fn trial<F>(name: &'static str, parts: &'static [Part], case: fn() -> F) -> Trial
where
    F: Future<Output = Result> + 'static,
{
    trial_within(STUCK, name, parts, case)
}

/// One that may take this long.
fn trial_within<F>(limit: Duration, name: &'static str, parts: &'static [Part], case: fn() -> F) -> Trial
where
    F: Future<Output = Result> + 'static,
{
    parts::trial(name, parts, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let end = runtime.block_on(async { tokio::time::timeout(limit, case()).await });
        runtime.shutdown_timeout(Duration::from_secs(1));
        end.unwrap_or_else(|_| Err(anyhow::anyhow!("stuck for {limit:?}")))
    })
}
