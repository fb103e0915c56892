//! What an executor is told about a release: the artifact for its platform as a spec. It trusts none of it (DESIGN section 6).

use domain::release::{Artifact, Location, Release};
use domain::{AgentUpgradeSpec, Executor, Kind, OperatorUpgradeSpec, Spec};

/// The artifact that a release has for an executor.
#[must_use]
pub fn artifact<'a>(release: &'a Release, executor: &Executor) -> Option<&'a Artifact> {
    match release.id.kind {
        Kind::Agent => release.agent_artifact(executor.platform.as_ref()?),
        Kind::Operator => release.operator_artifact(),
    }
}

/// The spec of a release for an executor; none when it has no artifact for its platform.
#[must_use]
pub fn spec(release: &Release, executor: &Executor) -> Option<Spec> {
    let target_version = release.id.version.clone();
    Some(match artifact(release, executor)? {
        Artifact::Agent { size, sha256, location, signatures, .. } => Spec::Agent(AgentUpgradeSpec {
            download_uri: match location {
                Location::Stored => format!("/artifacts/{sha256}"),
                Location::External(url) => url.clone(),
            },
            size_bytes: *size,
            sha256: *sha256,
            minisign_signatures: signatures.clone(),
            target_version,
        }),
        Artifact::Operator { image, digest, signatures } => Spec::Operator(OperatorUpgradeSpec {
            image: image.clone(),
            digest: *digest,
            minisign_signatures: signatures.clone(),
            target_version,
        }),
    })
}

/// Bytes that an executor has to fetch; 0: unknown (an image is fetched by the cluster).
#[must_use]
pub fn bytes_total(release: &Release, executor: &Executor) -> u64 {
    match artifact(release, executor) {
        Some(Artifact::Agent { size, .. }) => *size,
        Some(Artifact::Operator { .. }) | None => 0,
    }
}
