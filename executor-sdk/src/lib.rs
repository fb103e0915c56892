//! What an agent, an operator, or a program of yours needs to be upgraded by Novacula.
//!
//! An executor dials out to the control plane over mutual TLS, keeps one stream open, and is told there what it should run.
//! The SDK does what every executor has in common; the program implements [`Executor`] for what is its own.
//!
//! In reading order: [`executor`] is the trait. [`journal`] is what survives a crash, on [`disk`]. [`release_keys`] are the
//! keys baked into the binary, and [`verify`] proves a manifest and bytes by them.
//!
//! Nothing that comes from the network or the disk makes it panic, and nobody who serves bytes is trusted.

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

pub mod download;

pub mod driver;

pub mod probe;

pub mod report;

pub use executor::Executor;
pub use journal::Journal;
