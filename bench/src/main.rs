//! `cargo bench-fleet`: how long from the request of an upgrade, its commit included, to its receipt, for a fleet that holds streams, beside the
//! same fleet that asks every 5 s as it did before Novacula, in the same run on the same machine.
//!
//! `cargo bench-replicas`: the same on one replica and across two over PostgreSQL, and the statements that PostgreSQL counts for it.
//!
//! `cargo bench-memory`: what control plane and agent hold in memory, as people run them. Build them first, with the same profile:
//! `cargo build --release -p novacula-server -p novacula-cli -p novacula-agent`, or say with `--binaries` where those of the profile
//! `dist` are, which have to keep their bars.
//!
//! `cargo bench-pages`: what the web page costs over a fleet of 100,000, beside the API, and what 500 live pages hold in memory.
//!
//! Everything is real but the hosts: one control plane over its embedded store, full durability, mutual TLS, one enrolled identity and one
//! connection an executor. Control plane and fleet share this process and its cores, so that both clocks are one; figures are upper bounds.
//! Compare the ratio, not the microseconds: machines differ.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

mod ask;

mod disk;

mod figures;

mod fleet;

mod held;

mod memory;

mod pages;

mod push;

mod replicas;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser};

/// What Novacula costs, measured
#[derive(Debug, Parser)]
enum Bench {
    /// Request to receipt of one upgrade per executor: streams beside polling
    Fleet(Load),
    /// The same on one replica and across two over PostgreSQL, whose statements are counted
    Replicas(Load),
    /// What the web page costs, over executors that are rows in the store
    Pages {
        /// Executors
        #[arg(long, default_value_t = 100_000)]
        executors: usize,
    },
    /// What the programs of people hold in memory
    Memory {
        /// Executors
        #[arg(long, default_value_t = memory::BAR_STREAMS)]
        executors: usize,
        /// Where the programs are that are shipped: fails where one of them is over its bar. Unless said, those beside this one are measured
        #[arg(long, value_name = "DIR")]
        binaries: Option<PathBuf>,
    },
    /// Be the fleet beside a control plane whose memory is measured
    #[command(hide = true)]
    Hold {
        /// Executors
        executors: usize,
    },
}

/// Who is upgraded, and how fast.
#[derive(Debug, Args)]
struct Load {
    /// Executors
    #[arg(long, default_value_t = 1000)]
    executors: usize,
    /// Between two requests; they are spread so that the delay of one is measured, not a queue's
    #[arg(long, default_value_t = 5, value_name = "MS")]
    pace_ms: u64,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = runtime.context("start the runtime").and_then(|runtime| runtime.block_on(run(Bench::parse())));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(bench: Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Fleet(load) => push::run(load.executors, Duration::from_millis(load.pace_ms)).await,
        Bench::Replicas(load) => replicas::run(load.executors, Duration::from_millis(load.pace_ms)).await,
        Bench::Pages { executors } => pages::run(executors).await,
        Bench::Memory { executors, binaries } => {
            let beside = std::env::current_exe().context("find this program")?;
            let folder = binaries.as_deref().or(beside.parent()).context("a folder of programs")?;
            let figures = memory::run(folder, executors).await?;
            if binaries.is_some() { figures.hold() } else { Ok(()) }
        }
        Bench::Hold { executors } => held::hold(executors).await,
    }
}

fn print_line(line: &str) {
    println!("{line}");
}
