//! What an agent, an operator, or a program of yours needs to be upgraded by Novacula.
//!
//! An executor dials out to the control plane over mutual TLS, keeps one stream open, and is told there what it should run.
//! The SDK does what every executor has in common; the program implements [`Executor`] for what is its own:
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//!
//! use domain::{AttemptId, Kind};
//! use novacula_executor_sdk::driver::{self, End, Options};
//! use novacula_executor_sdk::executor::{Applied, Description, Executor, Failure, Leave, Plan, Prepared, Workplace};
//! use tokio_util::sync::CancellationToken;
//!
//! struct Mine;
//!
//! impl Executor for Mine {
//!     fn describe(&self) -> Description {
//!         Description::new(Kind::Agent, "1.0.0".parse().expect("a version"))
//!     }
//!     async fn preflight(&self, plan: &Plan) -> Result<Workplace, Failure> {
//!         Ok(Workplace::Directory("/opt/mine/bin".into())) // or say what stands in the way
//!     }
//!     async fn apply(&self, prepared: Prepared, leave: Leave) -> Result<Applied, Failure> {
//!         Ok(Applied::Restart) // after the journal, the renames and the syncs
//!     }
//!     async fn roll_back(&self, attempt: AttemptId) -> Result<Applied, Failure> {
//!         Ok(Applied::Restart)
//!     }
//! }
//!
//! # async fn run() -> Result<(), driver::Error> {
//! let options = Options::new(Path::new("/var/lib/mine"));
//! match driver::run(Arc::new(Mine), options, CancellationToken::new()).await? {
//!     End::Restart => { /* leave main: whoever started this process starts the new version */ }
//!     End::Shutdown => {}
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `examples/executor.rs` is a whole one, in thirty lines: a program that is one file has its steps in [`in_place`], and
//! [`enrol::once`] gets the credentials that it runs with.
//!
//! In reading order: [`executor`] is the trait. [`journal`] is what survives a crash, on [`disk`]; [`clock`] and [`fault`]
//! are its neighbours. [`release_keys`] are the keys baked into the binary, and [`verify`] proves manifests and bytes by
//! them. [`machine`] decides, without I/O. [`credentials`] are what an executor proves itself with, [`enrol`] gets and renews
//! them, [`connect`] uses them, and [`probe`] asks whether they open the door. [`download`] fetches bytes. [`driver`] is the
//! loop that joins all of it, and [`in_place`] a swap for programs that are one binary. Under the feature `program`, the module of that name
//! has arguments, log and signals as agent and operator have them.
//!
//! What holds everywhere: nothing that comes from the network or the disk makes it panic; who serves bytes is never trusted;
//! no key is added at run time; the private key never leaves the host; no swap without leave for exactly that attempt.

pub mod executor;

pub mod clock;
pub mod disk;
pub mod fault;
pub mod journal;

pub mod release_keys;

pub mod verify;

pub mod machine;

pub mod credentials;

pub mod connect;

pub mod enrol;

pub mod probe;

pub mod download;

pub mod driver;

pub mod in_place;

pub mod report;

#[cfg(feature = "program")]
pub mod program;

pub use executor::Executor;
pub use journal::Journal;
