//! The pages: a file each, named by what it shows. Paths are the API's resource names.
//!
//! A handler calls the API, fills its template (`server/templates`), and is done. What a role may not do is not offered; the API
//! refuses it all the same.

pub mod signin;

pub mod executors;

pub mod executor;

pub mod upgrade;

pub mod attempt;

pub mod compare;

pub mod nodes;

use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::get;
use domain::OrganizationId;
use domain::role::Demand;

use crate::observe;
use crate::web::Web;
use crate::web::asset;
use crate::web::error::PageError;
use crate::web::session::{Reader, SignedIn};
use crate::web::show::Safe;

/// A page's answer.
pub type Page = Result<Response, PageError>;

/// Where in the navigation a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The fleet.
    Executors,
    /// The catalog.
    Releases,
    /// What happened.
    Events,
    /// Join tokens, tokens, sessions.
    Access,
}

/// What surrounds a page's own content.
#[derive(Debug)]
pub struct Frame {
    /// Who reads.
    pub reader: Reader,
    /// The organization that the page is about; none for the catalog and the installation.
    pub organization: Option<OrganizationId>,
    /// Where in the navigation.
    pub place: Place,
}

// === impl Frame ===

impl Frame {
    /// For `reader`, in `organization`.
    #[must_use]
    pub fn new(reader: &Reader, organization: Option<OrganizationId>, place: Place) -> Self {
        Self { reader: reader.clone(), organization, place }
    }

    /// Where the navigation leads: the page's organization, or the reader's own.
    #[must_use]
    pub fn home(&self) -> Option<&OrganizationId> {
        self.organization.as_ref().or_else(|| self.reader.organization())
    }

    /// Whether the reader may change executors of the page's organization.
    #[must_use]
    pub fn may_deploy(&self) -> bool {
        self.reader.may(Demand::Deploy, self.organization.as_ref())
    }

    /// `aria-current` of a navigation's entry.
    #[must_use]
    pub fn current(&self, place: Place) -> &'static str {
        if self.place == place { "page" } else { "false" }
    }
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(front))
        .merge(signin::routes())
        .merge(executors::routes())
        .merge(executor::routes())
        .merge(upgrade::routes())
        .merge(attempt::routes())
        .merge(compare::routes())
        .merge(nodes::routes())
}

/// To the page that a role starts at.
async fn front(signed_in: SignedIn) -> Redirect {
    match signed_in.reader.organization() {
        Some(organization) => Redirect::to(&format!("/organizations/{organization}/executors")),
        None => Redirect::to("/releases"),
    }
}

/// A filled template.
#[must_use]
pub fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(error = observe::chain(&error), "a page was not rendered");
            (http::StatusCode::INTERNAL_SERVER_ERROR, "something of ours is wrong; the server's log has more\n")
                .into_response()
        }
    }
}

/// A filled part of a page.
///
/// # Errors
/// It was not rendered, which is in the log.
pub fn rendered(part: &impl Template) -> Result<String, PageError> {
    part.render().map_err(|error| {
        tracing::error!(error = observe::chain(&error), "a part of a page was not rendered");
        PageError::inside()
    })
}

/// What each form of a session carries.
#[must_use]
pub fn guarded(reader: &Reader) -> Safe {
    // Hexadecimal digits.
    Safe(format!("<input type=\"hidden\" name=\"forgery_token\" value=\"{}\">", reader.forgery_token))
}

/// Names of the assets, for templates.
#[must_use]
pub fn style() -> &'static str {
    &asset::STYLE_PATH
}

/// The script's.
#[must_use]
pub fn script() -> &'static str {
    &asset::SCRIPT_PATH
}

/// The icon's.
#[must_use]
pub fn icon() -> &'static str {
    &asset::ICON_PATH
}
