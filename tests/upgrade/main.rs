//! The executor's stream against a control plane over real TLS: rules 6 to 12, and peers that mean harm.
//!
//! The control plane is the product's own parts in this process (`plane`), over the embedded store with a hand on its faults
//! and its clock. The executor is a fake (`fake`) that enrolled like any other and says exactly what a case tells it to.

mod attacks;

mod cluster;

mod deliver;

mod end;

mod excess;

mod fake;

mod forget;

mod ghost;

mod hostile;

mod operator;

mod leave;

mod own;

mod plane;

mod renewal;

mod yank;

mod web;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};

/// No case waits this long unless it is stuck.
const STUCK: Duration = Duration::from_secs(90);

type Result<T = ()> = anyhow::Result<T>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = deliver::trials();
    trials.extend(own::trials());
    trials.extend(leave::trials());
    trials.extend(end::trials());
    trials.extend(hostile::trials());
    trials.extend(excess::trials());
    trials.extend(ghost::trials());
    trials.extend(yank::trials());
    trials.extend(attacks::trials());
    trials.extend(renewal::trials());
    trials.extend(forget::trials());
    trials.extend(operator::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A case on a runtime of its own.
fn trial<F>(name: &'static str, case: fn() -> F) -> Trial
where
    F: Future<Output = Result> + 'static,
{
    Trial::test(name, move || run(case).map_err(|error| format!("{error:?}").into()))
}

/// Its runtime.
fn run<F>(case: fn() -> F) -> Result
where
    F: Future<Output = Result> + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let end = runtime.block_on(async { tokio::time::timeout(STUCK, case()).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    end.unwrap_or_else(|_| Err(anyhow::anyhow!("stuck for {STUCK:?}")))
}
