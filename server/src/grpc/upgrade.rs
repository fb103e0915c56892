//! `UpgradeService`.

use domain::attempt::request::Replace;
use domain::{Attempt, ExecutorId, OrganizationId, RequestId};
use proto::convert::attempt::{LogTail, attempt};
use proto::convert::field::to_timestamp;
use proto::convert::warning::warnings;
use proto::convert::{self, executor::attempt_name};
use proto::v1;
use proto::v1::upgrade_service_server::UpgradeService;
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::app::caller::Caller;
use crate::app::explain::{Explanation, Finding, Severity};
use crate::app::names::Names;
use crate::app::upgrade::attempt::Attempts;
use crate::app::upgrade::batch::{self, Outcome};
use crate::app::upgrade::{Ask, Mode, Requested, Row};
use crate::grpc::access;
use crate::grpc::error;
use crate::grpc::wire::{Answers, Service, done, field, organization, page};

#[tonic::async_trait]
impl UpgradeService for Service {
    async fn list_upgrade_targets(
        &self,
        request: Request<v1::ListUpgradeTargetsRequest>,
    ) -> Result<Response<v1::ListUpgradeTargetsResponse>, Status> {
        let caller = access::caller(&request)?;
        let name = field(convert::executor::name("name", &request.get_ref().name))?;
        let targets = done(self.app.upgrade_targets(&caller, &name).await)?;
        let blocked = targets.blocked.as_ref();
        Ok(Response::new(v1::ListUpgradeTargetsResponse {
            blocked_reason: blocked.map(|refusal| refusal.reason.as_str().to_owned()).unwrap_or_default(),
            blocked_message: blocked.map(|refusal| refusal.message.clone()).unwrap_or_default(),
            targets: targets.rows.into_iter().map(target).collect(),
        }))
    }

    async fn request_upgrade(
        &self,
        request: Request<v1::RequestUpgradeRequest>,
    ) -> Result<Response<v1::Attempt>, Status> {
        let caller = access::caller(&request)?;
        let ask = field(ask(request.into_inner()))?;
        let answer = done(self.app.upgrade_request(&caller, &ask).await)?;
        let names = self.names_if_known(&caller, &ask.name.organization, [&answer.attempt]).await;
        Ok(Response::new(named(&names, &answer.attempt, requested(&answer, LogTail::Without))))
    }

    async fn batch_request_upgrade(
        &self,
        request: Request<v1::BatchRequestUpgradeRequest>,
    ) -> Result<Response<v1::BatchRequestUpgradeResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let parent = organization("parent", &request.parent)?;
        // Before a thousand and one are looked at one by one.
        if request.requests.len() > batch::MAX {
            let rule = format!("has {} entries; at most {} are taken at once", request.requests.len(), batch::MAX);
            return Err(error::field("requests", rule));
        }
        let asked = request
            .requests
            .into_iter()
            .enumerate()
            .map(|(index, one)| field(ask(one).map_err(|wrong| wrong.within(&format!("requests[{index}]")))));
        let asks = asked.collect::<Result<Vec<Ask>, Status>>()?;
        let outcomes = done(self.app.upgrade_request_batch(&caller, &parent, asks).await)?;
        let made = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok());
        let made: Vec<&Attempt> = made.map(|answer| &answer.attempt).collect();
        let names = self.names_if_known(&caller, &parent, made).await;
        let results = outcomes.into_iter().map(|outcome| result(outcome, &names)).collect();
        Ok(Response::new(v1::BatchRequestUpgradeResponse { results }))
    }

    async fn cancel_upgrade(
        &self,
        request: Request<v1::CancelUpgradeRequest>,
    ) -> Result<Response<v1::Attempt>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let name = field(attempt_name("name", &request.name))?;
        // Cancelling twice is cancelling: the id has nothing to protect, and is only judged.
        field(request_id(&request.request_id))?;
        let cancelled = done(self.app.upgrade_cancel(&caller, &name).await)?;
        let names = self.names_if_known(&caller, &name.executor.organization, [&cancelled]).await;
        Ok(Response::new(named(&names, &cancelled, attempt(&cancelled, LogTail::Without))))
    }

    async fn get_attempt(&self, request: Request<v1::GetAttemptRequest>) -> Result<Response<v1::Attempt>, Status> {
        let caller = access::caller(&request)?;
        let name = field(attempt_name("name", &request.get_ref().name))?;
        let found = done(self.app.attempt_get(&caller, &name).await)?;
        let names = self.names(&caller, &name.executor.organization, [&found.attempt]).await?;
        Ok(Response::new(named(&names, &found.attempt, requested(&found, LogTail::With))))
    }

    async fn list_attempts(
        &self,
        request: Request<v1::ListAttemptsRequest>,
    ) -> Result<Response<v1::ListAttemptsResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let of = field(attempts(&request.parent, &request.open_to_release))?;
        let page = page(request.page_size, &request.page_token);
        let listed = done(self.app.attempt_list(&caller, &of, &page).await)?;
        let names = self.names(&caller, &of.organization, &listed.rows).await?;
        let rows = listed.rows.iter().map(|row| named(&names, row, attempt(row, LogTail::Without)));
        Ok(Response::new(v1::ListAttemptsResponse {
            attempts: rows.collect(),
            next_page_token: listed.next_page_token,
        }))
    }

    type WatchAttemptStream = Answers<v1::WatchAttemptResponse>;

    async fn watch_attempt(
        &self,
        request: Request<v1::WatchAttemptRequest>,
    ) -> Result<Response<Self::WatchAttemptStream>, Status> {
        let caller = access::caller(&request)?;
        let name = field(attempt_name("name", &request.get_ref().name))?;
        let rows = done(self.app.attempt_watch(caller, name).await)?;
        let encode = |row| v1::WatchAttemptResponse { attempt: Some(requested(&row, LogTail::With)) };
        Ok(Response::new(self.watch(rows, encode)))
    }

    async fn explain_upgrade(
        &self,
        request: Request<v1::ExplainUpgradeRequest>,
    ) -> Result<Response<v1::ExplainUpgradeResponse>, Status> {
        let caller = access::caller(&request)?;
        let name = field(convert::executor::name("name", &request.get_ref().name))?;
        let explanation = done(self.app.upgrade_explain(&caller, &name).await)?;
        let names = self.names(&caller, &name.organization, &explanation.attempt).await?;
        Ok(Response::new(explained(explanation, &names)))
    }
}

impl Service {
    /// What those are called who asked for the attempts.
    async fn names(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        attempts: impl IntoIterator<Item = &Attempt>,
    ) -> Result<Names, Status> {
        let actors = attempts.into_iter().map(|attempt| attempt.requested_by.clone());
        done(self.app.names(caller, Some(organization), actors).await)
    }

    /// The same after a write, whose answer fails for no name.
    async fn names_if_known(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        attempts: impl IntoIterator<Item = &Attempt>,
    ) -> Names {
        self.names(caller, organization, attempts).await.unwrap_or_default()
    }
}

/// An attempt with what whoever asked for it is called.
fn named(names: &Names, attempt: &Attempt, wire: v1::Attempt) -> v1::Attempt {
    v1::Attempt { requested_by_display_name: names.of(&attempt.requested_by), ..wire }
}

fn request_id(value: &str) -> Result<Option<RequestId>, convert::Error> {
    if value.is_empty() {
        return Ok(None);
    }
    let refused = |wrong: domain::id::Error| convert::Error::new("request_id", wrong.to_string(), value);
    RequestId::new(value).map(Some).map_err(refused)
}

fn ask(wire: v1::RequestUpgradeRequest) -> Result<Ask, convert::Error> {
    Ok(Ask {
        name: convert::executor::name("name", &wire.name)?,
        target_version: convert::field::required("target_version", &wire.target_version)?,
        expected_version: convert::field::optional("expected_version", &wire.expected_version)?,
        ttl: convert::field::duration("ttl", wire.ttl)?,
        replace: if wire.replace { Replace::Yes } else { Replace::No },
        request_id: request_id(&wire.request_id)?,
        mode: if wire.validate_only { Mode::ValidateOnly } else { Mode::Write },
    })
}

/// `organizations/{organization}/executors/{executor}`, or `-` for the executor.
fn attempts(parent: &str, open_to_release: &str) -> Result<Attempts, convert::Error> {
    const FORM: &str = "is not of the form organizations/{organization}/executors/{executor}, or - for all executors";
    let refused = || convert::Error::new("parent", FORM, parent);
    let parts: Vec<&str> = parent.split('/').collect();
    let ["organizations", organization, "executors", executor] = parts[..] else {
        return Err(refused());
    };
    Ok(Attempts {
        organization: OrganizationId::new(organization).map_err(|_| refused())?,
        executor: match executor {
            "-" => None,
            executor => Some(ExecutorId::new(executor).map_err(|_| refused())?),
        },
        open_to: match open_to_release {
            "" => None,
            name => Some(convert::release::name("open_to_release", name)?),
        },
    })
}

/// An attempt with what was told when it was asked for.
fn requested(requested: &Requested, log_tail: LogTail) -> v1::Attempt {
    v1::Attempt { warnings: warnings(&requested.warnings), ..attempt(&requested.attempt, log_tail) }
}

fn target(row: Row) -> v1::UpgradeTarget {
    v1::UpgradeTarget { warnings: warnings(&row.warnings), ..row.target.into() }
}

/// A refusal says in a result what it would say as a status.
fn result(outcome: Outcome, names: &Names) -> v1::batch_request_upgrade_response::Result {
    use v1::batch_request_upgrade_response::{Failure, result};
    let result = match outcome.result {
        Ok(answer) => result::Result::Attempt(named(names, &answer.attempt, requested(&answer, LogTail::Without))),
        Err(failed) => {
            let status = error::status(&failed);
            let info = status.get_details_error_info();
            let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
            result::Result::Failure(Failure {
                code: status.code().into(),
                reason,
                message: status.message().to_owned(),
                metadata,
            })
        }
    };
    v1::batch_request_upgrade_response::Result { name: outcome.name.to_string(), result: Some(result) }
}

fn explained(explanation: Explanation, names: &Names) -> v1::ExplainUpgradeResponse {
    v1::ExplainUpgradeResponse {
        summary: explanation.summary,
        findings: explanation.findings.into_iter().map(finding).collect(),
        attempt: explanation.attempt.map(|row| named(names, &row, attempt(&row, LogTail::With))),
    }
}

fn finding(finding: Finding) -> v1::explain_upgrade_response::Finding {
    use v1::explain_upgrade_response::finding::Severity as Wire;
    let severity = match finding.severity {
        Severity::Ok => Wire::Ok,
        Severity::Notice => Wire::Notice,
        Severity::Blocking => Wire::Blocking,
    };
    v1::explain_upgrade_response::Finding {
        severity: severity.into(),
        reason: finding.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        message: finding.message,
        remedy: finding.remedy,
        since: finding.since.map(to_timestamp),
    }
}
