//! The configuration: flags win over the environment (clap's work), which wins over the file. All mistakes are found at
//! once, before anything is bound or written.

mod files;

mod judge;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::Version;
use domain::join::Endpoint;

use crate::app::Settings;
use crate::args;
use crate::tls::authority::Source;

use judge::{Judge, Shared};

/// Where everything is kept by default.
pub const DATA_DIR: &str = "/var/lib/novacula-server";

/// Where people and programs connect by default (API.md).
const API_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7443);

/// Where executors connect by default (API.md).
const EXECUTOR_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7444);

/// The trust domain of executor identities by default.
const TRUST_DOMAIN: &str = "novacula.internal";

/// How long a drain is spread by default: executors make before break.
const DRAIN: Duration = Duration::from_secs(10);

/// Everything `run` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Artifacts, authority, and the database when it is a file.
    pub data_dir: PathBuf,
    /// The database that replicas share.
    pub database: Option<store::postgres::Options>,
    /// Where people and programs connect.
    pub api_listen: SocketAddr,
    /// Where executors connect.
    pub executor_listen: SocketAddr,
    /// Names and addresses in our own server certificate.
    pub server_names: Vec<String>,
    /// A server certificate that was given.
    pub server_certificate: Option<ServerCertificate>,
    /// Where the authority comes from.
    pub authority: Source,
    /// Trust domain of executor identities.
    pub trust_domain: String,
    /// minisign public keys that publishing verifies by.
    pub release_keys: Option<PathBuf>,
    /// Which clusters may enrol their operators.
    pub trusted_clusters: Option<PathBuf>,
    /// Which identity provider people sign in by, on the web page.
    pub oidc: Option<PathBuf>,
    /// How long a drain is spread.
    pub drain: Duration,
    /// How the use cases behave. `executor_endpoint` is filled in after binding when none is set.
    pub settings: Settings,
    /// What is logged.
    pub log: Log,
}

/// A server certificate that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificate {
    /// PEM chain.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// How lines look.
    pub format: LogFormat,
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, otherwise JSON.
    Automatic,
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The configuration is wrong. Prints every mistake, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} mistake(s):{}", .mistakes.len(), list(.mistakes))]
pub struct Error {
    /// Each names setting, origin, rule and value.
    pub mistakes: Vec<String>,
}

fn list(mistakes: &[String]) -> String {
    mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect()
}

impl Config {
    /// Judges flags, environment and file.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn resolve(settings: args::Settings, server_version: Version) -> Result<Self, Error> {
        let mut judge = Judge::new(settings);
        let config = Self::judged(&mut judge, server_version);
        judge.verdict()?;
        Ok(config)
    }

    /// Judges what the files hold that the configuration names, and writes nothing. Blocks on the disk.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn check_files(&self) -> Result<(), Error> {
        let mistakes = files::mistakes(self);
        if mistakes.is_empty() { Ok(()) } else { Err(Error { mistakes }) }
    }

    fn judged(judge: &mut Judge, server_version: Version) -> Self {
        let certificate = judge.pair("tls_certificate", "tls_key");
        let database = judge.database();
        let authority = judge.authority(if database.is_some() { Shared::Yes } else { Shared::No });
        let log = Log {
            level: judge.parsed("log_level", "error, warn, info, debug or trace").unwrap_or(tracing::Level::INFO),
            format: judge.log_format(),
        };
        Self {
            data_dir: judge.path("data_dir").unwrap_or_else(|| PathBuf::from(DATA_DIR)),
            database,
            api_listen: judge.parsed("api_listen", "an address and port such as 0.0.0.0:7443").unwrap_or(API_LISTEN),
            executor_listen: judge
                .parsed("executor_listen", "an address and port such as 0.0.0.0:7444")
                .unwrap_or(EXECUTOR_LISTEN),
            server_names: judge.server_names(),
            server_certificate: certificate.map(|(certificate, key)| ServerCertificate { certificate, key }),
            authority,
            trust_domain: judge.trust_domain().unwrap_or_else(|| TRUST_DOMAIN.to_owned()),
            release_keys: judge.path("release_keys"),
            trusted_clusters: judge.path("trusted_clusters"),
            oidc: judge.path("oidc"),
            drain: judge.millis("drain_ms", Duration::ZERO, Duration::from_secs(600)).unwrap_or(DRAIN),
            settings: use_case_settings(judge, server_version),
            log,
        }
    }

    /// For a control plane inside a test: everything in `data_dir`, both listeners on free ports of the loopback.
    #[must_use]
    pub fn for_tests(data_dir: &Path, server_version: Version) -> Self {
        let free = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            data_dir: data_dir.to_owned(),
            database: None,
            api_listen: free,
            executor_listen: free,
            server_names: default_names(),
            server_certificate: None,
            authority: Source::Own,
            trust_domain: TRUST_DOMAIN.to_owned(),
            release_keys: None,
            trusted_clusters: None,
            oidc: None,
            drain: Duration::ZERO,
            settings: Settings::new(server_version),
            log: Log { level: tracing::Level::INFO, format: LogFormat::Automatic },
        }
    }
}

fn use_case_settings(judge: &mut Judge, server_version: Version) -> Settings {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    // Half of the 60 min in which a confirmation has to come: an upgrade that needed longer would end as `UNCONFIRMED` each time.
    const PROBATION_MAX: Duration = Duration::from_secs(30 * 60);
    let mut settings = Settings::new(server_version);
    let ms = Duration::from_millis;
    if let Some(ttl) = judge.millis("pending_upgrade_ttl_ms", ms(1000), DAY) {
        settings.pending_upgrade_ttl = ttl;
    }
    if let Some(probation) = judge.millis("probation_ms", ms(500), PROBATION_MAX) {
        settings.probation = probation;
    }
    if let Some(interval) = judge.millis("heartbeat_interval_ms", ms(200), ms(10_000)) {
        settings.heartbeat_interval = interval;
    }
    if let Some(spread) = judge.millis("authority_spread_ms", ms(1000), 7 * DAY) {
        settings.authority_spread = spread;
    }
    if let Some(bytes) = judge.number("max_artifact_bytes", 1, 1 << 40) {
        settings.max_artifact_bytes = bytes;
    }
    if let Some(days) = judge.number("retention_days", 1, 36_500) {
        let kept = Duration::from_secs(days * 24 * 60 * 60);
        settings.retention.attempts = kept;
        settings.retention.events = kept;
        settings.retention.executors = kept;
    }
    if let Some(days) = judge.number("unused_artifact_days", 1, 36_500) {
        settings.retention.artifacts = Duration::from_secs(days * 24 * 60 * 60);
    }
    settings.executor_endpoint =
        judge.parsed::<Endpoint>("executor_endpoint", "host:port with a DNS name or an address, as hosts see it");
    settings
}

fn default_names() -> Vec<String> {
    vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn version() -> Version {
        "1.0.0".parse().unwrap()
    }

    #[test]
    fn nothing_set_is_the_documented_defaults() {
        let config = Config::resolve(args::Settings::default(), version()).unwrap();
        assert_eq!(config.api_listen.to_string(), "127.0.0.1:7443");
        assert_eq!(config.executor_listen.to_string(), "127.0.0.1:7444");
        assert_eq!(config.settings.probation, Duration::from_secs(120));
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_origin() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.toml");
        fs::write(&file, "probation = 3\ndrain_ms = \"soon\"\ntls_key = \"/k\"\n").unwrap();
        let settings = args::Settings {
            config: Some(file),
            api_listen: Some("nowhere".to_owned()),
            pending_upgrade_ttl_ms: Some("86400001".to_owned()),
            ..args::Settings::default()
        };
        let error = Config::resolve(settings, version()).unwrap_err();
        let text = error.to_string();
        for part in ["probation", "drain_ms", "tls_certificate", "api_listen", "pending_upgrade_ttl_ms", "86400001"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(error.mistakes.len(), 5, "{text}");
    }

    #[test]
    fn a_probation_that_no_upgrade_could_pass_in_time_is_refused() {
        let resolve = |ms: u64| {
            let settings = args::Settings { probation_ms: Some(ms.to_string()), ..args::Settings::default() };
            Config::resolve(settings, version())
        };
        let most = domain::attempt::Policy::default().confirm_deadline / 2;
        let most = u64::try_from(most.as_millis()).unwrap();
        assert_eq!(resolve(most).unwrap().settings.probation, Duration::from_millis(most));
        let error = resolve(most + 1).unwrap_err().to_string();
        assert!(error.contains("probation_ms") && error.contains(&most.to_string()), "{error}");
    }

    #[test]
    fn a_shared_database_wants_a_shared_authority_and_shows_no_password() {
        let settings = args::Settings {
            database_url: Some("postgres://app:hunter2@db/x?sslmode=require".to_owned()),
            database_pool_size: Some("1".to_owned()),
            database_schema: Some("no such".to_owned()),
            ..args::Settings::default()
        };
        let error = Config::resolve(settings, version()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sslmode=require") && !text.contains("hunter2"), "{text}");
        let settings = args::Settings {
            database_url: Some("postgres://app:hunter2@db/x".to_owned()),
            database_pool_size: Some("1".to_owned()),
            database_schema: Some("no such".to_owned()),
            ..args::Settings::default()
        };
        let error = Config::resolve(settings, version()).unwrap_err();
        assert_eq!(error.mistakes.len(), 3, "{error}");
        assert!(
            error.to_string().contains("authority_certificate") && !error.to_string().contains("hunter2"),
            "{error}"
        );
        let alone = args::Settings { database_schema: Some("x".to_owned()), ..args::Settings::default() };
        assert!(Config::resolve(alone, version()).unwrap_err().to_string().contains("database_url"));
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.toml");
        fs::write(&file, "probation_ms = 1000\ndata_dir = \"/from-file\"\n").unwrap();
        let settings =
            args::Settings { config: Some(file), probation_ms: Some("2000".to_owned()), ..args::Settings::default() };
        let config = Config::resolve(settings, version()).unwrap();
        assert_eq!(config.settings.probation, Duration::from_secs(2));
        assert_eq!(config.data_dir, PathBuf::from("/from-file"));
    }

    #[test]
    fn the_example_file_shows_every_setting_and_is_valid() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/server.toml");
        let text = fs::read_to_string(&path).unwrap();
        for key in args::Settings::KEYS {
            assert!(text.contains(&format!("{key} = ")), "{key} is missing in the example");
        }
        let settings = args::Settings { config: Some(path), ..args::Settings::default() };
        Config::resolve(settings, version()).unwrap();
    }
}
