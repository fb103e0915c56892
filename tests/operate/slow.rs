//! Watches whose readers take nothing, over either store: whoever else asks is answered as if they were not there.

use std::time::Duration;

use anyhow::Context as _;
use harness::client::Client;
use harness::daemon::Daemon;
use harness::parts::Part;
use libtest_mimic::Trial;
use proto::v1;
use tokio::time::timeout;
use tonic::Streaming;

use crate::replicas::fleet::Replicas;
use crate::{Result, server, trial};

/// Whose feed.
const PARENT: &str = "organizations/acme";

/// Watches: many times what the embedded store reads at once, and what a pool has connections.
const WATCHES: usize = 64;

/// Changes meanwhile, each of which wakes all watches at once: in all more than a connection's window holds.
const CHANGES: usize = 120;

/// What all their answers may take on a busy machine. A store whose places are all held answers none, ever.
const ANSWERED: Duration = Duration::from_secs(20);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("watches_that_nobody_reads_keep_nobody_waiting", &[], embedded),
        trial("watches_that_nobody_reads_hold_no_connection_of_a_pool", &[Part::Postgres, Part::Openssl], pooled),
    ]
}

async fn embedded() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    unread(&daemon).await
}

async fn pooled() -> Result {
    let replicas = Replicas::start(1).await?;
    unread(&replicas.daemons[0]).await
}

async fn unread(daemon: &Daemon) -> Result {
    // A connection of their own, so that its window is theirs alone.
    let readers = daemon.client("owner").await?;
    let mut watches = Vec::with_capacity(WATCHES);
    for _ in 0..WATCHES {
        watches.push(watch(&readers).await?);
    }
    let client = daemon.client("owner").await?;
    let asked = async {
        for n in 0..CHANGES {
            change(&client, n).await?;
            let list = v1::ListEventsRequest { parent: PARENT.to_owned(), ..v1::ListEventsRequest::default() };
            client.events().list_events(list).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    timeout(ANSWERED, asked).await.context("nobody is answered any more")??;
    // And nothing is lost to the one who reads at last.
    let mut watch = watches.pop().context("they are open")?;
    drop(watches);
    let mut n_told = 0;
    while n_told < CHANGES {
        let said = timeout(ANSWERED, watch.message()).await.context("a watch that is read again says nothing")??;
        let event = said.and_then(|said| said.event).context("a watch has no end")?;
        n_told += usize::from(event.r#type == "join_token.created");
    }
    Ok(())
}

/// Something that the feed tells.
async fn change(client: &Client, n: usize) -> Result {
    let parent = PARENT.to_owned();
    let executor_id = format!("web-{n}");
    let request = v1::CreateJoinTokenRequest { parent, executor_id, ..v1::CreateJoinTokenRequest::default() };
    client.organizations().create_join_token(request).await?;
    Ok(())
}

async fn watch(client: &Client) -> Result<Streaming<v1::WatchEventsResponse>> {
    let request = v1::WatchEventsRequest { parent: PARENT.to_owned(), after_sequence: 1, types: Vec::new() };
    Ok(client.events().watch_events(request).await?.into_inner())
}
