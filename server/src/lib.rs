//! The control plane of Novacula, as a library and a thin program: use cases over a store, streams to executors, two listeners.
//!
//! ```text
//! grpc, web, json, upload, background, session -> app -> store          run.rs joins them, and decides nothing
//! ```

pub mod args;

pub mod config;

pub mod console;

pub mod run;

pub mod supervise;

pub mod app;

pub mod session;

pub mod background;

pub mod grpc;

pub mod web;

pub mod json;

pub mod upload;

pub mod tls;

pub mod artifacts;

pub mod clusters;

pub mod oidc;

pub mod observe;
