//! Percentiles: of a handful of delays, and of a histogram in the Prometheus text format.

use std::time::Duration;

/// Delays, sorted.
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    pub(crate) fn of(mut delays: Vec<Duration>) -> Self {
        delays.sort_unstable();
        Self(delays)
    }

    /// Median, in milliseconds.
    pub(crate) fn p50(&self) -> f64 {
        self.at(50)
    }

    /// 99th percentile (nearest rank), in milliseconds.
    pub(crate) fn p99(&self) -> f64 {
        self.at(99)
    }

    pub(crate) fn print(&self, name: &str) {
        let (p50, p99, max) = (self.p50(), self.p99(), self.at(100));
        println!("{name:<22} {p50:>9.3} ms {p99:>9.3} ms {max:>9.3} ms {:>8}", self.0.len());
    }

    fn at(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).map_or(f64::NAN, |delay| delay.as_secs_f64() * 1000.0)
    }
}

/// A histogram as its process renders it: upper bounds in seconds, and how many were within each.
pub(crate) struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    /// Reads the one of this name from a page of metrics; without labels, with at least one observation.
    pub(crate) fn read(page: &str, name: &str) -> Option<Self> {
        let prefix = format!("{name}_bucket{{le=\"");
        let bucket = |line: &str| {
            let (bound, count) = line.strip_prefix(&prefix)?.split_once("\"} ")?;
            Some((bound.parse().ok()?, count.parse().ok()?))
        };
        let buckets: Vec<(f64, f64)> = page.lines().filter_map(bucket).collect();
        buckets.last().is_some_and(|(_, all)| *all > 0.0).then_some(Self(buckets))
    }

    /// What came after `before`.
    pub(crate) fn since(mut self, before: Option<&Self>) -> Self {
        for ((_, count), (_, earlier)) in self.0.iter_mut().zip(before.into_iter().flat_map(|before| &before.0)) {
            *count -= earlier;
        }
        self
    }

    /// The bound, in milliseconds, that this share of the observations is within.
    pub(crate) fn bound(&self, percent: f64) -> f64 {
        let wanted = self.all() * percent / 100.0;
        self.0.iter().find(|(_, count)| *count >= wanted).map_or(f64::INFINITY, |(bound, _)| bound * 1000.0)
    }

    /// How much was within a bound, in percent.
    pub(crate) fn within(&self, millis: f64) -> f64 {
        let count = self.0.iter().rev().find(|(bound, _)| bound * 1000.0 <= millis).map_or(0.0, |(_, count)| *count);
        count / self.all() * 100.0
    }

    fn all(&self) -> f64 {
        self.0.last().map_or(f64::NAN, |(_, count)| *count)
    }
}
