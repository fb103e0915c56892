//! Who may call what: every row of the access table, with every role, and each listener's proofs on the other.

use std::collections::BTreeSet;

use anyhow::Result;
use domain::role::Demand;
use domain::{OrganizationId, Role};
use harness::client::{Client, reason};
use harness::control_plane::{ControlPlane, ORGANIZATION};
use harness::fake_executor::FakeExecutor;
use proto::v1;
use proto::v1::sync_service_client::SyncServiceClient;
use server::grpc::access::{Listener, Proof, TABLE};
use tonic::{Code, Status};

/// The organization that a request of the test names.
fn acme() -> OrganizationId {
    OrganizationId::new(ORGANIZATION).expect("a label")
}

/// RPCs whose request names no organization, so that an empty one is enough.
fn names_no_organization(path: &str) -> bool {
    let anywhere = ["ReleaseService/", "/ListOrganizations", "/CreateOrganization", "/WhoAmI"];
    anywhere.iter().any(|part| path.contains(part))
}

#[tokio::test]
async fn without_a_token_every_rpc_of_the_api_is_refused() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let mut seen = 0;
    for row in TABLE.iter().filter(|row| row.listener == Listener::Api) {
        let answer = plane.stranger().call(row.path).await;
        match row.proof {
            Proof::Token(_) => {
                let status = answer.expect_err(row.path);
                assert_eq!(
                    (status.code(), reason(&status).as_str()),
                    (Code::Unauthenticated, "TOKEN_INVALID"),
                    "{}",
                    row.path
                );
                seen += 1;
            }
            Proof::Nothing => {}
            Proof::JoinToken | Proof::Certificate | Proof::LateCertificate => {
                panic!("{} asks for the proof of another listener", row.path)
            }
        }
    }
    assert!(seen > 30, "{seen} RPCs were asked");
    for wrong in ["", "nvt_nobody_00", "nonsense"] {
        let status = plane.client(wrong).call("/novacula.v1.OrganizationService/WhoAmI").await.expect_err(wrong);
        assert_eq!(status.code(), Code::Unauthenticated);
    }
    plane.stop().await
}

/// An attempt that nobody made.
fn attempt() -> String {
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    format!("organizations/{ORGANIZATION}/executors/nobody/attempts/{id}")
}

/// A request for each RPC that names an organization, good enough to be judged by role.
async fn call(client: &Client, path: &str) -> Result<(), Status> {
    let parent = format!("organizations/{ORGANIZATION}");
    let executor = format!("{parent}/executors/nobody");
    let name = || executor.clone();
    let (mut executors, mut upgrades, mut organizations, mut events) =
        (client.executors(), client.upgrades(), client.organizations(), client.events());
    match path.rsplit('/').next().unwrap_or_default() {
        "GetExecutor" => executors.get_executor(v1::GetExecutorRequest { name: name() }).await.map(drop),
        "ListExecutors" => {
            executors.list_executors(v1::ListExecutorsRequest { parent, ..Default::default() }).await.map(drop)
        }
        "WatchExecutors" => {
            executors.watch_executors(v1::WatchExecutorsRequest { parent, ..Default::default() }).await.map(drop)
        }
        "UpdateExecutor" => {
            let row = v1::Executor { name: name(), ..Default::default() };
            executors
                .update_executor(v1::UpdateExecutorRequest { executor: Some(row), update_mask: None })
                .await
                .map(drop)
        }
        "DeactivateExecutor" => {
            executors.deactivate_executor(v1::DeactivateExecutorRequest { name: name() }).await.map(drop)
        }
        "ActivateExecutor" => executors.activate_executor(v1::ActivateExecutorRequest { name: name() }).await.map(drop),
        "DeleteExecutor" => executors.delete_executor(v1::DeleteExecutorRequest { name: name() }).await.map(drop),
        "SummarizeExecutors" => executors.summarize_executors(v1::SummarizeExecutorsRequest { parent }).await.map(drop),
        "ListNodes" => {
            executors.list_nodes(v1::ListNodesRequest { parent: name(), ..Default::default() }).await.map(drop)
        }
        "ClearHold" => {
            executors.clear_hold(v1::ClearHoldRequest { name: name(), version: "1.0.0".to_owned() }).await.map(drop)
        }
        "ListUpgradeTargets" => {
            upgrades.list_upgrade_targets(v1::ListUpgradeTargetsRequest { name: name() }).await.map(drop)
        }
        "RequestUpgrade" => upgrades.request_upgrade(crate::support::ask(&executor, "1.1.0")).await.map(drop),
        "BatchRequestUpgrade" => upgrades
            .batch_request_upgrade(v1::BatchRequestUpgradeRequest { parent, requests: Vec::new() })
            .await
            .map(drop),
        "CancelUpgrade" => upgrades
            .cancel_upgrade(v1::CancelUpgradeRequest { name: attempt(), request_id: String::new() })
            .await
            .map(drop),
        "GetAttempt" => upgrades.get_attempt(v1::GetAttemptRequest { name: attempt() }).await.map(drop),
        "ListAttempts" => upgrades
            .list_attempts(v1::ListAttemptsRequest { parent: format!("{parent}/executors/-"), ..Default::default() })
            .await
            .map(drop),
        "WatchAttempt" => upgrades.watch_attempt(v1::WatchAttemptRequest { name: attempt() }).await.map(drop),
        "ExplainUpgrade" => upgrades.explain_upgrade(v1::ExplainUpgradeRequest { name: name() }).await.map(drop),
        "GetOrganization" => {
            organizations.get_organization(v1::GetOrganizationRequest { name: parent }).await.map(drop)
        }
        "CreateJoinToken" => {
            organizations.create_join_token(v1::CreateJoinTokenRequest { parent, ..Default::default() }).await.map(drop)
        }
        "ListJoinTokens" => {
            organizations.list_join_tokens(v1::ListJoinTokensRequest { parent, ..Default::default() }).await.map(drop)
        }
        "RevokeJoinToken" => organizations
            .revoke_join_token(v1::RevokeJoinTokenRequest { name: format!("{parent}/joinTokens/x") })
            .await
            .map(drop),
        "CreateToken" => organizations
            .create_token(v1::CreateTokenRequest { parent, role: v1::Role::Member.into(), ..Default::default() })
            .await
            .map(drop),
        "ListTokens" => {
            organizations.list_tokens(v1::ListTokensRequest { parent, ..Default::default() }).await.map(drop)
        }
        "RevokeToken" => {
            organizations.revoke_token(v1::RevokeTokenRequest { name: format!("{parent}/tokens/x") }).await.map(drop)
        }
        "ListEvents" => events.list_events(v1::ListEventsRequest { parent, ..Default::default() }).await.map(drop),
        "WatchEvents" => events.watch_events(v1::WatchEventsRequest { parent, ..Default::default() }).await.map(drop),
        other => Err(Status::unimplemented(format!("{other} has no request in this test: add one"))),
    }
}

/// Calls that name no organization: with what is enough to be judged by role.
async fn call_installation(client: &Client, path: &str) -> Result<(), Status> {
    let name = || "releases/agent-9.9.9".to_owned();
    let (mut releases, mut organizations) = (client.releases(), client.organizations());
    match path.rsplit('/').next().unwrap_or_default() {
        "CreateRelease" => {
            let request = v1::CreateReleaseRequest {
                kind: v1::Kind::Agent.into(),
                version: "9.9.9-rc.1".to_owned(),
                ..Default::default()
            };
            releases.create_release(request).await.map(drop)
        }
        "UploadArtifact" => {
            let draft = harness::catalog::Draft::new("9.9.9", 1);
            let header = v1::upload_artifact_request::Header { release: name(), artifact: Some(draft.unsigned()) };
            let message =
                v1::UploadArtifactRequest { message: Some(v1::upload_artifact_request::Message::Header(header)) };
            releases.upload_artifact(tokio_stream::iter([message])).await.map(drop)
        }
        "AddReleaseSignature" => releases
            .add_release_signature(v1::AddReleaseSignatureRequest { name: name(), ..Default::default() })
            .await
            .map(drop),
        "GetRelease" => releases.get_release(v1::GetReleaseRequest { name: name() }).await.map(drop),
        "ListReleases" => releases.list_releases(v1::ListReleasesRequest::default()).await.map(drop),
        "PublishRelease" => {
            releases.publish_release(v1::PublishReleaseRequest { name: name(), ..Default::default() }).await.map(drop)
        }
        "YankRelease" => {
            releases.yank_release(v1::YankReleaseRequest { name: name(), ..Default::default() }).await.map(drop)
        }
        "CompareReleases" => {
            let request = v1::CompareReleasesRequest {
                kind: v1::Kind::Agent.into(),
                from_version: "1.0.0".to_owned(),
                to_version: "2.0.0".to_owned(),
            };
            releases.compare_releases(request).await.map(drop)
        }
        "CreateOrganization" => organizations
            .create_organization(v1::CreateOrganizationRequest {
                organization_id: ORGANIZATION.to_owned(),
                ..Default::default()
            })
            .await
            .map(drop),
        "ListOrganizations" => {
            organizations.list_organizations(v1::ListOrganizationsRequest::default()).await.map(drop)
        }
        "WhoAmI" => organizations.who_am_i(v1::WhoAmIRequest {}).await.map(drop),
        other => Err(Status::unimplemented(format!("{other} has no request in this test: add one"))),
    }
}

#[tokio::test]
async fn every_rpc_lets_in_exactly_the_roles_of_the_access_table() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let foreigner = plane.another_organization("globex").await?;
    let globex = OrganizationId::new("globex")?;
    let callers = [
        (Role::Owner(acme()), plane.owner()),
        (Role::Admin(acme()), plane.admin()),
        (Role::Member(acme()), plane.member()),
        (Role::Owner(globex), foreigner),
        (Role::Publisher, plane.publisher()),
        (Role::InstallationAdmin, plane.installation_admin()),
    ];
    let mut pairs = BTreeSet::new();
    for row in TABLE {
        let Proof::Token(demand) = row.proof else {
            continue;
        };
        for (role, client) in &callers {
            let (answer, allowed) = if names_no_organization(row.path) {
                (call_installation(client, row.path).await, role.meets(demand, None) || demand == Demand::AnyToken)
            } else {
                (call(client, row.path).await, role.meets(demand, Some(&acme())))
            };
            let code = answer.as_ref().err().map(Status::code);
            let message = answer.as_ref().err().map(|status| status.message().to_owned()).unwrap_or_default();
            assert_ne!(code, Some(Code::Unimplemented), "{}: {message}", row.path);
            assert_eq!(code != Some(Code::PermissionDenied), allowed, "{} as {role:?}: {message}", row.path);
            pairs.insert((row.path, role.as_str()));
        }
    }
    assert!(pairs.len() > 180, "{} pairs", pairs.len());
    plane.stop().await
}

#[tokio::test]
async fn a_persons_token_opens_nothing_on_the_executor_listener() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let channel = plane.dial(plane.executor_addr()).await?;
    let secret = made_token(&plane).await?;
    let with_token = Client::new(channel.clone(), Some(&secret));
    for row in TABLE {
        let status = match with_token.call(row.path).await {
            Ok(()) => panic!("{} answered a person's token", row.path),
            Err(status) => status,
        };
        let expected: &[Code] = match (row.listener, row.proof) {
            (Listener::Executors, Proof::JoinToken) => &[Code::Unauthenticated, Code::InvalidArgument],
            (Listener::Executors, _) => &[Code::Unauthenticated],
            (Listener::Api, _) => &[Code::Unimplemented],
        };
        assert!(expected.contains(&status.code()), "{}: {status:?}", row.path);
    }
    plane.stop().await
}

async fn made_token(plane: &ControlPlane) -> Result<String> {
    let request = v1::CreateTokenRequest {
        parent: format!("organizations/{ORGANIZATION}"),
        role: v1::Role::Owner.into(),
        ..Default::default()
    };
    Ok(plane.owner().organizations().create_token(request).await?.into_inner().secret)
}

#[tokio::test]
async fn an_executors_certificate_opens_nothing_on_the_api() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (one, _stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let tls = executor_sdk::connect::tls(one.credentials())?;
    let endpoint = plane.api_addr().to_string().parse()?;
    let channel = executor_sdk::connect::dial(&endpoint, tls).await?.channel();
    let executor = Client::new(channel.clone(), None);
    for row in TABLE {
        let answer = executor.call(row.path).await;
        match (row.listener, row.proof) {
            (Listener::Api, Proof::Nothing) => {}
            (Listener::Api, _) => assert_eq!(answer.expect_err(row.path).code(), Code::Unauthenticated, "{}", row.path),
            (Listener::Executors, _) => {
                assert_eq!(answer.expect_err(row.path).code(), Code::Unimplemented, "{}", row.path)
            }
        }
    }
    let probe = SyncServiceClient::new(channel).probe(v1::ProbeRequest {}).await;
    assert_eq!(probe.map(drop).map_err(|status| status.code()), Err(Code::Unimplemented));
    plane.stop().await
}

#[tokio::test]
async fn what_exists_elsewhere_is_told_to_nobody() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let one = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let foreigner = plane.another_organization("globex").await?;
    let ask = async |name: String| {
        foreigner
            .executors()
            .get_executor(v1::GetExecutorRequest { name })
            .await
            .map(drop)
            .map_err(|status| (status.code(), status.message().to_owned()))
    };
    let there = ask(one.name().to_owned()).await;
    let not_there = ask(one.name().replace("web-1", "web-9")).await;
    assert_eq!(there, not_there);
    plane.stop().await
}
