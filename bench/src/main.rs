//! `cargo bench-fleet`: how long from the request of an upgrade, its commit included, to its receipt, for a fleet that holds streams, beside the
//! same fleet that asks every 5 s as it did before Novacula, in the same run on the same machine.
//!
//! `cargo bench-replicas`: the same on one replica and across two over PostgreSQL, and the statements that PostgreSQL counts for it.
//!
//! `cargo bench-memory`: what control plane and agent hold in memory, as people run them. Build them first, with the same profile:
//! `cargo build --release -p novacula-server -p novacula-cli -p novacula-agent`, or say where others are with `--binaries`.
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

mod replicas;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use harness::catalog::Draft;
use harness::control_plane::ControlPlane;

use crate::figures::{Figures, Histogram};
use crate::fleet::Fleet;

/// What the fleet did before: each executor asks this often.
const POLL_EVERY: Duration = Duration::from_secs(5);

/// Commit to the executor's acknowledgement, without the fsync before it (API.md).
const RECEIPT: &str = "novacula_receipt_seconds";

/// What is aimed at for the 99th percentile of that, in milliseconds.
const AIM_MS: f64 = 5.0;

/// Request to receipt of one upgrade per executor: streams beside polling
#[derive(Debug, Parser)]
struct Args {
    /// Executors
    #[arg(long, default_value_t = 1000)]
    executors: usize,
    /// Between two requests; they are spread so that the delay of one is measured, not a queue's
    #[arg(long, default_value_t = 5, value_name = "MS")]
    pace_ms: u64,
    /// Measure two replicas over PostgreSQL beside the embedded store instead, and count PostgreSQL's statements
    #[arg(long)]
    replicas: bool,
    /// Measure the web page instead, over so many executors that are rows in the store
    #[arg(long)]
    pages: bool,
    /// Measure what the programs of people hold in memory instead
    #[arg(long)]
    memory: bool,
    /// With --memory: where they are; beside this program unless it is said
    #[arg(long, requires = "memory", value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Be the fleet beside a control plane whose memory is measured
    #[arg(long, hide = true)]
    hold: bool,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = runtime.context("start the runtime").and_then(|runtime| runtime.block_on(run(&Args::parse())));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    if args.hold {
        return held::hold(args.executors).await;
    }
    let pace = Duration::from_millis(args.pace_ms);
    if args.pages {
        return pages::run(args.executors).await;
    }
    if args.memory {
        let beside = std::env::current_exe().context("find this program")?;
        let folder = args.binaries.as_deref().or(beside.parent()).context("a folder of programs")?;
        return memory::run(folder, args.executors).await;
    }
    if args.replicas {
        return replicas::run(args.executors, pace).await;
    }
    let plane = ControlPlane::start().await?;
    for (sequence, version) in [(1, "1.1.0"), (2, "1.2.0")] {
        plane.release(&Draft::new(version, sequence)).await.context("publish a release")?;
    }
    eprintln!("enrolling {} executors ...", args.executors);
    let fleet = Fleet::enrol(&plane, args.executors).await?;

    eprintln!("opening {} streams ...", args.executors);
    let mut streaming = fleet.stream().await?;
    eprintln!("one upgrade each, pushed ...");
    let pushed = Figures::of(streaming.upgrade_each(&plane, "1.1.0", pace).await?);
    let counted =
        Histogram::read(&plane.metrics(), RECEIPT).with_context(|| format!("{RECEIPT} on the metrics page"))?;
    streaming.stop().await;

    eprintln!("one upgrade each, polled every {POLL_EVERY:?} ...");
    let mut polling = fleet.poll(POLL_EVERY).await?;
    let polled = Figures::of(polling.upgrade_each(&plane, "1.2.0", pace).await?);
    polling.stop().await;
    plane.stop().await?;
    let disk = Figures::of(disk::measure().await?);

    println!("request to receipt, {} executors over mTLS, one upgrade each, embedded store", args.executors);
    println!("{:<22} {:>12} {:>12} {:>12} {:>8}", "", "p50", "p99", "max", "heard");
    pushed.print("streams (pushed)");
    polled.print("polling every 5 s");
    println!("polling / streams      {:>12.0}x {:>11.0}x", polled.p50() / pushed.p50(), polled.p99() / pushed.p99());
    println!(
        "commit to receipt, pushed, as {RECEIPT} counts it: p50 within {} ms, p99 within {} ms; {:.1} % within {AIM_MS} ms",
        counted.bound(50.0),
        counted.bound(99.0),
        counted.within(AIM_MS),
    );
    disk.print("fdatasync of 4 KiB");
    Ok(())
}

fn print_line(line: &str) {
    println!("{line}");
}
