//! Other programs (systemctl, journalctl, rpm), always with a time limit and a cap on what they say.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// Most bytes kept of each of a program's outputs. journalctl's last lines are the largest: four times what a report carries.
const OUTPUT_MAX: usize = 256 * 1024;

/// What a program said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Whether it exited 0.
    pub success: bool,
    /// Whether a signal ended it.
    pub killed: bool,
    /// Its data, invalid UTF-8 replaced.
    pub stdout: String,
    /// Its complaints, likewise.
    pub stderr: String,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error("start {program}")]
    Start {
        /// Its name.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It did not end in time, and was killed.
    #[error("{program} did not end within {limit:?}")]
    Limit {
        /// Its name.
        program: String,
        /// How long it had.
        limit: Duration,
    },
    /// It ended with a failure.
    #[error("{program} failed: {said}")]
    Failed {
        /// Its name.
        program: String,
        /// Its last line.
        said: String,
    },
}

/// Runs a program to its end.
///
/// # Errors
/// [`Error::Start`] and [`Error::Limit`]; a failing program is an answer here.
pub async fn run(program: &str, arguments: impl IntoIterator<Item = String>, limit: Duration) -> Result<Output, Error> {
    let started = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let failed = |source| Error::Start { program: program.to_owned(), source };
    let mut child = started.map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let whole = async {
        let (stdout, stderr, status) = tokio::join!(text(stdout), text(stderr), child.wait());
        status.map(|status| Output { success: status.success(), killed: status.signal().is_some(), stdout, stderr })
    };
    match tokio::time::timeout(limit, whole).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(Error::Limit { program: program.to_owned(), limit }),
    }
}

/// Runs a program that has to succeed.
///
/// # Errors
/// Also [`Error::Failed`] when it does not exit 0.
pub async fn succeed(
    program: &str,
    arguments: impl IntoIterator<Item = String>,
    limit: Duration,
) -> Result<Output, Error> {
    let output = run(program, arguments, limit).await?;
    if output.success {
        return Ok(output);
    }
    let last = |text: &str| text.lines().rfind(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned());
    let said = last(&output.stderr).or_else(|| last(&output.stdout));
    Err(Error::Failed { program: program.to_owned(), said: said.unwrap_or_else(|| "it did not say why".to_owned()) })
}

/// Reads to the end, keeping no more than the cap: a program that cannot write would not end.
async fn text(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut chunk = vec![0; 8192];
    while let Ok(n @ 1..) = from.read(&mut chunk).await {
        let room = OUTPUT_MAX.saturating_sub(kept.len()).min(n);
        kept.extend_from_slice(&chunk[..room]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, limit: Duration) -> Result<Output, Error> {
        succeed("sh", ["-c".to_owned(), script.to_owned()], limit).await
    }

    #[tokio::test]
    async fn a_program_has_a_time_limit_and_its_failure_is_told_in_its_words() {
        let long = Duration::from_secs(20);
        assert_eq!(sh("echo data; echo noise >&2", long).await.unwrap().stdout, "data\n");
        let failed = sh("echo first; echo last >&2; exit 3", long).await.unwrap_err();
        assert!(failed.to_string().contains("last"), "{failed}");
        let endless = sh("sleep 60", Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(endless, Error::Limit { .. }));
        let absent = succeed("novacula-no-such-program", [], long).await.unwrap_err();
        assert!(matches!(absent, Error::Start { .. }));
    }

    #[tokio::test]
    async fn endless_output_is_read_and_cut() {
        let output = sh("head -c 1000000 /dev/zero", Duration::from_secs(20)).await.unwrap();
        assert_eq!(output.stdout.len(), OUTPUT_MAX);
    }
}
