//! `novacula-agent enroll`: a join token for this host's certificate.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use domain::{ExecutorId, JoinSecret, Reason};
use executor_sdk::credentials::CredentialStore;
use executor_sdk::report::chain;
use executor_sdk::{connect, enrol};
use serde::Serialize;

use crate::args::Enroll;
use crate::exit::{Failure, NOT_REACHABLE};
use crate::inventory;
use crate::layout::Layout;
use crate::output::print;

/// Longer than any join token.
const TOKEN_MAX: u64 = 4096;

#[derive(Serialize)]
struct Enrolled {
    executor: String,
    uid: String,
    endpoints: Vec<String>,
}

/// Enrols this host.
///
/// # Errors
/// [`Failure`], with its own exit code when the control plane cannot be reached. Repeating is safe.
pub async fn enroll(layout: &Layout, arguments: &Enroll) -> Result<(), Failure> {
    let join = token(arguments)?;
    let name = given(arguments)?;
    fs::create_dir_all(layout.state_dir())
        .map_err(|error| Failure::failed(format!("create {}: {error}", layout.state_dir().display())))?;
    let store = CredentialStore::new(layout.state_dir());
    let credentials = match enrol::enrol(&join, name.as_ref(), &store).await {
        // The token says no name either.
        Err(refused) if name.is_none() && unnamed(&refused) => match host() {
            Some(host) => enrol::enrol(&join, Some(&host), &store).await,
            None => Err(refused),
        },
        answered => answered,
    };
    let credentials = credentials.map_err(|error| failure(&error))?;
    let enrolled = Enrolled {
        executor: credentials.executor.to_string(),
        uid: credentials.uid.to_string(),
        endpoints: credentials.endpoints.iter().map(ToString::to_string).collect(),
    };
    print(arguments.print.output, &enrolled, |enrolled| {
        format!("enrolled as {}\nnext: systemctl restart novacula-agent", enrolled.executor)
    });
    Ok(())
}

fn token(arguments: &Enroll) -> Result<JoinSecret, Failure> {
    let text = match (&arguments.join_token, &arguments.join_token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(path)) => read(path).map_err(|error| Failure::failed(format!("read the join token: {error}")))?,
        (None, None) => return Err(Failure::failed("no join token was given")),
    };
    text.trim().parse().map_err(|error: domain::join::Error| Failure::failed(chain(&error)))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().lock().take(TOKEN_MAX).read_to_string(&mut text)?;
    } else {
        fs::File::open(path)?.take(TOKEN_MAX).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// The name asked for; without one the token's counts, and the host's only where the token says none.
fn given(arguments: &Enroll) -> Result<Option<ExecutorId>, Failure> {
    let name = arguments.name.as_ref().map(|name| name.parse());
    name.transpose().map_err(|error: domain::id::Error| Failure::failed(error.to_string()))
}

/// The host's name up to its first dot, if that is a name for an executor.
fn host() -> Option<ExecutorId> {
    inventory::host_name().to_lowercase().split('.').next().unwrap_or_default().parse().ok()
}

fn unnamed(error: &enrol::Error) -> bool {
    let enrol::Error::Connect(connect::Error::Answer { reason, .. }) = error else { return false };
    reason.as_deref() == Some(Reason::InvalidArgument.as_str())
}

fn failure(error: &enrol::Error) -> Failure {
    let mut failure = Failure::because(error);
    if matches!(error, enrol::Error::Connect(connect::Error::Dial { .. })) {
        failure.code = NOT_REACHABLE;
    }
    if unnamed(error) {
        failure.message.push_str("; say which with --name");
    }
    failure
}
