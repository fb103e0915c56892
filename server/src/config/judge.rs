//! Joins what flags, environment and file say, and collects every mistake.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use store::postgres::{Options, OptionsError};
use zeroize::Zeroizing;

use crate::args;
use crate::config::{Error, LogFormat, default_names};
use crate::observe;
use crate::tls::authority::seal::SealingKeys;
use crate::tls::authority::{Files, Sealing, Source};

/// One value and who said it.
#[derive(Clone, Debug)]
struct Said {
    value: String,
    origin: String,
}

/// Whether other processes stand on the same database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shared {
    Yes,
    No,
}

/// Takes settings one by one.
#[derive(Debug)]
pub(super) struct Judge {
    said: BTreeMap<&'static str, Said>,
    mistakes: Vec<String>,
}

impl Judge {
    pub(super) fn new(settings: args::Settings) -> Self {
        let mut judge = Self { said: BTreeMap::new(), mistakes: Vec::new() };
        if let Some(path) = &settings.config {
            judge.read(path.clone());
        }
        for (key, value) in settings.into_pairs() {
            if let Some(value) = value {
                judge.said.insert(key, Said { value, origin: "flag or environment".to_owned() });
            }
        }
        judge
    }

    fn read(&mut self, path: PathBuf) {
        let origin = path.display().to_string();
        let table = match fs::read_to_string(&path) {
            Ok(text) => text.parse::<toml::Table>().map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let table = match table {
            Ok(table) => table,
            Err(why) => return self.mistakes.push(format!("{origin}: {}", why.trim())),
        };
        for (key, value) in table {
            let Some(known) = args::Settings::KEYS.iter().find(|known| **known == key) else {
                self.mistakes.push(format!("{key} ({origin}): no such setting"));
                continue;
            };
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                other => {
                    let kind = other.type_str();
                    self.mistakes.push(format!("{key} ({origin}): must be text or a whole number, not {kind}"));
                    continue;
                }
            };
            self.said.insert(known, Said { value, origin: origin.clone() });
        }
    }

    /// All mistakes, when there are any.
    pub(super) fn verdict(self) -> Result<(), Error> {
        if self.mistakes.is_empty() { Ok(()) } else { Err(Error { mistakes: self.mistakes }) }
    }

    /// A value of a type that reads itself.
    pub(super) fn parsed<T: FromStr>(&mut self, key: &'static str, rule: &str) -> Option<T> {
        let said = self.said.remove(key)?;
        match said.value.trim().parse() {
            Ok(value) => Some(value),
            Err(_) => self.wrong(key, &said, rule),
        }
    }

    /// A path; not empty.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let said = self.said.remove(key)?;
        if said.value.is_empty() {
            return self.wrong(key, &said, "a path");
        }
        Some(PathBuf::from(said.value))
    }

    /// Two paths that only go together.
    pub(super) fn pair(&mut self, first: &'static str, second: &'static str) -> Option<(PathBuf, PathBuf)> {
        match (self.path(first), self.path(second)) {
            (Some(one), Some(two)) => Some((one, two)),
            (None, None) => None,
            (given, _) => {
                let (given, missing) = if given.is_some() { (first, second) } else { (second, first) };
                self.mistakes.push(format!("{missing}: must be set, since {given} is"));
                None
            }
        }
    }

    /// A whole number in a range.
    pub(super) fn number(&mut self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        let said = self.said.remove(key)?;
        match said.value.trim().parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            _ => self.wrong(key, &said, &format!("a whole number from {least} to {most}")),
        }
    }

    /// Milliseconds in a range.
    pub(super) fn millis(&mut self, key: &'static str, least: Duration, most: Duration) -> Option<Duration> {
        let ms = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.number(key, ms(least), ms(most)).map(Duration::from_millis)
    }

    /// Names and addresses, comma separated.
    pub(super) fn server_names(&mut self) -> Vec<String> {
        let Some(said) = self.said.remove("server_names") else {
            return default_names();
        };
        let names: Vec<String> = said.value.split(',').map(|name| name.trim().to_owned()).collect();
        if names.iter().all(|name| is_host(name)) {
            return names;
        }
        let none: Option<Vec<String>> = self.wrong("server_names", &said, "DNS names or addresses, comma separated");
        none.unwrap_or_default()
    }

    /// How to reach the database that replicas share. Its URL may hold a password, so it is in no mistake.
    pub(super) fn database(&mut self) -> Option<Options> {
        const MORE: [&str; 4] =
            ["database_listen_url", "database_schema", "database_pool_size", "database_statement_timeout_ms"];
        let Some(url) = self.said.remove("database_url") else {
            for key in MORE {
                if self.said.remove(key).is_some() {
                    self.mistakes.push(format!("database_url: must be set, since {key} is"));
                }
            }
            return None;
        };
        let mut options = match Options::new(url.value.trim()) {
            Ok(options) => options,
            Err(error) => {
                self.mistakes.push(format!("database_url ({}): {}", url.origin, observe::chain(&error)));
                MORE.iter().for_each(|key| drop(self.said.remove(key)));
                return None;
            }
        };
        if let Some(said) = self.said.remove("database_listen_url") {
            options = self.refine("database_listen_url", options, |options| options.with_listen_url(said.value.trim()));
        }
        if let Some(said) = self.said.remove("database_schema") {
            options = self.refine("database_schema", options, |options| options.with_schema(said.value.trim()));
        }
        if let Some(size) = self.number("database_pool_size", 0, 1_000) {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            options = self.refine("database_pool_size", options, |options| options.with_pool_size(size));
        }
        let timeouts = (Duration::from_millis(100), Duration::from_secs(60));
        if let Some(timeout) = self.millis("database_statement_timeout_ms", timeouts.0, timeouts.1) {
            let with = |options: Options| options.with_statement_timeout(timeout);
            options = self.refine("database_statement_timeout_ms", options, with);
        }
        Some(options)
    }

    fn refine(
        &mut self,
        key: &str,
        options: Options,
        with: impl FnOnce(Options) -> Result<Options, OptionsError>,
    ) -> Options {
        let before = options.clone();
        with(options).unwrap_or_else(|error| {
            self.mistakes.push(format!("{key}: {}", observe::chain(&error)));
            before
        })
    }

    /// Where the authority comes from. Replicas have to say it: each would make its own.
    pub(super) fn authority(&mut self, shared: Shared) -> Source {
        let n_mistakes = self.mistakes.len();
        let files = self.pair("authority_certificate", "authority_key");
        let files = files.map(|(certificate, key)| Files { certificate, key });
        let keys = self.sealing();
        match (keys, files) {
            (Some(keys), first) => Source::Store { keys, first },
            (None, Some(files)) => Source::Given(files),
            (None, None) => {
                if shared == Shared::Yes && self.mistakes.len() == n_mistakes {
                    let key = "authority_encryption_key_file";
                    self.mistakes.push(format!(
                        "{key}: must be set (or authority_certificate): replicas that share a database share one authority"
                    ));
                }
                Source::Own
            }
        }
    }

    /// What opens the keys of authorities in the store. It is a secret, so it is in no mistake.
    fn sealing(&mut self) -> Option<Sealing> {
        let given = self.said.remove("authority_encryption_key");
        match (given, self.path("authority_encryption_key_file")) {
            (Some(said), None) => match SealingKeys::parse(&Zeroizing::new(said.value)) {
                Ok(keys) => return Some(Sealing::Given(keys)),
                Err(error) => self.mistakes.push(format!("authority_encryption_key ({}) {error}", said.origin)),
            },
            (Some(_), Some(_)) => {
                let mistake = "authority_encryption_key: must not be set, since authority_encryption_key_file is";
                self.mistakes.push(mistake.to_owned());
            }
            (None, path) => return path.map(Sealing::File),
        }
        None
    }

    /// A DNS name.
    pub(super) fn trust_domain(&mut self) -> Option<String> {
        let said = self.said.remove("trust_domain")?;
        if is_host(&said.value) && !said.value.contains(':') {
            return Some(said.value);
        }
        self.wrong("trust_domain", &said, "a DNS name such as novacula.internal")
    }

    pub(super) fn log_format(&mut self) -> LogFormat {
        let Some(said) = self.said.remove("log_format") else {
            return LogFormat::Automatic;
        };
        match said.value.as_str() {
            "json" => LogFormat::Json,
            "text" => LogFormat::Text,
            _ => self.wrong("log_format", &said, "json or text").unwrap_or(LogFormat::Automatic),
        }
    }

    fn wrong<T>(&mut self, key: &str, said: &Said, rule: &str) -> Option<T> {
        self.mistakes.push(format!("{key} ({}): must be {rule}, not {:?}", said.origin, said.value));
        None
    }
}

/// Letters, digits, dots and hyphens, or an IP address.
fn is_host(name: &str) -> bool {
    let dns = (1..=253).contains(&name.len())
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    dns || name.parse::<std::net::IpAddr>().is_ok()
}
