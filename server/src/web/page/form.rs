//! What forms share: whether a reader is offered one, and what is said in it when the API refuses.

use std::time::Duration;

use domain::OrganizationId;
use domain::role::Demand;
use http::StatusCode;

use crate::web::error::{PageError, Said};
use crate::web::session::Reader;

/// A form is for those who may send it. The API judges again.
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

/// What a form says about a refusal; a session that ended goes to the sign-in page instead.
///
/// # Errors
/// The session ended.
pub fn refused(status: tonic::Status) -> Result<Said, PageError> {
    match PageError::from(status) {
        PageError::Said(said) => Ok(said),
        ended @ PageError::SignIn(_) => Err(ended),
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
    use super::*;

    #[test]
    fn a_life_is_seconds_or_the_default() {
        assert_eq!(life("").expect("the default"), None);
        assert_eq!(life("3600").expect("an hour"), Some(prost_types::Duration { seconds: 3600, nanos: 0 }));
        for bad in ["-1", "1h", "1.5", "99999999999999999999"] {
            assert!(life(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_session_that_ended_is_no_refusal() {
        assert!(refused(tonic::Status::unauthenticated("over")).is_err());
        assert_eq!(refused(tonic::Status::invalid_argument("bad")).expect("said").message, "bad");
    }
}
