//! `/organizations/{organization}/tokens` and `/tokens`: making a bearer token, and revoking one.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::{get, post};
use domain::OrganizationId;
use domain::role::Demand;
use http::header::HOST;
use http::{HeaderMap, Uri};
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::error::{PageError, Said};
use crate::web::page::access::{lines, made_before, request_id, view};
use crate::web::page::form::{demanded, life, organization, refused};
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::{Posted, Reader, SignedIn};
use crate::web::show;

/// The form.
#[derive(Template)]
#[template(path = "access/new_token.html")]
struct NewTokenPage {
    frame: Frame,
    scope: Scope,
    refused: Option<Said>,
    form: NewToken,
}

/// The secret, once.
#[derive(Template)]
#[template(path = "access/token_made.html")]
struct MadePage {
    frame: Frame,
    scope: Scope,
    token: v1::Token,
    secret: String,
    login: String,
}

/// The decision.
#[derive(Template)]
#[template(path = "access/revoke_token.html")]
struct RevokePage {
    frame: Frame,
    scope: Scope,
    id: String,
    is_own: bool,
}

/// Whose tokens: an organization's, or the installation's.
#[derive(Clone, Debug)]
struct Scope(Option<OrganizationId>);

/// A token as the form has it.
#[derive(Clone, Debug, Default, Deserialize)]
struct NewToken {
    #[serde(default)]
    role: String,
    #[serde(default)]
    display_name: String,
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
        .route("/tokens", post(create_of_installation))
        .route("/tokens/new", get(begin_of_installation))
        .route("/tokens/{id}/revoke", get(confirm_of_installation).post(revoke_of_installation))
        .route("/organizations/{organization}/tokens", post(create_of_organization))
        .route("/organizations/{organization}/tokens/new", get(begin_of_organization))
        .route(
            "/organizations/{organization}/tokens/{id}/revoke",
            get(confirm_of_organization).post(revoke_of_organization),
        )
}

// === impl Scope ===

impl Scope {
    fn of(organization_id: &str) -> Result<Self, PageError> {
        Ok(Self(Some(organization(organization_id)?)))
    }

    /// For the API.
    fn parent(&self) -> String {
        self.0.as_ref().map(|id| format!("organizations/{id}")).unwrap_or_default()
    }

    /// `/organizations/acme/`, `/`.
    fn prefix(&self) -> String {
        self.0.as_ref().map_or_else(|| "/".to_owned(), |id| format!("/organizations/{id}/"))
    }

    /// Roles that there are in it, the weakest first.
    fn roles(&self) -> &'static [&'static str] {
        if self.0.is_some() { &["member", "admin", "owner"] } else { &["publisher", "installation admin"] }
    }

    /// For people.
    fn title(&self) -> String {
        self.0.as_ref().map_or_else(|| "the installation".to_owned(), ToString::to_string)
    }

    fn demanded(&self, reader: &Reader) -> Result<(), PageError> {
        let demand = if self.0.is_some() { Demand::Own } else { Demand::Install };
        demanded(reader, demand, self.0.as_ref())
    }

    fn frame(&self, reader: &Reader) -> Frame {
        Frame::new(reader, self.0.clone(), Place::Access)
    }
}

async fn begin_of_organization(State(web): State<Web>, signed_in: SignedIn, Path(id): Path<String>) -> Page {
    begin(&web, &signed_in, Scope::of(&id)?).await
}

async fn begin_of_installation(State(web): State<Web>, signed_in: SignedIn) -> Page {
    begin(&web, &signed_in, Scope(None)).await
}

async fn begin(web: &Web, signed_in: &SignedIn, scope: Scope) -> Page {
    scope.demanded(&signed_in.reader)?;
    let frame = scope.frame(&signed_in.reader);
    let form = NewToken { ttl: "7776000".to_owned(), request_id: request_id(web).await?, ..NewToken::default() };
    Ok(html(&NewTokenPage { frame, scope, refused: None, form }))
}

async fn create_of_organization(
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    posted: Posted<NewToken>,
) -> Page {
    create(posted, &host(&uri, &headers), Scope::of(&id)?).await
}

async fn create_of_installation(uri: Uri, headers: HeaderMap, posted: Posted<NewToken>) -> Page {
    create(posted, &host(&uri, &headers), Scope(None)).await
}

/// How the browser calls this server: in the request's target over HTTP/2, in a header over HTTP/1.1.
fn host(uri: &Uri, headers: &HeaderMap) -> String {
    let header = || headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    uri.authority().map(ToString::to_string).or_else(header).unwrap_or_default()
}

async fn create(Posted { by, form }: Posted<NewToken>, host: &str, scope: Scope) -> Page {
    let frame = scope.frame(&by.reader);
    let made = match life(&form.ttl) {
        Ok(ttl) => {
            let request = v1::CreateTokenRequest {
                parent: scope.parent(),
                role: view::role(&form.role).into(),
                display_name: form.display_name.trim().to_owned(),
                ttl,
                request_id: form.request_id.clone(),
            };
            let made = by.api.organizations().create_token(request).await;
            let twice = |status| made_before(status, &frame, ("Token", &scope.prefix(), "tokens"));
            if let Some(page) = made.as_ref().err().and_then(twice) {
                return Ok(page);
            }
            made.map_err(refused)
        }
        Err(said) => Err(Ok(said)),
    };
    match made {
        Ok(made) => {
            let v1::CreateTokenResponse { token, secret } = made.into_inner();
            let token = token.ok_or_else(PageError::inside)?;
            let login = lines::login(&secret, host);
            Ok(html(&MadePage { frame, scope, token, secret, login }))
        }
        Err(said) => {
            let said = said?;
            let code = said.code;
            Ok((code, html(&NewTokenPage { frame, scope, refused: Some(said), form })).into_response())
        }
    }
}

async fn confirm_of_organization(signed_in: SignedIn, Path((id, token)): Path<(String, String)>) -> Page {
    confirm(&signed_in, Scope::of(&id)?, token)
}

async fn confirm_of_installation(signed_in: SignedIn, Path(token): Path<String>) -> Page {
    confirm(&signed_in, Scope(None), token)
}

fn confirm(signed_in: &SignedIn, scope: Scope, id: String) -> Page {
    scope.demanded(&signed_in.reader)?;
    let frame = scope.frame(&signed_in.reader);
    let is_own = signed_in.reader.session.as_str() == id;
    Ok(html(&RevokePage { frame, scope, id, is_own }))
}

async fn revoke_of_organization(Path((id, token)): Path<(String, String)>, posted: Posted<Revoke>) -> Page {
    revoke(posted, Scope::of(&id)?, &token).await
}

async fn revoke_of_installation(Path(token): Path<String>, posted: Posted<Revoke>) -> Page {
    revoke(posted, Scope(None), &token).await
}

async fn revoke(Posted { by, .. }: Posted<Revoke>, scope: Scope, id: &str) -> Page {
    let request = v1::RevokeTokenRequest { name: name(&scope, id) };
    by.api.organizations().revoke_token(request).await?;
    Ok(Redirect::to(&format!("{}access", scope.prefix())).into_response())
}

fn name(scope: &Scope, id: &str) -> String {
    format!("{}tokens/{id}", scope.prefix().trim_start_matches('/'))
}
