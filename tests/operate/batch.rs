//! A batch of requests costs the store as many calls for many executors as for a few, whatever it comes to.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use harness::catalog::{Draft, release};
use harness::client::Client;
use harness::daemon::Daemon;
use harness::fake_executor::{FakeExecutor, Stream};
use harness::signing::Signer;
use libtest_mimic::Trial;
use proto::v1;

use crate::{Result, server, trial};

/// Store operations that requests make, and nobody else here. What pushes read depends on how many fall into one slice.
const OPERATIONS: [&str; 10] = [
    "attempt_get",
    "attempt_list_by_request",
    "attempt_note_requests",
    "event_list",
    "event_list_first",
    "executor_commit",
    "executor_commit_batch",
    "executor_get",
    "executor_list_by_name",
    "presence_list",
];

const FEW: usize = 4;
const MANY: usize = 40;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("a_batch_costs_as_many_store_calls_for_many_as_for_few", &[], calls)]
}

async fn calls() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    let (publisher, signer) = (daemon.client("publisher").await?, Signer::new()?);
    for (sequence, version) in (1..).zip(["1.1.0", "1.2.0"]) {
        release(&publisher, &signer, &Draft::new(version, sequence)).await?;
    }
    let owner = daemon.client("owner").await?;
    let (few, many) = (Group::online(&daemon, "few", FEW).await?, Group::online(&daemon, "many", MANY).await?);
    // Begun; repeated; the same under other ids; replaced by another target.
    let rounds =
        [("first", "1.1.0", false), ("first", "1.1.0", false), ("other", "1.1.0", false), ("new", "1.2.0", true)];
    for (id, target, replace) in rounds {
        let mut costs = Vec::new();
        for group in [&few, &many] {
            let before = count(&daemon).await?;
            group.ask(&owner, id, target, replace).await?;
            let after = count(&daemon).await?;
            costs.push(after.into_iter().map(|(name, n)| (name, n - before[name])).collect::<BTreeMap<_, _>>());
        }
        ensure!(costs[0] == costs[1], "{id} {target}: {FEW} cost {:?}, {MANY} cost {:?}", costs[0], costs[1]);
        ensure!(costs[0].values().sum::<u64>() > 0, "nothing was counted");
    }
    Ok(())
}

/// Executors that are online.
struct Group {
    executors: Vec<(FakeExecutor, Stream)>,
}

impl Group {
    async fn online(daemon: &Daemon, name: &str, n: usize) -> Result<Self> {
        let mut executors = Vec::with_capacity(n);
        for at in 0..n {
            let executor = FakeExecutor::by_word(&daemon.join_word(&format!("{name}-{at}")).await?, "1.0.0").await?;
            let mut stream = executor.connect().await?;
            stream.heartbeat().await?;
            executors.push((executor, stream));
        }
        Ok(Self { executors })
    }

    /// Asks them all, each under an id of its own.
    async fn ask(&self, owner: &Client, id: &str, target: &str, replace: bool) -> Result {
        let names = self.executors.iter().map(|(executor, _)| executor.name().to_owned());
        let requests = names.map(|name| v1::RequestUpgradeRequest {
            target_version: target.to_owned(),
            request_id: format!("{id}-{}", name.replace('/', "-")),
            name,
            replace,
            ..v1::RequestUpgradeRequest::default()
        });
        let batch =
            v1::BatchRequestUpgradeRequest { parent: "organizations/acme".to_owned(), requests: requests.collect() };
        let answer = owner.upgrades().batch_request_upgrade(batch).await?.into_inner();
        ensure!(answer.results.len() == self.executors.len());
        for result in answer.results {
            let Some(v1::batch_request_upgrade_response::result::Result::Attempt(attempt)) = result.result else {
                anyhow::bail!("{result:?}");
            };
            ensure!(attempt.target_version == target, "{attempt:?}");
        }
        Ok(())
    }
}

/// How often each operation was called.
async fn count(daemon: &Daemon) -> Result<BTreeMap<&'static str, u64>> {
    let page = daemon.get("/metrics").await?.body;
    OPERATIONS.iter().map(|name| Ok((*name, number(&page, name)?))).collect()
}

fn number(page: &str, operation: &str) -> Result<u64> {
    let sample = format!("novacula_store_seconds_count{{operation=\"{operation}\"}} ");
    match page.lines().find_map(|line| line.strip_prefix(&sample)) {
        Some(number) => number.trim().parse().with_context(|| format!("{operation} {number:?}")),
        None => Ok(0),
    }
}
