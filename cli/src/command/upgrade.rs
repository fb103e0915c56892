//! `novacula upgrade …`

mod warning;

use std::fmt::Write as _;
use std::time::Duration;

use proto::v1;
use proto::v1::batch_request_upgrade_response::result::Result as BatchResult;
use proto::v1::executor_service_client::ExecutorServiceClient;
use proto::v1::upgrade_service_client::UpgradeServiceClient;

use crate::args::upgrade::{RequestUpgrade, Upgrade};
use crate::command::executor::print::{attempt_facts, channel, dash};
use crate::command::{PAGE_SIZE, Session};
use crate::error::Error;
use crate::names::{Names, short};
use crate::output::{printable, table};
use crate::{progress, time};

/// Longest `upgrade watch`: longer than any attempt lives (TTL 24 h, then deadlines).
const WATCH_LIMIT: Duration = Duration::from_secs(3 * 24 * 60 * 60);

pub(super) async fn run(session: &Session, command: Upgrade) -> Result<(), Error> {
    match command {
        Upgrade::Targets { name } => targets(session, session.names.executor(&name)?).await,
        Upgrade::Request(request) => request_upgrade(session, request).await,
        Upgrade::Batch { version, names, replace } => batch(session, &version, &names, replace).await,
        Upgrade::Cancel { name } => cancel(session, &name).await,
        Upgrade::Get { name } => get(session, &name).await,
        Upgrade::Watch { name } => {
            let attempt = newest_attempt(session, &name).await?;
            follow(session, &attempt, WATCH_LIMIT).await
        }
        Upgrade::History { name, limit, open_to } => {
            let of = v1::ListAttemptsRequest {
                parent: session.names.executor(&name)?,
                open_to_release: open_to.as_deref().map(Names::release).unwrap_or_default(),
                ..Default::default()
            };
            history(session, of, limit).await
        }
    }
}

async fn client(session: &Session) -> Result<UpgradeServiceClient<crate::connect::Api>, Error> {
    Ok(UpgradeServiceClient::new(session.api().await?))
}

async fn targets(session: &Session, name: String) -> Result<(), Error> {
    let answer =
        client(session).await?.list_upgrade_targets(v1::ListUpgradeTargetsRequest { name }).await?.into_inner();
    session.printer.message(&answer, |answer| {
        let rows = answer.targets.iter().map(|target| {
            let direction = match target.direction() {
                v1::upgrade_target::Direction::Unspecified => "-",
                v1::upgrade_target::Direction::Upgrade => "upgrade",
                v1::upgrade_target::Direction::Downgrade => "downgrade",
            };
            let allowed = if target.allowed_as_direct_target { "yes" } else { "no" };
            vec![
                target.version.clone(),
                direction.to_owned(),
                channel(target.channel()).to_owned(),
                allowed.to_owned(),
                warning::note(target),
            ]
        });
        let mut text = table(&["VERSION", "DIRECTION", "CHANNEL", "DIRECT", "NOTE"], rows);
        if !answer.blocked_reason.is_empty() {
            let _ = write!(
                text,
                "\nnothing can be asked now: {} [{}]",
                printable(&answer.blocked_message),
                answer.blocked_reason
            );
        }
        text
    })
}

async fn request_upgrade(session: &Session, asked: RequestUpgrade) -> Result<(), Error> {
    let name = session.names.executor(&asked.name)?;
    let request = v1::RequestUpgradeRequest {
        name,
        target_version: asked.version,
        expected_version: asked.expected_version.unwrap_or_default(),
        ttl: asked.ttl.map(time::wire),
        replace: asked.replace,
        // Without one a retry by the library could ask twice; with one it answers with the same attempt.
        request_id: asked.request_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        validate_only: asked.validate_only,
    };
    let attempt = client(session).await?.request_upgrade(request).await?.into_inner();
    warning::tell(session, &attempt);
    if asked.validate_only {
        eprintln!("would be accepted; nothing was written");
    }
    if asked.wait {
        follow(session, &attempt.name, asked.wait_timeout).await
    } else {
        session.printer.message(&attempt, attempt_facts)
    }
}

async fn batch(session: &Session, version: &str, names: &[String], replace: bool) -> Result<(), Error> {
    let requests = names.iter().map(|name| {
        Ok(v1::RequestUpgradeRequest {
            name: session.names.executor(name)?,
            target_version: version.to_owned(),
            replace,
            request_id: uuid::Uuid::new_v4().to_string(),
            ..v1::RequestUpgradeRequest::default()
        })
    });
    let request = v1::BatchRequestUpgradeRequest {
        parent: session.names.parent()?,
        requests: requests.collect::<Result<Vec<_>, Error>>()?,
    };
    let answer = client(session).await?.batch_request_upgrade(request).await?.into_inner();
    let refused = answer.results.iter().filter(|result| matches!(result.result, Some(BatchResult::Failure(_)))).count();
    for result in &answer.results {
        if let Some(BatchResult::Attempt(attempt)) = &result.result {
            warning::tell(session, attempt);
        }
    }
    session.printer.list(&answer.results, &["NAME", "RESULT", "MESSAGE"], |result| {
        let (word, message) = match &result.result {
            Some(BatchResult::Attempt(attempt)) => ("accepted".to_owned(), short(&attempt.name).to_owned()),
            Some(BatchResult::Failure(failure)) => (failure.reason.clone(), failure.message.clone()),
            None => ("-".to_owned(), String::new()),
        };
        vec![short(&result.name).to_owned(), word, message]
    })?;
    if refused == 0 { Ok(()) } else { Err(Error::Refused(format!("{refused} of {} were refused", names.len()))) }
}

async fn cancel(session: &Session, name: &str) -> Result<(), Error> {
    let name = newest_attempt(session, name).await?;
    let request = v1::CancelUpgradeRequest { name, request_id: uuid::Uuid::new_v4().to_string() };
    let attempt = client(session).await?.cancel_upgrade(request).await?.into_inner();
    session.printer.message(&attempt, attempt_facts)
}

async fn get(session: &Session, name: &str) -> Result<(), Error> {
    let name = newest_attempt(session, name).await?;
    let attempt = client(session).await?.get_attempt(v1::GetAttemptRequest { name }).await?.into_inner();
    session
        .printer
        .message(&attempt, |attempt| attempt_facts(attempt) + &warning::lines(attempt) + &last_lines(attempt))
}

/// What the failing version said last, if it said anything.
fn last_lines(attempt: &v1::Attempt) -> String {
    let mut text = String::new();
    if !attempt.log_tail.is_empty() {
        text.push_str("\nlast lines of the failing version:");
        for line in &attempt.log_tail {
            let _ = write!(text, "\n  | {}", printable(line));
        }
    }
    text
}

/// The attempt that is meant: one by its full name, or the executor's open one, or its newest.
async fn newest_attempt(session: &Session, name: &str) -> Result<String, Error> {
    if name.contains("/attempts/") {
        return Ok(name.to_owned());
    }
    let executor = session.names.executor(name)?;
    let mut executors = ExecutorServiceClient::new(session.api().await?);
    let row = executors.get_executor(v1::GetExecutorRequest { name: executor.clone() }).await?.into_inner();
    if !row.open_attempt.is_empty() {
        return Ok(row.open_attempt);
    }
    let request = v1::ListAttemptsRequest { parent: executor.clone(), page_size: 1, ..Default::default() };
    let page = client(session).await?.list_attempts(request).await?.into_inner();
    let newest = page.attempts.into_iter().next();
    newest.map(|attempt| attempt.name).ok_or_else(|| Error::Refused(format!("{executor} has no attempt")))
}

async fn history(session: &Session, of: v1::ListAttemptsRequest, limit: usize) -> Result<(), Error> {
    let mut client = client(session).await?;
    let (mut attempts, mut page_token) = (Vec::new(), String::new());
    while attempts.len() < limit {
        let page_size = i32::try_from(limit - attempts.len()).unwrap_or(i32::MAX).min(PAGE_SIZE);
        let request = v1::ListAttemptsRequest { page_size, page_token, ..of.clone() };
        let page = client.list_attempts(request).await?.into_inner();
        attempts.extend(page.attempts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let header = ["REQUESTED", "EXECUTOR", "FROM", "TO", "PHASE", "OUTCOME", "REASON", "ERROR", "ATTEMPT"];
    session.printer.list(&attempts, &header, |attempt| {
        vec![
            time::stamp(attempt.request_time.as_ref()),
            short(&attempt.executor).to_owned(),
            attempt.from_version.clone(),
            attempt.target_version.clone(),
            progress::phase(attempt),
            progress::outcome(attempt),
            dash(&attempt.reason),
            error(attempt),
            short(&attempt.name).to_owned(),
        ]
    })
}

/// What it ended with, or what the executor of an open one waits out.
fn error(attempt: &v1::Attempt) -> String {
    match &attempt.waiting {
        Some(waiting) if attempt.error_code.is_empty() => dash(&waiting.error_code),
        _ => dash(&attempt.error_code),
    }
}

/// Follows to the outcome; anything but succeeded is an error that says what happened and what to do.
async fn follow(session: &Session, name: &str, limit: Duration) -> Result<(), Error> {
    let api = session.streaming_api().await?;
    let attempt = progress::follow(&api, name, session.printer, limit).await?;
    if !session.printer.is_json() {
        session.printer.message(&attempt, attempt_facts)?;
    }
    if attempt.outcome() == v1::Outcome::Succeeded {
        return Ok(());
    }
    Err(Error::Refused(printable(&obituary(&attempt))))
}

fn obituary(attempt: &v1::Attempt) -> String {
    let mut text = format!("{} -> {}: {}", attempt.from_version, attempt.target_version, progress::outcome(attempt));
    for (word, value) in [("stage", &attempt.stage), ("error", &attempt.error_code), ("reason", &attempt.reason)] {
        if !value.is_empty() {
            let _ = write!(text, ", {word} {value}");
        }
    }
    if !attempt.message.is_empty() {
        let _ = write!(text, ": {}", attempt.message);
    }
    text.push_str(&last_lines(attempt));
    let _ = write!(text, "\nnext: novacula executor explain {}", short(&attempt.executor));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_is_told_with_stage_error_and_last_lines() {
        let attempt = v1::Attempt {
            executor: "organizations/acme/executors/web-1".to_owned(),
            from_version: "1.1.0".to_owned(),
            target_version: "1.2.0".to_owned(),
            outcome: v1::Outcome::RolledBack.into(),
            stage: "start".to_owned(),
            error_code: "CRASH_LOOP".to_owned(),
            message: "exited 3 three times".to_owned(),
            log_tail: vec!["panic: no such table".to_owned()],
            ..v1::Attempt::default()
        };
        let text = obituary(&attempt);
        for part in ["rolled_back", "start", "CRASH_LOOP", "exited 3", "| panic: no such table", "explain web-1"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_refusal_is_told_before_its_ttl_makes_it_an_outcome() {
        let attempt = v1::Attempt {
            refused: true,
            stage: "verify".to_owned(),
            error_code: "SIGNATURE_INVALID".to_owned(),
            ..v1::Attempt::default()
        };
        assert!(obituary(&attempt).contains("refused, stage verify, error SIGNATURE_INVALID"));
    }
}
