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
use crate::web::page::{Page, html};
use crate::web::session::{self, Posted};

/// The page.
#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage<'a> {
    next: &'a str,
    refused: &'a str,
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
struct SignOut {}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/signin", get(show).post(sign_in)).route("/signout", post(sign_out))
}

async fn show(Query(asked): Query<Asked>) -> Response {
    html(&SignInPage { next: guard::local_path(&asked.next), refused: "" })
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
    // Before anything is looked up: a guesser is slowed down, right or wrong.
    if let Err(after) = web.limits.take_class(Who::Address(peer.address.ip()), Class::SignIn) {
        let seconds = after.as_secs() + 1;
        let refused = format!("Too many sign-ins from this address; try again in {seconds} s.");
        return Ok((StatusCode::TOO_MANY_REQUESTS, html(&SignInPage { next, refused: &refused })).into_response());
    }
    let refused = || {
        let refused = "This token is unknown, expired or revoked.";
        (StatusCode::UNAUTHORIZED, html(&SignInPage { next, refused })).into_response()
    };
    let Ok(token) = given.token.trim().parse::<BearerToken>() else {
        return Ok(refused());
    };
    let said = |error| PageError::from(crate::grpc::error::status(&error));
    let Some(caller) = web.app.bearer(&token, Demand::AnyToken).await.map_err(said)? else {
        return Ok(refused());
    };
    let session = web.app.sign_in(&caller).await.map_err(said)?;
    let cookie = session::keep(&session).ok_or_else(PageError::inside)?;
    Ok(([(SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

async fn sign_out(State(web): State<Web>, headers: HeaderMap, _: Posted<SignOut>) -> Page {
    if let Some(token) = session::cookie(&headers).and_then(|text| text.parse::<BearerToken>().ok()) {
        let said = |error| PageError::from(crate::grpc::error::status(&error));
        web.app.sign_out(&token.token).await.map_err(said)?;
    }
    Ok(([(SET_COOKIE, session::forget())], Redirect::to("/signin")).into_response())
}
