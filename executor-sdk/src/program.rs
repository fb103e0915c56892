//! An executor's program from its first line to its last: its arguments, its log, the signals that end it. For programs that are
//! written like Novacula's own, agent and operator; behind the feature `program`, since others have their own ways.

use std::io;
use std::process::ExitCode;

use clap::{Command, FromArgMatches, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Level;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;

use crate::release_keys::{BuildKind, build_kind};

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON document a line.
    Json,
}

/// SIGTERM and SIGINT, which both ask for an end in order. Listens from its creation on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// What was typed, as `parser` reads it; `--version` answers with `version`, and says whether this is a development build.
///
/// # Errors
/// The code to end with; what there is to say was said.
pub fn arguments<A: FromArgMatches>(parser: Command, version: &str) -> Result<A, ExitCode> {
    let shown = match build_kind() {
        BuildKind::Development => format!("{version} (development build)"),
        BuildKind::Release => version.to_owned(),
    };
    let matches = parser.version(&*shown.leak()).try_get_matches();
    matches.and_then(|matches| A::from_arg_matches(&matches)).map_err(|error| {
        // Help and version are data, and end with 0; clap knows.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// Logs to `writer` from here on. journald adds time and level of its own, so that text says no time there.
pub fn log<W>(format: LogFormat, level: Level, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let base = fmt().with_writer(writer).with_max_level(level).with_target(false).with_ansi(false);
    let journald = std::env::var_os("JOURNAL_STREAM").is_some();
    // A second subscriber in one process is a test's; the first one stays.
    let _ = match (format, journald) {
        (LogFormat::Json, _) => base.json().try_init(),
        (LogFormat::Text, true) => base.without_time().try_init(),
        (LogFormat::Text, false) => base.try_init(),
    };
}

// === impl Signals ===

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the runtime cannot.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one. Cancel-safe.
    pub async fn recv(&mut self) {
        tokio::select! {
            // Whoever started it ends it so.
            _ = self.terminate.recv() => {}
            // A person does.
            _ = self.interrupt.recv() => {}
        }
    }
}
