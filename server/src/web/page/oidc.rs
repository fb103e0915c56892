//! `/signin/oidc`: to the identity provider and back. What ties the two together is in a cookie of its own for ten minutes, so that
//! any replica takes the answer, and none keeps a list of those who went away.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use axum::{Extension, Router};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::observe;
use crate::oidc::provider::{Attempt, Provider};
use crate::oidc::token::{self, Expected, Refused};
use crate::tls::connection::Peer;
use crate::web::Web;
use crate::web::error::PageError;
use crate::web::guard;
use crate::web::page::Page;
use crate::web::page::signin;
use crate::web::session;

/// The cookie of a sign-in under way. Lax: the provider sends the browser back from another site.
const COOKIE_NAME: &str = "__Host-novacula-signin";

/// How long somebody may take at the provider, in seconds.
const PATIENCE: u32 = 600;

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    next: String,
}

/// What the provider says (RFC 6749, sections 4.1.2 and 4.1.2.1).
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    error: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/signin/oidc", get(begin)).route(crate::oidc::provider::CALLBACK, get(answered))
}

async fn begin(State(web): State<Web>, Extension(peer): Extension<Arc<Peer>>, Query(asked): Query<Asked>) -> Page {
    let provider = provider(&web)?;
    signin::slowed_down(&web, &peer).map_err(|why| PageError::said(StatusCode::TOO_MANY_REQUESTS, &why))?;
    let attempt =
        Attempt { state: web.app.random_word(), nonce: web.app.random_word(), verifier: web.app.random_word() };
    let url = provider.authorization(&attempt).await.map_err(|error| away(&error))?;
    let next = utf8_percent_encode(guard::local_path(&asked.next), NON_ALPHANUMERIC).to_string();
    let text = [&attempt.state, &attempt.nonce, &attempt.verifier, &next].map(String::as_str).join(":");
    Ok(([(SET_COOKIE, cookie(&text, PATIENCE)?)], Redirect::to(url.as_str())).into_response())
}

async fn answered(
    State(web): State<Web>,
    Extension(peer): Extension<Arc<Peer>>,
    headers: HeaderMap,
    Query(answer): Query<Answer>,
) -> Page {
    let provider = provider(&web)?;
    signin::slowed_down(&web, &peer).map_err(|why| PageError::said(StatusCode::TOO_MANY_REQUESTS, &why))?;
    let text = session::cookie_named(&headers, COOKIE_NAME).unwrap_or_default();
    let parts: Vec<&str> = text.split(':').collect();
    let [state, nonce, verifier, next] = parts[..] else {
        return Err(said("this sign-in took longer than ten minutes, or began in another browser; begin again"));
    };
    if !bool::from(state.as_bytes().ct_eq(answer.state.as_bytes())) {
        return Err(said(
            "the identity provider answered another sign-in than the one that this browser began; begin again",
        ));
    }
    if !answer.error.is_empty() || answer.code.is_empty() {
        // Its own text comes from the address bar: a word of the standard's alphabet, or nothing.
        let word: String = answer.error.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(40).collect();
        return Err(said(&format!(
            "the identity provider let nobody in ({word}); begin again, or sign in with a token"
        )));
    }
    let attempt = Attempt { state: state.to_owned(), nonce: nonce.to_owned(), verifier: verifier.to_owned() };
    let next = percent_decode_str(next).decode_utf8_lossy();
    let cookie = signed_in(&web, &provider, &answer.code, &attempt).await?;
    // The place is looked at again: what comes back in a cookie is no better than what came in a query.
    let mut answer = Redirect::to(guard::local_path(&next)).into_response();
    answer.headers_mut().append(SET_COOKIE, cookie);
    answer.headers_mut().append(SET_COOKIE, self::cookie("", 0)?);
    Ok(answer)
}

/// Redeems the code, judges who it is, and makes the session.
async fn signed_in(web: &Web, provider: &Provider, code: &str, attempt: &Attempt) -> Result<HeaderValue, PageError> {
    let id_token = provider.exchange(code, attempt).await.map_err(|error| away(&error))?;
    let keys = provider.keys(token::key_id(&id_token).as_deref()).await.map_err(|error| away(&error))?;
    let client = provider.client();
    let now = web.app.now().await?;
    let expected = Expected {
        issuer: &client.issuer,
        client_id: &client.client_id,
        nonce: &attempt.nonce,
        roles: &client.roles,
        now,
    };
    let person = token::judge(&id_token, &keys, expected).map_err(|refused| {
        tracing::warn!(error = observe::chain(&refused), "a sign-in by the identity provider was refused");
        match refused {
            Refused::NoRole => said(&format!("the identity provider knows you, and {refused}")),
            Refused::Unproven | Refused::Claim(_) | Refused::Time => said(&refused.to_string()),
        }
    })?;
    let session = web.app.sign_in_by_identity(person.identity, person.role, person.display_name).await?;
    session::keep(&session).ok_or_else(PageError::inside)
}

fn provider(web: &Web) -> Result<Arc<Provider>, PageError> {
    web.app.settings().identity_provider.clone().ok_or_else(PageError::not_found)
}

fn cookie(text: &str, age: u32) -> Result<HeaderValue, PageError> {
    let text = format!("{COOKIE_NAME}={text}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite=Lax");
    let mut header = HeaderValue::try_from(text).map_err(|_| PageError::inside())?;
    header.set_sensitive(true);
    Ok(header)
}

fn said(message: &str) -> PageError {
    PageError::said(StatusCode::FORBIDDEN, message)
}

fn away(error: &crate::oidc::provider::Error) -> PageError {
    tracing::error!(error = observe::chain(error), "the identity provider is of no use");
    let message = "the identity provider cannot be asked now; sign in with a token, or try again";
    PageError::said(StatusCode::BAD_GATEWAY, message)
}

/// The button's words; none: nobody signs in so here.
#[must_use]
pub fn button(web: &Web) -> Option<&str> {
    web.app.settings().identity_provider.as_ref().map(|provider| provider.client().name.as_str())
}

/// Where the button leads.
#[must_use]
pub fn path(next: &str) -> String {
    format!("/signin/oidc?next={}", utf8_percent_encode(next, NON_ALPHANUMERIC))
}
