//! What a join token and a CSR must be, and how their refusals are worded. Nothing is said to those who do not know a
//! token's secret.

use domain::{ExecutorId, ExecutorUid, Reason, Refusal, Timestamp};
use store::{CertificateRecord, JoinTokenRecord};

use crate::app::App;
use crate::app::error::{Error, Violation};
use crate::tls::authority::request::KeyRequest;

pub(super) fn usable(token: &JoinTokenRecord, now: Timestamp) -> Result<(), Refusal> {
    if token.revoke_time.is_some() {
        Err(token_refused("was revoked"))
    } else if now >= token.expire_time {
        Err(token_refused("has expired"))
    } else if token.uses >= token.max_uses {
        Err(token_refused("is used up"))
    } else {
        Ok(())
    }
}

/// The name to enrol: asked for, or the token's; they may not differ.
pub(super) fn name(token: &JoinTokenRecord, asked: Option<ExecutorId>) -> Result<ExecutorId, Error> {
    match (asked, token.executor.clone()) {
        (Some(asked), Some(only)) if asked != only => {
            Err(invalid("executor_id", format!("this join token enrols {only} only, not {asked}")))
        }
        (Some(asked), _) => Ok(asked),
        (None, Some(only)) => Ok(only),
        (None, None) => Err(invalid("executor_id", "is required, since the join token names no executor".to_owned())),
    }
}

pub(super) fn key_request(csr: &[u8]) -> Result<KeyRequest, Error> {
    KeyRequest::parse(csr).map_err(|error| invalid("certificate_signing_request", error.to_string()))
}

pub(super) fn facts(certificate: &CertificateRecord) -> Vec<(&'static str, String)> {
    vec![
        ("uid", certificate.executor.to_string()),
        ("serial", certificate.serial.clone()),
        ("fingerprint", certificate.fingerprint.to_string()),
    ]
}

pub(super) fn invalid(field: &str, description: String) -> Error {
    Error::Invalid(vec![Violation { field: field.to_owned(), description }])
}

pub(super) fn unknown_token() -> Refusal {
    token_refused("is not known here")
}

pub(super) fn token_refused(why: &str) -> Refusal {
    Refusal::new(Reason::JoinTokenInvalid, format!("the join token {why}; ask for a new one"))
}

pub(super) fn refused(why: &str) -> Refusal {
    Refusal::new(Reason::CertificateInvalid, format!("{why}; enroll again with a join token"))
}

/// A uid says nothing about its executor, not even when it was made (UUIDv4).
pub(super) fn new_uid(app: &App) -> ExecutorUid {
    let mut random = [0; 16];
    app.entropy.fill(&mut random);
    ExecutorUid::new(uuid::Builder::from_random_bytes(random).into_uuid())
}
