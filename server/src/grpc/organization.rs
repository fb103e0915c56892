//! `OrganizationService`.

use domain::{JoinTokenId, OrganizationId, TokenId};
use proto::convert::field::to_timestamp;
use proto::convert::{self, role};
use proto::v1;
use proto::v1::organization_service_server::OrganizationService;
use store::{JoinTokenRecord, Organization, TokenRecord};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::app::join_token::{NewJoinToken, TakeOver};
use crate::app::token::{NewToken, TokenName};
use crate::grpc::access;
use crate::grpc::error;
use crate::grpc::wire::{Service, done, field, organization, page, place};

#[tonic::async_trait]
impl OrganizationService for Service {
    async fn create_organization(
        &self,
        request: Request<v1::CreateOrganizationRequest>,
    ) -> Result<Response<v1::Organization>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let id: OrganizationId = field(convert::field::required("organization_id", &request.organization_id))?;
        let made = self.app.organization_create(&caller, &id, &request.display_name);
        Ok(Response::new(encode(done(made.await)?)))
    }

    async fn get_organization(
        &self,
        request: Request<v1::GetOrganizationRequest>,
    ) -> Result<Response<v1::Organization>, Status> {
        let caller = access::caller(&request)?;
        let id = organization("name", &request.get_ref().name)?;
        Ok(Response::new(encode(done(self.app.organization_get(&caller, &id).await)?)))
    }

    async fn list_organizations(
        &self,
        request: Request<v1::ListOrganizationsRequest>,
    ) -> Result<Response<v1::ListOrganizationsResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token);
        let listed = done(self.app.organization_list(&caller, &page).await)?;
        Ok(Response::new(v1::ListOrganizationsResponse {
            organizations: listed.rows.into_iter().map(encode).collect(),
            next_page_token: listed.next_page_token,
        }))
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let caller = access::caller(&request)?;
        let new = new_join_token(request.into_inner())?;
        let (record, secret) = done(self.app.join_token_create(&caller, new).await)?;
        Ok(Response::new(v1::CreateJoinTokenResponse {
            join_token: Some(join_token(record)),
            secret: secret.reveal().to_string(),
        }))
    }

    async fn list_join_tokens(
        &self,
        request: Request<v1::ListJoinTokensRequest>,
    ) -> Result<Response<v1::ListJoinTokensResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let parent = organization("parent", &request.parent)?;
        let page = page(request.page_size, &request.page_token);
        let listed = done(self.app.join_token_list(&caller, &parent, &page).await)?;
        Ok(Response::new(v1::ListJoinTokensResponse {
            join_tokens: listed.rows.into_iter().map(join_token).collect(),
            next_page_token: listed.next_page_token,
        }))
    }

    async fn revoke_join_token(
        &self,
        request: Request<v1::RevokeJoinTokenRequest>,
    ) -> Result<Response<v1::JoinToken>, Status> {
        let caller = access::caller(&request)?;
        let (parent, id) = field(join_token_name(&request.get_ref().name))?;
        let revoked = done(self.app.join_token_revoke(&caller, &parent, &id).await)?;
        Ok(Response::new(join_token(revoked)))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let parent = place("parent", &request.parent)?;
        let new = NewToken {
            role: field(role::role("role", request.role, parent))?,
            display_name: request.display_name,
            ttl: field(convert::field::duration("ttl", request.ttl))?,
            signed_in_by: None,
            request_id: request_id(&request.request_id)?,
        };
        let (record, secret) = done(self.app.token_create(&caller, new).await)?;
        Ok(Response::new(v1::CreateTokenResponse { token: Some(token(record)), secret: secret.reveal().to_string() }))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let parent = place("parent", &request.parent)?;
        let page = page(request.page_size, &request.page_token);
        let listed = done(self.app.token_list(&caller, parent.as_ref(), &page).await)?;
        Ok(Response::new(v1::ListTokensResponse {
            tokens: listed.rows.into_iter().map(token).collect(),
            next_page_token: listed.next_page_token,
        }))
    }

    async fn revoke_token(&self, request: Request<v1::RevokeTokenRequest>) -> Result<Response<v1::Token>, Status> {
        let caller = access::caller(&request)?;
        let name = field(token_name(&request.get_ref().name))?;
        let revoked = done(self.app.token_revoke(&caller, &name).await)?;
        Ok(Response::new(token(revoked)))
    }

    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let caller = access::caller(&request)?;
        let record = done(self.app.token_whoami(&caller).await)?;
        let place = record.role.organization();
        Ok(Response::new(v1::WhoAmIResponse {
            organization: place.map(|id| format!("organizations/{id}")).unwrap_or_default(),
            token: Some(token(record)),
            server_version: self.app.settings().server_version.to_string(),
        }))
    }
}

fn new_join_token(wire: v1::CreateJoinTokenRequest) -> Result<NewJoinToken, Status> {
    let max_uses = match wire.max_uses {
        0 => None,
        uses => Some(u32::try_from(uses).map_err(|_| error::field("max_uses", format!("{uses} is negative")))?),
    };
    Ok(NewJoinToken {
        organization: organization("parent", &wire.parent)?,
        executor: field(convert::field::optional("executor_id", &wire.executor_id))?,
        take_over: if wire.replace { TakeOver::Yes } else { TakeOver::No },
        ttl: field(convert::field::duration("ttl", wire.ttl))?,
        max_uses,
        request_id: request_id(&wire.request_id)?,
    })
}

/// Of a request that makes a secret.
fn request_id(value: &str) -> Result<Option<Uuid>, Status> {
    match value {
        "" => Ok(None),
        value => value.parse().map(Some).map_err(|_| error::field("request_id", "is no UUID of version 7")),
    }
}

fn join_token_name(name: &str) -> Result<(OrganizationId, JoinTokenId), convert::Error> {
    let refused =
        || convert::Error::new("name", "is not of the form organizations/{organization}/joinTokens/{id}", name);
    let parts: Vec<&str> = name.split('/').collect();
    let ["organizations", organization, "joinTokens", id] = parts[..] else {
        return Err(refused());
    };
    let organization = OrganizationId::new(organization).map_err(|_| refused())?;
    Ok((organization, JoinTokenId::new(id).map_err(|_| refused())?))
}

fn token_name(name: &str) -> Result<TokenName, convert::Error> {
    let refused = || {
        convert::Error::new("name", "is not of the form organizations/{organization}/tokens/{id} or tokens/{id}", name)
    };
    let parts: Vec<&str> = name.split('/').collect();
    let (organization, id) = match parts[..] {
        ["organizations", organization, "tokens", id] => {
            (Some(OrganizationId::new(organization).map_err(|_| refused())?), id)
        }
        ["tokens", id] => (None, id),
        _ => return Err(refused()),
    };
    let id = TokenId::new(id).map_err(|_| refused())?;
    Ok(TokenName { organization, id })
}

fn encode(organization: Organization) -> v1::Organization {
    v1::Organization {
        name: format!("organizations/{}", organization.id),
        display_name: organization.display_name,
        create_time: Some(to_timestamp(organization.create_time)),
    }
}

fn join_token(record: JoinTokenRecord) -> v1::JoinToken {
    v1::JoinToken {
        name: crate::app::join_token::join_token_name(&record),
        executor_id: record.executor.map(|id| id.to_string()).unwrap_or_default(),
        replace: record.replace,
        max_uses: i32::try_from(record.max_uses).unwrap_or(i32::MAX),
        uses: i32::try_from(record.uses).unwrap_or(i32::MAX),
        create_time: Some(to_timestamp(record.create_time)),
        expire_time: Some(to_timestamp(record.expire_time)),
        revoke_time: record.revoke_time.map(to_timestamp),
    }
}

fn token(record: TokenRecord) -> v1::Token {
    v1::Token {
        name: crate::app::token::token_name(&record),
        role: v1::Role::from(&record.role).into(),
        display_name: record.display_name,
        create_time: Some(to_timestamp(record.create_time)),
        expire_time: Some(to_timestamp(record.expire_time)),
        revoke_time: record.revoke_time.map(to_timestamp),
        signed_in_by: record.signed_in_by.map(|by| by.to_string()).unwrap_or_default(),
    }
}
