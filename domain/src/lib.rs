//! Vocabulary and decisions of Novacula: the ground floor. No I/O, no clock, no randomness.
//!
//! The story of one upgrade, in reading order. An [`Executor`] of an organization runs a [`Version`]. The catalog holds
//! [`Release`]s; [`target::targets`] says which of them this executor may move to, and why not the others. A person with
//! the right [`Role`] asks for one: [`attempt::request()`] turns the question into an [`Attempt`] or a [`Refusal`], and
//! [`warning::warnings`] says what to tell beside it. From then on every word about it (the executor's acknowledgement, progress, its question for leave, its report, a cancel, a deadline)
//! goes through [`attempt::next()`], which answers with the attempt as it is now and the [`attempt::Action`]s to carry out.
//! The executor trusts none of this: it checks the signed [`Manifest`] against its own [`manifest::Expectation`].
//!
//! Time is always an argument ([`Timestamp`]); whoever calls supplies the clock that counts.

pub mod time;

pub mod id;

pub mod version;

pub mod digest;

pub mod channel;

pub mod release;

pub mod manifest;

pub mod executor;

pub mod spec;

pub mod hold;

pub mod target;

pub mod attempt;

pub mod warning;

pub mod sync;

pub mod role;

pub mod secret;

pub mod sign_in;

pub mod join;

pub mod reason;

pub mod audit;

#[cfg(test)]
mod fixture;

pub use attempt::Attempt;
pub use audit::{Actor, Event};
pub use channel::Channel;
pub use digest::Sha256;
pub use executor::{Executor, Kind, Platform};
pub use hold::Hold;
pub use id::{
    AttemptId, AttemptName, Epoch, ExecutorId, ExecutorName, ExecutorUid, Generation, InstanceId, JoinTokenId,
    OrganizationId, ReleaseId, RequestId, Revision, TokenId,
};
pub use join::JoinSecret;
pub use manifest::Manifest;
pub use reason::{Reason, Refusal};
pub use release::{Artifact, Release};
pub use role::Role;
pub use secret::{BearerToken, Secret};
pub use spec::{AgentUpgradeSpec, Desired, OperatorUpgradeSpec, Spec, Want};
pub use time::Timestamp;
pub use version::Version;
pub use warning::Warning;
