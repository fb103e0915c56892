//! What the suites share: foreign programs, real machines, waiting.
//!
//! Nothing here is shipped. Suites are binaries over libtest-mimic (`harness = false`), because its trials may say at run
//! time why they were ignored: see [`parts`].

pub mod browser;
pub mod catalog;
pub mod client;
pub mod control_plane;
pub mod daemon;
pub mod day;
pub mod door;
pub mod fake_executor;
pub mod fleet;
pub mod helm;
pub mod kube;
pub mod lab;
pub mod matrix;
pub mod page;
pub mod parts;
pub mod relay;
pub mod resident;
pub mod signing;
pub mod sleeps;
pub mod wait;
