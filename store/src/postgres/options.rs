//! Where the database is and how it is reached: a connection URL as libpq reads it, and what it has no word for.
//!
//! `sslmode` is `verify-full` (what is taken when nothing is said and a host is on the network), `verify-ca` or `disable`. The modes
//! between them are refused: they encrypt without knowing to whom.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::statement::SCHEMA;

/// How many connections a process keeps unless told otherwise. Each is a process of the server.
const POOL_SIZE: usize = 16;

/// How long one statement may take unless told otherwise. Every statement walks an index; more is a sick database.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest name of a schema: a NOTIFY channel of the same name has to fit 63 bytes.
const SCHEMA_MAX: usize = 48;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// Where LISTEN goes; `config` unless that leads through a pooler.
    pub(super) listen: Option<(Config, Tls)>,
    pub(super) schema: String,
    pub(super) pool_size: usize,
    pub(super) statement_timeout: Duration,
}

/// How the server proves who it is, and we who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// Not at all: a socket of this host, or a network that is trusted in its own way.
    Off,
    /// By a certificate.
    On {
        /// Whether the certificate has to be of the host that was dialled.
        names: Names,
        /// PEM, `sslrootcert`; none: the system's.
        roots: Option<PathBuf>,
        /// PEM, `sslcert` and `sslkey`.
        client: Option<(PathBuf, PathBuf)>,
    },
}

/// Whether a certificate's names count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// `verify-full`.
    Checked,
    /// `verify-ca`.
    Ignored,
}

/// What is wrong with a connection URL. It never shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// It is none.
    #[error("the database URL is not of the form postgres://user@host:5432/database?sslmode=verify-full")]
    Url(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A mode that verifies nothing.
    #[error(
        "sslmode={0} in the database URL encrypts without knowing to whom: say verify-full (with sslrootcert, unless the system \
         knows the authority), or disable on a network that is trusted in its own way"
    )]
    Mode(String),
    /// One without the other.
    #[error("the database URL names one of sslcert and sslkey: name both")]
    HalfClient,
    /// Files without TLS.
    #[error("the database URL names {0} but does not use TLS: say sslmode=verify-full")]
    Unused(&'static str),
    /// A schema's name that would need quoting.
    #[error("the schema {0:?} is not 1 to {SCHEMA_MAX} of a-z, 0-9 and _, beginning with a letter")]
    Schema(String),
    /// Nothing can be done with so few connections.
    #[error("a pool of {0} connections is too small: 2 is the least")]
    PoolSize(usize),
    /// Not a time to wait.
    #[error("a statement timeout of {0:?} is outside 100 ms to 60 s")]
    StatementTimeout(Duration),
}

impl Options {
    /// How to reach the database at `url`.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<Self, OptionsError> {
        let (config, tls) = parse(url)?;
        Ok(Self {
            config,
            tls,
            listen: None,
            schema: SCHEMA.to_owned(),
            pool_size: POOL_SIZE,
            statement_timeout: STATEMENT_TIMEOUT,
        })
    }

    /// Where LISTEN goes, when `url` leads through a pooler that gives each transaction another session.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn with_listen_url(mut self, url: &str) -> Result<Self, OptionsError> {
        self.listen = Some(parse(url)?);
        Ok(self)
    }

    /// Another schema than `novacula`: several installations in one database.
    ///
    /// # Errors
    /// When it is no plain name.
    pub fn with_schema(mut self, schema: &str) -> Result<Self, OptionsError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let begins = schema.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || !schema.chars().all(plain) || schema.len() > SCHEMA_MAX || schema.starts_with("pg_") {
            return Err(OptionsError::Schema(schema.chars().take(80).collect()));
        }
        schema.clone_into(&mut self.schema);
        Ok(self)
    }

    /// How many connections a process keeps at most, besides the one that listens.
    ///
    /// # Errors
    /// When it is less than two.
    pub fn with_pool_size(mut self, size: usize) -> Result<Self, OptionsError> {
        if size < 2 {
            return Err(OptionsError::PoolSize(size));
        }
        self.pool_size = size;
        Ok(self)
    }

    /// How long one statement may take.
    ///
    /// # Errors
    /// When it is not between 100 ms and a minute.
    pub fn with_statement_timeout(mut self, timeout: Duration) -> Result<Self, OptionsError> {
        if timeout < Duration::from_millis(100) || timeout > Duration::from_secs(60) {
            return Err(OptionsError::StatementTimeout(timeout));
        }
        self.statement_timeout = timeout;
        Ok(self)
    }
}

/// What our own TLS reads from the URL; the driver knows no such words.
#[derive(Default)]
struct TlsWords {
    mode: Option<String>,
    roots: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

fn parse(url: &str) -> Result<(Config, Tls), OptionsError> {
    let (rest, words) = split(url)?;
    let mut config: Config = rest.parse().map_err(|error: tokio_postgres::Error| OptionsError::Url(error.into()))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(OptionsError::Url("it names no host".into()));
    }
    let on_network = !config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    let tls = words.tls(on_network)?;
    config.ssl_mode(if tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
    if config.get_application_name().is_none() {
        config.application_name("novacula-server");
    }
    // A server that vanished is noticed by us, and not hours later by the kernel.
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(5));
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(10));
    }
    config.keepalives_idle(Duration::from_secs(10));
    config.keepalives_interval(Duration::from_secs(5));
    config.keepalives_retries(2);
    Ok((config, tls))
}

/// Takes our words out of the URL's query.
fn split(url: &str) -> Result<(String, TlsWords), OptionsError> {
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if !is_url {
        return Err(OptionsError::Url("it does not begin with postgres://".into()));
    }
    let mut words = TlsWords::default();
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), words));
    };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
        match key {
            "sslmode" => words.mode = Some(value()),
            "sslrootcert" => words.roots = Some(value().into()),
            "sslcert" => words.certificate = Some(value().into()),
            "sslkey" => words.key = Some(value().into()),
            _ => kept.push(pair),
        }
    }
    Ok((format!("{base}?{}", kept.join("&")), words))
}

impl TlsWords {
    fn tls(self, on_network: bool) -> Result<Tls, OptionsError> {
        let names = match self.mode.as_deref() {
            None if on_network => Names::Checked,
            Some("verify-full") => Names::Checked,
            Some("verify-ca") => Names::Ignored,
            None | Some("disable") => {
                let unused = [("sslrootcert", &self.roots), ("sslcert", &self.certificate), ("sslkey", &self.key)];
                return match unused.into_iter().find(|(_, path)| path.is_some()) {
                    Some((word, _)) => Err(OptionsError::Unused(word)),
                    None => Ok(Tls::Off),
                };
            }
            Some(other) => return Err(OptionsError::Mode(other.chars().take(40).collect())),
        };
        let client = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(OptionsError::HalfClient),
        };
        Ok(Tls::On { names, roots: self.roots.filter(|path| path.as_os_str() != "system"), client })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(url: &str) -> Tls {
        Options::new(url).expect("a URL").tls
    }

    fn refusal(url: &str) -> String {
        Options::new(url).expect_err("refused").to_string()
    }

    #[test]
    fn the_network_is_not_trusted_unless_said() {
        assert!(matches!(
            tls("postgres://app@db/novacula"),
            Tls::On { names: Names::Checked, roots: None, client: None }
        ));
        assert_eq!(tls("postgres://app@db/novacula?sslmode=disable"), Tls::Off);
        assert_eq!(tls("postgres://app@%2Frun%2Fpostgresql/novacula"), Tls::Off);
    }

    #[test]
    fn files_are_read_as_libpq_names_them() {
        let url = "postgres://app@a,b:6543/novacula?sslmode=verify-ca&sslrootcert=/etc/ca%20one.pem&sslcert=/c&sslkey=/k\
                   &target_session_attrs=read-write";
        let client = Some((PathBuf::from("/c"), PathBuf::from("/k")));
        assert_eq!(tls(url), Tls::On { names: Names::Ignored, roots: Some("/etc/ca one.pem".into()), client });
    }

    #[test]
    fn what_verifies_nothing_is_refused() {
        for mode in ["allow", "prefer", "require", "nonsense"] {
            assert!(refusal(&format!("postgres://app@db/x?sslmode={mode}")).contains(mode));
        }
        assert!(refusal("postgres://app@db/x?sslcert=/c").contains("sslkey"));
        assert!(refusal("postgres://app@db/x?sslmode=disable&sslrootcert=/c").contains("sslrootcert"));
    }

    #[test]
    fn errors_and_logs_hold_no_password() {
        for url in
            ["postgres://app:hunter2@db/x?nonsense=1", "mysql://app:hunter2@db/x", "postgres://app:hunter2@db:port/x"]
        {
            let error = Options::new(url).expect_err("refused");
            let mut text = format!("{error} {error:?}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text += &cause.to_string();
                source = cause.source();
            }
            assert!(!text.contains("hunter2"), "{text}");
        }
        let options = Options::new("postgres://app:hunter2@db/x").expect("a URL");
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn a_schema_is_a_plain_name() {
        let options = || Options::new("postgres://app@db/x").expect("a URL");
        assert!(options().with_schema("novacula_2").is_ok());
        for name in ["", "1a", "A", "a-b", "a\"b", "pg_a", &"a".repeat(49)] {
            assert!(options().with_schema(name).is_err(), "{name}");
        }
    }
}
