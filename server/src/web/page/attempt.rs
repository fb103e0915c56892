//! `/organizations/{organization}/executors/{executor}/attempts/{attempt}`: one attempt, live from its request to its outcome.

pub mod diagnosis;

pub mod timeline;

pub mod advice;

use std::collections::BTreeMap;
use std::time::SystemTime;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::{get, post};
use domain::ExecutorName;
use futures_util::StreamExt as _;
use prost_types::Timestamp;
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::{PageError, Said};
use crate::web::live::{self, Pace, Part};
use crate::web::markdown;
use crate::web::page::executor::{frame, named};
use crate::web::page::{Frame, Page, html, rendered};
use crate::web::session::{Posted, SignedIn};
use crate::web::show::{self, Safe};

use diagnosis::Diagnosis;
use timeline::{Step, timeline};

/// Rows of the feed about one attempt: more than it has phases.
const STEPS: i32 = 100;

/// The page.
#[derive(Template)]
#[template(path = "attempt.html")]
struct AttemptPage {
    frame: Frame,
    now: Now,
    refused: Option<Said>,
}

/// What is live of it.
#[derive(Template)]
#[template(path = "part/attempt.html")]
struct AttemptPart {
    frame: Frame,
    now: Now,
}

/// The attempt at one moment.
#[derive(Debug)]
struct Now {
    name: ExecutorName,
    attempt: v1::Attempt,
    steps: Vec<Step>,
    diagnosis: Option<Diagnosis>,
    /// What the diagnosis says of its end; only of the newest attempt.
    remedy: Option<Safe>,
}

#[derive(Deserialize)]
struct Cancel {}

/// The routes.
pub fn routes() -> Router<Web> {
    const PATH: &str = "/organizations/{organization}/executors/{executor}/attempts/{attempt}";
    Router::new()
        .route(PATH, get(show))
        .route(&format!("{PATH}/live"), get(follow))
        .route(&format!("{PATH}/cancel"), post(cancel))
}

async fn show(
    State(web): State<Web>,
    signed_in: SignedIn,
    Path((organization, executor, attempt)): Path<(String, String, String)>,
) -> Page {
    let name = named(&organization, &executor)?;
    let now = Now::read(&signed_in.api, &name, &attempt, web.now().await?).await?;
    Ok(html(&AttemptPage { frame: frame(&signed_in, &name), now, refused: None }))
}

async fn follow(
    State(web): State<Web>,
    signed_in: SignedIn,
    Path((organization, executor, attempt)): Path<(String, String, String)>,
) -> Page {
    let name = named(&organization, &executor)?;
    let watch = v1::WatchAttemptRequest { name: format!("{name}/attempts/{attempt}") };
    let changes = signed_in.api.upgrades().watch_attempt(watch).await?.into_inner();
    let changes = changes.take_while(|change| std::future::ready(change.is_ok())).map(|_| ()).boxed();
    let live = web.clone();
    let render = move || {
        let (web, signed_in) = (web.clone(), signed_in.clone());
        let (name, attempt) = (name.clone(), attempt.clone());
        async move {
            let now = Now::read(&signed_in.api, &name, &attempt, web.now().await?).await?;
            let is_over = now.attempt.end_time.is_some();
            let text = rendered(&AttemptPart { frame: frame(&signed_in, &name), now })?;
            Ok(if is_over { Part::Last(text) } else { Part::Now(text) })
        }
    };
    Ok(live::part(&live, Pace::Prompt, changes, render))
}

async fn cancel(
    State(web): State<Web>,
    Path((organization, executor, attempt)): Path<(String, String, String)>,
    posted: Posted<Cancel>,
) -> Page {
    let name = named(&organization, &executor)?;
    let path = format!("{name}/attempts/{attempt}");
    let Posted { by, form: Cancel {} } = posted;
    let request = v1::CancelUpgradeRequest { name: path.clone(), request_id: String::new() };
    match by.api.upgrades().cancel_upgrade(request).await {
        Ok(_) => Ok(Redirect::to(&format!("/{path}")).into_response()),
        // Leave came first, or it ended: what is true now is on the page, with why.
        Err(status) if status.code() == tonic::Code::FailedPrecondition => {
            let now = Now::read(&by.api, &name, &attempt, web.now().await?).await?;
            let said = Said::from(status);
            let code = said.code;
            let page = AttemptPage { frame: frame(&by, &name), now, refused: Some(said) };
            Ok((code, html(&page)).into_response())
        }
        Err(status) => Err(status.into()),
    }
}

// === impl Now ===

impl Now {
    async fn read(api: &Api, name: &ExecutorName, attempt: &str, now: SystemTime) -> Result<Self, PageError> {
        let path = format!("{name}/attempts/{attempt}");
        let attempt = api.upgrades().get_attempt(v1::GetAttemptRequest { name: path.clone() }).await?.into_inner();
        let began = began(api, name, path).await?;
        let explain = v1::ExplainUpgradeRequest { name: name.to_string() };
        let explained = match api.upgrades().explain_upgrade(explain).await {
            Ok(explained) => explained.into_inner(),
            // Attempts outlive their executor.
            Err(status) if status.code() == tonic::Code::NotFound => v1::ExplainUpgradeResponse::default(),
            Err(status) => return Err(status.into()),
        };
        let is_newest = explained.attempt.as_ref().is_some_and(|newest| newest.name == attempt.name);
        let remedy = (is_newest && attempt.end_time.is_some()).then(|| remedy(&explained, &attempt)).flatten();
        let diagnosis = if is_newest { Diagnosis::of(&attempt, explained, now) } else { None };
        Ok(Self { name: name.clone(), steps: timeline(&attempt, &began), diagnosis, remedy, attempt })
    }

    /// Where its executor is.
    fn executor(&self) -> &str {
        self.name.executor.as_str()
    }

    /// `Upgrade`, `Downgrade`.
    fn word(&self) -> &'static str {
        word(&self.attempt.from_version, &self.attempt.target_version)
    }

    fn log_tail(&self) -> String {
        self.attempt.log_tail.join("\n")
    }
}

/// `Upgrade`, or `Downgrade` when the target is older.
#[must_use]
pub fn word(from: &str, target: &str) -> &'static str {
    match (from.parse::<domain::Version>(), target.parse::<domain::Version>()) {
        (Ok(from), Ok(target)) if target < from => "Downgrade",
        _ => "Upgrade",
    }
}

/// When each phase began, as the feed has it.
async fn began(api: &Api, name: &ExecutorName, attempt: String) -> Result<BTreeMap<String, Timestamp>, PageError> {
    let request = v1::ListEventsRequest {
        parent: format!("organizations/{}", name.organization),
        page_size: STEPS,
        types: vec!["attempt.phase_changed".to_owned()],
        target: attempt,
        ..v1::ListEventsRequest::default()
    };
    let listed = api.events().list_events(request).await?.into_inner();
    let step = |mut event: v1::Event| Some((event.details.remove("phase")?, event.time?));
    Ok(listed.events.into_iter().filter_map(step).collect())
}

/// What the diagnosis says of an end: its finding is since then.
fn remedy(explained: &v1::ExplainUpgradeResponse, attempt: &v1::Attempt) -> Option<Safe> {
    let of_end = |finding: &&v1::explain_upgrade_response::Finding| finding.since == attempt.end_time;
    let finding = explained.findings.iter().find(of_end).filter(|finding| !finding.remedy.is_empty())?;
    // With a log tail it only says where that is, and that is here.
    attempt.log_tail.is_empty().then(|| markdown::render(&finding.remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_is_a_downgrade() {
        assert_eq!(
            (word("1.0.0", "1.1.0"), word("1.10.0", "1.9.0"), word("", "1.0.0")),
            ("Upgrade", "Downgrade", "Upgrade")
        );
    }
}
