//! `/organizations/{organization}/joinTokens`: making a join token, with lines to install with; revoking one.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::{get, post};
use domain::OrganizationId;
use domain::role::Demand;
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::{PageError, Said};
use crate::web::page::access::{lines, made_before, request_id};
use crate::web::page::form::{demanded, life, mistyped, organization, refused};
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::{Posted, SignedIn};
use crate::web::show;

/// Releases that are looked through for the operator's image.
const RELEASES: i32 = 100;

/// The form.
#[derive(Template)]
#[template(path = "access/new_join_token.html")]
struct NewJoinTokenPage {
    frame: Frame,
    organization: OrganizationId,
    refused: Option<Said>,
    form: NewJoinToken,
}

/// The secret, once.
#[derive(Template)]
#[template(path = "access/join_token_made.html")]
struct MadePage {
    frame: Frame,
    organization: OrganizationId,
    token: v1::JoinToken,
    secret: String,
    agent: String,
    helm: String,
    image: lines::Image,
}

/// The decision.
#[derive(Template)]
#[template(path = "access/revoke_join_token.html")]
struct RevokePage {
    frame: Frame,
    organization: OrganizationId,
    id: String,
}

/// A join token as the form has it.
#[derive(Clone, Debug, Default, Deserialize)]
struct NewJoinToken {
    #[serde(default)]
    executor: String,
    #[serde(default)]
    replace: Option<String>,
    #[serde(default)]
    max_uses: String,
    #[serde(default)]
    ttl: String,
    #[serde(default)]
    request_id: String,
}

#[derive(Deserialize)]
struct Revoke {}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/organizations/{organization}/joinTokens", post(create))
        .route("/organizations/{organization}/joinTokens/new", get(begin))
        .route("/organizations/{organization}/joinTokens/{id}/revoke", get(confirm).post(revoke))
}

async fn begin(State(web): State<Web>, signed_in: SignedIn, Path(id): Path<String>) -> Page {
    let organization = organization(&id)?;
    demanded(&signed_in.reader, Demand::Own, Some(&organization))?;
    let (max_uses, ttl, request_id) = ("1".to_owned(), "3600".to_owned(), request_id(&web).await?);
    let form = NewJoinToken { max_uses, ttl, request_id, ..NewJoinToken::default() };
    let frame = Frame::new(&signed_in.reader, Some(organization.clone()), Place::Access);
    Ok(html(&NewJoinTokenPage { frame, organization, refused: None, form }))
}

async fn create(Path(id): Path<String>, Posted { by, form }: Posted<NewJoinToken>) -> Page {
    let organization = organization(&id)?;
    let frame = Frame::new(&by.reader, Some(organization.clone()), Place::Access);
    // Before the token is made: what fails after that takes the secret with it.
    let image = image(&by.api).await?;
    let made = match request(&organization, &form) {
        Ok(request) => {
            let made = by.api.organizations().create_join_token(request).await;
            let place = format!("/organizations/{organization}/");
            let twice = |status| made_before(status, &frame, ("Join token", &place, "joinTokens"));
            if let Some(page) = made.as_ref().err().and_then(twice) {
                return Ok(page);
            }
            made.map_err(refused)
        }
        Err(said) => Err(Ok(said)),
    };
    match made {
        Ok(made) => {
            let v1::CreateJoinTokenResponse { join_token, secret } = made.into_inner();
            let token = join_token.ok_or_else(PageError::inside)?;
            let (agent, helm) = (lines::agent(&secret), lines::helm(&secret, &image));
            Ok(html(&MadePage { frame, organization, token, secret, agent, helm, image }))
        }
        Err(said) => {
            let said = said?;
            let page = NewJoinTokenPage { frame, organization, form, refused: Some(said) };
            let code = page.refused.as_ref().map_or(http::StatusCode::BAD_REQUEST, |said| said.code);
            Ok((code, html(&page)).into_response())
        }
    }
}

fn request(organization: &OrganizationId, form: &NewJoinToken) -> Result<v1::CreateJoinTokenRequest, Said> {
    let uses = form.max_uses.trim();
    let max_uses = if uses.is_empty() { Ok(0) } else { uses.parse() };
    Ok(v1::CreateJoinTokenRequest {
        parent: format!("organizations/{organization}"),
        executor_id: form.executor.trim().to_owned(),
        replace: form.replace.is_some(),
        ttl: life(&form.ttl)?,
        max_uses: max_uses.map_err(|_| mistyped("uses: is not a whole number"))?,
        request_id: form.request_id.clone(),
    })
}

async fn image(api: &Api) -> Result<lines::Image, PageError> {
    let request = v1::ListReleasesRequest {
        kind: v1::Kind::Operator.into(),
        page_size: RELEASES,
        ..v1::ListReleasesRequest::default()
    };
    Ok(lines::image(&api.releases().list_releases(request).await?.into_inner().releases))
}

async fn confirm(signed_in: SignedIn, Path((id, token)): Path<(String, String)>) -> Page {
    let organization = organization(&id)?;
    demanded(&signed_in.reader, Demand::Own, Some(&organization))?;
    let frame = Frame::new(&signed_in.reader, Some(organization.clone()), Place::Access);
    Ok(html(&RevokePage { frame, organization, id: token }))
}

async fn revoke(Path((id, token)): Path<(String, String)>, Posted { by, .. }: Posted<Revoke>) -> Page {
    let organization = organization(&id)?;
    let name = format!("organizations/{organization}/joinTokens/{token}");
    by.api.organizations().revoke_join_token(v1::RevokeJoinTokenRequest { name }).await?;
    Ok(Redirect::to(&format!("/organizations/{organization}/access")).into_response())
}
