//! The web page in a real Chromium, against a real control plane: signing in, what attackers try, whom a page keeps out, what it
//! weighs, how it looks, and what becomes of an upgrade while somebody watches.

mod stage;

mod http;

mod signin;

mod oidc;

mod security;

mod foreign_text;

mod budget;

mod access;

mod flows;

mod forms;

mod upload;

mod feed;

mod pages;

mod look;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use harness::browser::BROWSER;
use harness::parts;
use libtest_mimic::{Arguments, Trial};

/// No case takes this long unless it is stuck.
const STUCK: Duration = Duration::from_secs(120);

/// Trials at once: each has a browser and a control plane, and waits for one of them half of its time.
const AT_ONCE: usize = 3;

type Result<T = ()> = anyhow::Result<T>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let mut trials = signin::trials();
    trials.extend(oidc::trials());
    trials.extend(security::trials());
    trials.extend(foreign_text::trials());
    trials.extend(budget::trials());
    trials.extend(access::trials());
    trials.extend(flows::trials());
    trials.extend(forms::trials());
    trials.extend(upload::trials());
    trials.extend(feed::trials());
    trials.extend(pages::trials());
    trials.extend(look::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A case with a browser, on a runtime of its own.
fn trial<F>(name: &'static str, case: fn() -> F) -> Trial
where
    F: Future<Output = Result> + 'static,
{
    parts::trial(name, BROWSER, move || run(case))
}

fn run<F>(case: fn() -> F) -> Result
where
    F: Future<Output = Result> + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let end = runtime.block_on(async { tokio::time::timeout(STUCK, case()).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    end.unwrap_or_else(|_| Err(anyhow::anyhow!("stuck for {STUCK:?}")))
}
