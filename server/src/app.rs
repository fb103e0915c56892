//! The use cases: what people, programs and executors ask of the control plane. Only this module calls the store.

pub mod caller;

pub mod error;
