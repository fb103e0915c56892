//! Contexts: which control plane, whose token. Flags win over the environment (both are clap's), which wins over the
//! context named by `--context`, which wins over the file's current one.
//!
//! The file is `$NOVACULA_CONFIG`, else `$XDG_CONFIG_HOME/novacula/config.toml`, else `~/.config/novacula/config.toml`. It
//! holds paths, never a token.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::args::Connection;
use crate::error::Error;

/// Where the API listener is by default (API.md).
const DEFAULT_SERVER: &str = "https://127.0.0.1:7443";

/// The configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The context that counts when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// Contexts by name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One control plane and one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// `https://host:port` of the API listener.
    pub(crate) server: Option<String>,
    /// PEM file of the authority to trust.
    pub(crate) ca: Option<PathBuf>,
    /// File that holds the bearer token.
    pub(crate) token_file: Option<PathBuf>,
    /// `acme`.
    pub(crate) organization: Option<String>,
}

/// What counts for this invocation.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) server: String,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) token: Option<Zeroizing<String>>,
    pub(crate) organization: Option<String>,
}

impl Settings {
    /// Joins flags, environment and file.
    pub(crate) fn resolve(connection: &Connection) -> Result<Self, Error> {
        let file = File::load(&path()?)?;
        let context = file.pick(connection.context.as_deref())?;
        let token_file = connection.token_file.clone().or(context.token_file);
        let token = token_file.as_deref().map(read_token).transpose()?;
        Ok(Self {
            server: connection.server.clone().or(context.server).unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
            ca: connection.ca.clone().or(context.ca),
            token,
            organization: connection.organization.clone().or(context.organization),
        })
    }
}

impl File {
    /// Reads the file; an absent one is empty.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| Error::Config(format!("{}: {}", path.display(), error.to_string().trim()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::file("read", path, error)),
        }
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Error> {
        let text = toml::to_string_pretty(self).map_err(|error| Error::local("print the configuration", error))?;
        write_private(path, text.as_bytes())
    }

    fn pick(&self, named: Option<&str>) -> Result<Context, Error> {
        let Some(name) = named.or(self.current.as_deref()) else {
            return Ok(Context::default());
        };
        self.contexts.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            Error::Config(format!(
                "no context {name:?}; there are: {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ))
        })
    }
}

/// Where the configuration file is.
pub(crate) fn path() -> Result<PathBuf, Error> {
    if let Some(path) = env::var_os("NOVACULA_CONFIG") {
        return Ok(PathBuf::from(path));
    }
    let base = match (env::var_os("XDG_CONFIG_HOME"), env::var_os("HOME")) {
        (Some(config), _) if !config.is_empty() => PathBuf::from(config),
        (_, Some(home)) => PathBuf::from(home).join(".config"),
        _ => {
            return Err(Error::Config("neither NOVACULA_CONFIG nor XDG_CONFIG_HOME nor HOME is set".to_owned()));
        }
    };
    Ok(base.join("novacula/config.toml"))
}

/// Reads a token: the first line of the file, or of standard input for `-`.
pub(crate) fn read_token(path: &Path) -> Result<Zeroizing<String>, Error> {
    let text = if path == Path::new("-") {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(|error| Error::file("read", "standard input", error))?;
        Zeroizing::new(line)
    } else {
        Zeroizing::new(fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?)
    };
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Config(format!("{} holds no token on its first line", path.display())));
    }
    Ok(Zeroizing::new(token.to_owned()))
}

/// Writes a file that only its owner reads: temporary sibling, fsync, rename.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Error::file("create", folder, error))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let sibling = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&sibling)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&sibling, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&sibling);
        Error::file("write", path, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_contexts_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        fs::write(&path, "[contexts.a]\nsever = \"x\"\n").expect("writes");
        let error = File::load(&path).expect_err("unknown key");
        assert!(error.to_string().contains("sever"), "{error}");
        let error = File::default().pick(Some("prod")).expect_err("unknown context");
        assert!(error.to_string().contains("prod"), "{error}");
    }

    #[test]
    fn the_file_is_private_and_survives_a_round_trip() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/config.toml");
        let mut file = File { current: Some("a".to_owned()), contexts: BTreeMap::new() };
        file.contexts.insert("a".to_owned(), Context { server: Some("https://x:1".to_owned()), ..Context::default() });
        file.save(&path).expect("saves");
        assert_eq!(File::load(&path).expect("loads"), file);
        assert_eq!(fs::metadata(&path).expect("exists").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_token_file_without_a_token_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        fs::write(&path, "\n").expect("writes");
        assert!(read_token(&path).expect_err("empty").to_string().contains("token"));
        fs::write(&path, "  nvt_x_1 \nrest").expect("writes");
        assert_eq!(read_token(&path).expect("reads").as_str(), "nvt_x_1");
    }
}
