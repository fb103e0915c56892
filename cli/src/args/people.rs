//! `novacula organization …`, `join-token …`, `token …`: who may do what.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};

/// `novacula organization …`
#[derive(Debug, Subcommand)]
pub(crate) enum Organization {
    /// Make an organization
    Create {
        /// 1 to 63 of `a-z 0-9 -`
        id: String,
        /// For people
        #[arg(long, default_value = "")]
        display_name: String,
    },
    /// One organization
    Get {
        /// Its id
        id: String,
    },
    /// Organizations in which you have a role
    List,
}

/// `novacula join-token …`
#[derive(Debug, Subcommand)]
pub(crate) enum JoinToken {
    /// Make a join token; its secret is printed once
    Create {
        /// The only executor name it enrols
        #[arg(long, value_name = "NAME")]
        executor: Option<String>,
        /// It may take over that name from an enrolled executor (single use, at most 1h)
        #[arg(long, requires = "executor")]
        replace: bool,
        /// How long it lives, at most 7 days
        #[arg(long, value_parser = humantime::parse_duration, default_value = "1h", value_name = "DURATION")]
        ttl: Duration,
        /// How often it may be used
        #[arg(long, default_value_t = 1)]
        max_uses: i32,
    },
    /// Join tokens, without secrets
    List,
    /// Revoke a join token
    Revoke {
        /// Its id
        id: String,
    },
}

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Manages an organization's tokens, and all an admin may.
    Owner,
    /// May deploy in an organization.
    Admin,
    /// May look at an organization.
    Member,
    /// Changes the release catalog.
    Publisher,
    /// Manages the installation.
    InstallationAdmin,
}

/// `novacula token …`
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a bearer token; its secret is printed once
    Create {
        /// What its bearer may do
        #[arg(value_enum)]
        role: Role,
        /// For people
        #[arg(long, default_value = "")]
        display_name: String,
        /// How long it lives, at most 366 days
        #[arg(long, value_parser = humantime::parse_duration, default_value = "90d", value_name = "DURATION")]
        ttl: Duration,
    },
    /// Bearer tokens, without secrets
    List,
    /// Revoke a bearer token
    Revoke {
        /// Its id
        id: String,
    },
}
