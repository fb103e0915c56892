//! `novacula executor …`, with web-1 online.

use anyhow::ensure;
use harness::fake_executor::{FakeExecutor, Stream};
use proto::v1;
use proto::v1::sync_executor_request::Message as Say;

use super::shell::Shell;
use crate::Result;

/// What `executor list` is headed by.
const LIST: &str = "NAME KIND VERSION PLATFORM CHANNEL STATUS PENDING LAST SEEN";

const WEB_1: &str = "organizations/acme/executors/web-1";

const JSON: [&str; 2] = ["--output", "json"];

pub(super) async fn run(shell: &Shell, stream: &Stream) -> Result {
    shell.both("owner", &["executor", "list", "--filter", "online=true"], LIST, WEB_1).await?;
    let none = shell.done("owner", &["executor", "list", "--filter", "version=9.9.9"]).await?.out;
    ensure!(!none.contains("web-1"), "{none}");
    let got = shell.both("owner", &["executor", "get", "web-1"], "Name:", WEB_1).await?;
    ensure!(got["online"] == true && got["version"] == "1.0.0", "{got}");
    shell.both("owner", &["executor", "get", WEB_1], "Name:", WEB_1).await?;
    shell.until("owner", &["executor", "watch"], "web-1 1.0.0 online").await?;
    let change = shell.until("owner", &[&["executor", "watch"], &JSON[..]].concat(), WEB_1).await?;
    let change: serde_json::Value = serde_json::from_str(&change)?;
    ensure!(change["executor"]["name"] == WEB_1 && change["changeType"] == "CHANGE_TYPE_PRESENT", "{change}");
    let told = shell.people("owner", &["executor", "explain", "web-1"], "nothing stands in the way", "").await?;
    ensure!(told.contains("ok"), "{told}");
    let told = shell.done("owner", &[&["executor", "explain", "web-1"], &JSON[..]].concat()).await?.out;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    ensure!(told["findings"].as_array().is_some_and(|findings| !findings.is_empty()), "{told}");
    update(shell).await?;
    nodes(shell, stream).await?;
    doors(shell).await?;
    stream.acknowledge(0).await
}

async fn update(shell: &Shell) -> Result {
    let words = ["executor", "update", "web-1", "--label", "rack=a7", "--channel", "beta"];
    let out = shell.people("owner", &words, "Name:", WEB_1).await?;
    ensure!(out.contains("rack=a7") && out.contains("beta"), "{out}");
    let words = ["executor", "update", "web-1", "--label", "rack=", "--channel", "stable"];
    let updated = shell.json("owner", &words, WEB_1).await?;
    ensure!(updated["labels"]["rack"].is_null() && updated["channel"] == "CHANNEL_STABLE", "{updated}");
    Ok(())
}

async fn nodes(shell: &Shell, stream: &Stream) -> Result {
    let node = v1::Node { node_name: "rack-7".to_owned(), ready: true, ..v1::Node::default() };
    stream.say(Say::Inventory(v1::Inventory { full: true, nodes: vec![node], removed_node_names: Vec::new() })).await?;
    let words = ["executor", "nodes", "web-1"];
    // The inventory is written a moment after it was said.
    let written = async {
        while !shell.done("owner", &words).await?.out.contains("rack-7") {}
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(harness::daemon::SOON, written).await??;
    shell.both("owner", &words, "NODE PLATFORM OS KERNEL KUBELET READY REPORTED", "rack-7").await.map(drop)
}

/// Two that never connected are shut out, let in and deleted.
async fn doors(shell: &Shell) -> Result {
    for (id, form) in [("web-8", &[][..]), ("web-9", &JSON[..])] {
        FakeExecutor::by_word(&shell.daemon().join_word(id).await?, "1.0.0").await?;
        let name = format!("organizations/acme/executors/{id}");
        for (verb, people, program) in
            [("deactivate", "deactivated", "STATE_DEACTIVATED"), ("activate", "offline", "STATE_ACTIVE")]
        {
            let out = shell.done("owner", &[&["executor", verb, id], form].concat()).await?.out;
            let state = if form.is_empty() { people } else { program };
            ensure!(out.contains(&name) && out.contains(state), "{verb} {id}: {out}");
        }
        let deleted = shell.ask("owner", &["executor", "delete", id]).await?;
        ensure!(deleted.code == Some(78) && deleted.err.contains("--yes"), "nobody was asked: {deleted:?}");
        let deleted = shell.done("owner", &["executor", "delete", id, "--yes"]).await?;
        ensure!(deleted.out.is_empty() && deleted.err.contains(&name), "{deleted:?}");
        let gone = shell.ask("owner", &["executor", "get", id]).await?;
        ensure!(gone.code == Some(1), "{gone:?}");
    }
    Ok(())
}
