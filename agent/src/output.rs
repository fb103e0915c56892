//! What is printed: data to stdout, as text for people or JSON for programs; everything else to stderr.

use std::error::Error;
use std::io::{self, Write};

use serde::Serialize;

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document, whose fields are only added to.
    Json,
}

/// Prints data. A reader that went away is no error.
pub fn print<T: Serialize>(format: Format, data: &T, text: impl FnOnce(&T) -> String) {
    let text = match format {
        Format::Text => text(data),
        Format::Json => serde_json::to_string_pretty(data).expect("our own types are always JSON"),
    };
    let _ = writeln!(io::stdout().lock(), "{}", text.trim_end());
}

/// Tells a person something that is no data.
pub fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error with its causes on one line, each said once.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
