//! Enrolment by the word of a trusted cluster (decision 0010).
//!
//! The word becomes a join token that nobody else knows, good for one use, one name and one key: written with the enrolment, or not
//! at all. Its id is made of the cluster's subject and the key, so that
//!
//! - a repetition after a lost answer gets its certificate again, whatever token the pod has been given since;
//! - a stolen token enrols nobody beside the executor that is there: the name is taken, and no word of a cluster replaces it;
//! - whoever revokes it in the list of join tokens shuts that key out.

use domain::{JoinTokenId, Reason, Refusal, Secret};
use store::JoinTokenRecord;

use crate::app::enrolment::{Enrolment, Grant};
use crate::app::error::Error;
use crate::clusters::{self, Vouched};
use crate::tls::authority::request::KeyRequest;
use crate::tls::authority::sha256;

/// How long the right may be used: it is used in the same transaction.
const LIFE: std::time::Duration = std::time::Duration::from_secs(60 * 60);

impl Enrolment {
    /// What a ServiceAccount token proves.
    pub(super) async fn vouched(&self, token: &str) -> Result<Vouched<'_>, Error> {
        let now = self.app.now().await?;
        self.app.settings.trusted_clusters.prove(token.trim(), now).await.map_err(|error| refused(&error).into())
    }

    /// The right that follows for this key: the one of before, or a new one.
    pub(super) async fn granted(&self, vouched: &Vouched<'_>, request: &KeyRequest) -> Result<Grant, Error> {
        let cluster = vouched.cluster;
        let bound =
            [cluster.issuer.as_str(), &cluster.subject, &cluster.name, &request.public_key_sha256().to_string()];
        let digest = sha256(bound.join("\n").as_bytes()).to_string();
        let id = JoinTokenId::new(&format!("k8s-{}", &digest[..40]))
            .map_err(|source| Error::Internal { operation: "name a cluster's join token", source: source.into() })?;
        let mut facts = vec![("cluster", cluster.name.clone())];
        facts.extend(vouched.claims.facts());
        if let Some(token) = self.app.store.join_token_get(&id).await? {
            return Ok(Grant { token, is_new: false, facts });
        }
        let now = self.app.now().await?;
        let token = JoinTokenRecord {
            id,
            organization: cluster.organization.clone(),
            // Of a secret that is forgotten here.
            secret_sha256: sha256(Secret::new(self.app.random_32()).as_bytes()),
            executor: Some(cluster.executor.clone()),
            replace: false,
            max_uses: 1,
            uses: 0,
            create_time: now,
            expire_time: now.plus(LIFE),
            revoke_time: None,
        };
        Ok(Grant { token, is_new: true, facts })
    }
}

fn refused(error: &clusters::Error) -> Refusal {
    let reason = match error {
        clusters::Error::Unknown | clusters::Error::Refused { .. } => Reason::JoinTokenInvalid,
        clusters::Error::Keys { .. } => Reason::Unavailable,
    };
    Refusal::new(reason, error.to_string())
}
