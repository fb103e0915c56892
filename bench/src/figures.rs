//! Percentiles of a handful of delays.

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
