//! `cargo bench-fleet`: one upgrade each to a fleet that holds streams, and then to the same fleet that polls.

use std::time::Duration;

use anyhow::Context as _;
use harness::catalog::Draft;
use harness::control_plane::ControlPlane;

use crate::disk;
use crate::figures::{Figures, Histogram};
use crate::fleet::Fleet;

/// What the fleet did before: each executor asks this often.
const POLL_EVERY: Duration = Duration::from_secs(5);

/// Commit to the executor's acknowledgement, without the fsync before it (API.md).
pub(crate) const RECEIPT: &str = "novacula_receipt_seconds";

/// What is aimed at for the 99th percentile of that, in milliseconds.
const AIM_MS: f64 = 5.0;

/// Upgrades so many executors twice, a request each `pace`, and prints how long it took.
pub(crate) async fn run(executors: usize, pace: Duration) -> anyhow::Result<()> {
    let plane = ControlPlane::start().await?;
    for (sequence, version) in [(1, "1.1.0"), (2, "1.2.0")] {
        plane.release(&Draft::new(version, sequence)).await.context("publish a release")?;
    }
    eprintln!("enrolling {executors} executors ...");
    let fleet = Fleet::enrol(&plane, executors).await?;

    eprintln!("opening {executors} streams ...");
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

    println!("request to receipt, {executors} executors over mTLS, one upgrade each, embedded store");
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
