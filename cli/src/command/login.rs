//! `novacula login`, `context` and `whoami`.

use std::fs;
use std::path::{Path, PathBuf};

use proto::v1;
use proto::v1::organization_service_client::OrganizationServiceClient;

use crate::args::{self, Connection, Login};
use crate::command::Session;
use crate::command::token::role;
use crate::context::{self, Context, File};
use crate::error::Error;
use crate::names::short;
use crate::output::{facts, line, table};
use crate::time;

/// Checks server and token, then keeps them. Nothing is written unless the control plane knows the token.
pub(super) async fn login(connection: &Connection, login: &Login) -> Result<(), Error> {
    if login.name.is_empty() || !login.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(Error::Config(format!("context {:?} is not of A-Z a-z 0-9 - _", login.name)));
    }
    let session = Session::new(connection)?;
    let Some(token) = &session.settings.token else {
        return Err(Error::Config("no token: give --token-file FILE, or --token-file - and type it".to_owned()));
    };
    let who = ask(&session).await?;
    let path = context::path()?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let token_file = folder.join("tokens").join(&login.name);
    context::write_private(&token_file, format!("{}\n", token.as_str()).as_bytes())?;

    let mut file = File::load(&path)?;
    let organization = if who.organization.is_empty() {
        session.settings.organization.clone()
    } else {
        Some(short(&who.organization).to_owned())
    };
    let kept = Context {
        server: Some(session.settings.server.clone()),
        ca: session.settings.ca.as_deref().map(absolute).transpose()?,
        token_file: Some(token_file),
        organization,
    };
    file.contexts.insert(login.name.clone(), kept);
    file.current = Some(login.name.clone());
    file.save(&path)?;
    eprintln!("context {} is current, kept in {}", login.name, path.display());
    print(&session, &who)
}

pub(super) async fn whoami(session: &Session) -> Result<(), Error> {
    let who = ask(session).await?;
    print(session, &who)
}

async fn ask(session: &Session) -> Result<v1::WhoAmIResponse, Error> {
    let mut client = OrganizationServiceClient::new(session.api().await?);
    Ok(client.who_am_i(v1::WhoAmIRequest {}).await?.into_inner())
}

fn print(session: &Session, who: &v1::WhoAmIResponse) -> Result<(), Error> {
    session.printer.message(who, |who| {
        let token = who.token.clone().unwrap_or_default();
        facts(&[
            ("Server", format!("{} ({})", session.settings.server, who.server_version)),
            ("Organization", who.organization.clone()),
            ("Role", role(token.role())),
            ("Token", token.name.clone()),
            ("Expires", time::stamp(token.expire_time.as_ref())),
        ])
    })
}

pub(super) fn context(connection: &Connection, command: &args::Context) -> Result<(), Error> {
    let path = context::path()?;
    let mut file = File::load(&path)?;
    match command {
        args::Context::List => return list(connection, &file),
        args::Context::Use { name } => {
            known(&file, name)?;
            file.current = Some(name.clone());
        }
        args::Context::Remove { name } => {
            known(&file, name)?;
            let token_file = file.contexts.remove(name).and_then(|context| context.token_file);
            file.current = file.current.filter(|current| current != name);
            // Only a token that login kept beside the configuration is ours to delete.
            let ours = path.parent().unwrap_or_else(|| Path::new(".")).join("tokens").join(name);
            if token_file.as_deref() == Some(&*ours) {
                fs::remove_file(&ours).map_err(|error| Error::file("delete", &ours, error))?;
            }
        }
    }
    file.save(&path)
}

fn list(connection: &Connection, file: &File) -> Result<(), Error> {
    if connection.output == args::Format::Json {
        let text = serde_json::to_string_pretty(file).map_err(|error| Error::local("print JSON", error))?;
        return line(&text);
    }
    let rows = file.contexts.iter().map(|(name, context)| {
        let mark = if file.current.as_ref() == Some(name) { "*" } else { "" };
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        vec![mark.to_owned(), name.clone(), text(&context.server), text(&context.organization)]
    });
    line(&table(&["", "NAME", "SERVER", "ORGANIZATION"], rows))
}

fn known(file: &File, name: &str) -> Result<(), Error> {
    if file.contexts.contains_key(name) {
        Ok(())
    } else {
        Err(Error::Config(format!("no context {name:?}; see novacula context list")))
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(path).map_err(|error| Error::file("find", path, error))
}
