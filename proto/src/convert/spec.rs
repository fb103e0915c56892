//! Specs and what is desired.

use std::time::Duration;

use domain::{AgentUpgradeSpec, Desired, Generation, OperatorUpgradeSpec, Spec, Want};

use crate::convert::{Error, field};
use crate::v1;

impl From<AgentUpgradeSpec> for v1::AgentUpgradeSpec {
    fn from(spec: AgentUpgradeSpec) -> Self {
        Self {
            download_uri: spec.download_uri,
            size_bytes: spec.size_bytes,
            sha256: spec.sha256.to_string(),
            minisign_signatures: spec.minisign_signatures,
            target_version: spec.target_version.to_string(),
        }
    }
}

impl TryFrom<v1::AgentUpgradeSpec> for AgentUpgradeSpec {
    type Error = Error;

    fn try_from(spec: v1::AgentUpgradeSpec) -> Result<Self, Error> {
        if spec.download_uri.is_empty() {
            return Err(Error::missing("download_uri"));
        }
        Ok(Self {
            download_uri: spec.download_uri,
            size_bytes: spec.size_bytes,
            sha256: field::required("sha256", &spec.sha256)?,
            minisign_signatures: spec.minisign_signatures,
            target_version: field::required("target_version", &spec.target_version)?,
        })
    }
}

impl From<OperatorUpgradeSpec> for v1::OperatorUpgradeSpec {
    fn from(spec: OperatorUpgradeSpec) -> Self {
        Self {
            image: spec.image,
            digest: format!("sha256:{}", spec.digest),
            minisign_signatures: spec.minisign_signatures,
            target_version: spec.target_version.to_string(),
        }
    }
}

impl TryFrom<v1::OperatorUpgradeSpec> for OperatorUpgradeSpec {
    type Error = Error;

    fn try_from(spec: v1::OperatorUpgradeSpec) -> Result<Self, Error> {
        if spec.image.is_empty() {
            return Err(Error::missing("image"));
        }
        Ok(Self {
            image: spec.image,
            digest: field::image_digest("digest", &spec.digest)?,
            minisign_signatures: spec.minisign_signatures,
            target_version: field::required("target_version", &spec.target_version)?,
        })
    }
}

impl From<Desired> for v1::Desired {
    /// `rollback.version` stays empty here: what is desired does not carry it, and the executor's journal does.
    fn from(desired: Desired) -> Self {
        let attempt = desired.want.attempt().map(|attempt| attempt.to_string()).unwrap_or_default();
        let (remaining_ttl, spec) = match desired.want {
            Want::Nothing => (None, None),
            Want::Upgrade { spec, remaining_ttl, .. } => {
                let spec = match spec {
                    Spec::Agent(spec) => v1::desired::Spec::Agent(spec.into()),
                    Spec::Operator(spec) => v1::desired::Spec::Operator(spec.into()),
                };
                (Some(field::to_duration(remaining_ttl)), Some(spec))
            }
            Want::RollBack { .. } => (None, Some(v1::desired::Spec::Rollback(v1::Rollback::default()))),
        };
        Self { generation: desired.generation.0, attempt, remaining_ttl, spec }
    }
}

impl TryFrom<v1::Desired> for Desired {
    type Error = Error;

    /// A spec of a kind that this build does not know reads as nothing: it can only be left alone.
    fn try_from(desired: v1::Desired) -> Result<Self, Error> {
        let generation = Generation(desired.generation);
        let spec = match desired.spec {
            None => {
                return Ok(Self { generation, want: Want::Nothing });
            }
            Some(v1::desired::Spec::Agent(spec)) => {
                Spec::Agent(spec.try_into().map_err(|error: Error| error.within("agent"))?)
            }
            Some(v1::desired::Spec::Operator(spec)) => {
                Spec::Operator(spec.try_into().map_err(|error: Error| error.within("operator"))?)
            }
            Some(v1::desired::Spec::Rollback(_)) => {
                let attempt = field::required("attempt", &desired.attempt)?;
                return Ok(Self { generation, want: Want::RollBack { attempt } });
            }
        };
        let attempt = field::required("attempt", &desired.attempt)?;
        // No word of the time left is no time left: an executor must never begin on a spec without an end.
        let remaining_ttl = field::duration("remaining_ttl", desired.remaining_ttl)?.unwrap_or(Duration::ZERO);
        Ok(Self { generation, want: Want::Upgrade { attempt, spec, remaining_ttl } })
    }
}
