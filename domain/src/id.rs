//! Names and numbers of things, each a type of its own so that none stands in for another.
//!
//! Names become paths, SQL keys, certificate SANs and metric fields, so their alphabet is closed at the door: 1 to 63
//! characters of `a-z 0-9 -`, beginning and ending with a letter or digit (RFC 1123 label). Resource names follow API.md.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::executor::Kind;
use crate::version::Version;

/// Longest name, in bytes: one DNS label (RFC 1123), so that a name may become a host or a Kubernetes object.
pub const NAME_MAX: usize = 63;

/// Why a name or id was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a label.
    #[error("{what} {value:?} is not 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit")]
    Label {
        /// Which noun.
        what: &'static str,
        /// What was given, cut at 80 characters.
        value: String,
    },
    /// Not a resource name of the expected form.
    #[error("resource name {value:?} is not of the form {form:?}")]
    Resource {
        /// The form expected, as API.md writes it.
        form: &'static str,
        /// What was given, cut at 80 characters.
        value: String,
    },
    /// Not a UUID (RFC 9562) in its hyphenated form.
    #[error("{what} {value:?} is not a UUID")]
    Uuid {
        /// Which noun.
        what: &'static str,
        /// What was given, cut at 80 characters.
        value: String,
    },
}

fn cut(value: &str) -> String {
    value.chars().take(80).collect()
}

fn is_label(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = value.as_bytes();
    bytes.len() <= NAME_MAX
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks the alphabet and length.
            ///
            /// # Errors
            /// [`Error::Label`] when it is not an RFC 1123 label.
            pub fn new(value: &str) -> Result<Self, Error> {
                if is_label(value) { Ok(Self(value.to_owned())) } else { Err(Error::Label { what: $what, value: cut(value) }) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(value: &str) -> Result<Self, Error> {
                Self::new(value)
            }
        }
    };
}

label!(
    /// A tenant, the `acme` of `organizations/acme`.
    OrganizationId,
    "organization"
);
label!(
    /// An executor's name inside its organization, the `web-1` of `organizations/acme/executors/web-1`.
    ExecutorId,
    "executor"
);
label!(
    /// A join token's public id; never its secret.
    JoinTokenId,
    "join token"
);
label!(
    /// A bearer token's public id; never its secret.
    TokenId,
    "token"
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID made elsewhere: the ground floor has no randomness.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(value: &str) -> Result<Self, Error> {
                let uuid = Uuid::try_parse(value).map_err(|_| Error::Uuid { what: $what, value: cut(value) })?;
                // One spelling only: an id is compared as text in URLs, SANs and logs.
                if uuid.hyphenated().to_string() == value { Ok(Self(uuid)) } else { Err(Error::Uuid { what: $what, value: cut(value) }) }
            }
        }
    };
}

uuid_id!(
    /// Identifies one enrolment of an executor for ever; a deleted name that is enrolled again gets another.
    ExecutorUid,
    "executor uid"
);
uuid_id!(
    /// Identifies an attempt (UUIDv7, so that attempts sort by request time).
    AttemptId,
    "attempt"
);
uuid_id!(
    /// Identifies one process of an executor; new at each start.
    InstanceId,
    "instance"
);

/// A caller's own id for a request, for idempotency (AIP-155): 1 to 128 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// Checks length and alphabet.
    ///
    /// # Errors
    /// [`Error::Resource`] when empty, longer than 128 characters, or not printable ASCII.
    pub fn new(value: &str) -> Result<Self, Error> {
        let fits = (1..=128).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(value.to_owned()))
        } else {
            Err(Error::Resource { form: "1 to 128 printable ASCII characters", value: cut(value) })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The next one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// Numbers what is desired of one executor; only grows, scoped by the executor's uid. 0: nothing was ever desired.
    Generation
);
counter!(
    /// Numbers the sessions of one executor; the greater owns it.
    Epoch
);
counter!(
    /// Counts the writes of one row: a writer names the revision it read, an older one loses as stale.
    Revision
);

/// `organizations/{organization}/executors/{executor}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutorName {
    /// Tenant.
    pub organization: OrganizationId,
    /// Name inside it.
    pub executor: ExecutorId,
}

impl fmt::Display for ExecutorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "organizations/{}/executors/{}", self.organization, self.executor)
    }
}

impl FromStr for ExecutorName {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = value.split('/').collect();
        let ["organizations", organization, "executors", executor] = parts[..] else {
            return Err(Error::Resource {
                form: "organizations/{organization}/executors/{executor}",
                value: cut(value),
            });
        };
        Ok(Self { organization: OrganizationId::new(organization)?, executor: ExecutorId::new(executor)? })
    }
}

/// `organizations/{organization}/executors/{executor}/attempts/{attempt}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptName {
    /// Whose attempt.
    pub executor: ExecutorName,
    /// Which one.
    pub attempt: AttemptId,
}

impl fmt::Display for AttemptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/attempts/{}", self.executor, self.attempt)
    }
}

impl FromStr for AttemptName {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        const FORM: &str = "organizations/{organization}/executors/{executor}/attempts/{uuid}";
        let (executor, attempt) =
            value.split_once("/attempts/").ok_or_else(|| Error::Resource { form: FORM, value: cut(value) })?;
        Ok(Self { executor: executor.parse()?, attempt: attempt.parse()? })
    }
}

/// A release's identity: kind and version, the `agent-1.2.0` of `releases/agent-1.2.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseId {
    /// What kind of executor it is for.
    pub kind: Kind,
    /// Which version.
    pub version: Version,
}

impl ReleaseId {
    /// `releases/agent-1.2.0`.
    #[must_use]
    pub fn resource_name(&self) -> String {
        format!("releases/{self}")
    }

    /// Parses `releases/agent-1.2.0`.
    ///
    /// # Errors
    /// [`Error::Resource`] when it is of another form.
    pub fn parse_resource_name(value: &str) -> Result<Self, Error> {
        value.strip_prefix("releases/").ok_or_else(|| Self::form(value))?.parse().map_err(|_| Self::form(value))
    }

    fn form(value: &str) -> Error {
        Error::Resource { form: "releases/{agent|operator}-{version}", value: cut(value) }
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind, self.version)
    }
}

impl FromStr for ReleaseId {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        let (kind, version) = value.split_once('-').ok_or_else(|| Self::form(value))?;
        let kind = kind.parse().map_err(|_| Self::form(value))?;
        let version = version.parse().map_err(|_| Self::form(value))?;
        Ok(Self { kind, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_closed_at_the_door() {
        for good in ["a", "web-1", "0", &"a".repeat(63)] {
            assert!(ExecutorId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "..", "a b", "ä", &"a".repeat(64)] {
            assert!(ExecutorId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn resource_names_round_trip() {
        let text = "organizations/acme/executors/web-1/attempts/0190163d-8694-739b-aea5-966c26f8ad91";
        assert_eq!(text.parse::<AttemptName>().expect("parses").to_string(), text);
        let text = "releases/agent-1.2.0-rc.1";
        assert_eq!(ReleaseId::parse_resource_name(text).expect("parses").resource_name(), text);
    }

    #[test]
    fn a_uuid_has_one_spelling() {
        assert!("0190163D-8694-739B-AEA5-966C26F8AD91".parse::<AttemptId>().is_err());
        assert!("0190163d8694739baea5966c26f8ad91".parse::<AttemptId>().is_err());
    }
}
