//! What forms share: whether a reader is offered one, and what is said in it when the API refuses.

use std::time::Duration;

use domain::OrganizationId;
use domain::role::Demand;
use http::StatusCode;

use crate::web::error::{PageError, Said};
use crate::web::session::Reader;

/// A form is shown to those who may send it. What is sent is judged by the API, which writes down whom it refused.
///
/// # Errors
/// 403, with the role that the reader has.
pub fn demanded(reader: &Reader, demand: Demand, organization: Option<&OrganizationId>) -> Result<(), PageError> {
    if reader.may(demand, organization) {
        return Ok(());
    }
    let role = reader.role.as_str();
    Err(PageError::said(StatusCode::FORBIDDEN, &format!("your role is {role}, and this page is not for it")))
}

/// What a form says about a refusal of what was typed. A session that ended goes to the sign-in page instead, and whom the form is
/// not for sees no form.
///
/// # Errors
/// The session ended, or its role is not enough.
pub fn refused(status: tonic::Status) -> Result<Said, PageError> {
    match PageError::from(status) {
        PageError::Said(said) if said.code != StatusCode::FORBIDDEN => Ok(said),
        other @ (PageError::Said(_) | PageError::SignIn(_)) => Err(other),
    }
}

/// A refusal of the page's own: what was typed never reached the API.
#[must_use]
pub fn mistyped(message: impl Into<String>) -> Said {
    Said { code: StatusCode::BAD_REQUEST, reason: String::new(), message: message.into() }
}

/// An organization in a path.
///
/// # Errors
/// 404: no organization is named so.
pub fn organization(id: &str) -> Result<OrganizationId, PageError> {
    OrganizationId::new(id).map_err(|_| PageError::not_found())
}

/// A life that a form offers, in seconds; empty: the API's default.
///
/// # Errors
/// It is no number of seconds.
pub fn life(seconds: &str) -> Result<Option<prost_types::Duration>, Said> {
    if seconds.is_empty() {
        return Ok(None);
    }
    let parsed = seconds.parse().ok().and_then(|seconds| Duration::from_secs(seconds).try_into().ok());
    parsed.map(Some).ok_or_else(|| mistyped("the life is not a whole number of seconds"))
}

#[cfg(test)]
mod tests {
    use domain::{Reason, Refusal};

    use super::*;

    fn role() -> tonic::Status {
        crate::grpc::error::refused(&Refusal::new(Reason::RoleRequired, "not yours"))
    }

    #[test]
    fn a_life_is_seconds_or_the_default() {
        assert_eq!(life("").expect("the default"), None);
        assert_eq!(life("3600").expect("an hour"), Some(prost_types::Duration { seconds: 3600, nanos: 0 }));
        for bad in ["-1", "1h", "1.5", "99999999999999999999"] {
            assert!(life(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_session_that_ended_is_no_refusal_of_what_was_typed_and_neither_is_a_role() {
        assert!(refused(role()).is_err());
        assert!(refused(tonic::Status::unauthenticated("over")).is_err());
        assert_eq!(refused(tonic::Status::invalid_argument("bad")).expect("said").message, "bad");
    }
}
