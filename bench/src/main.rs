//! `cargo bench-fleet`: how long from the request of an upgrade, its commit included, to its receipt, for a fleet that holds streams, beside the
//! same fleet that asks every 5 s as it did before Novacula, in the same run on the same machine.
//!
//! `cargo bench-replicas`: the same on one replica and across two over PostgreSQL, and the statements that PostgreSQL counts for it.
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

mod pages;

mod replicas;

mod resident;

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
        return resident::hold(args.executors).await;
    }
    let pace = Duration::from_millis(args.pace_ms);
    if args.pages {
        return pages::run(args.executors).await;
    }
    if args.replicas {
        return replicas::run(args.executors, pace).await;
    }
    eprintln!("holding {} streams of a fleet beside, for the control plane's memory ...", args.executors);
    let resident = resident::measure(args.executors).await?;
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
    println!(
        "control plane resident: {} MiB without a stream, {} MiB with {} open ({:.1} KiB a stream), of which {} MiB are pages of this program's file",
        resident.before / 1024,
        resident.connected / 1024,
        args.executors,
        per_stream(&resident, args.executors),
        resident.of_files / 1024,
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_stream(resident: &resident::Resident, streams: usize) -> f64 {
    resident.connected.saturating_sub(resident.before) as f64 / streams.max(1) as f64
}

fn print_line(line: &str) {
    println!("{line}");
}
