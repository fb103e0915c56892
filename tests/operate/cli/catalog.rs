//! `novacula release …`: from a file on disk to an offer, signed on the way, and withdrawn.

use std::fs;

use anyhow::{Context as _, ensure};
use harness::signing::Signer;

use super::shell::Shell;
use crate::Result;

/// What `release list` is headed by.
const LIST: &str = "RELEASE CHANNEL STATUS SEQUENCE FLOOR ARTIFACTS PUBLISHED";

/// Offers 1.1.0 for people and 1.2.0 for programs, and looks at both.
pub(super) async fn run(shell: &Shell) -> Result {
    let signers = [Signer::new()?, Signer::new()?];
    offer(shell, &signers, "1.1.0", &[]).await?;
    offer(shell, &signers, "1.2.0", &["--output", "json"]).await?;
    shell.both("owner", &["release", "list"], LIST, "releases/agent-1.1.0").await.map(drop)?;
    shell.both("owner", &["release", "list", "--kind", "agent"], LIST, "releases/agent-1.2.0").await.map(drop)?;
    filtered(shell).await?;
    let got = shell.both("owner", &["release", "get", "agent-1.1.0"], "Release:", "releases/agent-1.1.0").await?;
    ensure!(got["status"] == "STATUS_PUBLISHED" && got["sequence"] == "1", "{got}");
    ensure!(got["releaseNotes"].as_str().is_some_and(|notes| notes.contains("What is new")), "{got}");
    let words = ["release", "compare", "agent", "1.1.0", "1.2.0"];
    let told = shell.people("owner", &words, "1.2.0 (stable)", "").await?;
    ensure!(told.contains("What is new in 1.2.0") && told.contains("linux/amd64"), "{told}");
    shell.json("owner", &words, "releases/agent-1.2.0").await.map(drop)
}

/// Two are published on stable; a draft on beta shows the difference.
async fn filtered(shell: &Shell) -> Result {
    shell.done("publisher", &["release", "create", "agent", "9.0.0-beta.1", "--channel", "beta"]).await?;
    let (draft, published) = ("releases/agent-9.0.0-beta.1", "releases/agent-1.1.0");
    for (filter, is, is_not) in [
        (&["--status", "published"][..], published, draft),
        (&["--status", "draft"], draft, published),
        (&["--channel", "beta"], draft, published),
        (&["--channel", "stable", "--kind", "agent"], published, draft),
    ] {
        let words = [&["release", "list"], filter].concat();
        let rows = shell.both("publisher", &words, LIST, is).await?;
        let rows = rows.as_array().context("a list")?;
        ensure!(!rows.is_empty() && rows.iter().all(|row| row["name"] != is_not), "{words:?}: {rows:?}");
    }
    let none = shell.done("publisher", &["release", "list", "--status", "yanked", "--channel", "dev"]).await?.out;
    ensure!(none.lines().count() == 1, "its head alone: {none}");
    let wrong = shell.ask("publisher", &["release", "list", "--status", "gone"]).await?;
    ensure!(wrong.code == Some(2) && wrong.err.contains("draft, published, yanked"), "{wrong:?}");
    Ok(())
}

/// Withdraws a third.
pub(super) async fn yank(shell: &Shell) -> Result {
    let signers = [Signer::new()?, Signer::new()?];
    for (version, form) in [("1.3.0", &[][..]), ("1.4.0", &["--output", "json"])] {
        offer(shell, &signers, version, form).await?;
        let release = format!("agent-{version}");
        let words = [&["release", "yank", &release, "--reason", "it eats disks"], form].concat();
        let out = shell.done("publisher", &words).await?.out;
        ensure!(out.contains(&format!("releases/{release}")) && out.contains("it eats disks"), "{out}");
    }
    Ok(())
}

/// The road of a release, each step in one form.
async fn offer(shell: &Shell, [signer, second]: &[Signer; 2], version: &str, form: &[&str]) -> Result {
    let (release, folder) = (format!("agent-{version}"), shell.folder().join(version));
    fs::create_dir_all(&folder)?;
    let (file, notes) = (folder.join("novacula-agent"), folder.join("notes.md"));
    let bytes = format!("the bytes of {version}");
    fs::write(&file, &bytes)?;
    fs::write(&notes, format!("What is new in {version}.\n"))?;
    let (file, notes) = (file.to_str().context("a path")?, notes.to_str().context("a path")?);

    let step = async |words: &[&str], says: &str| -> Result<String> {
        let answer = shell.done("publisher", &[words, form].concat()).await?;
        if !form.is_empty() {
            serde_json::from_str::<serde_json::Value>(&answer.out).with_context(|| answer.out.clone())?;
        }
        ensure!(answer.out.contains(&format!("releases/{release}")), "{words:?}: {answer:?}");
        ensure!(answer.out.contains(says), "{words:?} does not say {says}: {answer:?}");
        Ok(answer.err)
    };
    let draft = if form.is_empty() { "draft" } else { "STATUS_DRAFT" };
    let published = if form.is_empty() { "published" } else { "STATUS_PUBLISHED" };
    step(&["release", "create", "agent", version, "--notes-file", notes], draft).await?;
    let manifest = shell.done("publisher", &["release", "manifest", file, "--version", version]).await?.out;
    let sign = |signer: &Signer| signer.sign(bytes.as_bytes(), manifest.trim_end());
    fs::write(format!("{file}.minisig"), sign(signer)?)?;
    step(&["release", "upload", &release, file], draft).await?;
    let other = format!("{file}.second");
    fs::write(&other, sign(second)?)?;
    step(&["release", "add-signature", &release, &other, "--platform", "linux/amd64"], draft).await?;
    let said = step(&["release", "publish", &release, "--validate-only"], "").await?;
    ensure!(said.contains("nothing was written"), "{said}");
    step(&["release", "publish", &release], published).await.map(drop)
}
