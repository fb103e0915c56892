//! What a reader sees when a page cannot be shown: the API's own words, what to do next, and the request id for the log.

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use tonic_types::StatusExt as _;

use crate::app;
use crate::grpc::error::{http_status, status};
use crate::web::page::html;

/// Why there is no page.
#[derive(Debug)]
pub enum PageError {
    /// Nobody is signed in: to the sign-in page, and back here.
    SignIn(String),
    /// It is said in words.
    Said(Said),
}

/// What is said.
#[derive(Debug)]
pub struct Said {
    /// HTTP's code.
    pub code: StatusCode,
    /// `EXECUTOR_OFFLINE`; empty when there is none.
    pub reason: String,
    /// The sentence.
    pub message: String,
}

/// The page.
#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    said: &'a Said,
}

// === impl PageError ===

impl PageError {
    /// To the sign-in page, and then to `path`.
    #[must_use]
    pub fn sign_in(path: &str) -> Self {
        Self::SignIn(path.to_owned())
    }

    /// Something of ours is wrong.
    #[must_use]
    pub fn inside() -> Self {
        Self::said(StatusCode::INTERNAL_SERVER_ERROR, "something of ours is wrong; the server's log has more")
    }

    /// Another site, or an old page, sent a form.
    #[must_use]
    pub fn forged() -> Self {
        Self::said(
            StatusCode::FORBIDDEN,
            "this form did not come from a page of this session; go back, load the page again and repeat",
        )
    }

    /// A form that cannot be read.
    #[must_use]
    pub fn form(why: &FormRejection) -> Self {
        Self::said(why.status(), &why.body_text())
    }

    /// A sentence of the page's own.
    #[must_use]
    pub fn said(code: StatusCode, message: &str) -> Self {
        Self::Said(Said { code, reason: String::new(), message: message.to_owned() })
    }

    /// No such page.
    #[must_use]
    pub fn not_found() -> Self {
        Self::said(StatusCode::NOT_FOUND, "there is no such page")
    }
}

// === impl Said ===

impl From<tonic::Status> for Said {
    fn from(status: tonic::Status) -> Self {
        let reason = status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default();
        Self { code: http_status(&status), reason, message: status.message().to_owned() }
    }
}

impl From<app::error::Error> for PageError {
    /// What the few use cases say that a page calls itself: in the words that the API has for them.
    fn from(error: app::error::Error) -> Self {
        status(&error).into()
    }
}

impl From<tonic::Status> for PageError {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            tonic::Code::Unauthenticated => Self::sign_in("/"),
            _ => Self::Said(status.into()),
        }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(path) => {
                let query = quoted(&path);
                Redirect::to(&format!("/signin?next={query}")).into_response()
            }
            Self::Said(said) => {
                let title = said.code.canonical_reason().unwrap_or("Refused");
                (said.code, html(&ErrorPage { title, said: &said })).into_response()
            }
        }
    }
}

fn quoted(path: &str) -> String {
    percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC).to_string()
}
