//! The calls that our pages show, taken out of the pages and run by the real `grpcurl`, by reflection, with and without a token.
//!
//! A page's shell blocks are run as one script. Lines that begin with `grpcurl` are the calls: each has to succeed, and with
//! its token taken away it has to be refused. `# refused: REASON` above a call says that it is
//! refused with the token as well, and how.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use harness::catalog::{Draft, release};
use harness::daemon::Daemon;
use harness::fake_executor::{FakeExecutor, Stream};
use harness::parts::{Part, workspace};
use harness::signing::Signer;
use libtest_mimic::Trial;

use crate::{Result, server, trial};

/// What pages call the control plane.
const SHOWN: &str = "control.example:7443";

/// A header that means nothing, in place of the token.
const NO_TOKEN: &str = "x-nothing: 1";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("every_call_of_the_page_on_grpcurl_does_what_the_page_says", &[Part::Grpcurl], api_page),
        trial("every_call_of_the_readme_does_what_it_says", &[Part::Grpcurl], readme),
        trial("no_page_shows_a_call_that_nobody_runs", &[], no_other_page),
    ]
}

/// A call of a page.
#[derive(Debug)]
struct Call {
    /// What stands between the call before it and this one.
    before: String,
    line: String,
    refused: Option<String>,
}

async fn api_page() -> Result {
    let calls = calls("docs/operate/api.md")?;
    ensure!(calls.len() >= 15, "{calls:?}");
    run(&calls).await
}

async fn readme() -> Result {
    let calls = calls("README.md")?;
    ensure!(!calls.is_empty());
    run(&calls).await
}

async fn no_other_page() -> Result {
    let pages = ["docs", "docs/operate", "docs/decisions"];
    for folder in pages {
        for entry in fs::read_dir(workspace().join(folder))? {
            let path = entry?.path();
            if path.extension().is_none_or(|end| end != "md") || path.ends_with("docs/operate/api.md") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            let shown = text.lines().find(|line| line.starts_with("grpcurl "));
            ensure!(shown.is_none(), "{}: move to docs/operate/api.md: {shown:?}", path.display());
        }
    }
    Ok(())
}

/// Everything that the pages speak of: web-1 online with 1.0.0, agent 1.1.0 published.
pub(crate) struct Scene {
    daemon: Daemon,
    _stream: Stream,
}

impl Scene {
    pub(crate) async fn new() -> Result<Self> {
        let mut daemon = Daemon::bootstrapped(server())?;
        daemon.start()?;
        let publisher = daemon.client("publisher").await?;
        release(&publisher, &Signer::new()?, &Draft::new("1.1.0", 1)).await?;
        let executor = FakeExecutor::by_word(&daemon.join_word("web-1").await?, "1.0.0").await?;
        let stream = executor.connect().await?;
        fs::copy(daemon.ca(), daemon.folder().join("ca.pem"))?;
        Ok(Self { daemon, _stream: stream })
    }

    /// Where its scripts run.
    pub(crate) fn folder(&self) -> &Path {
        self.daemon.folder()
    }

    pub(crate) fn shell(&self, script: &str) -> Result<Output> {
        // Who calls with something else needs none.
        let grpcurl = Part::Grpcurl.find().ok();
        let folder = grpcurl.as_deref().and_then(Path::parent).unwrap_or(Path::new("/usr/bin"));
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let server = format!("localhost:{}", self.daemon.api_addr().port());
        // A call that hangs is a failure, not a wait.
        Command::new("timeout")
            .args(["60", "bash", "-euo", "pipefail", "-c", &script.replace(SHOWN, &server)])
            .current_dir(self.daemon.folder())
            .env("PATH", path)
            .output()
            .context("start bash")
    }
}

async fn run(calls: &[Call]) -> Result {
    let scene = Scene::new().await?;
    // As a reader would: everything in one shell, one after the other.
    let mut script = String::new();
    for (number, call) in calls.iter().enumerate() {
        let Call { before, line, .. } = call;
        let told = format!("if said=$({line} 2>&1); then echo \"== {number} 0\"; else echo \"== {number} $?\"; fi");
        script.push_str(&format!("{before}{told}\nprintf '%s\\n' \"$said\"\n"));
    }
    let output = scene.shell(&script)?;
    let (said, trouble) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "the page ended with {}: {said}{trouble}", output.status);
    let mut answers = said.split("== ").skip(1);
    for call in calls {
        let line = &call.line;
        let (head, said) = answers.next().and_then(|answer| answer.split_once('\n')).context("an answer")?;
        let done = head.ends_with(" 0");
        match &call.refused {
            None => ensure!(done, "{line}\nfailed ({head}): {said}"),
            Some(reason) => {
                ensure!(
                    !done && said.contains(&format!("\"reason\": \"{reason}\"")),
                    "{line}\nis not refused so: {said}"
                );
            }
        }
        let Some(stripped) = without_token(line) else { continue };
        let output = scene.shell(&format!("{}\nTOKEN='{NO_TOKEN}'\n{stripped}", setting(calls, line)))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{line}\nneeds no token");
        ensure!(said.contains("Unauthenticated") && said.contains("TOKEN_INVALID"), "{line}\nwithout a token: {said}");
    }
    Ok(())
}

/// The variables that stand before a call, asking nothing.
fn setting(calls: &[Call], line: &str) -> String {
    let before = calls.iter().take_while(|call| call.line != line).chain(calls.iter().filter(|call| call.line == line));
    let lines = before.flat_map(|call| call.before.lines()).filter(|line| !line.contains("grpcurl"));
    lines.map(|line| format!("{line}\n")).chain(std::iter::once("ATTEMPT=unknown\n".to_owned())).collect()
}

/// The call with a header that says nothing; none: it carries no token.
fn without_token(line: &str) -> Option<String> {
    if line.contains("\"$TOKEN\"") {
        return Some(line.to_owned());
    }
    let (before, rest) = line.split_once("\"authorization: Bearer $(")?;
    let (_, after) = rest.split_once(")\"")?;
    Some(format!("{before}\"{NO_TOKEN}\"{after}"))
}

/// The calls in the shell blocks of a page.
fn calls(page: &str) -> Result<Vec<Call>> {
    let text = fs::read_to_string(workspace().join(page))?;
    let (mut calls, mut before, mut refused, mut shell) = (Vec::new(), String::new(), None, false);
    for line in text.lines() {
        if line.starts_with("```") {
            shell = line == "```sh";
        } else if !shell {
        } else if let Some(reason) = line.strip_prefix("# refused: ") {
            refused = Some(reason.to_owned());
        } else if line.starts_with("grpcurl ") {
            calls.push(Call { before: std::mem::take(&mut before), line: line.to_owned(), refused: refused.take() });
        } else if page != "README.md" {
            // What the README does beside is its own story.
            before.push_str(line);
            before.push('\n');
        }
    }
    Ok(calls)
}
