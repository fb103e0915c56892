//! `novacula organization …`

use proto::v1;
use proto::v1::organization_service_client::OrganizationServiceClient;

use crate::args::people::Organization;
use crate::command::{PAGE_SIZE, Session};
use crate::error::Error;
use crate::names::short;
use crate::output::facts;
use crate::time;

pub(super) async fn run(session: &Session, command: Organization) -> Result<(), Error> {
    let mut client = OrganizationServiceClient::new(session.api().await?);
    let organization = match command {
        Organization::Create { id, display_name } => {
            let request = v1::CreateOrganizationRequest { organization_id: id, display_name };
            client.create_organization(request).await?.into_inner()
        }
        Organization::Get { id } => {
            let name = if id.contains('/') { id } else { format!("organizations/{id}") };
            client.get_organization(v1::GetOrganizationRequest { name }).await?.into_inner()
        }
        Organization::List => return list(session, client).await,
    };
    session.printer.message(&organization, |organization| {
        facts(&[
            ("Name", organization.name.clone()),
            ("Display name", organization.display_name.clone()),
            ("Created", time::stamp(organization.create_time.as_ref())),
        ])
    })
}

async fn list(session: &Session, mut client: OrganizationServiceClient<crate::connect::Api>) -> Result<(), Error> {
    let (mut organizations, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListOrganizationsRequest { page_size: PAGE_SIZE, page_token };
        let page = client.list_organizations(request).await?.into_inner();
        organizations.extend(page.organizations);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    session.printer.list(&organizations, &["ID", "DISPLAY NAME", "CREATED"], |organization| {
        let created = time::stamp(organization.create_time.as_ref());
        vec![short(&organization.name).to_owned(), organization.display_name.clone(), created]
    })
}
