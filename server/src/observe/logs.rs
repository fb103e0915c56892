//! Logs: JSON lines for programs, text for a terminal; to standard error, since standard output is for data.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Begins to log. A program that embeds us and logs by itself goes on doing so.
pub fn install(level: tracing::Level, format: Option<Format>) {
    let format = format.unwrap_or(if io::stderr().is_terminal() { Format::Text } else { Format::Json });
    // What libraries say below a warning is about themselves.
    let directives = format!("warn,server={level},novacula_server={level},store={level},novacula_store={level}");
    let filter = EnvFilter::new(directives);
    let fmt = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let installed = match format {
        Format::Text => tracing::subscriber::set_global_default(fmt.finish()),
        Format::Json => {
            let json = fmt.json().flatten_event(true).with_current_span(true).with_span_list(false);
            tracing::subscriber::set_global_default(json.finish())
        }
    };
    if installed.is_err() {
        tracing::debug!("a subscriber was installed before");
    }
}
