//! How the demo's stories are told: what their programs share.

pub mod story;

pub mod attempt;
