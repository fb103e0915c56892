//! How the program ends, for scripts: the exit codes of the public surface.

use std::process::ExitCode;

/// Refused or failed.
pub const FAILED: u8 = 1;

/// The control plane cannot be reached.
pub const NOT_REACHABLE: u8 = 3;

/// Bad configuration (EX_CONFIG of sysexits.h).
pub const BAD_CONFIGURATION: u8 = 78;

/// Why a command did not do what it should: what people read, and what scripts see.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What went wrong, down to its cause, and what to do.
    pub message: String,
}

impl Failure {
    /// Refused or failed.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }

    /// Failed because of `error`, told with its causes.
    #[must_use]
    pub fn because(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::failed(executor_sdk::report::chain(error))
    }

    /// Bad configuration.
    #[must_use]
    pub fn configuration(error: &crate::config::Error) -> Self {
        Self { code: BAD_CONFIGURATION, message: error.to_string() }
    }

    /// The exit code as the system takes it.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}
