//! `/organizations/new`: an organization is made.

use askama::Template;
use axum::Router;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::{get, post};
use domain::role::Demand;
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::error::Said;
use crate::web::page::form::{demanded, refused};
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::{Posted, SignedIn};

/// The form.
#[derive(Template)]
#[template(path = "access/new_organization.html")]
struct NewOrganizationPage {
    frame: Frame,
    refused: Option<Said>,
    form: NewOrganization,
}

/// An organization as the form has it.
#[derive(Clone, Debug, Default, Deserialize)]
struct NewOrganization {
    #[serde(default)]
    id: String,
    #[serde(default)]
    display_name: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/organizations", post(create)).route("/organizations/new", get(begin))
}

async fn begin(signed_in: SignedIn) -> Page {
    demanded(&signed_in.reader, Demand::Install, None)?;
    let frame = Frame::new(&signed_in.reader, None, Place::Access);
    Ok(html(&NewOrganizationPage { frame, refused: None, form: NewOrganization::default() }))
}

async fn create(Posted { by, form }: Posted<NewOrganization>) -> Page {
    let request = v1::CreateOrganizationRequest {
        organization_id: form.id.trim().to_owned(),
        display_name: form.display_name.trim().to_owned(),
    };
    match by.api.organizations().create_organization(request).await {
        // It has no owner yet: that is what is made next.
        Ok(made) => Ok(Redirect::to(&format!("/{}/tokens/new", made.into_inner().name)).into_response()),
        Err(status) => {
            let said = refused(status)?;
            let (code, frame) = (said.code, Frame::new(&by.reader, None, Place::Access));
            Ok((code, html(&NewOrganizationPage { frame, refused: Some(said), form })).into_response())
        }
    }
}
