//! gRPC: a handler decodes, calls one use case, encodes. Who may call, how often, and what an error says are tables and layers.

pub mod access;

pub mod limits;

pub mod layer;

pub mod error;

pub mod sync;

pub mod enrollment;

pub mod wire;

pub mod executor;

pub mod upgrade;

pub mod release;

pub mod organization;

pub mod event;

pub mod services;

pub mod routes;
