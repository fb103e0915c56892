//! What may be asked on the command line. Flags and environment are declared here and nowhere else.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  novacula login --server https://control:7443 --ca ca.pem --token-file token --organization acme
  novacula executor list
  novacula upgrade targets web-1
  novacula upgrade request web-1 1.2.0 --wait
  novacula executor explain web-1          why is it not moving?

Exit codes: 0 done; 1 refused or failed; 2 usage; 3 not reachable; 4 timed out waiting; 78 bad configuration.";

/// Upgrades the software that runs on other people's machines: the command line of the Novacula control plane.
#[derive(Debug, Parser)]
#[command(name = "novacula", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which control plane, as whom, and how to print.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Connection {
    /// API listener, `https://host:port` [default: the context's, else <https://127.0.0.1:7443>]
    #[arg(long, global = true, env = "NOVACULA_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// PEM file of the authority to trust (`<data-dir>/ca.pem` of the control plane)
    #[arg(long, global = true, env = "NOVACULA_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// File with the bearer token on its first line; `-` reads standard input
    #[arg(long, global = true, env = "NOVACULA_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Organization for short names, `acme`
    #[arg(long, short = 'O', global = true, env = "NOVACULA_ORGANIZATION", value_name = "ID")]
    pub(crate) organization: Option<String>,
    /// Context of the configuration file to use
    #[arg(long, global = true, env = "NOVACULA_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Print tables for people or JSON (proto3 JSON, one document or one a line when watching) for programs
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Longest time for one call, such as `30s`; watching and waiting have limits of their own
    #[arg(long, global = true, value_parser = humantime::parse_duration, default_value = "30s", value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Executors: who is there, what they run, why one is not moving
    #[command(subcommand)]
    Executor(Executor),
    /// Upgrades: ask, cancel, follow
    #[command(subcommand)]
    Upgrade(Upgrade),
    /// The release catalog
    #[command(subcommand)]
    Release(Release),
    /// Organizations
    #[command(subcommand)]
    Organization(Organization),
    /// Join tokens: what lets an executor enrol
    #[command(subcommand)]
    JoinToken(JoinToken),
    /// Bearer tokens of people and programs
    #[command(subcommand)]
    Token(Token),
    /// The event feed and the audit log
    #[command(subcommand)]
    Event(Event),
    /// Check a server and token, and keep them as a context
    Login(Login),
    /// Contexts of the configuration file
    #[command(subcommand)]
    Context(Context),
    /// Who the token says you are
    Whoami,
    /// Print a completion script: `source <(novacula completions bash)`
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// `novacula executor …`
#[derive(Debug, Subcommand)]
pub(crate) enum Executor {
    /// List executors
    List {
        /// Terms that must all hold: `version=1.2.0 channel=stable online=true state=active pinned=true label.rack=a7 name:web`
        #[arg(long, default_value = "")]
        filter: String,
    },
    /// One executor
    Get {
        /// `web-1` or the full resource name
        name: String,
    },
    /// Print every change until interrupted
    Watch {
        /// As in `list`
        #[arg(long, default_value = "")]
        filter: String,
    },
    /// Why an upgrade stands where it stands, and what to do next
    Explain {
        /// `web-1` or the full resource name
        name: String,
    },
    /// Change channel or labels
    Update {
        /// `web-1` or the full resource name
        name: String,
        /// Which releases it is shown
        #[arg(long, value_enum)]
        channel: Option<Channel>,
        /// Set a label, `rack=a7`; `rack=` removes it; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
    },
    /// End its stream at once and refuse its certificate
    Deactivate {
        /// `web-1` or the full resource name
        name: String,
    },
    /// Let it sync again; also decides after DUPLICATE_IDENTITY
    Activate {
        /// `web-1` or the full resource name
        name: String,
    },
    /// Delete it for ever
    Delete {
        /// `web-1` or the full resource name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Forget that a version rolled back or was refused here
    ClearHold {
        /// `web-1` or the full resource name
        name: String,
        /// The version
        version: String,
    },
    /// The machines it reports
    Nodes {
        /// `web-1` or the full resource name
        name: String,
    },
}

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

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Channel {
    /// For everyone.
    Stable,
    /// For those who test ahead.
    Beta,
    /// For those who build it.
    Dev,
}

/// A kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// One binary under systemd.
    Agent,
    /// One Deployment in Kubernetes.
    Operator,
}

/// `novacula release …`
#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Make a draft
    Create {
        /// For which kind
        #[arg(value_enum)]
        kind: Kind,
        /// SemVer 2.0.0
        version: String,
        /// Its widest channel
        #[arg(long, value_enum, default_value = "stable")]
        channel: Channel,
        /// Release notes in Markdown; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        notes_file: Option<PathBuf>,
    },
    /// Print the line to sign: `minisign -S -m FILE -t "$(novacula release manifest …)"`
    Manifest(Manifest),
    /// Add a signed artifact to a draft
    Upload(Upload),
    /// Add a signature by another key, or promote to a wider channel
    AddSignature {
        /// `agent-1.2.0`
        release: String,
        /// minisign signature file
        signature: PathBuf,
        /// `linux/amd64` (agents)
        #[arg(long, default_value = "")]
        platform: String,
    },
    /// Offer a release to the executors that may take it
    Publish {
        /// `agent-1.2.0`
        release: String,
        /// Answer as if, and write nothing
        #[arg(long)]
        validate_only: bool,
    },
    /// Withdraw a release; attempts without leave are cancelled
    Yank {
        /// `agent-1.2.0`
        release: String,
        /// Why, for people
        #[arg(long)]
        reason: String,
    },
    /// One release
    Get {
        /// `agent-1.2.0`
        release: String,
    },
    /// Releases, newest version first
    List {
        /// Only of this kind
        #[arg(long, value_enum)]
        kind: Option<Kind>,
    },
    /// Every release between two versions, with their notes
    Compare {
        /// Of which kind
        #[arg(value_enum)]
        kind: Kind,
        /// What runs
        from: String,
        /// Where to
        to: String,
    },
}

/// `novacula release manifest`
#[derive(Debug, clap::Args)]
pub(crate) struct Manifest {
    /// The binary (agents)
    #[arg(required_unless_present = "image")]
    pub(crate) file: Option<PathBuf>,
    /// SemVer 2.0.0
    #[arg(long)]
    pub(crate) version: String,
    /// Its widest channel
    #[arg(long, value_enum, default_value = "stable")]
    pub(crate) channel: Channel,
    /// What the binary runs on
    #[arg(long, default_value = "linux/amd64", conflicts_with = "image")]
    pub(crate) platform: String,
    /// File name to state instead of the file's own
    #[arg(long, value_name = "NAME", conflicts_with = "image")]
    pub(crate) file_name: Option<String>,
    /// Image reference without tag or digest (operators)
    #[arg(long, requires = "digest", conflicts_with = "file")]
    pub(crate) image: Option<String>,
    /// `sha256:…` of the image's index or manifest
    #[arg(long, requires = "image")]
    pub(crate) digest: Option<String>,
    /// Number of this release, greater than every one before of its kind [default: asked of the control plane]
    #[arg(long)]
    pub(crate) sequence: Option<u64>,
    /// Lowest version to accept once this one is confirmed
    #[arg(long, default_value = "0.0.0")]
    pub(crate) floor: String,
}

/// `novacula release upload`
#[derive(Debug, clap::Args)]
pub(crate) struct Upload {
    /// `agent-1.2.0`
    pub(crate) release: String,
    /// The binary; with `--external-url` it is read for its size and digest only (agents)
    #[arg(required_unless_present = "image")]
    pub(crate) file: Option<PathBuf>,
    /// minisign signature file; may be repeated [default: `<FILE>.minisig`]
    #[arg(long = "signature", value_name = "FILE")]
    pub(crate) signatures: Vec<PathBuf>,
    /// Where executors fetch the bytes instead of the control plane's storage
    #[arg(long, value_name = "URL")]
    pub(crate) external_url: Option<String>,
    /// Image reference without tag or digest (operators)
    #[arg(long, requires = "digest", conflicts_with = "file")]
    pub(crate) image: Option<String>,
    /// `sha256:…` of the image's index or manifest
    #[arg(long, requires = "image")]
    pub(crate) digest: Option<String>,
}

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

/// `novacula event …`
#[derive(Debug, Subcommand)]
pub(crate) enum Event {
    /// Events, newest last
    List(Events),
    /// Print new events until interrupted
    Watch {
        /// Only these types, `attempt.*`; may be repeated
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
        /// Begin after this number instead of now
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
}

/// `novacula event list`
#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// Only these types, `executor.*`; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only about this resource name
    #[arg(long, default_value = "")]
    pub(crate) target: String,
    /// The newest this many
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Of the installation instead of an organization
    #[arg(long)]
    pub(crate) installation: bool,
}

/// `novacula login`
#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    /// Name of the context to write and make current
    #[arg(default_value = "default")]
    pub(crate) name: String,
}

/// `novacula context …`
#[derive(Debug, Subcommand)]
pub(crate) enum Context {
    /// List contexts; the current one is marked
    List,
    /// Make a context current
    Use {
        /// Its name
        name: String,
    },
    /// Forget a context and the token kept for it
    Remove {
        /// Its name
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn usage_errors_end_with_2() {
        let error = Args::try_parse_from(["novacula", "upgrade", "request", "web-1"]).expect_err("no version");
        assert_eq!(error.exit_code(), 2);
    }
}
