//! Bakes in the release keys: those of `NOVACULA_RELEASE_KEYS`, or in a development build a pair of this checkout's own.
//!
//! `NOVACULA_RELEASE_KEYS` is the absolute path of a file of minisign public keys, one or more. Without it, profiles that
//! cargo keeps under `debug` and `release` use `<workspace>/target/development-key/release.pub`, made on first need and
//! never committed; every other profile (`dist`) fails. The list of profiles is closed: a name that cannot be read off the
//! path is refused too, so that no change in cargo's layout ships a development key.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Base64 of "Ed", 8 bytes of id and 32 bytes of key.
const KEY_BYTES: usize = 42;

fn main() {
    if let Err(message) = bake() {
        println!("cargo::error={}", message.replace('\n', " "));
    }
}

fn bake() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=NOVACULA_RELEASE_KEYS");
    let out = directory("OUT_DIR")?;
    let pair = directory("CARGO_MANIFEST_DIR")?.join("../target/development-key");
    let shipped = !matches!(profile(&out).as_deref(), Some("debug" | "release"));
    if shipped && env::var_os("CARGO_FEATURE_FAULT_POINTS").is_some() {
        return Err(
            "the feature fault-points is for tests; a dist build with it would obey NOVACULA_FAULT_POINT".to_owned()
        );
    }
    let file = match env::var_os("NOVACULA_RELEASE_KEYS") {
        Some(file) => PathBuf::from(file),
        None if shipped => {
            return Err(
                "a dist build needs NOVACULA_RELEASE_KEYS: the absolute path of a file of minisign public keys"
                    .to_owned(),
            );
        }
        None => development_pair(&pair)?,
    };
    println!("cargo::rerun-if-changed={}", file.display());
    let keys = parse(&file)?;
    let own = parse(&pair.join("release.pub")).unwrap_or_default();
    let development = keys.iter().any(|key| own.contains(key));
    if shipped && development {
        return Err(format!(
            "{} holds this checkout's development key, whose secret half lies open on this machine",
            file.display()
        ));
    }
    let mut code = String::from("&[");
    for key in &keys {
        write!(code, "{key:?}, ").expect("a string takes every text");
    }
    code.push(']');
    fs::write(out.join("release_keys.in"), code).map_err(|error| format!("write the list of keys: {error}"))?;
    println!("cargo::rustc-env=NOVACULA_BUILD_KIND={}", if development { "development" } else { "release" });
    Ok(())
}

fn directory(name: &str) -> Result<PathBuf, String> {
    env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("cargo did not set {name}"))
}

/// The folder of this profile's output: `<target>/[<triple>/]<profile>/build/<package>-<hash>/out`. Cargo tells the name nowhere else.
fn profile(out: &Path) -> Option<String> {
    let build = out.ancestors().find(|folder| folder.ends_with("build"))?;
    build.parent()?.file_name()?.to_str().map(str::to_owned)
}

/// The keys of a file: its lines but for comments and empty ones, each checked to be a minisign public key.
fn parse(file: &Path) -> Result<Vec<String>, String> {
    let text =
        fs::read_to_string(file).map_err(|error| format!("read the release keys {}: {error}", file.display()))?;
    let is_key = |line: &&str| !line.is_empty() && !line.starts_with("untrusted comment:");
    let keys: Vec<String> = text.lines().map(str::trim).filter(is_key).map(str::to_owned).collect();
    for key in &keys {
        let good = BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES && bytes.starts_with(b"Ed"));
        if !good {
            return Err(format!("{} has the line {key:?}, which is not a minisign public key", file.display()));
        }
    }
    if keys.is_empty() { Err(format!("{} holds no minisign public key", file.display())) } else { Ok(keys) }
}

/// The development key's public half; the pair is made when there is none. Builds may race: the first rename wins.
fn development_pair(pair: &Path) -> Result<PathBuf, String> {
    let public = pair.join("release.pub");
    if public.exists() {
        return Ok(public);
    }
    let mine = pair.with_extension(process::id().to_string());
    write_pair(&mine).map_err(|error| format!("make a development key in {}: {error}", mine.display()))?;
    let won = fs::rename(&mine, pair);
    if won.is_err() {
        // What is left of ours is a key that nobody trusts.
        let _ = fs::remove_dir_all(&mine);
    }
    if public.exists() {
        Ok(public)
    } else {
        Err(format!("{} is not there and cannot be made: {won:?}", public.display()))
    }
}

fn write_pair(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(folder)?;
    let pair = minisign::KeyPair::generate_unencrypted_keypair()?;
    fs::write(folder.join("release.pub"), pair.pk.to_box()?.to_string())?;
    let mut secret =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join("release.key"))?;
    secret.write_all(pair.sk.to_box(None)?.to_string().as_bytes())?;
    Ok(())
}
