//! Plain HTTP: what monitors and proxies ask of the API listener, and the artifacts of the executor listener.

pub mod artifact;

pub mod status;
