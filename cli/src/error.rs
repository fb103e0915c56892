//! What can go wrong in one invocation, and the exit code it ends with: 1 refused or failed, 3 not reachable, 4 timed out
//! waiting, 78 bad configuration (EX_CONFIG of sysexits.h). 2 (usage) is clap's.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::path::PathBuf;

use tonic::Code;
use tonic_types::StatusExt as _;

/// Why an invocation did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The control plane refused or failed.
    #[error("{0}")]
    Refused(String),
    /// The control plane cannot be reached.
    #[error("{server} cannot be reached")]
    Unreachable {
        /// Where we dialled.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Waiting took longer than allowed.
    #[error("{0}")]
    TimedOut(String),
    /// Flags, environment or configuration file say something that cannot be.
    #[error("{0}")]
    Config(String),
    /// A file of ours cannot be read or written.
    #[error("{doing} {path}")]
    File {
        /// What was being done, present tense.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something on this machine failed.
    #[error("{doing}")]
    Local {
        /// What was being done, present tense.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// A failure on this machine.
    pub(crate) fn local(doing: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Local { doing, source: source.into() }
    }

    /// A failure with a file of ours.
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File { doing, path: path.into(), source }
    }

    /// The exit code (API.md).
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::File { .. } | Self::Local { .. } => 1,
            Self::Unreachable { .. } => 3,
            Self::TimedOut(_) => 4,
            Self::Config(_) => 78,
        }
    }

    /// The whole chain in one sentence.
    pub(crate) fn sentence(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        text
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        // A refusal of ours carries a reason; UNAVAILABLE without one comes from the connection, not from the control plane.
        let info = status.get_details_error_info();
        if status.code() == Code::Unavailable && info.is_none() {
            return Self::Unreachable { server: "the control plane".to_owned(), source: Box::new(status) };
        }
        // The transport says CANCELLED when its time is over; nobody else does, since we cancel nothing.
        if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) && info.is_none() {
            return Self::TimedOut(format!("{}; ask again, or raise --timeout", status.message()));
        }
        let mut text = status.message().to_owned();
        if let Some(info) = info {
            let _ = write!(text, " ({}", info.reason);
            let mut values: Vec<_> = info.metadata.iter().collect();
            values.sort();
            for (name, value) in values {
                let _ = write!(text, ", {name}={value}");
            }
            text.push(')');
        }
        for violation in status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default() {
            let _ = write!(text, "\n  {}: {}", violation.field, violation.description);
        }
        if text.is_empty() {
            text = format!("{:?}", status.code());
        }
        Self::Refused(text)
    }
}
