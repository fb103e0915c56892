//! Applying an upgrade on this host: may it be swapped ([`preflight`], [`obstacle`]), the swap itself ([`swap`]), and what a
//! crash left of one ([`recover`]).

pub(crate) mod mount;

pub mod obstacle;

pub mod package;

pub mod preflight;

pub mod swap;

pub mod recover;
