//! Attacks on identity, by name, through both real listeners: whoever is not whom a certificate, a token or a name says gets
//! nothing, and is told why.

use std::time::Duration;

use anyhow::{Context as _, Result};
use domain::JoinSecret;
use executor_sdk::connect;
use executor_sdk::credentials::{CredentialStore, Credentials};
use executor_sdk::enrol::{self, enrol};
use harness::catalog::Draft;
use harness::client::{Client, reason};
use harness::control_plane::ControlPlane;
use harness::fake_executor::{FakeExecutor, Stream, success};
use proto::v1;
use proto::v1::sync_executor_request::Message as Say;
use proto::v1::sync_executor_response::Message as Hear;
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::support::{ask, attempt, executor, refused, request};

const PROBE: &str = "/novacula.v1.SyncService/Probe";
const SYNC: &str = "/novacula.v1.SyncService/SyncExecutor";

/// What a thief says with credentials that he holds: each RPC of the listener, and an artifact.
async fn tries(executor: &FakeExecutor) -> Result<Vec<Status>> {
    let thief = Client::new(executor.channel().await?, None);
    let mut answers = Vec::new();
    for path in [PROBE, SYNC] {
        answers.push(thief.call(path).await.err().with_context(|| format!("{path} let him in"))?);
    }
    let folder = TempDir::new()?;
    let credentials = executor.credentials();
    let connection = connect::dial(&credentials.endpoints[0], connect::tls(credentials)?).await?;
    let renewed = enrol::renew(&connection, credentials, &CredentialStore::new(folder.path())).await;
    let error = renewed.err().context("a certificate was renewed")?;
    let enrol::Error::Connect(connect::Error::Answer { code, reason, message }) = error else {
        anyhow::bail!("renewal failed otherwise: {error:?}")
    };
    let mut status = Status::new(code, message);
    status.metadata_mut().insert("reason", reason.unwrap_or_default().parse()?);
    answers.push(status);
    Ok(answers)
}

fn why(status: &Status) -> String {
    let told = status.metadata().get("reason").and_then(|value| value.to_str().ok());
    told.map_or_else(|| reason(status), str::to_owned)
}

async fn closed(stream: &mut Stream) -> Result<Status> {
    loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            Ok(None) => anyhow::bail!("it ended without a reason"),
            Err(error) => return error.downcast::<Status>(),
        }
    }
}

#[tokio::test]
async fn a_stolen_certificate_opens_nothing_after_deactivation() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (host, mut stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let name = host.name().to_owned();
    plane.admin().executors().deactivate_executor(v1::DeactivateExecutorRequest { name }).await?;
    let end = closed(&mut stream).await?;
    assert_eq!(reason(&end), "EXECUTOR_DEACTIVATED", "{end:?}");
    for status in tries(&host).await? {
        assert_eq!(why(&status), "EXECUTOR_DEACTIVATED", "{status:?}");
    }
    plane.stop().await
}

#[tokio::test]
async fn a_deleted_executors_name_enrolled_by_another_host_lets_the_old_one_nowhere() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (old, mut stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let name = old.name().to_owned();
    plane.admin().executors().delete_executor(v1::DeleteExecutorRequest { name: name.clone() }).await?;
    assert_eq!(reason(&closed(&mut stream).await?), "EXECUTOR_DELETED");
    let (new, mut stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    assert_ne!(new.uid(), old.uid(), "the name is the same, the identity is another");
    for status in tries(&old).await? {
        assert_eq!(
            (status.code(), why(&status).as_str()),
            (Code::Unauthenticated, "CERTIFICATE_INVALID"),
            "{status:?}"
        );
    }
    // Nor does it learn or disturb anything of its successor.
    stream.acknowledge(0).await?;
    stream.until("a heartbeat's answer", |word| matches!(word, Hear::HeartbeatAck(_))).await?;
    assert_eq!(executor(&plane.member(), &name).await?.uid, new.uid());
    plane.stop().await
}

#[tokio::test]
async fn a_certificate_of_another_organization_speaks_for_its_own_executor_only() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (victim, mut stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let rivals = plane.another_organization("rival").await?;
    let made = v1::CreateJoinTokenRequest {
        parent: "organizations/rival".to_owned(),
        executor_id: "web-1".to_owned(),
        ..v1::CreateJoinTokenRequest::default()
    };
    let made = rivals.organizations().create_join_token(made).await?.into_inner();
    let rival = FakeExecutor::by_word(&made.secret, "1.0.0").await?;
    let refused = rival.connect_with(victim.hello()).await.err().context("it was let in")?;
    let status = refused.downcast::<Status>()?;
    assert_eq!(reason(&status), "PROTOCOL_VIOLATION", "{status:?}");
    assert!(status.message().contains("another executor"), "{status:?}");
    // Its own name, which is the same, leads to its own row.
    let _own = rival.connect().await?;
    assert_ne!(rival.uid(), victim.uid());
    stream.acknowledge(0).await?;
    stream.until("a heartbeat's answer", |word| matches!(word, Hear::HeartbeatAck(_))).await?;
    plane.stop().await
}

#[tokio::test]
async fn a_join_token_that_is_used_up_or_expired_enrols_nobody() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let word = plane.join_word("web-1").await?;
    FakeExecutor::by_word(&word, "1.0.0").await?;
    let again = FakeExecutor::by_word(&word, "1.0.0").await.err().context("it was used twice")?;
    assert!(format!("{again:#}").contains("used up"), "{again:#}");
    let word = plane.join_word("web-2").await?;
    plane.clock().advance(Duration::from_secs(25 * 3600));
    let late = FakeExecutor::by_word(&word, "1.0.0").await.err().context("it was used after its end")?;
    assert!(format!("{late:#}").contains("has expired"), "{late:#}");
    plane.stop().await
}

#[tokio::test]
async fn an_enrolment_whose_answer_was_lost_is_repeated_with_the_same_key_and_no_other() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let word: JoinSecret = plane.join_word("web-1").await?.parse()?;
    let folder = TempDir::new()?;
    let enrolled = async |folder: &TempDir| -> Result<Credentials> {
        Ok(enrol(&word, None, &CredentialStore::new(folder.path())).await?)
    };
    // The host makes its key, asks, and loses power before the answer: the key is all that is left.
    let kept = CredentialStore::new(folder.path());
    let key = kept.pending_key()?;
    drop(key);
    let snapshot: Vec<_> = std::fs::read_dir(folder.path())?
        .map(|entry| entry.map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap_or_default())))
        .collect::<Result<_, _>>()?;
    let first = enrolled(&folder).await?;
    let reborn = TempDir::new()?;
    for (name, bytes) in snapshot {
        std::fs::write(reborn.path().join(&name), bytes)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(reborn.path().join(name), private)?;
    }
    let again = enrolled(&reborn).await?;
    assert_eq!((first.uid, first.chain()), (again.uid, again.chain()), "the same certificate");
    let thief = TempDir::new()?;
    assert!(enrolled(&thief).await.is_err(), "the word is used up for any other key");
    plane.stop().await
}

#[tokio::test]
async fn terminal_escapes_in_a_log_tail_reach_nobody() -> Result<()> {
    const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31mred\u{202e}txt\rover\u{8}";
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (host, mut stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let requested = request(&plane.admin(), ask(host.name(), "1.1.0")).await?;
    let desired = stream.desired().await?;
    stream.ask_leave(&desired).await?;
    let report = v1::Report {
        attempt: desired.attempt.clone(),
        outcome: v1::Outcome::RolledBack.into(),
        stage: "start".to_owned(),
        error_code: "CRASH_LOOP".to_owned(),
        message: format!("it fell over: {ESCAPES}"),
        running_version: "1.0.0".to_owned(),
        rolled_back_to: "1.0.0".to_owned(),
        log_tail: vec![format!("panicked at {ESCAPES}"), "plain".to_owned()],
        ..v1::Report::default()
    };
    stream.report(report).await?;
    let seen = attempt(&plane.member(), &requested.name).await?;
    assert_eq!((seen.outcome(), seen.log_tail.len()), (v1::Outcome::RolledBack, 2));
    let list = v1::ListEventsRequest { parent: "organizations/acme".to_owned(), ..v1::ListEventsRequest::default() };
    let events = plane.member().events().list_events(list).await?.into_inner().events;
    let feed = events.iter().flat_map(|event| event.details.values());
    for text in feed.chain(&seen.log_tail).chain([&seen.message]) {
        let printable = text.chars().all(|letter| !letter.is_control() && letter != '\u{202e}');
        assert!(printable, "{text:?}");
    }
    assert!(seen.log_tail[0].contains("panicked at") && seen.log_tail[1] == "plain", "{:?}", seen.log_tail);
    plane.stop().await
}

#[tokio::test]
async fn a_report_about_somebody_elses_attempt_changes_nothing() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (victim, mut hers) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let (_, liar) = FakeExecutor::online(&plane, "web-2", "1.0.0").await?;
    let requested = request(&plane.admin(), ask(victim.name(), "1.1.0")).await?;
    let desired = hers.desired().await?;
    liar.say(Say::Report(success(&desired))).await?;
    let ready = v1::ReadyToSwap { attempt: desired.attempt.clone(), generation: desired.generation };
    liar.say(Say::ReadyToSwap(ready)).await?;
    // Her own road goes on, so that the liar's words were heard before.
    assert!(matches!(hers.ask_leave(&desired).await?, Hear::Proceed(_)));
    let seen = attempt(&plane.member(), &requested.name).await?;
    assert_eq!(seen.outcome(), v1::Outcome::Unspecified, "{seen:?}");
    assert_eq!(executor(&plane.member(), victim.name()).await?.version, "1.0.0");
    plane.stop().await
}

#[tokio::test]
async fn a_name_that_is_enrolled_is_refused_to_a_newcomer() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (first, _stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let word = plane.join_word("web-1").await?;
    let newcomer = FakeExecutor::by_word(&word, "1.0.0").await.err().context("the name was given away")?;
    assert!(
        format!("{newcomer:#}").contains("NAME_TAKEN") || format!("{newcomer:#}").contains("enrolled"),
        "{newcomer:#}"
    );
    refused(executor(&plane.stranger(), first.name()).await, Code::Unauthenticated, "TOKEN_INVALID");
    assert_eq!(executor(&plane.member(), first.name()).await?.uid, first.uid());
    plane.stop().await
}
