//! Bearer tokens and join tokens. Only SHA-256 digests of their secrets are kept: the secrets carry 256 random bits, so
//! that a fast hash is enough and a stolen database signs nobody in.

use async_trait::async_trait;
use domain::sign_in::SignIn;
use domain::{Event, ExecutorId, JoinTokenId, OrganizationId, Role, Sha256, Timestamp, TokenId};

use crate::error::Error;
use crate::page::Page;

/// A bearer token's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its public id.
    pub id: TokenId,
    /// Of its secret.
    pub secret_sha256: Sha256,
    /// What its bearer may do, and where.
    pub role: Role,
    /// For people.
    pub display_name: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it ends.
    pub expire_time: Timestamp,
    /// When it was revoked.
    pub revoke_time: Option<Timestamp>,
    /// What a browser's session stems from; none: it is no session.
    pub signed_in_by: Option<SignIn>,
}

/// A bearer token's row with that of the token it stems from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenWithOrigin {
    /// Itself.
    pub token: TokenRecord,
    /// What was shown for it, where it is a session of a token that is still known.
    pub origin: Option<TokenRecord>,
}

/// A join token's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinTokenRecord {
    /// Its public id.
    pub id: JoinTokenId,
    /// Where it lets executors join.
    pub organization: OrganizationId,
    /// Of its secret.
    pub secret_sha256: Sha256,
    /// The only name it enrols; none: any new name.
    pub executor: Option<ExecutorId>,
    /// Whether it may take that name from an enrolled executor.
    pub replace: bool,
    /// How often it may be used.
    pub max_uses: u32,
    /// How often it was.
    pub uses: u32,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it ends.
    pub expire_time: Timestamp,
    /// When it was revoked.
    pub revoke_time: Option<Timestamp>,
}

// === impl TokenWithOrigin ===

impl TokenWithOrigin {
    /// The token called `id`, of rows that are it and its origin in any order.
    pub(crate) fn of(id: &TokenId, rows: Vec<TokenRecord>) -> Option<Self> {
        let (own, mut others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.id == *id);
        own.into_iter().next().map(|token| Self { token, origin: others.pop() })
    }
}

/// Bearer tokens on disk.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Writes a new token and its events.
    async fn token_insert(&self, token: &TokenRecord, events: &[Event]) -> Result<(), Error>;

    /// One token, by id.
    async fn token_get(&self, id: &TokenId) -> Result<Option<TokenRecord>, Error>;

    /// The same with what it stems from, in one query: every call of a session asks for both.
    async fn token_get_with_origin(&self, id: &TokenId) -> Result<Option<TokenWithOrigin>, Error>;

    /// Tokens by id, revoked and expired ones too, in any order; unknown ones are left out. One query for any number.
    async fn token_list_by_id(&self, ids: &[TokenId]) -> Result<Vec<TokenRecord>, Error>;

    /// A page of the tokens of one organization (none: of the installation), in order of id.
    async fn token_list(
        &self,
        organization: Option<&OrganizationId>,
        page: Page<TokenId>,
    ) -> Result<Vec<TokenRecord>, Error>;

    /// Revokes a token; the first revocation's time stays, and a second one writes no events. [`Error::Missing`] when there is none.
    async fn token_revoke(&self, id: &TokenId, time: Timestamp, events: &[Event]) -> Result<TokenRecord, Error>;

    /// Moves the end of a session that is not revoked, and never nearer. [`Error::Missing`] when there is no such session.
    async fn token_extend(&self, id: &TokenId, expire_time: Timestamp) -> Result<TokenRecord, Error>;

    /// A page of the sessions of one origin that are not revoked, in order of id.
    async fn token_list_signed_in(&self, by: &SignIn, page: Page<TokenId>) -> Result<Vec<TokenRecord>, Error>;

    /// Forgets tokens and sessions that expired before `time`, at most `limit`; answers how many. One that was revoked stays until it
    /// would have expired.
    async fn token_prune(&self, expired_before: Timestamp, limit: usize) -> Result<usize, Error>;
}

/// Join tokens on disk. Using one is part of [`crate::CertificateStore::enrolment_commit`].
#[async_trait]
pub trait JoinTokenStore: Send + Sync {
    /// Writes a new join token and its events.
    async fn join_token_insert(&self, token: &JoinTokenRecord, events: &[Event]) -> Result<(), Error>;

    /// One join token, by id.
    async fn join_token_get(&self, id: &JoinTokenId) -> Result<Option<JoinTokenRecord>, Error>;

    /// A page of the join tokens of one organization, in order of id.
    async fn join_token_list(
        &self,
        organization: &OrganizationId,
        page: Page<JoinTokenId>,
    ) -> Result<Vec<JoinTokenRecord>, Error>;

    /// Revokes a join token; the first revocation's time stays, and a second one writes no events. [`Error::Missing`] when there is none.
    async fn join_token_revoke(
        &self,
        id: &JoinTokenId,
        time: Timestamp,
        events: &[Event],
    ) -> Result<JoinTokenRecord, Error>;

    /// Forgets join tokens that expired before `time`, at most `limit`; answers how many. One that a certificate was enrolled with stays
    /// as long as that: a lost answer is given again by it.
    async fn join_token_prune(&self, expired_before: Timestamp, limit: usize) -> Result<usize, Error>;
}
