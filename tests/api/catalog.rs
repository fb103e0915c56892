//! Rule 13, and everything that publishing refuses because executors would.

use anyhow::Result;
use domain::Channel;
use harness::catalog::Draft;
use harness::control_plane::ControlPlane;
use harness::fake_executor::FakeExecutor;
use harness::signing::{Signer, manifest};
use proto::v1;
use tonic::{Code, Status};

use crate::support::{ask, refused, request};

async fn add_signature(plane: &ControlPlane, draft: &Draft, signature: String) -> Result<v1::Release, Status> {
    let add = v1::AddReleaseSignatureRequest {
        name: draft.name(),
        platform: harness::signing::PLATFORM.to_owned(),
        minisign_signature: signature,
    };
    Ok(plane.publisher().releases().add_release_signature(add).await?.into_inner())
}

fn with_signatures(draft: &Draft, signatures: Vec<String>) -> v1::Artifact {
    v1::Artifact { minisign_signatures: signatures, ..draft.unsigned() }
}

#[tokio::test]
async fn a_release_is_drafted_uploaded_published_and_listed() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let draft = Draft::new("1.1.0", 7).with_floor("1.0.0");
    assert_eq!(plane.draft(&draft).await?.status(), v1::release::Status::Draft);
    let uploaded = plane.upload(&draft.name(), draft.artifact(&plane), &draft.bytes).await?;
    assert_eq!((uploaded.sequence, uploaded.floor.as_str()), (7, "1.0.0"));
    let published = plane.publish(&draft.name()).await?;
    assert_eq!(published.warnings, Vec::<String>::new());
    let release = published.release.expect("a release");
    assert_eq!(release.status(), v1::release::Status::Published);
    plane.release(&Draft::new("1.2.0", 8)).await?;
    let list = v1::ListReleasesRequest { page_size: 1, ..v1::ListReleasesRequest::default() };
    let first = plane.member().releases().list_releases(list.clone()).await?.into_inner();
    assert_eq!(first.releases[0].version, "1.2.0");
    let second = plane
        .member()
        .releases()
        .list_releases(v1::ListReleasesRequest { page_token: first.next_page_token, ..list })
        .await?
        .into_inner();
    assert_eq!((second.releases[0].version.as_str(), second.next_page_token.as_str()), ("1.1.0", ""));
    plane.stop().await
}

#[tokio::test]
async fn bytes_that_are_not_what_was_announced_are_refused() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let draft = Draft::new("1.1.0", 1);
    plane.draft(&draft).await?;
    let cases: [(&[u8], &str); 4] = [
        (b"the bytes of 1.1.1", "DIGEST_MISMATCH"),
        (b"the bytes", "SIZE_MISMATCH"),
        (b"the bytes of 1.1.0 and more", "SIZE_MISMATCH"),
        (b"", "SIZE_MISMATCH"),
    ];
    for (bytes, expected) in cases {
        let answer = plane.upload(&draft.name(), draft.artifact(&plane), bytes).await;
        refused(answer, Code::FailedPrecondition, expected);
    }
    plane.upload(&draft.name(), draft.artifact(&plane), &draft.bytes).await?;
    // What is stored already need not come again.
    plane.upload(&draft.name(), draft.artifact(&plane), b"").await?;
    plane.stop().await
}

#[tokio::test]
async fn publishing_refuses_what_executors_would_refuse() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let draft = Draft::new("1.1.0", 1);
    plane.draft(&draft).await?;
    refused(plane.publish(&draft.name()).await, Code::FailedPrecondition, "PLATFORM_MISSING");
    plane.upload(&draft.name(), draft.unsigned(), &draft.bytes).await?;
    refused(plane.publish(&draft.name()).await, Code::FailedPrecondition, "SIGNATURE_INVALID");

    let signer = plane.signer();
    let honest = || manifest("1.1.0", Channel::Stable, 1, "0.0.1", &draft.bytes);
    let another_version = manifest("1.2.0", Channel::Stable, 1, "0.0.1", &draft.bytes);
    let other_bytes = manifest("1.1.0", Channel::Stable, 1, "0.0.1", b"other bytes");
    let other_channel = manifest("1.1.0", Channel::Beta, 1, "0.0.1", &draft.bytes);
    let tampered = signer.sign_manifest(&draft.bytes, &honest())?.replace("floor=0.0.1", "floor=0.0.2");
    let legacy = {
        let file = signer.sign_manifest(&draft.bytes, &honest())?;
        let line = file.lines().nth(1).expect("a signature line");
        // "ED" becomes "Ed" in the first two bytes.
        file.replace(
            line,
            &line
                .replacen("RUQ", "RWQ", 1)
                .replacen("RUR", "RWR", 1)
                .replacen("RUS", "RWS", 1)
                .replacen("RUT", "RWT", 1),
        )
    };
    let two_in_one = signer.sign_manifest(&draft.bytes, &honest())?.repeat(2);
    let attacks = [
        (
            "an older release under a newer version",
            signer.sign_manifest(&draft.bytes, &another_version)?,
            "MANIFEST_MISMATCH",
        ),
        ("a manifest of other bytes", signer.sign_manifest(&draft.bytes, &other_bytes)?, "MANIFEST_MISMATCH"),
        ("another channel", signer.sign_manifest(&draft.bytes, &other_channel)?, "MANIFEST_MISMATCH"),
        ("no manifest", signer.sign(&draft.bytes, "timestamp:1 file:x hashed")?, "MANIFEST_MISMATCH"),
        ("an empty comment", signer.sign(&draft.bytes, "")?, "MANIFEST_MISMATCH"),
        ("a tampered comment", tampered, "SIGNATURE_INVALID"),
        ("a legacy signature", legacy, "SIGNATURE_INVALID"),
        ("two signatures in one file", two_in_one, "SIGNATURE_INVALID"),
        ("no signature at all", "hello".to_owned(), "SIGNATURE_INVALID"),
    ];
    for (attack, signature, expected) in attacks {
        let status = add_signature(&plane, &draft, signature).await.expect_err(attack);
        assert_eq!(harness::client::reason(&status), expected, "{attack}: {}", status.message());
    }
    // Signed by the right key, over other bytes: only the bytes tell, when it is published.
    let over_others = signer.sign_manifest(b"other bytes", &honest())?;
    plane.upload(&draft.name(), with_signatures(&draft, vec![over_others]), &draft.bytes).await?;
    refused(plane.publish(&draft.name()).await, Code::FailedPrecondition, "SIGNATURE_INVALID");
    // By nobody whom the control plane knows.
    let foreign = Signer::new()?.sign_manifest(&draft.bytes, &honest())?;
    plane.upload(&draft.name(), with_signatures(&draft, vec![foreign.clone()]), &draft.bytes).await?;
    refused(plane.publish(&draft.name()).await, Code::FailedPrecondition, "SIGNATURE_INVALID");
    // An unknown key beside a known one is accepted, and said.
    let known = signer.sign_manifest(&draft.bytes, &honest())?;
    plane.upload(&draft.name(), with_signatures(&draft, vec![foreign, known]), &draft.bytes).await?;
    let published = plane.publish(&draft.name()).await?;
    assert_eq!(published.warnings.len(), 1, "{:?}", published.warnings);
    plane.stop().await
}

#[tokio::test]
async fn rule_13_published_bytes_and_signatures_never_change_and_signatures_may_be_added() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let draft = Draft::new("1.1.0", 1);
    plane.release(&draft).await?;
    refused(
        plane.upload(&draft.name(), draft.artifact(&plane), &draft.bytes).await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
    refused(plane.draft(&draft).await, Code::AlreadyExists, "ALREADY_EXISTS");
    let honest = manifest("1.1.0", Channel::Stable, 1, "0.0.1", &draft.bytes);
    let another_key = Signer::new()?.sign_manifest(&draft.bytes, &honest)?;
    let release = add_signature(&plane, &draft, another_key.clone()).await?;
    assert_eq!(release.artifacts[0].minisign_signatures.len(), 2);
    let release = add_signature(&plane, &draft, another_key).await?;
    assert_eq!(release.artifacts[0].minisign_signatures.len(), 2, "the same one again changes nothing");
    let over_others = plane.signer().sign_manifest(b"other bytes", &honest)?;
    refused(add_signature(&plane, &draft, over_others).await, Code::FailedPrecondition, "SIGNATURE_INVALID");
    plane.stop().await
}

#[tokio::test]
async fn a_promotion_is_a_new_manifest_with_a_higher_sequence() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let draft = Draft::new("1.1.0", 3).on(Channel::Beta);
    plane.release(&draft).await?;
    let signed = |channel, sequence| {
        let manifest = manifest("1.1.0", channel, sequence, "0.0.1", &draft.bytes);
        plane.signer().sign_manifest(&draft.bytes, &manifest)
    };
    let too_low = add_signature(&plane, &draft, signed(Channel::Stable, 2)?).await;
    refused(too_low, Code::FailedPrecondition, "MANIFEST_MISMATCH");
    let backwards = add_signature(&plane, &draft, signed(Channel::Dev, 4)?).await;
    refused(backwards, Code::FailedPrecondition, "MANIFEST_MISMATCH");
    let release = add_signature(&plane, &draft, signed(Channel::Stable, 4)?).await?;
    assert_eq!((release.channel(), release.sequence), (v1::Channel::Stable, 4));
    plane.stop().await
}

#[tokio::test]
async fn a_sequence_that_was_overtaken_is_signed_again() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.2.0", 5)).await?;
    let late = Draft::new("1.1.0", 5);
    plane.draft(&late).await?;
    let answer = plane.upload(&late.name(), late.artifact(&plane), &late.bytes).await;
    refused(answer, Code::FailedPrecondition, "MANIFEST_MISMATCH");
    plane.stop().await
}

#[tokio::test]
async fn publishing_warns_whom_it_would_strand() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let stranded = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let hello = v1::Hello { release_key_ids: vec!["00000000DEADBEEF".to_owned()], ..stranded.hello() };
    let _stream = stranded.connect_with(hello).await?;
    let draft = Draft::new("1.1.0", 1);
    plane.draft(&draft).await?;
    plane.upload(&draft.name(), draft.artifact(&plane), &draft.bytes).await?;
    let published = plane.publish(&draft.name()).await?;
    assert!(published.warnings.iter().any(|warning| warning.contains(stranded.name())), "{:?}", published.warnings);
    // A warning is no refusal: the person who asks may know better.
    request(&plane.admin(), ask(stranded.name(), "1.1.0")).await?;
    plane.stop().await
}

#[tokio::test]
async fn validate_only_publishes_nothing() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let draft = Draft::new("1.1.0", 1);
    plane.draft(&draft).await?;
    plane.upload(&draft.name(), draft.artifact(&plane), &draft.bytes).await?;
    let request = v1::PublishReleaseRequest { name: draft.name(), validate_only: true };
    plane.publisher().releases().publish_release(request).await?;
    let get = v1::GetReleaseRequest { name: draft.name() };
    assert_eq!(plane.member().releases().get_release(get).await?.into_inner().status(), v1::release::Status::Draft);
    plane.stop().await
}

#[tokio::test]
async fn a_draft_that_cannot_be_is_refused_by_field() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let create = |kind: v1::Kind, version: &str, channel: v1::Channel| v1::CreateReleaseRequest {
        kind: kind.into(),
        version: version.to_owned(),
        channel: channel.into(),
        release_notes: String::new(),
    };
    let cases = [
        (create(v1::Kind::Unspecified, "1.0.0", v1::Channel::Stable), "kind"),
        (create(v1::Kind::Agent, "", v1::Channel::Stable), "version"),
        (create(v1::Kind::Agent, "v1", v1::Channel::Stable), "version"),
        (create(v1::Kind::Agent, "1.0.0+build", v1::Channel::Stable), "version"),
        (create(v1::Kind::Agent, "1.0.0-rc.1", v1::Channel::Stable), "channel"),
    ];
    for (request, field) in cases {
        let status = plane.publisher().releases().create_release(request).await.expect_err(field);
        assert_eq!((status.code(), harness::client::fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let draft = Draft::new("1.1.0", 1);
    plane.draft(&draft).await?;
    let bad = |change: &dyn Fn(&mut v1::AgentArtifact)| {
        let mut artifact = draft.unsigned();
        if let Some(v1::artifact::Artifact::Agent(agent)) = &mut artifact.artifact {
            change(agent);
        }
        artifact
    };
    let cases = [
        (bad(&|agent| agent.file = "../../etc/passwd".to_owned()), "artifact.agent.file"),
        (bad(&|agent| agent.size_bytes = u64::MAX), "artifact.agent.size_bytes"),
        (bad(&|agent| agent.external_url = "http://example.com/agent".to_owned()), "artifact.agent.external_url"),
        (
            bad(&|agent| agent.external_url = "https://user:word@example.com/agent".to_owned()),
            "artifact.agent.external_url",
        ),
        (bad(&|agent| agent.platform = "linux".to_owned()), "header.artifact.agent.platform"),
    ];
    for (artifact, field) in cases {
        let status = plane.upload(&draft.name(), artifact, b"").await.expect_err(field);
        assert_eq!(harness::client::fields(&status), [field], "{}", status.message());
    }
    plane.stop().await
}

#[tokio::test]
async fn two_versions_are_compared() -> Result<()> {
    let plane = ControlPlane::start().await?;
    for (version, sequence) in [("1.1.0", 1), ("1.2.0", 2), ("2.0.0", 3), ("3.0.0", 4)] {
        plane.release(&Draft::new(version, sequence)).await?;
    }
    let compare = v1::CompareReleasesRequest {
        kind: v1::Kind::Agent.into(),
        from_version: "1.1.0".to_owned(),
        to_version: "3.0.0".to_owned(),
    };
    let compared = plane.member().releases().compare_releases(compare).await?.into_inner();
    let versions: Vec<_> = compared.releases.iter().map(|release| release.version.as_str()).collect();
    assert_eq!(versions, ["3.0.0", "2.0.0", "1.2.0"]);
    assert!(compared.major_hop);
    assert_eq!(compared.size_delta_bytes.get("linux/amd64"), Some(&0));
    plane.stop().await
}

#[tokio::test]
async fn a_yank_says_why_and_only_what_is_published_is_yanked() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let draft = Draft::new("1.1.0", 1);
    plane.draft(&draft).await?;
    refused(plane.yank(&draft.name()).await, Code::FailedPrecondition, "RELEASE_NOT_PUBLISHED");
    plane.upload(&draft.name(), draft.artifact(&plane), &draft.bytes).await?;
    plane.publish(&draft.name()).await?;
    let silent = v1::YankReleaseRequest { name: draft.name(), reason: String::new() };
    refused(plane.publisher().releases().yank_release(silent).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(plane.yank(&draft.name()).await?.yank_reason, "it eats disks");
    refused(plane.publish(&draft.name()).await, Code::FailedPrecondition, "RELEASE_YANKED");
    plane.stop().await
}
