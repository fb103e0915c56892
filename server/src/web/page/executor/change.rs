//! What a person changes of an executor: channel and labels, its state, its holds. What ends something asks first, on a page of its
//! own.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use domain::ExecutorName;
use http::StatusCode;
use prost_types::FieldMask;
use proto::v1;
use serde::Deserialize;
use tonic::Status;

use crate::web::Web;
use crate::web::error::{PageError, Said};
use crate::web::page::{Frame, Page, html};
use crate::web::session::{Posted, SignedIn};
use crate::web::show;

use super::{frame, named};

/// Channel and labels.
#[derive(Template)]
#[template(path = "executor/settings.html")]
struct SettingsPage {
    frame: Frame,
    name: ExecutorName,
    form: Settings,
    refused: Option<Said>,
}

/// A decision.
#[derive(Template)]
#[template(path = "executor/decide.html")]
struct DecidePage {
    frame: Frame,
    name: ExecutorName,
    decision: Decision,
    refused: Option<Said>,
}

/// What is decided about an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Deactivate,
    Activate,
    Delete,
}

/// What was there when the form was made goes along: what nobody changed is not written.
#[derive(Clone, Debug, Default, Deserialize)]
struct Settings {
    #[serde(default)]
    channel: String,
    #[serde(default)]
    labels: String,
    #[serde(default)]
    channel_before: String,
    #[serde(default)]
    labels_before: String,
}

#[derive(Deserialize)]
struct Decided {
    #[serde(default)]
    typed: String,
}

#[derive(Deserialize)]
struct Hold {
    #[serde(default)]
    version: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    const PATH: &str = "/organizations/{organization}/executors/{executor}";
    Router::new()
        .route(&format!("{PATH}/settings"), get(settings).post(update))
        .route(&format!("{PATH}/holds/clear"), post(clear_hold))
        .route(&format!("{PATH}/decide/{{decision}}"), get(ask).post(decide))
}

async fn settings(signed_in: SignedIn, Path((organization, executor)): Path<(String, String)>) -> Page {
    let name = offered(&signed_in, &organization, &executor)?;
    let read = v1::GetExecutorRequest { name: name.to_string() };
    let executor = signed_in.api.executors().get_executor(read).await?.into_inner();
    let mut lines: Vec<String> = executor.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    lines.sort();
    let (channel, labels) = (show::channel(executor.channel()), lines.join("\n"));
    let form = Settings { channel_before: channel.clone(), labels_before: labels.clone(), channel, labels };
    Ok(html(&SettingsPage { frame: frame(&signed_in, &name), name, form, refused: None }))
}

async fn update(Path((organization, executor)): Path<(String, String)>, posted: Posted<Settings>) -> Page {
    let name = named(&organization, &executor)?;
    let Posted { by, form } = posted;
    let refused = match form.request(&name) {
        Ok(None) => return Ok(Redirect::to(&format!("/{name}")).into_response()),
        Ok(Some(request)) => match by.api.executors().update_executor(request).await {
            Ok(_) => return Ok(Redirect::to(&format!("/{name}")).into_response()),
            Err(status) => refusal(status)?,
        },
        Err(message) => Said { code: StatusCode::BAD_REQUEST, reason: String::new(), message },
    };
    let code = refused.code;
    let page = SettingsPage { frame: frame(&by, &name), name, form, refused: Some(refused) };
    Ok((code, html(&page)).into_response())
}

async fn clear_hold(Path((organization, executor)): Path<(String, String)>, posted: Posted<Hold>) -> Page {
    let name = named(&organization, &executor)?;
    let Posted { by, form } = posted;
    let request = v1::ClearHoldRequest { name: name.to_string(), version: form.version };
    by.api.executors().clear_hold(request).await?;
    Ok(Redirect::to(&format!("/{name}")).into_response())
}

async fn ask(signed_in: SignedIn, Path((organization, executor, decision)): Path<(String, String, String)>) -> Page {
    let name = offered(&signed_in, &organization, &executor)?;
    let decision = Decision::parse(&decision)?;
    let read = v1::GetExecutorRequest { name: name.to_string() };
    signed_in.api.executors().get_executor(read).await?;
    Ok(html(&DecidePage { frame: frame(&signed_in, &name), name, decision, refused: None }))
}

async fn decide(
    Path((organization, executor, decision)): Path<(String, String, String)>,
    posted: Posted<Decided>,
) -> Page {
    let name = named(&organization, &executor)?;
    let decision = Decision::parse(&decision)?;
    let Posted { by, form } = posted;
    let refused = if decision == Decision::Delete && form.typed.trim() != name.executor.as_str() {
        let message = format!("Type {} to delete it; nothing was deleted.", name.executor);
        Said { code: StatusCode::BAD_REQUEST, reason: String::new(), message }
    } else {
        match carry_out(&by, &name, decision).await {
            Ok(next) => return Ok(next),
            Err(status) => refusal(status)?,
        }
    };
    let code = refused.code;
    Ok((code, html(&DecidePage { frame: frame(&by, &name), name, decision, refused: Some(refused) })).into_response())
}

async fn carry_out(by: &SignedIn, name: &ExecutorName, decision: Decision) -> Result<Response, Status> {
    let (mut executors, text) = (by.api.executors(), name.to_string());
    match decision {
        Decision::Deactivate => {
            executors.deactivate_executor(v1::DeactivateExecutorRequest { name: text }).await?;
        }
        Decision::Activate => {
            executors.activate_executor(v1::ActivateExecutorRequest { name: text }).await?;
        }
        Decision::Delete => {
            executors.delete_executor(v1::DeleteExecutorRequest { name: text }).await?;
            let list = format!("/organizations/{}/executors", name.organization);
            return Ok(Redirect::to(&list).into_response());
        }
    }
    Ok(Redirect::to(&format!("/{name}")).into_response())
}

/// A form that a role may not send is not shown either.
fn offered(signed_in: &SignedIn, organization: &str, executor: &str) -> Result<ExecutorName, PageError> {
    let name = named(organization, executor)?;
    if frame(signed_in, &name).may_deploy() {
        return Ok(name);
    }
    Err(PageError::said(StatusCode::FORBIDDEN, "your role may look at this executor and not change it"))
}

/// What is said in the form; who may not ask at all has an error page.
fn refusal(status: Status) -> Result<Said, PageError> {
    match status.code() {
        tonic::Code::InvalidArgument | tonic::Code::FailedPrecondition | tonic::Code::Aborted => Ok(status.into()),
        _ => Err(status.into()),
    }
}

// === impl Settings ===

impl Settings {
    /// The request for what differs; none when nothing does.
    fn request(&self, name: &ExecutorName) -> Result<Option<v1::UpdateExecutorRequest>, String> {
        let mut executor = v1::Executor { name: name.to_string(), ..v1::Executor::default() };
        let mut paths = Vec::new();
        if self.channel != self.channel_before {
            let channel = v1::Channel::from_str_name(&format!("CHANNEL_{}", self.channel.to_uppercase()));
            executor.set_channel(channel.unwrap_or_default());
            paths.push("channel".to_owned());
        }
        let (labels, before) = (parse(&self.labels)?, parse(&self.labels_before)?);
        if labels != before {
            executor.labels = labels.into_iter().collect();
            paths.push("labels".to_owned());
        }
        let update_mask = Some(FieldMask { paths });
        let is_any = update_mask.as_ref().is_some_and(|mask| !mask.paths.is_empty());
        Ok(is_any.then_some(v1::UpdateExecutorRequest { executor: Some(executor), update_mask }))
    }
}

/// `key=value`, one a line, in any order.
fn parse(lines: &str) -> Result<std::collections::BTreeMap<String, String>, String> {
    let mut labels = std::collections::BTreeMap::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once('=').ok_or_else(|| format!("“{line}” is no label: write key=value"))?;
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        if labels.insert(key.clone(), value).is_some() {
            return Err(format!("the label “{key}” is there twice"));
        }
    }
    Ok(labels)
}

// === impl Decision ===

impl Decision {
    fn parse(word: &str) -> Result<Self, PageError> {
        match word {
            "deactivate" => Ok(Self::Deactivate),
            "activate" => Ok(Self::Activate),
            "delete" => Ok(Self::Delete),
            _ => Err(PageError::not_found()),
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Deactivate => "Deactivate",
            Self::Activate => "Activate",
            Self::Delete => "Delete",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Deactivate => "deactivate",
            Self::Activate => "activate",
            Self::Delete => "delete",
        }
    }

    /// What will happen.
    const fn consequences(self) -> &'static [&'static str] {
        match self {
            Self::Deactivate => &[
                "Its stream is ended at once, and its certificate is refused until it is activated again.",
                "An attempt that has no leave yet is cancelled; one that has goes on on its host.",
                "What it runs goes on running.",
            ],
            Self::Activate => &[
                "Its certificate is accepted again, and it syncs as soon as it dials.",
                "If two instances displaced each other under its name, this is your decision that it is one again: make sure that the other is gone.",
            ],
            Self::Delete => &[
                "Its certificates are refused for ever; the name is free for another enrolment.",
                "What it runs goes on running on its host, without the control plane.",
                "Its attempts and events stay.",
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(channel: &str, labels: &str) -> Settings {
        Settings {
            channel: channel.to_owned(),
            labels: labels.to_owned(),
            channel_before: "stable".to_owned(),
            labels_before: "rack=a7\nzone=x".to_owned(),
        }
    }

    fn paths(form: &Settings) -> Result<Vec<String>, String> {
        let name = "organizations/acme/executors/web-1".parse().expect("a name");
        Ok(form.request(&name)?.and_then(|request| request.update_mask).unwrap_or_default().paths)
    }

    #[test]
    fn what_nobody_changed_is_not_written() {
        assert_eq!(paths(&form("stable", "zone=x\r\n\r\n rack = a7 ")), Ok(Vec::new()));
        assert_eq!(paths(&form("beta", "rack=a7\nzone=x")), Ok(vec!["channel".to_owned()]));
        assert_eq!(paths(&form("stable", "")), Ok(vec!["labels".to_owned()]));
    }

    #[test]
    fn a_line_that_is_no_label_is_said_and_not_dropped() {
        assert!(paths(&form("stable", "rack")).is_err_and(|why| why.contains("rack")));
        assert!(paths(&form("stable", "rack=a\nrack=b")).is_err_and(|why| why.contains("twice")));
    }
}
