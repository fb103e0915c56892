//! The clocks of a host: wall time for people, time since boot for deadlines, and which boot it is.
//!
//! Deadlines count on CLOCK_BOOTTIME: it goes on while the host sleeps, and nobody can set it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The time on the wall. It may be set; nothing is decided by it but what certificates say.
#[must_use]
pub fn wall() -> Timestamp {
    let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    };
    Timestamp::from_micros(micros)
}

/// Time since the host was booted, sleep included (CLOCK_BOOTTIME).
#[must_use]
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

/// The kernel's id of this boot; empty when it does not say (then no two boots can be told apart).
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel tells the same clock on another way: sleep included, the wall clock not.
    #[test]
    fn time_since_boot_is_the_kernels_uptime_and_not_the_wall_clock() {
        let uptime = std::fs::read_to_string("/proc/uptime").expect("reads");
        let seconds: f64 = uptime.split(' ').next().expect("a number").parse().expect("a number");
        let between = since_boot().as_secs_f64() - seconds;
        assert!((-1.0..60.0).contains(&between), "{between} s apart");
        let wall = u64::try_from(wall().as_micros()).map(Duration::from_micros).expect("after 1970");
        assert!(since_boot() < wall / 2, "no machine has run since 1998");
    }

    #[test]
    fn time_since_boot_does_not_run_backwards() {
        let first = since_boot();
        assert!(since_boot() >= first && first > Duration::ZERO);
    }
}
