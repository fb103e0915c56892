//! What a host is called when nobody at the host says it.

use anyhow::ensure;
use harness::daemon::{Daemon, succeeded};
use libtest_mimic::Trial;
use proto::v1;

use crate::agent::Agent;
use crate::{Result, server, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_host_takes_the_name_that_its_join_token_says", &[], tokens_name),
        trial("an_empty_join_token_in_the_environment_is_none", &[], empty_environment),
        trial("a_host_is_called_as_it_is_where_the_join_token_says_no_name", &[], hosts_name),
    ]
}

async fn tokens_name() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    let agent = Agent::new("web-1")?;
    succeeded(&agent.enroll_by(&daemon.join_word("web-1").await?)?)?;
    let name = agent.credentials()?.executor.to_string();
    ensure!(name == "organizations/acme/executors/web-1", "{name}");
    Ok(())
}

async fn empty_environment() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    let agent = Agent::new("web-1")?;
    succeeded(&agent.enroll_by_file(&daemon.join_word("web-1").await?)?)?;
    agent.credentials().map(drop)
}

async fn hosts_name() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    let request =
        v1::CreateJoinTokenRequest { parent: "organizations/acme".to_owned(), ..v1::CreateJoinTokenRequest::default() };
    let word = daemon.client("owner").await?.organizations().create_join_token(request).await?.into_inner().secret;
    let agent = Agent::new("unsaid")?;
    let output = agent.enroll_by(&word)?;
    let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let host = host.split('.').next().unwrap_or_default();
    if host.parse::<domain::ExecutorId>().is_ok() {
        succeeded(&output)?;
        let name = agent.credentials()?.executor.to_string();
        ensure!(name == format!("organizations/acme/executors/{host}"), "{name}");
    } else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains("--name"), "{said}");
    }
    Ok(())
}
