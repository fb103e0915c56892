//! What the page says of a release. Pure.

use domain::Version;
use proto::v1;
use proto::v1::artifact::Artifact as Delivered;
use proto::v1::release::Status;

use crate::app::minisign::SignatureFile;
use crate::web::show::{self, Safe};

/// An artifact as a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// `linux/amd64`; `image` of an operator.
    pub platform: String,
    /// The file's name, or the image.
    pub title: String,
    /// Bytes; none of an image.
    pub size: Option<u64>,
    /// The digest, as people compare it.
    pub digest: String,
    /// Where the bytes are; empty: here.
    pub external_url: String,
    /// Who signed what.
    pub signatures: Vec<Signed>,
}

/// A signature, by what its file says of itself. The API has proven it, or says at the publication that it could not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The key's id, as minisign prints it.
    pub key: String,
    /// The channel of its edition.
    pub channel: String,
    /// The number of its edition.
    pub sequence: u64,
    /// The floor of its edition.
    pub floor: String,
}

/// An artifact whose bytes grow or shrink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// `linux/amd64`.
    pub platform: String,
    /// `1.2 MiB more`.
    pub said: String,
}

/// Where a release stands, with a dot.
#[must_use]
pub fn status(status: Status) -> Safe {
    let (class, word) = match status {
        Status::Unspecified => ("off", "unknown"),
        Status::Draft => ("off", "draft"),
        Status::Published => ("good", "published"),
        Status::Yanked => ("bad", "yanked"),
    };
    Safe(format!("<span class=\"state {class}\">{word}</span>"))
}

/// `agent 1.2.0`.
#[must_use]
pub fn title(release: &v1::Release) -> String {
    format!("{} {}", show::kind(release.kind()), release.version)
}

/// Those that run it, for the list of executors: both kinds share version numbers.
#[must_use]
pub fn filter(release: &v1::Release) -> String {
    format!("kind={} version={}", show::kind(release.kind()), release.version)
}

/// For which platforms there is something.
#[must_use]
pub fn delivers(release: &v1::Release) -> String {
    let names: Vec<String> = rows(release).into_iter().map(|row| row.platform).collect();
    if names.is_empty() { "nothing yet".to_owned() } else { names.join(", ") }
}

/// Its artifacts.
#[must_use]
pub fn rows(release: &v1::Release) -> Vec<Row> {
    release.artifacts.iter().map(row).collect()
}

fn row(artifact: &v1::Artifact) -> Row {
    let signatures = artifact.minisign_signatures.iter().filter_map(|text| signed(text)).collect();
    match artifact.artifact.clone() {
        Some(Delivered::Agent(agent)) => Row {
            platform: agent.platform,
            title: agent.file,
            size: Some(agent.size_bytes),
            digest: agent.sha256,
            external_url: agent.external_url,
            signatures,
        },
        Some(Delivered::Operator(operator)) => Row {
            platform: "image".to_owned(),
            title: operator.image,
            size: None,
            digest: operator.digest,
            external_url: String::new(),
            signatures,
        },
        None => Row { signatures, ..Row::default() },
    }
}

fn signed(text: &str) -> Option<Signed> {
    let file = SignatureFile::parse(text).ok()?;
    let edition = file.manifest().edition();
    Some(Signed {
        key: file.key().to_string(),
        channel: edition.channel.to_string(),
        sequence: edition.sequence,
        floor: edition.floor.to_string(),
    })
}

/// Of `releases`, newest first, those that `release` may be compared with: published, of its kind, another version.
#[must_use]
pub fn comparable(releases: Vec<v1::Release>, release: &v1::Release) -> Vec<String> {
    let other = |other: &v1::Release| {
        other.kind == release.kind && other.version != release.version && other.status() == Status::Published
    };
    releases.into_iter().filter(other).map(|other| other.version).collect()
}

/// Of versions, newest first, the nearest one below `version`.
#[must_use]
pub fn previous(versions: &[String], version: &str) -> Option<String> {
    let own: Version = version.parse().ok()?;
    versions.iter().find(|other| other.parse::<Version>().is_ok_and(|other| other < own)).cloned()
}

/// How the sizes differ, a line for each platform.
#[must_use]
pub fn deltas(compared: &v1::CompareReleasesResponse) -> Vec<Delta> {
    let said = |delta: i64| match delta {
        0 => "the same size".to_owned(),
        more if more > 0 => format!("{} more", show::bytes(more.unsigned_abs())),
        less => format!("{} less", show::bytes(less.unsigned_abs())),
    };
    let delta = |(platform, delta): (&String, &i64)| Delta { platform: platform.clone(), said: said(*delta) };
    let mut deltas: Vec<Delta> = compared.size_delta_bytes.iter().map(delta).collect();
    deltas.sort_by(|one, other| one.platform.cmp(&other.platform));
    deltas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str, status: Status) -> v1::Release {
        v1::Release {
            name: format!("releases/agent-{version}"),
            kind: v1::Kind::Agent.into(),
            version: version.to_owned(),
            status: status.into(),
            ..v1::Release::default()
        }
    }

    #[test]
    fn the_previous_version_is_the_nearest_published_one_below() {
        let catalog = ["2.0.0", "1.10.0", "1.9.0", "1.2.0"].map(|version| release(version, Status::Published));
        let mut catalog = catalog.to_vec();
        catalog.insert(2, release("1.9.5", Status::Yanked));
        let own = release("1.10.0", Status::Draft);
        let versions = comparable(catalog, &own);
        assert_eq!(versions, ["2.0.0", "1.9.0", "1.2.0"]);
        assert_eq!(previous(&versions, "1.10.0").as_deref(), Some("1.9.0"));
        assert_eq!(previous(&versions, "1.2.0"), None);
    }

    #[test]
    fn sizes_are_told_apart_in_words() {
        let compared = v1::CompareReleasesResponse {
            size_delta_bytes: [
                ("linux/arm64".to_owned(), -2048),
                ("linux/amd64".to_owned(), 512),
                ("a/b".to_owned(), 0),
            ]
            .into_iter()
            .collect(),
            ..v1::CompareReleasesResponse::default()
        };
        let said: Vec<String> = deltas(&compared).into_iter().map(|delta| delta.said).collect();
        assert_eq!(said, ["the same size", "512 B more", "2.0 KiB less"]);
    }

    #[test]
    fn a_release_without_artifacts_says_so() {
        assert_eq!(delivers(&release("1.2.0", Status::Draft)), "nothing yet");
    }
}
