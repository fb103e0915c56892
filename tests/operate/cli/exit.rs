//! What a script sees when it did not work: the exit code of the help, a sentence on stderr, nothing on stdout. In both
//! forms of output.

use std::fs;

use anyhow::ensure;

use super::shell::{Answer, Shell, answer};
use crate::Result;

pub(super) async fn codes() -> Result {
    let shell = Shell::new()?;
    let help = answer(shell.bare().arg("--help")).await?;
    let promise =
        "Exit codes: 0 done; 1 refused or failed; 2 usage; 3 not reachable; 4 timed out waiting; 78 bad configuration.";
    let read = help.out.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(help.code == Some(0) && read.contains(promise), "{help:?}");
    refused(&shell).await?;
    configuration(&shell).await?;
    unreachable(&shell).await
}

/// 1 and 2: the control plane said no, or nobody had to ask it.
async fn refused(shell: &Shell) -> Result {
    for form in [&[][..], &["--output", "json"]] {
        let cases: [(&str, &[&str], i32, &str); 8] = [
            ("owner", &["executor", "get", "nobody"], 1, "NOT_FOUND"),
            ("owner", &["executor", "watch", "--filter", "nonsense"], 1, "filter"),
            ("owner", &["release", "create", "agent", "1.1.0"], 1, "ROLE_REQUIRED"),
            ("publisher", &["release", "publish", "agent-9.9.9"], 1, "NOT_FOUND"),
            ("publisher", &["upgrade", "request", "web-1", "1.1.0"], 1, "ROLE_REQUIRED"),
            ("owner", &["upgrade", "request", "web-1"], 2, "<VERSION>"),
            ("owner", &["executor", "list", "--no-such-flag"], 2, "--no-such-flag"),
            ("owner", &["upgrade", "request", "web-1", "1.1.0", "--wait", "--validate-only"], 2, "cannot be used with"),
        ];
        for (role, words, code, says) in cases {
            told(&shell.ask(role, &[words, form].concat()).await?, code, says, words)?;
        }
    }
    Ok(())
}

/// 78: before anything is sent.
async fn configuration(shell: &Shell) -> Result {
    let empty = shell.folder().join("empty.token");
    fs::write(&empty, "\n")?;
    let nobody = answer(shell.bare().args(["executor", "list"])).await?;
    told(&nobody, 78, "--organization", &["nothing said"])?;
    let untrusting = answer(shell.bare().args(["whoami"])).await?;
    told(&untrusting, 78, "--ca", &["no authority"])?;
    let cases: [(&[&str], &str); 6] = [
        (&["--server", "http://127.0.0.1:7443", "whoami"], "https://"),
        (&["--context", "nowhere", "whoami"], "nowhere"),
        (&["executor", "update", "nobody"], "nothing to change"),
        (&["executor", "update", "nobody", "--label", "rack"], "KEY=VALUE"),
        (&["release", "create", "agent", "one"], "one"),
        (&["login", "a/b"], "a/b"),
    ];
    for (words, says) in cases {
        told(&shell.ask("owner", words).await?, 78, says, words)?;
    }
    let tokenless = answer(shell.by("owner").arg("--token-file").arg(&empty).arg("whoami")).await?;
    told(&tokenless, 78, "holds no token", &["an empty token file"])?;
    let missing = shell.ask("owner", &["--token-file", "/nowhere/token", "whoami"]).await?;
    told(&missing, 1, "/nowhere/token", &["no token file"])
}

/// 3: nobody there, or not the one that we trust. 4: there, and too slow.
async fn unreachable(shell: &Shell) -> Result {
    for form in [&[][..], &["--output", "json"]] {
        let words = ["--server", "https://127.0.0.1:1", "whoami"];
        told(&shell.ask("owner", &[&words, form].concat()).await?, 3, "cannot be reached", &words)?;
        let words = ["--timeout", "1us", "executor", "list"];
        told(&shell.ask("owner", &[&words, form].concat()).await?, 4, "--timeout", &words)?;
    }
    let foreign = shell.folder().join("foreign.pem");
    let other = Shell::new()?;
    fs::copy(other.daemon().ca(), &foreign)?;
    let distrusted = answer(shell.by("owner").arg("--ca").arg(&foreign).arg("whoami")).await?;
    told(&distrusted, 3, "certificate", &["another authority"])
}

fn told(answer: &Answer, code: i32, says: &str, words: &[&str]) -> Result {
    ensure!(answer.code == Some(code), "novacula {words:?} ended with {answer:?}, not {code}");
    ensure!(answer.out.is_empty(), "novacula {words:?} failed and wrote to stdout: {answer:?}");
    ensure!(answer.err.contains(says), "novacula {words:?} does not say {says}: {answer:?}");
    Ok(())
}
