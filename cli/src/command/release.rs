//! `novacula release …`. What executors would refuse is refused here first, before a byte is sent.

mod check;

mod manifest;

mod upload;

use std::fs;
use std::path::Path;

use proto::v1;
use proto::v1::release_service_client::ReleaseServiceClient;

use crate::args::Kind;
use crate::args::release::{Release, Status};
use crate::command::executor::print::{channel, dash, kind, wire_channel};
use crate::command::{PAGE_SIZE, Session};
use crate::connect::Api;
use crate::error::Error;
use crate::names::Names;
use crate::output::{facts, printable, table};
use crate::time;

pub(super) async fn run(session: &Session, command: Release) -> Result<(), Error> {
    let release = match command {
        Release::Manifest(manifest) => return manifest::print(session, &manifest).await,
        Release::Upload(asked) => upload::upload(session, &asked).await?,
        Release::Create { kind, version, channel, notes_file } => {
            let version: domain::Version =
                version.parse().map_err(|error: domain::version::Error| Error::Config(error.to_string()))?;
            let request = v1::CreateReleaseRequest {
                kind: wire_kind(kind).into(),
                version: version.to_string(),
                channel: wire_channel(channel).into(),
                release_notes: notes_file.as_deref().map(read_notes).transpose()?.unwrap_or_default(),
            };
            client(session).await?.create_release(request).await?.into_inner()
        }
        Release::AddSignature { release, signature, platform } => {
            let text = check::read_signature(&signature)?;
            let request =
                v1::AddReleaseSignatureRequest { name: Names::release(&release), platform, minisign_signature: text };
            client(session).await?.add_release_signature(request).await?.into_inner()
        }
        Release::Publish { release, validate_only } => publish(session, &release, validate_only).await?,
        Release::Yank { release, reason } => {
            let request = v1::YankReleaseRequest { name: Names::release(&release), reason };
            client(session).await?.yank_release(request).await?.into_inner()
        }
        Release::Get { release } => {
            let request = v1::GetReleaseRequest { name: Names::release(&release) };
            client(session).await?.get_release(request).await?.into_inner()
        }
        Release::List { kind, channel, status } => {
            let of = v1::ListReleasesRequest {
                kind: kind.map_or(v1::Kind::Unspecified, wire_kind).into(),
                channel: channel.map_or(v1::Channel::Unspecified, wire_channel).into(),
                status: status.map_or(v1::release::Status::Unspecified, wire_status).into(),
                ..v1::ListReleasesRequest::default()
            };
            return list(session, of).await;
        }
        Release::Compare { kind, from, to } => return compare(session, kind, from, to).await,
    };
    session.printer.message(&release, describe)
}

async fn client(session: &Session) -> Result<ReleaseServiceClient<Api>, Error> {
    Ok(ReleaseServiceClient::new(session.api().await?))
}

async fn publish(session: &Session, release: &str, validate_only: bool) -> Result<v1::Release, Error> {
    let request = v1::PublishReleaseRequest { name: Names::release(release), validate_only };
    let answer = client(session).await?.publish_release(request).await?.into_inner();
    for warning in &answer.warnings {
        eprintln!("warning: {}", printable(warning));
    }
    if validate_only {
        eprintln!("would be published; nothing was written");
    }
    Ok(answer.release.unwrap_or_default())
}

/// Every page of what is asked.
async fn all(session: &Session, of: v1::ListReleasesRequest) -> Result<Vec<v1::Release>, Error> {
    let mut client = client(session).await?;
    let (mut releases, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListReleasesRequest { page_size: PAGE_SIZE, page_token, ..of.clone() };
        let page = client.list_releases(request).await?.into_inner();
        releases.extend(page.releases);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(releases);
        }
    }
}

async fn list(session: &Session, of: v1::ListReleasesRequest) -> Result<(), Error> {
    let releases = all(session, of).await?;
    session.printer.list(
        &releases,
        &["RELEASE", "CHANNEL", "STATUS", "SEQUENCE", "FLOOR", "ARTIFACTS", "PUBLISHED"],
        |release| {
            vec![
                format!("{}-{}", kind(release.kind()), release.version),
                channel(release.channel()).to_owned(),
                status(release),
                release.sequence.to_string(),
                dash(&release.floor),
                release.artifacts.iter().map(artifact).collect::<Vec<_>>().join(" "),
                time::stamp(release.publish_time.as_ref()),
            ]
        },
    )
}

async fn compare(session: &Session, kind: Kind, from_version: String, to_version: String) -> Result<(), Error> {
    let request = v1::CompareReleasesRequest { kind: wire_kind(kind).into(), from_version, to_version };
    let answer = client(session).await?.compare_releases(request).await?.into_inner();
    session.printer.message(&answer, |answer| {
        let mut sections: Vec<String> = answer
            .releases
            .iter()
            .map(|release| {
                format!(
                    "{} ({})\n{}",
                    release.version,
                    channel(release.channel()),
                    printable(release.release_notes.trim())
                )
            })
            .collect();
        let mut deltas: Vec<_> = answer.size_delta_bytes.iter().collect();
        deltas.sort();
        if !deltas.is_empty() {
            let rows = deltas.into_iter().map(|(platform, bytes)| vec![platform.clone(), format!("{bytes:+}")]);
            sections.push(table(&["PLATFORM", "SIZE CHANGE (BYTES)"], rows));
        }
        if answer.major_hop {
            sections.push("more than one major apart: goes by way of the majors between".to_owned());
        }
        sections.join("\n\n")
    })
}

fn describe(release: &v1::Release) -> String {
    let mut text = facts(&[
        ("Release", release.name.clone()),
        ("Channel", channel(release.channel()).to_owned()),
        ("Status", status(release)),
        ("Sequence", release.sequence.to_string()),
        ("Floor", release.floor.clone()),
        ("Created", time::stamp(release.create_time.as_ref())),
        ("Published", time::stamp(release.publish_time.as_ref())),
        ("Yanked", release.yank_reason.clone()),
        ("Artifacts", release.artifacts.iter().map(artifact).collect::<Vec<_>>().join(" ")),
    ]);
    if !release.release_notes.is_empty() {
        text.push_str("\n\n");
        text.push_str(&printable(release.release_notes.trim()));
    }
    text
}

fn artifact(artifact: &v1::Artifact) -> String {
    use v1::artifact::Artifact as One;
    match &artifact.artifact {
        Some(One::Agent(agent)) => {
            format!("{}:{}B:{}sig", agent.platform, agent.size_bytes, artifact.minisign_signatures.len())
        }
        Some(One::Operator(operator)) => format!("{}@{}", operator.image, operator.digest),
        None => "?".to_owned(),
    }
}

fn status(release: &v1::Release) -> String {
    release.status().as_str_name().trim_start_matches("STATUS_").to_lowercase()
}

fn read_notes(path: &Path) -> Result<String, Error> {
    let read =
        if path == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { fs::read_to_string(path) };
    read.map_err(|error| Error::file("read", path, error))
}

const fn wire_status(status: Status) -> v1::release::Status {
    match status {
        Status::Draft => v1::release::Status::Draft,
        Status::Published => v1::release::Status::Published,
        Status::Yanked => v1::release::Status::Yanked,
    }
}

const fn wire_kind(kind: Kind) -> v1::Kind {
    match kind {
        Kind::Agent => v1::Kind::Agent,
        Kind::Operator => v1::Kind::Operator,
    }
}
