//! The Novacula operator: one Deployment that upgrades itself and comes back by itself.
//!
//! In reading order: [`args`] is what its pod says, [`cluster`] the few calls to the API. [`deployment`] reads the Deployment,
//! [`record`] is what is written on it, [`keep`] where the rest survives. [`rollout`] decides what a rollout means and [`monitor`]
//! watches one; [`operator`] hands all of it to the SDK. [`lease`] and [`proof`] say who may speak, [`run`] keeps it going.
//! [`registry`] looks at an image before anything is touched, [`inventory`] at the cluster's nodes.
//!
//! The program is a library with a thin `main`, so that tests build operators of other versions as real binaries.

use std::process::ExitCode;

pub mod args;

pub mod inventory;

pub mod registry;

pub mod cluster;

pub mod deployment;

pub mod record;

pub mod keep;

pub mod rollout;

pub mod monitor;

pub mod operator;

pub mod lease;

pub mod whereabouts;

pub mod proof;

pub mod run;

pub mod fault;

mod entry;

#[cfg(feature = "fault-points")]
mod misbehaviour;

#[cfg(feature = "fault-points")]
pub use misbehaviour::{GO, Misbehaviour, STOPPED};

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
