//! The single door from errors to the wire: code, public sentence, machine-readable reason. Internal text goes to the log
//! (inside the request's span, which carries the request id) and never to a caller.

use std::collections::HashMap;
use std::time::Duration;

use domain::{Reason, Refusal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::app::error::{Error, Violation};
use crate::observe;

/// When a caller that found the store away may ask again: a writer's queue is empty long before.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// What an error of a use case says to its caller.
#[must_use]
pub fn status(error: &Error) -> Status {
    match error {
        Error::Refused(refusal) => refused(refusal),
        Error::Invalid(violations) => invalid(violations),
        Error::Store(error) => store(error),
        Error::Internal { operation, source } => {
            let cause = observe::chain(source.as_ref());
            tracing::error!(operation, error = cause, "request failed inside");
            internal()
        }
    }
}

/// What a refusal says.
#[must_use]
pub fn refused(refusal: &Refusal) -> Status {
    let metadata: HashMap<String, String> =
        refusal.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    explain(code(refusal.reason), refusal.reason, &refusal.message, metadata)
}

/// What fields that may not be so say. The message names them all.
#[must_use]
pub fn invalid(violations: &[Violation]) -> Status {
    let text: Vec<String> =
        violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description)).collect();
    let fields: Vec<FieldViolation> = violations
        .iter()
        .map(|violation| FieldViolation::new(violation.field.as_str(), violation.description.as_str()))
        .collect();
    let mut details =
        ErrorDetails::with_error_info(Reason::InvalidArgument.as_str(), proto::ERROR_DOMAIN, HashMap::new());
    details.set_bad_request(fields);
    Status::with_error_details(Code::InvalidArgument, text.join("; "), details)
}

/// What one field that may not be so says.
#[must_use]
pub fn field(field: &str, description: impl Into<String>) -> Status {
    invalid(&[Violation { field: field.to_owned(), description: description.into() }])
}

/// No bearer token, or none that is valid. It does not say which: a guesser learns nothing.
#[must_use]
pub fn no_token() -> Status {
    refused(&Refusal::new(
        Reason::TokenInvalid,
        "the bearer token is missing, unknown, expired or revoked; send `authorization: Bearer nvt_…`",
    ))
}

/// No client certificate where one is needed.
#[must_use]
pub fn no_certificate() -> Status {
    refused(&Refusal::new(
        Reason::CertificateInvalid,
        "this needs an executor certificate; enroll with a join token first",
    ))
}

/// A certificate that ended: it is good for its renewal only.
#[must_use]
pub fn late_certificate() -> Status {
    refused(&Refusal::new(
        Reason::CertificateInvalid,
        "the certificate has ended; it is good for RenewCertificate only",
    ))
}

/// Too much; ask again after `after`.
#[must_use]
pub fn rate_limited(after: Duration) -> Status {
    let reason = Reason::RateLimited;
    let mut details = ErrorDetails::with_error_info(reason.as_str(), proto::ERROR_DOMAIN, HashMap::new());
    details.set_retry_info(Some(after));
    let message = format!("too many requests of this kind; ask again after {} ms", after.as_millis());
    Status::with_error_details(code(reason), message, details)
}

/// The server cannot do it now.
#[must_use]
pub fn unavailable(message: &str) -> Status {
    let reason = Reason::Unavailable;
    let mut details = ErrorDetails::with_error_info(reason.as_str(), proto::ERROR_DOMAIN, HashMap::new());
    details.set_retry_info(Some(RETRY_SOON));
    Status::with_error_details(code(reason), message, details)
}

/// Not done inside its deadline.
#[must_use]
pub fn deadline(limit: Duration) -> Status {
    Status::deadline_exceeded(format!(
        "not done inside {} ms; whether it was carried out is not known",
        limit.as_millis()
    ))
}

/// No such RPC here.
#[must_use]
pub fn unknown_rpc() -> Status {
    Status::unimplemented("no such RPC on this listener; `grpcurl … list` shows what there is")
}

/// An RPC that is there, asked for in a way that is not.
#[must_use]
pub fn not_offered(sentence: impl Into<String>) -> Status {
    Status::unimplemented(sentence)
}

/// A message over its limit; what gRPC's decoder says has the same code.
#[must_use]
pub fn too_large(limit: usize) -> Status {
    Status::out_of_range(format!("the body is larger than {limit} bytes; ask for less at once"))
}

/// The body did not come to its end.
#[must_use]
pub fn cut_off() -> Status {
    Status::cancelled("the body broke off before its end")
}

/// Nothing has this name.
#[must_use]
pub fn not_found(sentence: &str) -> Status {
    refused(&Refusal::new(Reason::NotFound, sentence))
}

/// A browser's request that no page of its session sent.
#[must_use]
pub fn forged() -> Status {
    Status::permission_denied("this was not sent by a page of this session; load the page again and repeat")
}

/// Something of ours is wrong; the log knows what.
#[must_use]
pub fn internal() -> Status {
    Status::internal("internal error; the server's log has more under this request id")
}

fn explain(code: Code, reason: Reason, message: &str, metadata: HashMap<String, String>) -> Status {
    let details = ErrorDetails::with_error_info(reason.as_str(), proto::ERROR_DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

fn store(error: &store::Error) -> Status {
    match error {
        // The use case read, decided and wrote again until its patience ended: someone else keeps winning.
        store::Error::Stale { .. } => {
            tracing::warn!(error = observe::chain(error), "writers kept overtaking each other");
            unavailable("the resource keeps being changed by others; ask again")
        }
        store::Error::Exists { noun, key } => {
            refused(&Refusal::new(Reason::AlreadyExists, format!("{noun} {key} exists already; choose another name")))
        }
        store::Error::Missing { noun, key } => {
            refused(&Refusal::new(Reason::NotFound, format!("{noun} {key} does not exist")))
        }
        store::Error::Unavailable { .. } => {
            tracing::warn!(error = observe::chain(error), "the store is away");
            unavailable("the store is not available; ask again")
        }
        store::Error::Corrupt { .. } => {
            tracing::error!(error = observe::chain(error), "the store holds a row that cannot be read");
            internal()
        }
    }
}

/// The gRPC code of each reason.
#[must_use]
pub const fn code(reason: Reason) -> Code {
    match reason {
        Reason::TokenInvalid | Reason::JoinTokenInvalid | Reason::CertificateInvalid => Code::Unauthenticated,
        Reason::RoleRequired => Code::PermissionDenied,
        Reason::InvalidArgument | Reason::ProtocolViolation => Code::InvalidArgument,
        Reason::NotFound => Code::NotFound,
        Reason::AlreadyExists | Reason::NameTaken | Reason::RequestIdReused => Code::AlreadyExists,
        Reason::RateLimited => Code::ResourceExhausted,
        Reason::Unavailable => Code::Unavailable,
        Reason::SessionReplaced => Code::Aborted,
        Reason::ExecutorOffline
        | Reason::VersionNotAvailable
        | Reason::MajorHopRequired
        | Reason::ChannelNotVisible
        | Reason::ReleaseNotPublished
        | Reason::PlatformMissing
        | Reason::VersionHeld
        | Reason::BelowFloor
        | Reason::AttemptApplying
        | Reason::AttemptEnded
        | Reason::ReleaseYanked
        | Reason::DuplicateIdentity
        | Reason::VersionMismatch
        | Reason::AlreadyRunning
        | Reason::UpgradePending
        | Reason::OutOfSupport
        | Reason::ExecutorPinned
        | Reason::ExecutorDeactivated
        | Reason::ExecutorNeverSynced
        | Reason::KindMismatch
        | Reason::ManifestMismatch
        | Reason::SignatureInvalid
        | Reason::DigestMismatch
        | Reason::SizeMismatch
        | Reason::ChangedLocally
        | Reason::Unconfirmed
        | Reason::LeaveExpired
        | Reason::ProgressStalled
        | Reason::TtlExpired
        | Reason::CancelledByRequest
        | Reason::ReplacedByRequest
        | Reason::ExecutorDeleted
        | Reason::HostNotSwappable
        | Reason::DownloadFailed
        | Reason::RolledBack
        | Reason::RolledBackByHand
        | Reason::RollbackRequested => Code::FailedPrecondition,
    }
}

/// The HTTP status that a reason has in HTTP/JSON. Our own mapping, since libraries answer 400 for FAILED_PRECONDITION.
#[must_use]
pub const fn http(reason: Reason) -> http::StatusCode {
    http_code(code(reason))
}

/// The HTTP status of whatever is said: what carries no reason (deadlines, sizes) has its code's.
#[must_use]
pub fn http_status(status: &Status) -> http::StatusCode {
    let info = status.get_details_error_info();
    info.and_then(|info| Reason::parse(&info.reason)).map_or_else(|| http_code(status.code()), http)
}

const fn http_code(code: Code) -> http::StatusCode {
    match code {
        Code::Unauthenticated => http::StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => http::StatusCode::FORBIDDEN,
        Code::InvalidArgument => http::StatusCode::BAD_REQUEST,
        Code::NotFound => http::StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => http::StatusCode::CONFLICT,
        Code::ResourceExhausted => http::StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => http::StatusCode::GATEWAY_TIMEOUT,
        Code::Unimplemented => http::StatusCode::NOT_IMPLEMENTED,
        Code::OutOfRange => http::StatusCode::PAYLOAD_TOO_LARGE,
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            http::StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_reason_domain_and_values() {
        let status = refused(&Refusal::new(Reason::ExecutorOffline, "web-1 is offline").with("last_seen", "never"));
        assert_eq!(status.code(), Code::FailedPrecondition);
        let details = status.get_error_details();
        let info = details.error_info().expect("ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("EXECUTOR_OFFLINE", "novacula.dev"));
        assert_eq!(info.metadata.get("last_seen").map(String::as_str), Some("never"));
    }

    #[test]
    fn internal_text_stays_inside() {
        let secret = "password=hunter2";
        let errors = [
            Error::Internal { operation: "sign", source: secret.into() },
            Error::Store(store::Error::Unavailable { operation: "open", source: secret.into() }),
            Error::Store(store::Error::Corrupt { noun: "row", key: "1".to_owned(), source: secret.into() }),
        ];
        for error in errors {
            assert!(!status(&error).message().contains("hunter2"));
        }
    }

    #[test]
    fn out_of_support_is_a_conflict_over_http() {
        assert_eq!(code(Reason::OutOfSupport), Code::FailedPrecondition);
        assert_eq!(http(Reason::OutOfSupport), http::StatusCode::CONFLICT);
    }
}
