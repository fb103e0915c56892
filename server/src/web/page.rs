//! The pages: a file each, named by what it shows. Paths are the API's resource names.
//!
//! A handler calls the API, fills its template (`server/templates`), and is done. What a role may not do is not offered; the API
//! refuses it all the same.

pub mod signin;

pub mod oidc;

pub mod executors;

pub mod releases;

pub mod release;

pub mod events;

pub mod access;

pub mod form;

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

/// An entry of the navigation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it is called.
    pub label: &'static str,
    /// Where it leads.
    pub href: String,
    /// Which pages it stands for.
    pub place: Place,
}

/// What surrounds a page's own content.
#[derive(Clone, Debug)]
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

    /// The navigation: what the reader's role reaches, and nothing else.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let link = |label, href, place| Link { label, href, place };
        let may = |demand| self.reader.may(demand, self.home());
        let mut links = Vec::new();
        if let Some(home) = self.home().filter(|_| may(Demand::Look)) {
            links.push(link("Executors", format!("/organizations/{home}/executors"), Place::Executors));
        }
        links.push(link("Releases", "/releases".to_owned(), Place::Releases));
        // Admins of the installation see its own feed, and of an organization only who may enter it.
        match self.home() {
            Some(home) if may(Demand::Look) => {
                links.push(link("Events", format!("/organizations/{home}/events"), Place::Events));
                if may(Demand::Own) {
                    links.push(link("Access", format!("/organizations/{home}/access"), Place::Access));
                }
            }
            _ if self.reader.may(Demand::Install, None) => {
                links.push(link("Events", "/events".to_owned(), Place::Events));
                links.push(link("Access", "/access".to_owned(), Place::Access));
            }
            _ => {}
        }
        links
    }

    /// Whether the reader may change executors of the page's organization.
    #[must_use]
    pub fn may_deploy(&self) -> bool {
        self.reader.may(Demand::Deploy, self.organization.as_ref())
    }

    /// `aria-current` of a navigation's entry.
    #[must_use]
    pub fn current(&self, place: &Place) -> &'static str {
        if self.place == *place { "page" } else { "false" }
    }
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(front))
        .merge(signin::routes())
        .merge(oidc::routes())
        .merge(executors::routes())
        .merge(releases::routes())
        .merge(release::routes())
        .merge(events::routes())
        .merge(access::routes())
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

#[cfg(test)]
mod tests {
    use domain::{Role, TokenId};

    use super::*;

    fn hrefs(role: Role, organization: Option<&OrganizationId>) -> Vec<String> {
        let reader = Reader {
            role,
            display_name: String::new(),
            session: TokenId::new("s1").expect("a label"),
            token: String::new(),
            signed_in_by: String::new(),
            expire_time: None,
            forgery_token: String::new(),
            server_version: String::new(),
        };
        let links = Frame::new(&reader, organization.cloned(), Place::Releases).links();
        links.into_iter().map(|link| link.href).collect()
    }

    #[test]
    fn the_navigation_leads_where_the_role_reaches() {
        let acme = OrganizationId::new("acme").expect("a label");
        let own =
            ["/organizations/acme/executors", "/releases", "/organizations/acme/events", "/organizations/acme/access"];
        assert_eq!(hrefs(Role::Owner(acme.clone()), None), own);
        assert_eq!(hrefs(Role::Admin(acme.clone()), Some(&acme)), own[..3]);
        assert_eq!(hrefs(Role::Member(acme.clone()), Some(&acme)), own[..3]);
        assert_eq!(hrefs(Role::Publisher, None), ["/releases"]);
        let installation = ["/releases", "/events", "/access"];
        assert_eq!(hrefs(Role::InstallationAdmin, None), installation);
        assert_eq!(hrefs(Role::InstallationAdmin, Some(&acme)), installation);
    }
}
