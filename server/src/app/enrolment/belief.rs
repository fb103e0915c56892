//! Certificates of the lost hour. After a restore to a backup the store does not know those that were issued since; the executors
//! that renewed then hold nothing else. What `after-restore` wrote says which hour it was, and the authority's signature says
//! that a certificate is ours: both together are believed, and written as they would have been.

use domain::audit::EventKind;
use domain::{Actor, Event};
use rustls_pki_types::CertificateDer;
use store::{CertificateRecord, Restore};

use super::Enrolment;
use super::rules::{facts, refused};
use crate::app::error::Error;

impl Enrolment {
    /// The row of a certificate that the store does not know.
    ///
    /// # Errors
    /// [`domain::Reason::CertificateInvalid`] when it is not one of a lost hour.
    pub(super) async fn believe(&self, shown: Option<&CertificateDer<'_>>) -> Result<CertificateRecord, Error> {
        let unknown = || Error::from(refused("the certificate is not known here"));
        let claim = shown.and_then(|shown| self.app.authority().claim(shown)).ok_or_else(unknown)?;
        let lost = |restore: &Restore| claim.not_before >= restore.known_until && claim.issue_time() <= restore.time;
        if !self.app.store.restore_list().await?.iter().any(lost) {
            return Err(unknown());
        }
        let executor = self.executor(claim.uid).await?;
        if executor.name.organization != claim.organization {
            return Err(unknown());
        }
        let record = CertificateRecord {
            fingerprint: claim.fingerprint,
            serial: claim.serial,
            executor: claim.uid,
            authority: Some(claim.authority),
            public_key_sha256: claim.public_key_sha256,
            join_token: None,
            chain_pem: claim.chain_pem,
            not_before: claim.not_before,
            not_after: claim.not_after,
            use_time: None,
            revoke_time: None,
        };
        let mut details = facts(&record);
        details.push(("cause", "after-restore".to_owned()));
        let event = Event {
            kind: EventKind::CertificateRenewed,
            actor: Actor::Executor(executor.uid),
            target: executor.name.to_string(),
            organization: Some(claim.organization),
            time: self.app.now().await?,
            details,
        };
        match self.app.store.certificate_insert(&record, &[event]).await {
            // Another request of the same moment came first.
            Ok(()) | Err(store::Error::Exists { .. }) => Ok(record),
            Err(error) => Err(error.into()),
        }
    }
}
