//! Trust on the wire: the authority that issues certificates, the verifier that asks for them, and the listeners.

pub mod files;

pub mod authority;

pub mod verifier;

pub mod identity;

pub mod config;

pub mod listener;

pub mod connection;

pub mod gate;
