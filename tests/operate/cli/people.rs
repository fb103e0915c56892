//! Organizations, tokens, the feed, contexts and completions.

use anyhow::{Context as _, ensure};

use super::first_line;
use super::shell::{Shell, answer};
use crate::Result;

const JSON: [&str; 2] = ["--output", "json"];

const ACME: &str = "organizations/acme";

pub(super) async fn run(shell: &Shell) -> Result {
    organizations(shell).await?;
    tokens(shell).await?;
    join_tokens(shell).await?;
    events(shell).await?;
    contexts(shell).await?;
    completions(shell).await
}

async fn organizations(shell: &Shell) -> Result {
    let admin = "installation_admin";
    let words = ["organization", "create", "beta-corp", "--display-name", "Beta"];
    shell.people(admin, &words, "Name:", "organizations/beta-corp").await?;
    shell.json(admin, &["organization", "create", "gamma"], "organizations/gamma").await?;
    shell.both("owner", &["organization", "get", "acme"], "Name:", ACME).await?;
    shell.both("owner", &["organization", "list"], "ID DISPLAY NAME CREATED", ACME).await?;
    let all = shell.json(admin, &["organization", "list"], "organizations/gamma").await?;
    ensure!(all.as_array().is_some_and(|all| all.len() == 3), "{all}");
    shell.both("owner", &["whoami"], "Server:", ACME).await.map(drop)
}

async fn tokens(shell: &Shell) -> Result {
    let made = shell.done("owner", &["token", "create", "member", "--display-name", "wall"]).await?;
    ensure!(made.out.starts_with("nvt_") && made.out.lines().count() == 1, "the secret alone: {made:?}");
    ensure!(made.err.contains("organizations/acme/tokens/"), "{made:?}");
    let id = made.err.split_whitespace().next().context("a name")?.to_owned();
    let words = [&["token", "create", "admin", "--ttl", "1h"], &JSON[..]].concat();
    let other: serde_json::Value = serde_json::from_str(&shell.done("owner", &words).await?.out)?;
    ensure!(other["secret"].as_str().is_some_and(|secret| secret.starts_with("nvt_")), "{other}");
    let other = other["token"]["name"].as_str().context("a name")?;
    shell.both("owner", &["token", "list"], "ID ROLE DISPLAY NAME SIGNED IN BY EXPIRES REVOKED", &id).await?;
    let short = id.rsplit('/').next().unwrap_or_default();
    shell.people("owner", &["token", "revoke", short], "Token:", &id).await?;
    let revoked = shell.json("owner", &["token", "revoke", other], other).await?;
    ensure!(revoked["revokeTime"].is_string(), "{revoked}");
    let words = ["token", "create", "publisher"];
    let made = shell.done("installation_admin", &words).await?;
    ensure!(made.err.starts_with("tokens/"), "{made:?}");
    shell.both("installation_admin", &["token", "list"], "ID ROLE", "").await.map(drop)
}

async fn join_tokens(shell: &Shell) -> Result {
    let made = shell.done("owner", &["join-token", "create", "--executor", "db-1"]).await?;
    ensure!(made.out.starts_with("nvj1_") && made.out.lines().count() == 1, "the secret alone: {made:?}");
    let name = made.err.split_whitespace().next().context("a name")?.to_owned();
    let words = [&["join-token", "create", "--max-uses", "5", "--ttl", "2h"], &JSON[..]].concat();
    let other: serde_json::Value = serde_json::from_str(&shell.done("owner", &words).await?.out)?;
    ensure!(other["joinToken"]["maxUses"] == 5, "{other}");
    let other = other["joinToken"]["name"].as_str().context("a name")?;
    shell.both("owner", &["join-token", "list"], "ID EXECUTOR REPLACE USES EXPIRES REVOKED", &name).await?;
    let short = name.rsplit('/').next().unwrap_or_default();
    shell.people("owner", &["join-token", "revoke", short], "Join token:", &name).await?;
    shell.json("owner", &["join-token", "revoke", other], other).await.map(drop)
}

async fn events(shell: &Shell) -> Result {
    let heads = "SEQUENCE TIME TYPE ACTOR TARGET DETAILS";
    let web_1 = "organizations/acme/executors/web-1";
    shell.both("owner", &["event", "list", "--type", "executor.*", "--target", web_1], heads, web_1).await?;
    let two = shell.json("owner", &["event", "list", "--limit", "2"], ACME).await?;
    ensure!(two.as_array().is_some_and(|rows| rows.len() == 2), "{two}");
    shell.both("installation_admin", &["event", "list", "--installation"], heads, "release.published").await?;
    let words = ["event", "watch", "--after", "1", "--type", "attempt.*"];
    shell.until("owner", &words, "attempt.ended").await?;
    let line = shell.until("owner", &[&words, &JSON[..]].concat(), "attempt.ended").await?;
    let event: serde_json::Value = serde_json::from_str(&line)?;
    ensure!(event["type"] == "attempt.ended" && event["organization"] == ACME, "{event}");
    Ok(())
}

/// After `login` nothing has to be said any more.
async fn contexts(shell: &Shell) -> Result {
    let logged_in = shell.done("owner", &["login", "prod"]).await?;
    ensure!(logged_in.out.starts_with("Server:") && logged_in.err.contains("prod is current"), "{logged_in:?}");
    shell.json("owner", &["login", "test"], ACME).await?;
    let kept = shell.folder().join("config/tokens/prod");
    ensure!(first_line(&kept)? == first_line(&shell.daemon().tokens().join("owner.token"))?);
    shell.both("owner", &["context", "list"], "NAME SERVER ORGANIZATION", "acme").await?;
    shell.done("owner", &["context", "use", "prod"]).await?;
    let list = shell.done("owner", &["context", "list"]).await?.out;
    ensure!(list.lines().any(|line| line.trim_start().starts_with('*') && line.contains("prod")), "{list}");
    let mine = answer(shell.bare().args(["executor", "get", "web-1"])).await?;
    ensure!(mine.code == Some(0) && mine.out.contains("organizations/acme/executors/web-1"), "{mine:?}");
    shell.done("owner", &["context", "remove", "prod"]).await?;
    ensure!(!kept.exists(), "the token went with its context");
    let named = answer(shell.bare().args(["--context", "test", "whoami"])).await?;
    ensure!(named.code == Some(0), "{named:?}");
    let gone = answer(shell.bare().args(["--context", "prod", "whoami"])).await?;
    ensure!(gone.code == Some(78) && gone.err.contains("test"), "{gone:?}");
    Ok(())
}

async fn completions(shell: &Shell) -> Result {
    for name in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = shell.done("owner", &["completions", name]).await?.out;
        ensure!(script.contains("novacula") && script.contains("clear-hold"), "{name}: {script}");
    }
    Ok(())
}
