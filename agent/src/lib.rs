//! The Novacula agent: one binary under systemd that upgrades itself and comes back by itself.
//!
//! In reading order: [`layout`] says where things are, [`disk`] what is true there, [`config`] what the host wants. [`apply`]
//! is the swap, [`rollback`] the ways back, [`service_manager`] who restarts us: systemd or our own parent. [`units`] are
//! what `install` writes.

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

pub mod units;

pub mod args;

#[cfg(test)]
mod fixture;
