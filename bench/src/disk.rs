//! What a durable write costs here at least: the floor under every commit, and the first thing to look at when figures differ.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Enough for a 99th percentile.
const WRITES: usize = 500;

/// Between two, so that they do not queue up behind each other.
const PACE: Duration = Duration::from_millis(2);

/// Writes 4 KiB and makes it durable (`fdatasync(2)`), again and again, where the control plane keeps its files.
pub(crate) async fn measure() -> anyhow::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile().context("make a file")?;
    let mut delays = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let (back, delay) = tokio::task::spawn_blocking(move || write(file)).await??;
        file = back;
        delays.push(delay);
        tokio::time::sleep(PACE).await;
    }
    Ok(delays)
}

fn write(mut file: File) -> anyhow::Result<(File, Duration)> {
    let begin = Instant::now();
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&[0x5a; 4096])?;
    file.sync_data().context("fdatasync")?;
    let delay = begin.elapsed();
    Ok((file, delay))
}
