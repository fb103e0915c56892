//! `novacula release manifest`: prints the line to sign. Offline when `--sequence` is given.

use std::path::Path;

use domain::manifest::Subject;
use domain::{Channel, Manifest, Platform, Version};

use crate::args;
use crate::command::Session;
use crate::command::release::{all, check};
use crate::error::Error;
use crate::output::line;

pub(super) async fn print(session: &Session, asked: &args::release::Manifest) -> Result<(), Error> {
    let subject = match (&asked.file, &asked.image, &asked.digest) {
        (Some(file), _, _) => agent(asked, file)?,
        (None, Some(image), Some(digest)) => operator(image, digest)?,
        _ => {
            return Err(Error::Config("give a FILE, or --image and --digest".to_owned()));
        }
    };
    let kind = match subject {
        Subject::Agent { .. } => proto::v1::Kind::Agent,
        Subject::Operator { .. } => proto::v1::Kind::Operator,
    };
    let of = proto::v1::ListReleasesRequest { kind: kind.into(), ..Default::default() };
    let sequence = match asked.sequence {
        Some(sequence) => sequence,
        None => all(session, of).await?.iter().map(|release| release.sequence).max().unwrap_or_default() + 1,
    };
    let manifest = Manifest {
        version: version("--version", &asked.version)?,
        channel: channel(asked.channel),
        subject,
        sequence,
        floor: version("--floor", &asked.floor)?,
    };
    // What we print must read back as the same statement: a file name with a space, say, would not.
    let text = manifest.to_string();
    match text.parse::<Manifest>() {
        Ok(read) if read == manifest => line(&text),
        Ok(_) => Err(Error::Config(format!("{text:?} reads back as another manifest"))),
        Err(error) => Err(Error::Config(error.to_string())),
    }
}

fn agent(asked: &args::release::Manifest, file: &Path) -> Result<Subject, Error> {
    let platform: Platform = asked
        .platform
        .parse()
        .map_err(|error: domain::executor::Error| Error::Config(format!("--platform: {error}")))?;
    let own_name = || file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let measured = check::measure(file)?;
    let name = asked.file_name.clone().unwrap_or_else(own_name);
    Ok(Subject::Agent { platform, file: name, size: measured.size, sha256: measured.sha256 })
}

fn operator(image: &str, digest: &str) -> Result<Subject, Error> {
    Ok(Subject::Operator { image: image.to_owned(), digest: check::digest(digest)? })
}

fn version(flag: &str, text: &str) -> Result<Version, Error> {
    text.parse().map_err(|error: domain::version::Error| Error::Config(format!("{flag}: {error}")))
}

const fn channel(channel: args::Channel) -> Channel {
    match channel {
        args::Channel::Stable => Channel::Stable,
        args::Channel::Beta => Channel::Beta,
        args::Channel::Dev => Channel::Dev,
    }
}
