//! The look at images against a real registry process (`docker-registry`), as its people run it: open, behind a password, behind
//! TLS of its own authority; and against listeners that answer as no registry does.

#[path = "registry/asks.rs"]
mod asks;
#[path = "registry/lies.rs"]
mod lies;
#[path = "registry/process.rs"]
mod process;
#[path = "registry/scene.rs"]
mod scene;
#[path = "registry/web.rs"]
mod web;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// No case takes this long unless it is stuck.
const STUCK: Duration = Duration::from_secs(60);

type Result<T = ()> = anyhow::Result<T>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // For the library that pushes; what is tested brings its own.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut trials = asks::trials();
    trials.extend(lies::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A case that needs `docker-registry`; without it, it is ignored, or fails where every part is required.
fn trial<F>(name: &'static str, case: fn() -> F) -> Trial
where
    F: Future<Output = Result> + 'static,
{
    Trial::ignorable_test(name, move || match process::program() {
        Some(_) => run(case()).map(|()| Completion::Completed),
        None if std::env::var("NOVACULA_REQUIRE").is_ok_and(|value| value == "all") => Err(process::REMEDY.into()),
        None => Ok(Completion::ignored_with(process::REMEDY)),
    })
}

/// A case that needs nothing.
fn plain<F>(name: &'static str, case: fn() -> F) -> Trial
where
    F: Future<Output = Result> + 'static,
{
    Trial::test(name, move || run(case()))
}

fn run(case: impl Future<Output = Result>) -> std::result::Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let end = runtime.block_on(async { tokio::time::timeout(STUCK, case).await });
    runtime.shutdown_background();
    let end = end.unwrap_or_else(|_| Err(anyhow::anyhow!("stuck for {STUCK:?}")));
    end.map_err(|error| Failed::from(format!("{error:?}")))
}
