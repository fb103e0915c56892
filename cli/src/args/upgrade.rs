//! `novacula upgrade …`: asking, cancelling, following.

use std::time::Duration;

use clap::Subcommand;

/// `novacula upgrade …`
#[derive(Debug, Subcommand)]
pub(crate) enum Upgrade {
    /// Available upgrades and downgrades, with what blocks them
    Targets {
        /// `web-1` or the full resource name
        name: String,
    },
    /// Ask an executor to move to a version
    Request(RequestUpgrade),
    /// Ask many executors to move to a version; prints a result for each
    Batch {
        /// Where to
        version: String,
        /// `web-1 web-2 …`, at most 1,000
        #[arg(required = true)]
        names: Vec<String>,
        /// Supersede another pending target
        #[arg(long)]
        replace: bool,
    },
    /// Cancel the pending upgrade of an executor, or one attempt by its full name
    Cancel {
        /// `web-1`, or `organizations/…/attempts/…`
        name: String,
    },
    /// One attempt with the last lines of a failing version: an executor's open or newest one, or one by its full name
    Get {
        /// `web-1`, or `organizations/…/attempts/…`
        name: String,
    },
    /// Follow an executor's newest attempt, or one by its full name, to its end
    Watch {
        /// `web-1`, or `organizations/…/attempts/…`
        name: String,
    },
    /// Attempts of an executor, newest first
    History {
        /// `web-1`, or `-` for the whole organization
        name: String,
        /// At most this many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only those on their way to this release, oldest first (`agent-1.2.0`, with `-` for NAME)
        #[arg(long, value_name = "RELEASE")]
        open_to: Option<String>,
    },
}

/// `novacula upgrade request`
#[derive(Debug, clap::Args)]
pub(crate) struct RequestUpgrade {
    /// `web-1` or the full resource name
    pub(crate) name: String,
    /// Where to, `1.2.0`
    pub(crate) version: String,
    /// Refuse unless it runs this version now
    #[arg(long, value_name = "VERSION")]
    pub(crate) expected_version: Option<String>,
    /// Time to be picked up, at most 24h [default: the control plane's, 15min]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) ttl: Option<Duration>,
    /// Supersede another pending target
    #[arg(long)]
    pub(crate) replace: bool,
    /// Your id for this request: the same id with the same request answers with the same attempt
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Answer as if, and write nothing
    #[arg(long)]
    pub(crate) validate_only: bool,
    /// Follow the attempt; exit 0 only when it succeeded
    #[arg(long, conflicts_with = "validate_only")]
    pub(crate) wait: bool,
    /// Stop waiting after this long (exit 4); the attempt goes on
    #[arg(long, requires = "wait", value_parser = humantime::parse_duration, default_value = "1h", value_name = "DURATION")]
    pub(crate) wait_timeout: Duration,
}
