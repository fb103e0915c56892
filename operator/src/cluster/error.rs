//! What the cluster's API answers when it does not do what it is asked.

use std::fmt;
use std::time::Duration;

use kube::core::Status;

/// A call to the cluster's API that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    asked: Option<Asked>,
    /// What kind of trouble it is.
    pub trouble: Trouble,
    message: String,
}

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is not there.
    NotFound,
    /// Somebody else changed it in between: read it again.
    Conflict,
    /// The operator's Role lacks a right.
    Forbidden,
    /// Quota, admission or validation refuses it.
    Refused,
    /// No answer, or one that says "later".
    Unreachable,
    /// Something else.
    Other,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) verb: &'static str,
    pub(super) resource: &'static str,
    pub(super) name: String,
    pub(super) namespace: String,
}

impl Error {
    pub(super) fn of(asked: Asked, error: &kube::Error) -> Self {
        let (trouble, message) = match error {
            kube::Error::Api(status) => (trouble(status), status.message.clone()),
            error => (Trouble::Unreachable, executor_sdk::report::chain(error)),
        };
        Self { asked: Some(asked), trouble, message }
    }

    pub(super) fn late(asked: Asked, limit: Duration) -> Self {
        Self {
            asked: Some(asked),
            trouble: Trouble::Unreachable,
            message: format!("no answer in {} s", limit.as_secs()),
        }
    }

    pub(super) fn configuration(error: &(dyn std::error::Error + 'static)) -> Self {
        let message = format!("no way to the cluster's API: {}", executor_sdk::report::chain(error));
        Self { asked: None, trouble: Trouble::Other, message }
    }

    /// Something that was read makes no sense.
    pub(crate) fn unusable(message: impl Into<String>) -> Self {
        Self { asked: None, trouble: Trouble::Other, message: message.into() }
    }

    /// Whether the same call may go well a little later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self.trouble, Trouble::Unreachable | Trouble::Conflict)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Asked { verb, resource, name, namespace }) = &self.asked else {
            return f.write_str(&self.message);
        };
        let slash = if name.is_empty() { "" } else { "/" };
        write!(f, "{verb} {resource}{slash}{name} in namespace {namespace}: {}", self.message)?;
        if self.trouble == Trouble::Forbidden {
            write!(f, "; its Role lacks verb {verb:?} on {resource:?}: deploy the chart's")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

fn trouble(status: &Status) -> Trouble {
    match status.code {
        404 => Trouble::NotFound,
        409 => Trouble::Conflict,
        401 | 403 if is_refusal(status) => Trouble::Refused,
        401 | 403 => Trouble::Forbidden,
        400 | 422 => Trouble::Refused,
        408 | 429 | 500..=599 => Trouble::Unreachable,
        _ => Trouble::Other,
    }
}

/// Admission and quota refuse with the code of missing rights; only rights name the user.
fn is_refusal(status: &Status) -> bool {
    !status.message.contains("User \"") && (status.message.contains("admission") || status.message.contains("quota"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, message: &str) -> Error {
        let asked = Asked {
            verb: "patch",
            resource: "deployments",
            name: "novacula-operator".to_owned(),
            namespace: "novacula-system".to_owned(),
        };
        let mut status = Status::failure(message, "");
        status.code = code;
        Error::of(asked, &kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_missing_right_is_named() {
        let user = "system:serviceaccount:novacula-system:novacula-operator";
        let message =
            format!("deployments.apps \"novacula-operator\" is forbidden: User \"{user}\" cannot patch resource");
        let error = error(403, &message);
        assert_eq!(error.trouble, Trouble::Forbidden);
        assert!(
            error.to_string().ends_with("its Role lacks verb \"patch\" on \"deployments\": deploy the chart's"),
            "{error}"
        );
    }

    #[test]
    fn admission_is_another_thing_than_a_missing_right() {
        let refused = error(403, "admission webhook \"images.example\" denied the request: not signed");
        assert_eq!(refused.trouble, Trouble::Refused);
        assert!(!refused.is_temporary());
        assert!(error(503, "the server is starting").is_temporary());
    }
}
