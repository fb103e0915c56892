//! The Novacula agent: one binary under systemd that upgrades itself and comes back by itself.
//!
//! In reading order: [`args`] is what a person types, [`layout`] says where things are, [`disk`] what is true there,
//! [`config`] what the host wants. [`apply`] is the swap, [`rollback`] the ways back, [`service_manager`] who restarts us:
//! systemd or our own parent. [`executor`] hands all of it to the SDK, [`run`] keeps it going. [`units`] are what
//! [`install`] writes.
//!
//! The program is a library with a thin `main`, so that tests build agents of other versions as real binaries.

use std::process::ExitCode;

pub mod args;

pub mod layout;

pub mod clock;

pub mod disk;

pub mod fault;

pub mod config;

pub mod output;

pub mod exit;

pub mod command;

pub mod notes;

pub mod pin;

pub mod inventory;

pub mod service_manager;

pub mod apply;

pub mod rollback;

pub mod ways_back;

pub mod executor;

pub mod run;

pub mod enroll;

pub mod units;

pub mod install;

pub mod status;

pub mod doctor;

mod entry;

#[cfg(feature = "fault-points")]
mod misbehaviour;

#[cfg(test)]
mod fixture;

#[cfg(feature = "fault-points")]
pub use misbehaviour::Misbehaviour;

/// The program, as this version.
#[must_use]
pub fn main(version: &'static str) -> ExitCode {
    entry::main(version)
}

/// The program, as this version and going wrong in one exact way. For test binaries only.
#[cfg(feature = "fault-points")]
#[must_use]
pub fn main_with(version: &'static str, misbehaviour: Misbehaviour) -> ExitCode {
    misbehaviour::choose(misbehaviour);
    entry::main(version)
}
