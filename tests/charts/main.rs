//! The Helm charts: what they render with values from the least to the most, what they refuse, what they promise whatever the
//! values, and what becomes of a release in a real cluster, with Helm 3 and 4.

mod admitted;
mod environment;
mod gitops;
mod golden;
mod image;
mod promises;
mod refusals;
mod release;
mod rights;
mod server;
mod values;

use std::process::ExitCode;

use libtest_mimic::Arguments;

/// Trials at once: most of them wait for Helm, or for the cluster.
const AT_ONCE: usize = 4;

type Result<T = ()> = anyhow::Result<T>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let mut trials = golden::trials();
    trials.extend(values::trials());
    trials.extend(environment::trials());
    trials.extend(refusals::trials());
    trials.extend(promises::trials());
    trials.extend(admitted::trials());
    trials.extend(image::trials());
    trials.extend(rights::trials());
    trials.extend(gitops::trials());
    trials.extend(server::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}
