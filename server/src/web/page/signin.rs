//! `/signin`: a bearer token becomes a session; `/signout` ends it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use domain::BearerToken;
use domain::role::Demand;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::grpc::limits::{Class, Who};
use crate::tls::connection::Peer;
use crate::web::Web;
use crate::web::error::PageError;
use crate::web::guard;
use crate::web::page::{Frame, Page, Place, html, oidc};
use crate::web::session::{self, Posted, SignedIn};
use crate::web::show;

/// The page.
#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage<'a> {
    next: &'a str,
    refused: &'a str,
    /// The identity provider's name.
    provider: Option<&'a str>,
}

/// Who is signed in here, and the ways to end that.
#[derive(Template)]
#[template(path = "session.html")]
struct SessionPage {
    frame: Frame,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct SignOut {
    everywhere: Option<String>,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/signin", get(show).post(sign_in))
        .route("/signout", post(sign_out))
        .route("/session", get(session))
}

async fn show(State(web): State<Web>, Query(asked): Query<Asked>) -> Response {
    html(&SignInPage { next: guard::local_path(&asked.next), refused: "", provider: oidc::button(&web) })
}

/// Slows a guesser down, right or wrong, before anything is looked up.
///
/// # Errors
/// How long to wait, in a sentence.
pub fn slowed_down(web: &Web, peer: &Peer) -> Result<(), String> {
    let taken = web.limits.take_class(Who::Address(peer.address.ip()), Class::SignIn);
    taken.map_err(|after| format!("Too many sign-ins from this address; try again in {} s.", after.as_secs() + 1))
}

async fn sign_in(
    State(web): State<Web>,
    Extension(peer): Extension<Arc<Peer>>,
    headers: HeaderMap,
    Form(given): Form<Credentials>,
) -> Page {
    if !guard::is_from_us(&headers) {
        return Err(PageError::forged());
    }
    let next = guard::local_path(&given.next);
    let refuse = |code: StatusCode, refused: &str| {
        (code, html(&SignInPage { next, refused, provider: oidc::button(&web) })).into_response()
    };
    if let Err(refused) = slowed_down(&web, &peer) {
        return Ok(refuse(StatusCode::TOO_MANY_REQUESTS, &refused));
    }
    let refused = || refuse(StatusCode::UNAUTHORIZED, "This token is unknown, expired or revoked.");
    let Ok(token) = given.token.trim().parse::<BearerToken>() else {
        return Ok(refused());
    };
    let Some(caller) = web.app.bearer(&token, Demand::AnyToken).await? else {
        return Ok(refused());
    };
    let Some(session) = web.app.sign_in_by_token(&caller).await? else {
        return Ok(refused());
    };
    let cookie = session::keep(&session).ok_or_else(PageError::inside)?;
    Ok(([(SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

async fn session(signed_in: SignedIn) -> Response {
    html(&SessionPage { frame: Frame::new(&signed_in.reader, None, Place::Access) })
}

async fn sign_out(State(web): State<Web>, posted: Posted<SignOut>) -> Page {
    let session = &posted.by.reader.session;
    match posted.form.everywhere {
        Some(_) => web.app.sign_out_everywhere(session).await?,
        None => web.app.sign_out(session).await?,
    }
    Ok(([(SET_COOKIE, session::forget())], Redirect::to("/signin")).into_response())
}
