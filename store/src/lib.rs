//! The disk of Novacula: small traits, one per noun, behind which SQLite or PostgreSQL keeps everything.
//!
//! What a backend promises, and the conformance suite checks:
//! - One trait method is one transaction: all of it or none of it, durable when it answers.
//! - Rows that two writers may touch carry a [`domain::Revision`]; a writer names the one it read, and an older one gets
//!   [`Error::Stale`]: read again, decide again.
//! - A commit that changes an executor takes a [`ChangeNumber`] and wakes [`ChangeFeed::change_subscribe`] after it is durable. A
//!   lost wake-up is healed by [`ChangeFeed::change_list_since`], whose cost grows with changes, not with executors.
//! - Counters (generations, revisions, bytes) are kept in 63 bits. A greater one is [`Error::Corrupt`] and nothing is written:
//!   what a peer says of itself is bounded where it comes in.
//! - Leases, TTLs and deadlines are judged by [`StoreClock::store_now`], the store's clock, never by a replica's own.

pub mod authority;

pub mod certificate;

pub mod change;

pub mod clock;

pub mod error;

pub mod event;

pub mod executor;

pub mod node;

pub mod observe;

pub mod organization;

pub mod page;

pub mod release;

pub mod session;

pub mod token;

mod column;

mod failure;

mod feeds;

mod mapping;

pub mod sqlite;

pub mod postgres;

pub mod import;

pub mod conformance;

pub mod fault;

pub use authority::{AuthorityRecord, AuthorityStore, AuthorityUse};
pub use certificate::{CertificateRecord, CertificateStore, Enrolled, EnrolmentCommit, Restore};
pub use change::{Change, ChangeFeed, ChangeNumber};
pub use clock::{Clock, ManualClock, StoreClock, SystemClock};
pub use error::Error;
pub use event::{EventQuery, EventRow, EventStore};
pub use executor::{
    AttemptStore, AttemptWrite, Committed, ExecutorCommit, ExecutorCount, ExecutorFate, ExecutorQuery, ExecutorStore,
};
pub use node::{NODES_MAX, NodeChange, NodeRecord, NodeStore};
pub use observe::Observer;
pub use organization::{Organization, OrganizationStore};
pub use page::Page;
pub use release::ReleaseStore;
pub use session::{Presence, ReplicaId, SessionOpened, SessionRow, SessionStore};
pub use token::{JoinTokenRecord, JoinTokenStore, TokenRecord, TokenStore, TokenWithOrigin};

/// Everything a backend is.
pub trait Store:
    AttemptStore
    + AuthorityStore
    + CertificateStore
    + ChangeFeed
    + EventStore
    + ExecutorStore
    + JoinTokenStore
    + NodeStore
    + OrganizationStore
    + ReleaseStore
    + SessionStore
    + StoreClock
    + TokenStore
{
}

impl<T> Store for T where
    T: AttemptStore
        + AuthorityStore
        + CertificateStore
        + ChangeFeed
        + EventStore
        + ExecutorStore
        + JoinTokenStore
        + NodeStore
        + OrganizationStore
        + ReleaseStore
        + SessionStore
        + StoreClock
        + TokenStore
{
}
