//! `novacula token …` and `novacula join-token …`. A secret is printed once, alone on stdout, so that it can be piped.

use proto::v1;
use proto::v1::organization_service_client::OrganizationServiceClient;

use crate::args::people::{JoinToken, Role, Token};
use crate::command::{PAGE_SIZE, Session};
use crate::error::Error;
use crate::names::short;
use crate::output::{facts, line};
use crate::time;

type Client = OrganizationServiceClient<crate::connect::Api>;

pub(super) async fn run(session: &Session, command: Token) -> Result<(), Error> {
    match command {
        Token::Create { role, display_name, ttl } => {
            let request = v1::CreateTokenRequest {
                parent: parent_of(session, role)?,
                role: wire_role(role).into(),
                display_name,
                ttl: Some(time::wire(ttl)),
                ..v1::CreateTokenRequest::default()
            };
            let answer = client(session).await?.create_token(request).await?.into_inner();
            if session.printer.is_json() {
                return session.printer.message(&answer, |_| String::new());
            }
            let token = answer.token.unwrap_or_default();
            eprintln!("{} until {}; the secret is shown once:", token.name, time::stamp(token.expire_time.as_ref()));
            line(&answer.secret)
        }
        Token::List => list_tokens(session).await,
        Token::Revoke { id } => {
            let name = session.names.token(&id)?;
            let token = client(session).await?.revoke_token(v1::RevokeTokenRequest { name }).await?.into_inner();
            session.printer.message(&token, |token| {
                facts(&[("Token", token.name.clone()), ("Revoked", time::stamp(token.revoke_time.as_ref()))])
            })
        }
    }
}

pub(super) async fn join(session: &Session, command: JoinToken) -> Result<(), Error> {
    match command {
        JoinToken::Create { executor, replace, ttl, max_uses } => {
            let request = v1::CreateJoinTokenRequest {
                parent: session.names.parent()?,
                executor_id: executor.unwrap_or_default(),
                replace,
                ttl: Some(time::wire(ttl)),
                max_uses,
                request_id: String::new(),
            };
            let answer = client(session).await?.create_join_token(request).await?.into_inner();
            if session.printer.is_json() {
                return session.printer.message(&answer, |_| String::new());
            }
            let token = answer.join_token.unwrap_or_default();
            eprintln!(
                "{} until {}; on the host: novacula-agent enroll --join-token-file FILE with this secret, shown once:",
                token.name,
                time::stamp(token.expire_time.as_ref())
            );
            line(&answer.secret)
        }
        JoinToken::List => list_join_tokens(session).await,
        JoinToken::Revoke { id } => {
            let name = session.names.in_organization("joinTokens", &id)?;
            let token =
                client(session).await?.revoke_join_token(v1::RevokeJoinTokenRequest { name }).await?.into_inner();
            session.printer.message(&token, |token| {
                facts(&[("Join token", token.name.clone()), ("Revoked", time::stamp(token.revoke_time.as_ref()))])
            })
        }
    }
}

async fn client(session: &Session) -> Result<Client, Error> {
    Ok(OrganizationServiceClient::new(session.api().await?))
}

async fn list_tokens(session: &Session) -> Result<(), Error> {
    let parent = session.names.parent_or_installation()?;
    let mut client = client(session).await?;
    let (mut tokens, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListTokensRequest { parent: parent.clone(), page_size: PAGE_SIZE, page_token };
        let page = client.list_tokens(request).await?.into_inner();
        tokens.extend(page.tokens);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    session.printer.list(&tokens, &["ID", "ROLE", "DISPLAY NAME", "SIGNED IN BY", "EXPIRES", "REVOKED"], |token| {
        vec![
            short(&token.name).to_owned(),
            role(token.role()),
            token.display_name.clone(),
            token.signed_in_by.clone(),
            time::stamp(token.expire_time.as_ref()),
            time::stamp(token.revoke_time.as_ref()),
        ]
    })
}

async fn list_join_tokens(session: &Session) -> Result<(), Error> {
    let parent = session.names.parent()?;
    let mut client = client(session).await?;
    let (mut tokens, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListJoinTokensRequest { parent: parent.clone(), page_size: PAGE_SIZE, page_token };
        let page = client.list_join_tokens(request).await?.into_inner();
        tokens.extend(page.join_tokens);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    session.printer.list(&tokens, &["ID", "EXECUTOR", "REPLACE", "USES", "EXPIRES", "REVOKED"], |token| {
        let any = if token.executor_id.is_empty() { "any new name".to_owned() } else { token.executor_id.clone() };
        vec![
            short(&token.name).to_owned(),
            any,
            token.replace.to_string(),
            format!("{}/{}", token.uses, token.max_uses),
            time::stamp(token.expire_time.as_ref()),
            time::stamp(token.revoke_time.as_ref()),
        ]
    })
}

/// Roles of the installation have no organization, whatever the context says.
fn parent_of(session: &Session, role: Role) -> Result<String, Error> {
    match role {
        Role::Owner | Role::Admin | Role::Member => session.names.parent(),
        Role::Publisher | Role::InstallationAdmin => Ok(String::new()),
    }
}

const fn wire_role(role: Role) -> v1::Role {
    match role {
        Role::Owner => v1::Role::Owner,
        Role::Admin => v1::Role::Admin,
        Role::Member => v1::Role::Member,
        Role::Publisher => v1::Role::Publisher,
        Role::InstallationAdmin => v1::Role::InstallationAdmin,
    }
}

pub(super) fn role(role: v1::Role) -> String {
    role.as_str_name().trim_start_matches("ROLE_").to_lowercase()
}
