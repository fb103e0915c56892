//! What a person sees: `novacula` on a real terminal, of `script` from util-linux, beside what it writes where there is none.

use std::fs;
use std::process::Stdio;
use std::str::Chars;

use anyhow::{Context as _, ensure};
use harness::catalog::{Draft, release};
use harness::daemon::SOON;
use harness::fake_executor::{FakeExecutor, Stream, success};
use harness::signing::Signer;
use proto::v1;
use proto::v1::sync_executor_request::Message as Say;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::shell::Shell;
use crate::Result;

/// As wide as terminals are by tradition; a bar that is longer would be broken and could not be drawn over.
const COLUMNS: usize = 80;

const ESCAPE: char = '\u{1b}';

/// What is shown of a download that broke off.
const AWAY: &str = "waits out UNREACHABLE";

/// Enough to be sent in many pieces.
const BINARY: usize = 6 * 1024 * 1024;

/// A program on a terminal.
struct Terminal {
    child: Child,
    out: ChildStdout,
    /// Open, or the terminal would say that its person has gone.
    _keyboard: ChildStdin,
    raw: Vec<u8>,
}

pub(super) async fn bars() -> Result {
    let shell = Shell::new()?;
    upload(&shell).await?;
    let (publisher, signer) = (shell.daemon().client("publisher").await?, Signer::new()?);
    release(&publisher, &signer, &Draft::new("1.1.0", 2)).await?;
    on_a_terminal(&shell).await?;
    data_in_a_file(&shell).await?;
    nowhere(&shell).await
}

/// The whole way, followed on a terminal.
async fn on_a_terminal(shell: &Shell) -> Result {
    let mut stream = online(shell, "web-1").await?;
    let mut terminal = Terminal::start(shell, "owner", &request("web-1"), "")?;
    let desired = stream.desired().await?;
    fetched(&stream, &desired, 1).await?;
    terminal.until("1.00 MiB/4.00 MiB", 2).await?;
    breaks_off(&stream, &desired).await?;
    terminal.until(AWAY, 2).await?;
    fetched(&stream, &desired, 2).await?;
    terminal.until("2.00 MiB/4.00 MiB", 2).await?;
    succeed(&mut stream, &desired).await?;
    let raw = terminal.end().await?;
    drawn_in_place(&raw, AWAY)?;
    let screen = drawn_in_place(&raw, "/4.00 MiB")?;
    ensure!(screen[0].starts_with("Attempt:"), "what is left is the attempt: {screen:#?}");
    ensure!(screen.iter().any(|line| line.contains("succeeded")), "{screen:#?}");
    Ok(())
}

/// The data goes into a file, the bar to the person.
async fn data_in_a_file(shell: &Shell) -> Result {
    let file = shell.folder().join("attempt.txt");
    let mut stream = online(shell, "web-2").await?;
    let mut terminal = Terminal::start(shell, "owner", &request("web-2"), &format!("> '{}'", file.display()))?;
    let desired = stream.desired().await?;
    fetched(&stream, &desired, 2).await?;
    terminal.until("2.00 MiB/4.00 MiB", 2).await?;
    succeed(&mut stream, &desired).await?;
    let raw = terminal.end().await?;
    let screen = drawn_in_place(&raw, "/4.00 MiB")?;
    ensure!(screen.iter().all(String::is_empty), "the screen is as it was: {screen:#?}");
    let data = fs::read_to_string(file)?;
    ensure!(data.starts_with("Attempt:") && data.ends_with('\n'), "{data}");
    ensure!(!data.contains(ESCAPE) && !data.contains("downloading"), "{data:?}");
    Ok(())
}

/// Neither stream is a terminal.
async fn nowhere(shell: &Shell) -> Result {
    let mut stream = online(shell, "web-3").await?;
    let waiting = shell.start("owner", &request("web-3"))?;
    let desired = stream.desired().await?;
    fetched(&stream, &desired, 2).await?;
    succeed(&mut stream, &desired).await?;
    let output = tokio::time::timeout(SOON, waiting.wait_with_output()).await.context("it waits for ever")??;
    for written in [output.stdout, output.stderr] {
        let text = String::from_utf8(written)?;
        ensure!(!text.contains([ESCAPE, '\r']) && text.ends_with('\n'), "a line a phase, and no bar: {text:?}");
    }
    Ok(())
}

async fn online(shell: &Shell, name: &str) -> Result<Stream> {
    FakeExecutor::by_word(&shell.daemon().join_word(name).await?, "1.0.0").await?.connect().await
}

const fn request(name: &str) -> [&str; 5] {
    ["upgrade", "request", name, "1.1.0", "--wait"]
}

/// The bytes of a binary on their way.
async fn upload(shell: &Shell) -> Result {
    let file = shell.folder().join("novacula-agent");
    let bytes = vec![b'x'; BINARY];
    fs::write(&file, &bytes)?;
    let path = file.to_str().context("a path")?;
    let manifest = shell.done("publisher", &["release", "manifest", path, "--version", "3.0.0"]).await?.out;
    fs::write(format!("{path}.minisig"), Signer::new()?.sign(&bytes, manifest.trim_end())?)?;
    shell.done("publisher", &["release", "create", "agent", "3.0.0"]).await?;
    let raw = Terminal::start(shell, "publisher", &["release", "upload", "agent-3.0.0", path], "")?.end().await?;
    let left = drawn_in_place(&raw, &format!("/{BINARY}"))?;
    ensure!(left[0].starts_with("Release:"), "what is left is the release: {left:#?}");
    // Once more: refused, since it is published.
    shell.done("publisher", &["release", "publish", "agent-3.0.0"]).await?;
    let words = ["release", "upload", "agent-3.0.0", path];
    let mut refused = Terminal::start(shell, "publisher", &words, "; echo \"it said $?\"")?;
    refused.until("it said 1\r\n", 1).await?;
    let (left, _) = screen(&refused.end().await?);
    ensure!(!left.iter().any(|line| line.contains(&format!("/{BINARY}"))), "a bar is left behind: {left:#?}");
    Ok(())
}

async fn fetched(stream: &Stream, desired: &v1::Desired, mebibytes: u64) -> Result {
    stream.say(Say::Progress(progress(desired, mebibytes))).await
}

/// The host that serves them is away, which takes more words than a line has room for.
async fn breaks_off(stream: &Stream, desired: &v1::Desired) -> Result {
    let (error_code, message) = ("UNREACHABLE".to_owned(), "connection refused; ".repeat(20));
    let waiting = Some(v1::Waiting { error_code, message, since_time: None });
    stream.say(Say::Progress(v1::Progress { waiting, ..progress(desired, 1) })).await
}

fn progress(desired: &v1::Desired, mebibytes: u64) -> v1::Progress {
    v1::Progress {
        attempt: desired.attempt.clone(),
        generation: desired.generation,
        phase: v1::Phase::Downloading.into(),
        bytes_done: mebibytes << 20,
        bytes_total: 4 << 20,
        waiting: None,
    }
}

async fn succeed(stream: &mut Stream, desired: &v1::Desired) -> Result {
    stream.ask_leave(desired).await?;
    stream.report(success(desired)).await
}

/// `bar` was drawn more than once, over itself and in no colour, as `NO_COLOR` asks. Says what is left when it is over: no bar, and a
/// prompt would begin a line.
fn drawn_in_place(raw: &str, bar: &str) -> Result<Vec<String>> {
    ensure!(!raw.contains(" 0/0"), "a bar of nothing: {raw:?}");
    ensure!(raw.matches(bar).count() >= 2, "{bar:?} was not drawn again: {raw:?}");
    let pieces = raw.split(['\r', '\n', ESCAPE]).filter(|piece| piece.contains(bar));
    // A piece may begin with the code that clears the line.
    let widest = pieces.map(|piece| piece.trim_start_matches("[2K").chars().count()).max();
    ensure!(widest.is_some_and(|widest| widest <= COLUMNS), "{bar:?} is wider than the terminal: {raw:?}");
    let mut codes = raw.split(ESCAPE).skip(1).filter_map(|piece| piece.chars().find(char::is_ascii_alphabetic));
    ensure!(!codes.any(|code| code == 'm'), "a colour: {raw:?}");
    let (lines, column) = screen(raw);
    ensure!(!lines.iter().any(|line| line.contains(bar)), "{bar:?} is left behind: {raw:?}");
    ensure!(column == 0, "a prompt would follow in the midst of a line: {raw:?}");
    Ok(lines)
}

/// What a terminal shows of this when it is over, and in which column it goes on.
fn screen(raw: &str) -> (Vec<String>, usize) {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0usize, 0usize);
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            ESCAPE => match code(&mut chars).as_str() {
                "[2K" => lines[row].clear(),
                "[K" => lines[row].truncate(column),
                up if up.ends_with('A') => row = row.saturating_sub(up[1..up.len() - 1].parse().unwrap_or(1)),
                _ => {}
            },
            c => {
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    (lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect(), column)
}

/// What follows an escape: a bracket, a number, a letter.
fn code(chars: &mut Chars<'_>) -> String {
    let mut code = String::new();
    for c in chars {
        code.push(c);
        if c.is_ascii_alphabetic() {
            break;
        }
    }
    code
}

// === impl Terminal ===

impl Terminal {
    /// Runs `novacula` as `role`; `rest` is added to the line as the person would type it.
    fn start(shell: &Shell, role: &str, words: &[&str], rest: &str) -> Result<Self> {
        let program = shell.by(role);
        let program = program.as_std();
        let name = program.get_program().to_string_lossy();
        let words: Vec<_> = std::iter::once(name.as_ref()).chain(words.iter().copied()).collect();
        let line = format!("stty rows 24 cols {COLUMNS}; '{}' {rest}", words.join("' '"));
        let mut command = Command::new("script");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh");
        command.env("TERM", "xterm").env("NO_COLOR", "1").kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start script")?;
        let (keyboard, out) = (child.stdin.take().context("a keyboard")?, child.stdout.take().context("a screen")?);
        Ok(Self { child, out, _keyboard: keyboard, raw: Vec::new() })
    }

    /// Reads until it has shown this so many times.
    async fn until(&mut self, needle: &str, times: usize) -> Result {
        let look = async {
            while self.text().matches(needle).count() < times {
                ensure!(self.out.read_buf(&mut self.raw).await? > 0, "it ended before {needle:?}: {:?}", self.text());
            }
            Ok(())
        };
        let looked = tokio::time::timeout(SOON, look).await;
        looked.unwrap_or_else(|_| Err(anyhow::anyhow!("{needle:?} is never shown: {:?}", self.text())))
    }

    /// All that it wrote, once it has ended as it should.
    async fn end(mut self) -> Result<String> {
        let whole = tokio::time::timeout(SOON, self.out.read_to_end(&mut self.raw)).await;
        whole.with_context(|| format!("it does not end: {:?}", self.text()))??;
        let status = self.child.wait().await?;
        ensure!(status.success(), "{status}: {:?}", self.text());
        Ok(self.text())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}
