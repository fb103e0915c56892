//! What the person who pinned an operator has to write to move it by hand: the image of the release that was asked for. An agent's
//! host is unpinned instead, so its refusal stays as it is.

use domain::release::{Artifact, Release};
use domain::{Executor, Kind, Reason, Refusal, Version, target};

/// Adds the image to a refusal because of a pin, when an operator could move to `version` otherwise.
pub(super) fn with_image(refusal: Refusal, executor: &Executor, catalog: &[Release], version: &Version) -> Refusal {
    if refusal.reason != Reason::ExecutorPinned || executor.kind != Some(Kind::Operator) {
        return refusal;
    }
    // Of a release that it may not move to anyway no image is named: whoever set it would go round the rules.
    let artifact = target::direct(executor, catalog, version).ok().and_then(Release::operator_artifact);
    let Some(Artifact::Operator { image, digest, .. }) = artifact else {
        return refusal;
    };
    let image = format!("{image}@sha256:{digest}");
    let message = format!("{}; or move it to {version} there, by setting the image to {image}", refusal.message);
    Refusal { message, ..refusal }.with("target_version", version).with("image", image)
}

#[cfg(test)]
mod tests {
    use domain::release::Status;
    use domain::{Channel, ExecutorUid, ReleaseId, Revision, Sha256, Timestamp};
    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(0);

    fn release(version: &str) -> Release {
        let artifact = Artifact::Operator {
            image: "registry.example/operator".to_owned(),
            digest: Sha256::new([0xab; 32]),
            signatures: Vec::new(),
        };
        Release {
            id: ReleaseId { kind: Kind::Operator, version: version.parse().expect("a version") },
            revision: Revision::default(),
            channel: Channel::Stable,
            status: Status::Published,
            notes: String::new(),
            floor: None,
            sequence: None,
            artifacts: vec![artifact],
            create_time: NOW,
            publish_time: Some(NOW),
            yank_reason: None,
        }
    }

    fn refused(kind: Kind, version: &str) -> Refusal {
        let name = "organizations/acme/executors/east".parse().expect("a name");
        let executor = Executor {
            kind: Some(kind),
            version: Some("1.0.0".parse().expect("a version")),
            pinned: Some("spec.template.spec.containers[0].image belongs to argocd".to_owned()),
            ..Executor::new(ExecutorUid::new(Uuid::nil()), name, NOW)
        };
        let refusal = target::admission(&executor).expect_err("it is pinned");
        let catalog = ["2.0.0", "3.0.0"].map(release);
        with_image(refusal, &executor, &catalog, &version.parse().expect("a version"))
    }

    #[test]
    fn a_pinned_operator_is_told_where_and_what_to_set() {
        let refusal = refused(Kind::Operator, "2.0.0");
        let value = format!("registry.example/operator@sha256:{}", "ab".repeat(32));
        assert_eq!(refusal.reason, Reason::ExecutorPinned);
        assert!(refusal.message.contains("containers[0].image") && refusal.message.contains(&value), "{refusal:?}");
        assert!(refusal.values.contains(&("image", value)), "{refusal:?}");
    }

    #[test]
    fn no_image_is_named_that_the_rules_forbid_or_an_agent_would_not_understand() {
        for (kind, version) in [(Kind::Operator, "3.0.0"), (Kind::Operator, "9.9.9"), (Kind::Agent, "2.0.0")] {
            let refusal = refused(kind, version);
            assert!(!refusal.message.contains("@sha256:"), "{kind} {version}: {refusal:?}");
            assert!(refusal.values.iter().all(|(key, _)| *key != "image"), "{kind} {version}: {refusal:?}");
        }
    }
}
