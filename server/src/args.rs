//! The command line: flags and environment are declared here and nowhere else. Values stay text here; [`crate::config`]
//! judges flags, environment and file together, so that all mistakes are told at once.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

const STORY: &str = "\
The first time:
  novacula-server bootstrap --organization acme     makes the data directory, its authority, and an owner's token
  novacula-server run                               API on 127.0.0.1:7443, executors on 127.0.0.1:7444

Settings come from flags, then from the environment, then from the file. Exit codes: 0 done, 1 failed, 2 usage, 78 bad configuration.";

/// The control plane of Novacula: upgrades executors over streams that they keep open.
#[derive(Debug, Parser)]
#[command(name = "novacula-server", version, max_term_width = 100, after_help = STORY)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// The settings that several commands share.
    #[command(flatten)]
    pub settings: Settings,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM, then drain
    Run,
    /// Make the first organization and its owner's token; works on a data directory that no server holds
    Bootstrap(Bootstrap),
    /// Judge the configuration, and do nothing
    CheckConfig,
    /// Bring the database's schema to this version; `run` does it too
    Migrate,
    /// After a restored backup: end pending upgrades, void join tokens, list the API tokens and identities to check
    AfterRestore(AfterRestore),
    /// List, rotate and retire the authorities in the database, while replicas serve
    Authority {
        /// What to do with them
        #[command(subcommand)]
        command: Authority,
    },
    /// Carry an embedded installation over to the PostgreSQL of --database-url: all of it, checked row for row, or nothing
    Import(Import),
}

const ROTATION: &str = "\
A rotation, with all streams open:
  novacula-server authority rotate      a newer one; the fleet renews over authority-spread-ms
  novacula-server authority list        until no executor depends on the older
  novacula-server authority retire 1    the older counts no more; copy ca.pem anew for people and programs";

/// What to do with the authorities in the database.
#[derive(Debug, Subcommand)]
#[command(after_help = ROTATION)]
pub enum Authority {
    /// Which there are, what each signs, and how many executors depend on it
    List(AuthorityList),
    /// Make a newer one: trusted at once, and signing for executors after two leases (30 s)
    Rotate(AuthorityRotate),
    /// Trust one no more, and forget its key
    Retire(AuthorityRetire),
    /// Encrypt every key with the first of the encryption keys
    Reseal,
}

/// How to list them.
#[derive(Debug, ClapArgs)]
pub struct AuthorityList {
    /// How to print
    #[arg(long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Output,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// What the newer one is.
#[derive(Debug, ClapArgs)]
pub struct AuthorityRotate {
    /// PEM certificate of an authority to take instead of making one
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// PEM key of --certificate
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
}

/// Which one.
#[derive(Debug, ClapArgs)]
pub struct AuthorityRetire {
    /// Its number in the list
    pub number: u32,
    /// Even while executors depend on it: those have to enroll again
    #[arg(long)]
    pub force: bool,
}

/// What to carry over.
#[derive(Debug, ClapArgs)]
pub struct Import {
    /// Data directory of the embedded server, which must not run, or the database file in it; it is only read
    #[arg(long, value_name = "PATH")]
    pub from_sqlite: PathBuf,
}

/// What to do beside it.
#[derive(Debug, ClapArgs)]
pub struct AfterRestore {
    /// Revoke every API token, owners' too; `bootstrap` makes new ones
    #[arg(long)]
    pub revoke_tokens: bool,
}

/// What to make.
#[derive(Debug, ClapArgs)]
pub struct Bootstrap {
    /// Id of the first organization: 1 to 63 of `a-z 0-9 -`
    #[arg(long, value_name = "ID")]
    pub organization: String,
    /// Write the tokens into this directory, one file a role (0600), instead of printing them
    #[arg(long, value_name = "DIR")]
    pub token_dir: Option<PathBuf>,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $field:ident = $env:literal, $value:literal;)*) => {
        /// Settings, as text. Each is also a key of the file, with underscores.
        #[derive(Clone, Debug, Default, ClapArgs)]
        #[command(next_help_heading = "Settings")]
        pub struct Settings {
            /// TOML file with any of the settings below; unknown keys are refused
            #[arg(long, global = true, env = "NOVACULA_SERVER_CONFIG", value_name = "FILE")]
            pub config: Option<PathBuf>,
            $(
                $(#[doc = $doc])+
                // A value may hold a password, and help is pasted into tickets.
                #[arg(long, global = true, env = $env, hide_env_values = true, value_name = $value)]
                pub $field: Option<String>,
            )*
        }

        impl Settings {
            /// Every setting by its key, as flags or environment gave it.
            #[must_use]
            pub fn into_pairs(self) -> Vec<(&'static str, Option<String>)> {
                vec![$((stringify!($field), self.$field),)*]
            }

            /// Every key that a file may have.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($field),)*];
        }
    };
}

settings! {
    /// Where everything is kept: database, artifacts, authority [default: /var/lib/novacula-server]
    data_dir = "NOVACULA_DATA_DIR", "DIR";
    /// PostgreSQL 15 or newer to keep everything in that replicas share, instead of a file in the data directory: a URL as libpq reads
    /// it, such as postgres://novacula@db/novacula?sslmode=verify-full&sslrootcert=/etc/novacula/db-ca.pem. A password belongs into the
    /// environment or the file, not into a flag
    database_url = "NOVACULA_DATABASE_URL", "URL";
    /// Where to LISTEN, past a pooler that database-url leads through in transaction mode
    database_listen_url = "NOVACULA_DATABASE_LISTEN_URL", "URL";
    /// Schema of the database, made when it is missing [default: novacula]
    database_schema = "NOVACULA_DATABASE_SCHEMA", "NAME";
    /// Connections to the database, besides the one that listens [default: 16]
    database_pool_size = "NOVACULA_DATABASE_POOL_SIZE", "COUNT";
    /// Longest that one statement may take, in milliseconds, 100 to 60000 [default: 5000]
    database_statement_timeout_ms = "NOVACULA_DATABASE_STATEMENT_TIMEOUT_MS", "MS";
    /// API listener: people and programs [default: 127.0.0.1:7443]
    api_listen = "NOVACULA_API_LISTEN", "ADDRESS";
    /// Executor listener: agents and operators [default: 127.0.0.1:7444]
    executor_listen = "NOVACULA_EXECUTOR_LISTEN", "ADDRESS";
    /// `host:port` that join tokens carry: the executor listener as hosts see it [default: the executor listener's address]
    executor_endpoint = "NOVACULA_EXECUTOR_ENDPOINT", "HOST:PORT";
    /// DNS names and addresses in our own server certificate, comma separated [default: localhost,127.0.0.1]
    server_names = "NOVACULA_SERVER_NAMES", "NAMES";
    /// PEM chain to show instead of one from our own authority; with tls-key
    tls_certificate = "NOVACULA_TLS_CERTIFICATE", "FILE";
    /// PEM key of tls-certificate
    tls_key = "NOVACULA_TLS_KEY", "FILE";
    /// PEM file of an authority to use instead of our own: the first certificate signs; with authority-key
    authority_certificate = "NOVACULA_AUTHORITY_CERTIFICATE", "FILE";
    /// PEM key of authority-certificate
    authority_key = "NOVACULA_AUTHORITY_KEY", "FILE";
    /// File with the key that the authority's key is encrypted with in the database, which replicas then share and can rotate: 64
    /// hexadecimal digits (openssl rand -hex 32). Of several, one a line, the first encrypts and each decrypts
    authority_encryption_key_file = "NOVACULA_AUTHORITY_ENCRYPTION_KEY_FILE", "FILE";
    /// The same key itself, for the environment, never a flag
    authority_encryption_key = "NOVACULA_AUTHORITY_ENCRYPTION_KEY", "KEY";
    /// Over how long the fleet renews its certificates after a change of the authorities, in milliseconds [default: 3600000]
    authority_spread_ms = "NOVACULA_AUTHORITY_SPREAD_MS", "MS";
    /// Trust domain of executor identities [default: novacula.internal]
    trust_domain = "NOVACULA_TRUST_DOMAIN", "NAME";
    /// minisign public keys; when given, publishing verifies signatures, too
    release_keys = "NOVACULA_SERVER_RELEASE_KEYS", "FILE";
    /// TOML file of the Kubernetes clusters whose ServiceAccount tokens enrol their operators
    trusted_clusters = "NOVACULA_TRUSTED_CLUSTERS", "FILE";
    /// TOML file of the identity provider by which people sign in on the web page [default: tokens only]
    oidc = "NOVACULA_OIDC", "FILE";
    /// Time for an upgrade to be picked up, in milliseconds, at most 24 h [default: 900000]
    pending_upgrade_ttl_ms = "PENDING_UPGRADE_TTL_MS", "MS";
    /// How long a new version runs before it is confirmed, in milliseconds [default: 120000]
    probation_ms = "NOVACULA_PROBATION_MS", "MS";
    /// How often executors say that they are alive, in milliseconds [default: 5000]
    heartbeat_interval_ms = "NOVACULA_HEARTBEAT_INTERVAL_MS", "MS";
    /// How long to spread a drain over, in milliseconds [default: 10000]
    drain_ms = "NOVACULA_DRAIN_MS", "MS";
    /// Largest artifact to keep, in bytes [default: 1073741824]
    max_artifact_bytes = "NOVACULA_MAX_ARTIFACT_BYTES", "BYTES";
    /// Days to keep ended attempts, deleted executors and the event feed [default: 400]
    retention_days = "NOVACULA_RETENTION_DAYS", "DAYS";
    /// Days to keep uploaded bytes that no release names [default: 7]
    unused_artifact_days = "NOVACULA_UNUSED_ARTIFACT_DAYS", "DAYS";
    /// Which lines to log: error, warn, info, debug, trace [default: info]
    log_level = "NOVACULA_LOG_LEVEL", "LEVEL";
    /// json or text [default: text on a terminal, else json]
    log_format = "NOVACULA_LOG_FORMAT", "FORMAT";
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
