//! What is printed: data to stdout, as text for people or JSON for programs; everything else to stderr.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

/// A slow reader of our stderr is given this long for each piece; one that has stalled costs no more.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What a pipe with any room takes at once (`PIPE_BUF`).
const PIECE: usize = 4096;

/// The stderr of a process that others rely on: what nobody takes within a moment is dropped, and nothing waits for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Impatient;

impl Write for Impatient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
        let room = poll(&mut polled, Some(&MOMENT)).is_ok_and(|ready| ready > 0);
        if room { stderr.write(&bytes[..bytes.len().min(PIECE)]) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

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
