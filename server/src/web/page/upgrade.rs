//! `/organizations/{organization}/executors/{executor}/upgrade?to=1.2.0`: the page that asks before it asks.
//!
//! ```text
//! GET:  what would happen (validate_only) → steps, time, way back, what lies between, warnings, or the refusal
//! POST: the request → its attempt's page          refused → the same page with what was typed, and why
//! ```
//!
//! The form carries what the reader believes to run, so that a change in between is refused, and a request id, so that a double
//! click asks once.

mod story;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use domain::{ExecutorName, Reason};
use http::StatusCode;
use proto::v1;
use serde::Deserialize;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::web::Web;
use crate::web::error::{PageError, Said};
use crate::web::page::attempt::word;
use crate::web::page::compare::Comparison;
use crate::web::page::executor::{frame, named};
use crate::web::page::{Frame, Page, html};
use crate::web::session::{Posted, SignedIn};
use crate::web::show;

use story::{Move, may_ask};

/// When the API does not say its own: what the proto file says.
const DEFAULT_TTL: u64 = 15 * 60;

/// The page.
#[derive(Template)]
#[template(path = "upgrade.html")]
struct UpgradePage {
    frame: Frame,
    name: ExecutorName,
    executor: v1::Executor,
    form: Ask,
    release: Option<v1::Release>,
    comparison: Option<Comparison>,
    refused: Option<Said>,
    warnings: Vec<v1::UpgradeWarning>,
    ttl: u64,
    /// Where the upgrade leads that is pending now, when it leads elsewhere.
    pending: Option<String>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    to: String,
}

/// The form.
#[derive(Clone, Debug, Deserialize)]
struct Ask {
    #[serde(default)]
    to: String,
    #[serde(default)]
    expected_version: String,
    #[serde(default)]
    ttl: String,
    #[serde(default)]
    replace: Option<String>,
    #[serde(default)]
    request_id: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/organizations/{organization}/executors/{executor}/upgrade", get(show).post(ask))
}

async fn show(
    signed_in: SignedIn,
    Path((organization, executor)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Page {
    let name = named(&organization, &executor)?;
    let request_id = Uuid::new_v4().to_string();
    let form = Ask { to: asked.to, expected_version: String::new(), ttl: String::new(), replace: None, request_id };
    page(&signed_in, name, form, None).await
}

async fn ask(Path((organization, executor)): Path<(String, String)>, posted: Posted<Ask>) -> Page {
    let name = named(&organization, &executor)?;
    let Posted { by, form } = posted;
    match by.api.upgrades().request_upgrade(form.request(&name)?).await {
        Ok(attempt) => Ok(Redirect::to(&format!("/{}", attempt.into_inner().name)).into_response()),
        Err(status) if matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated | Code::NotFound) => {
            Err(status.into())
        }
        Err(status) => page(&by, name, form, Some(status)).await,
    }
}

/// The page, with the refusal of what was asked, or of what would be.
async fn page(
    by: &SignedIn,
    name: ExecutorName,
    mut form: Ask,
    refused: Option<Status>,
) -> Result<Response, PageError> {
    let read = v1::GetExecutorRequest { name: name.to_string() };
    let executor = by.api.executors().get_executor(read).await?.into_inner();
    form.expected_version.clone_from(&executor.version);
    let pending = executor.pending_upgrade.as_ref().map(target).filter(|target| *target != form.to);
    let judged = judge(by, &name, &form.to, pending.is_some()).await?;
    let (warnings, ttl) = match &judged {
        Ok(attempt) => (attempt.warnings.clone(), ttl(attempt)),
        Err(_) => (Vec::new(), DEFAULT_TTL),
    };
    let refused = refused.or(judged.err()).map(Said::from);
    if refused.as_ref().is_some_and(|said| Reason::parse(&said.reason) == Some(Reason::RequestIdReused)) {
        form.request_id = Uuid::new_v4().to_string();
    }
    let kind = executor.kind();
    let release = v1::GetReleaseRequest { name: format!("releases/{}-{}", show::kind(kind), form.to) };
    let code = refused.as_ref().map_or(StatusCode::OK, |said| said.code);
    let page = UpgradePage {
        frame: frame(by, &name),
        // Neither is needed to ask: what is not in the catalog is refused, and says so.
        release: by.api.releases().get_release(release).await.ok().map(tonic::Response::into_inner),
        comparison: Comparison::read(by, kind, &executor.version, &form.to).await.ok(),
        name,
        executor,
        form,
        refused,
        warnings,
        ttl,
        pending,
    };
    Ok((code, html(&page)).into_response())
}

/// What a request for it would be answered; whom it would be refused for want of a role has no page.
async fn judge(
    by: &SignedIn,
    name: &ExecutorName,
    to: &str,
    replace: bool,
) -> Result<Result<v1::Attempt, Status>, PageError> {
    let request = v1::RequestUpgradeRequest {
        name: name.to_string(),
        target_version: to.to_owned(),
        replace,
        validate_only: true,
        ..v1::RequestUpgradeRequest::default()
    };
    match by.api.upgrades().request_upgrade(request).await {
        Ok(attempt) => Ok(Ok(attempt.into_inner())),
        Err(status) if matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated) => Err(status.into()),
        Err(status) => Ok(Err(status)),
    }
}

fn target(pending: &v1::PendingUpgrade) -> String {
    use v1::pending_upgrade::Spec;
    match &pending.spec {
        Some(Spec::Agent(spec)) => spec.target_version.clone(),
        Some(Spec::Operator(spec)) => spec.target_version.clone(),
        None => String::new(),
    }
}

/// How long the server would let it be picked up.
fn ttl(attempt: &v1::Attempt) -> u64 {
    match (attempt.request_time, attempt.expire_time) {
        (Some(from), Some(until)) => u64::try_from(until.seconds.saturating_sub(from.seconds)).unwrap_or(DEFAULT_TTL),
        _ => DEFAULT_TTL,
    }
}

// === impl Ask ===

impl Ask {
    fn request(&self, name: &ExecutorName) -> Result<v1::RequestUpgradeRequest, PageError> {
        let seconds = match self.ttl.as_str() {
            "" => None,
            text => Some(text.parse::<i64>().map_err(|_| {
                PageError::said(StatusCode::BAD_REQUEST, "the time to be picked up is a whole number of seconds")
            })?),
        };
        Ok(v1::RequestUpgradeRequest {
            name: name.to_string(),
            target_version: self.to.clone(),
            expected_version: self.expected_version.clone(),
            ttl: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
            replace: self.replace.is_some(),
            request_id: self.request_id.clone(),
            validate_only: false,
        })
    }
}

// === impl UpgradePage ===

impl UpgradePage {
    /// `Upgrade`, `Downgrade`.
    fn word(&self) -> &'static str {
        word(&self.executor.version, &self.form.to)
    }

    fn story(&self) -> Move<'_> {
        let agents = self.release.iter().flat_map(|release| &release.artifacts).filter_map(|artifact| match &artifact
            .artifact
        {
            Some(v1::artifact::Artifact::Agent(agent)) => Some(agent),
            _ => None,
        });
        let size = agents.filter(|agent| agent.platform == self.executor.platform).map(|agent| agent.size_bytes).next();
        Move {
            kind: self.executor.kind(),
            from: &self.executor.version,
            to: &self.form.to,
            size,
            floor: self.release.as_ref().map_or("", |release| release.floor.as_str()),
        }
    }

    /// Whether the form is worth showing.
    fn may_ask(&self) -> bool {
        self.refused.as_ref().is_none_or(|said| may_ask(&said.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_says_what_is_asked_and_nothing_else() {
        let name: ExecutorName = "organizations/acme/executors/web-1".parse().expect("a name");
        let ask = Ask {
            to: "1.1.0".to_owned(),
            expected_version: "1.0.0".to_owned(),
            ttl: "3600".to_owned(),
            replace: Some("on".to_owned()),
            request_id: "r".to_owned(),
        };
        let request = ask.request(&name).expect("a request");
        assert_eq!((request.expected_version.as_str(), request.request_id.as_str()), ("1.0.0", "r"));
        assert_eq!(request.ttl.map(|ttl| ttl.seconds), Some(3_600));
        assert!(request.replace && !request.validate_only);
        let plain = Ask { ttl: String::new(), replace: None, ..ask.clone() };
        assert!(plain.request(&name).is_ok_and(|request| request.ttl.is_none() && !request.replace));
        assert!(Ask { ttl: "soon".to_owned(), ..ask }.request(&name).is_err());
    }
}
