//! How an executor gets its certificate, keeps it, and is known by it.
//!
//! - Enrolment exchanges a join token and a CSR for an identity. The same token with the same key gets the same certificate
//!   again, so that a lost answer wedges nobody. A name that is taken is refused, unless the token names it with `replace`:
//!   then the older executor is deleted, its certificates and session end, and its open attempt is cancelled, in the same transaction.
//! - Renewal keeps the uid; the older certificate stays good until its end, so that a lost answer wedges nobody here either.
//! - Identification asks the store, for each RPC and artifact request: whatever a TLS session believes, a certificate that
//!   was revoked, or whose executor was deactivated or deleted, is refused.

mod belief;

mod cluster;

mod rules;

use std::sync::Arc;

use domain::attempt::next::Input;
use domain::audit::EventKind;
use domain::executor::State;
use domain::{
    Actor, Channel, Event, Executor, ExecutorId, ExecutorName, ExecutorUid, JoinSecret, Reason, Refusal, Sha256,
    Timestamp,
};
use rustls_pki_types::CertificateDer;
use store::{AttemptWrite, CertificateRecord, EnrolmentCommit, JoinTokenRecord};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::app::App;
use crate::app::commit::Patience;
use crate::app::enrolment::rules::{
    facts, invalid, key_request, name, new_uid, refused, token_refused, unknown_token, usable,
};
use crate::app::error::Error;
use crate::observe::metrics::{self, Metric};
use crate::tls::authority::request::KeyRequest;
use crate::tls::authority::{SKEW, sha256};
use crate::tls::identity::{self, ExecutorIdentity, Seen, Standing};

/// Enrols, renews, identifies.
#[derive(Clone, Debug)]
pub struct Enrolment {
    app: Arc<App>,
}

/// What an executor is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its name.
    pub executor: ExecutorName,
    /// Its uid.
    pub uid: ExecutorUid,
    /// PEM.
    pub certificate_chain: String,
    /// PEM: whom to trust.
    pub trust_bundle: String,
    /// When the certificate ends.
    pub not_after: Timestamp,
}

/// What lets an executor join.
#[derive(Debug)]
pub enum Word {
    /// A join token, whole.
    JoinToken(Zeroizing<String>),
    /// A ServiceAccount token of a cluster that is trusted.
    ServiceAccount(Zeroizing<String>),
}

/// The right to one enrolment.
#[derive(Debug)]
struct Grant {
    token: JoinTokenRecord,
    /// Whether it is written with the enrolment: nobody made it before.
    is_new: bool,
    /// For the audit.
    facts: Vec<(&'static str, String)>,
}

// === impl Enrolment ===

impl Enrolment {
    /// Over the use cases' common ground.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    /// The common ground.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Exchanges a word and a CSR (DER) for an identity. `executor` is the name asked for; empty: the one that the word names.
    ///
    /// # Errors
    /// [`Reason::JoinTokenInvalid`], [`Reason::NameTaken`], or invalid fields.
    pub async fn enrol(&self, word: &Word, csr: &[u8], executor: &str) -> Result<Issued, Error> {
        let request = key_request(csr)?;
        let asked = match executor {
            "" => None,
            name => Some(ExecutorId::new(name).map_err(|error| invalid("executor_id", error.to_string()))?),
        };
        let vouched = match word {
            Word::JoinToken(_) => None,
            Word::ServiceAccount(token) => Some(self.vouched(token).await?),
        };
        let mut patience = Patience::new();
        loop {
            let grant = match (&vouched, word) {
                (Some(vouched), _) => self.granted(vouched, &request).await?,
                (None, Word::JoinToken(text) | Word::ServiceAccount(text)) => {
                    let secret: JoinSecret = text.parse().map_err(|_| unknown_token())?;
                    Grant { token: self.token(&secret).await?, is_new: false, facts: Vec::new() }
                }
            };
            let done = match self.earlier(&grant.token, &request, asked.as_ref()).await? {
                Some(issued) => return Ok(issued),
                None => self.enrol_once(&grant, &request, asked.clone()).await,
            };
            match done {
                // Somebody used the token, took the name, or wrote to the replaced executor since: read and decide again.
                Err(Error::Store(error)) if patience.again(&error).await => {}
                done => return done,
            }
        }
    }

    /// Exchanges a CSR for the next certificate of an executor that showed its last one.
    ///
    /// # Errors
    /// Invalid fields, or the store.
    pub async fn renew(&self, identity: &ExecutorIdentity, csr: &[u8]) -> Result<Issued, Error> {
        let request = key_request(csr)?;
        let now = self.app.now().await?;
        let executor = self.executor(identity.uid).await?;
        // Before the next one is the newest: whether that arrives is not known here.
        self.app.sync_note_certificates(identity.certificate.first_seen().as_slice()).await?;
        let certificate = self.issue(&request, &executor, now)?;
        let event = Event {
            kind: EventKind::CertificateRenewed,
            actor: Actor::Executor(executor.uid),
            target: executor.name.to_string(),
            organization: Some(executor.name.organization.clone()),
            time: now,
            details: facts(&certificate),
        };
        self.app.store.certificate_insert(&certificate, &[event]).await?;
        metrics::count(Metric::CertificatesIssued, &[]);
        Ok(self.issued(executor, certificate))
    }

    /// Whose certificate this is (`shown`, where the store may have to be told), and whether it still holds. Late ones are identified; the gate says what they are good for.
    ///
    /// # Errors
    /// [`Reason::CertificateInvalid`] or [`Reason::ExecutorDeactivated`].
    pub async fn identify(
        &self,
        fingerprint: Sha256,
        shown: Option<&CertificateDer<'_>>,
    ) -> Result<ExecutorIdentity, Error> {
        let certificate = match self.app.store.certificate_get(&fingerprint).await? {
            Some(certificate) => certificate,
            None => self.believe(shown).await?,
        };
        if certificate.revoke_time.is_some() {
            return Err(refused("the certificate was revoked").into());
        }
        if !self.app.authority().trusts(certificate.authority) {
            return Err(refused("the authority that signed the certificate was retired").into());
        }
        let executor = self.executor(certificate.executor).await?;
        let now = self.app.now().await?;
        let late = now.since(certificate.not_after);
        if late > self.app.settings.late_renewal {
            return Err(refused("the certificate ended too long ago to be renewed").into());
        }
        Ok(ExecutorIdentity {
            uid: executor.uid,
            organization: executor.name.organization,
            certificate: identity::Certificate {
                fingerprint,
                authority: certificate.authority,
                issue_time: certificate.not_before.plus(SKEW),
                not_after: certificate.not_after,
                seen: if certificate.use_time.is_some() { Seen::Before } else { Seen::Never },
            },
            standing: if late.is_zero() && now < certificate.not_after { Standing::Valid } else { Standing::Late },
        })
    }

    /// An executor that may sync.
    async fn executor(&self, uid: ExecutorUid) -> Result<Executor, Error> {
        let executor = self.app.store.executor_list_by_uid(&[uid]).await?.pop();
        let executor = executor.ok_or_else(|| refused("its executor was deleted"))?;
        match executor.state {
            State::Active => Ok(executor),
            State::Deactivated => {
                let message = format!("{} is deactivated; an admin has to activate it", executor.name);
                Err(Refusal::new(Reason::ExecutorDeactivated, message).into())
            }
        }
    }

    /// The token of this secret. Nothing is said to those who do not know the secret.
    async fn token(&self, secret: &JoinSecret) -> Result<JoinTokenRecord, Error> {
        let presented = sha256(secret.secret.as_bytes());
        let token = self.app.store.join_token_get(&secret.token).await?;
        // Compared all the same when there is no such token.
        let stored = token.as_ref().map_or(Sha256::new([0; 32]), |token| token.secret_sha256);
        let same = bool::from(presented.as_bytes().ct_eq(stored.as_bytes()));
        token.filter(|_| same).ok_or_else(|| unknown_token().into())
    }

    /// What this token and key enrolled before: the answer was lost.
    async fn earlier(
        &self,
        token: &JoinTokenRecord,
        request: &KeyRequest,
        asked: Option<&ExecutorId>,
    ) -> Result<Option<Issued>, Error> {
        let found = self.app.store.enrolment_find(&token.id, &request.public_key_sha256()).await?;
        let Some(found) = found else { return Ok(None) };
        if token.revoke_time.is_some() || found.certificate.revoke_time.is_some() {
            return Err(token_refused("was revoked").into());
        }
        if asked.is_some_and(|asked| *asked != found.executor.name.executor) {
            let taken = found.executor.name;
            return Err(invalid("executor_id", format!("this key was enrolled as {taken}; make another key")));
        }
        Ok(Some(self.issued(found.executor, found.certificate)))
    }

    async fn enrol_once(
        &self,
        grant: &Grant,
        request: &KeyRequest,
        asked: Option<ExecutorId>,
    ) -> Result<Issued, Error> {
        let token = &grant.token;
        let now = self.app.now().await?;
        usable(token, now)?;
        let name = ExecutorName { organization: token.organization.clone(), executor: name(token, asked)? };
        let older = self.app.store.executor_get(&name).await?;
        if older.is_some() && !(token.replace && token.executor.as_ref() == Some(&name.executor)) {
            let message = format!(
                "{name} is enrolled already; choose another name, or make a join token that names it with replace"
            );
            return Err(Refusal::new(Reason::NameTaken, message).with("executor", name).into());
        }
        let executor = self.newcomer(name, older.as_ref(), now);
        let certificate = self.issue(request, &executor, now)?;
        let mut details = facts(&certificate);
        details.push(("join_token", token.id.to_string()));
        details.extend(grant.facts.iter().cloned());
        let actor = Actor::Executor(executor.uid);
        let (replaced_attempts, mut events) = self.end(older.as_ref(), &actor, executor.uid).await?;
        events.push(Event {
            kind: EventKind::ExecutorEnrolled,
            actor,
            target: executor.name.to_string(),
            organization: Some(executor.name.organization.clone()),
            time: now,
            details,
        });
        let commit = EnrolmentCommit {
            vouched: grant.is_new.then(|| token.clone()),
            join_token: token.id.clone(),
            executor: executor.clone(),
            replaces: older.map(|older| older.uid),
            replaced_attempts,
            certificate: CertificateRecord { join_token: Some(token.id.clone()), ..certificate.clone() },
            events,
            time: now,
        };
        match self.app.store.enrolment_commit(commit).await {
            // The name was taken since it was looked up: the next look says so.
            Err(store::Error::Exists { noun, key }) => {
                return Err(store::Error::Stale { noun, key }.into());
            }
            done => done?,
        }
        metrics::count(Metric::CertificatesIssued, &[]);
        Ok(self.issued(executor, certificate))
    }

    /// A new row. What people chose for the name (channel, labels) goes over from the executor that it replaces; what a
    /// host said of itself does not.
    fn newcomer(&self, name: ExecutorName, older: Option<&Executor>, now: Timestamp) -> Executor {
        Executor {
            channel: older.map_or(Channel::Stable, |older| older.channel),
            labels: older.map(|older| older.labels.clone()).unwrap_or_default(),
            ..Executor::new(new_uid(&self.app), name, now)
        }
    }

    /// The end of the executor that is replaced: its open attempts, and the rows of the feed.
    async fn end(
        &self,
        older: Option<&Executor>,
        actor: &Actor,
        by: ExecutorUid,
    ) -> Result<(Vec<AttemptWrite>, Vec<Event>), Error> {
        let Some(older) = older else {
            return Ok((Vec::new(), Vec::new()));
        };
        let mut draft = self.app.draft(older.clone(), actor.clone()).await?;
        for id in [older.open_attempt, older.pending].into_iter().flatten() {
            if draft.attempt(id).is_none()
                && let Some(attempt) = self.app.store.attempt_get(id).await?
            {
                self.app.decide(&mut draft, &attempt, &Input::Delete).await?;
            }
        }
        draft.emit(EventKind::ExecutorDeleted, vec![("replaced_by", by.to_string()), ("uid", older.uid.to_string())]);
        let commit = draft.into_commit();
        Ok(commit.map_or_else(Default::default, |commit| (commit.attempts, commit.events)))
    }

    fn issue(&self, request: &KeyRequest, executor: &Executor, now: Timestamp) -> Result<CertificateRecord, Error> {
        let life = self.app.settings.certificate_life;
        let organization = &executor.name.organization;
        let certificate =
            self.app.authority().issue_executor(request, organization, executor.uid, life, now).map_err(|error| {
                Error::Internal { operation: "issue an executor certificate", source: error.into() }
            })?;
        Ok(CertificateRecord {
            fingerprint: certificate.fingerprint,
            serial: certificate.serial,
            executor: executor.uid,
            authority: Some(certificate.authority),
            public_key_sha256: certificate.public_key_sha256,
            join_token: None,
            chain_pem: certificate.chain_pem,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            use_time: None,
            revoke_time: None,
        })
    }

    fn issued(&self, executor: Executor, certificate: CertificateRecord) -> Issued {
        Issued {
            executor: executor.name,
            uid: executor.uid,
            certificate_chain: certificate.chain_pem,
            trust_bundle: self.app.authority().trust_bundle().to_owned(),
            not_after: certificate.not_after,
        }
    }
}
