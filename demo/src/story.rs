//! What the person who watches sees: numbered chapters on stderr-free stdout, times in units that fit.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Tells the story.
#[derive(Debug)]
pub struct Story {
    chapter: usize,
    began: Instant,
    colour: bool,
}

impl Default for Story {
    fn default() -> Self {
        Self::new()
    }
}

impl Story {
    /// It begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { chapter: 0, began: Instant::now(), colour: io::stdout().is_terminal() }
    }

    /// A new chapter.
    pub fn chapter(&mut self, title: &str) {
        self.chapter += 1;
        let (on, off) = if self.colour { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
        self.write(&format!("\n{on}{}. {title}{off}", self.chapter));
    }

    /// A line of it.
    pub fn tell(&self, line: &str) {
        self.write(&format!("   {line}"));
    }

    /// A command that the reader could type.
    pub fn command(&self, line: &str) {
        let (on, off) = if self.colour { ("\u{1b}[36m", "\u{1b}[0m") } else { ("", "") };
        self.write(&format!("   {on}$ {line}{off}"));
    }

    /// What a program said.
    pub fn quote(&self, text: &str) {
        for line in text.lines() {
            self.write(&format!("   | {line}"));
        }
    }

    /// Since the story began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    #[expect(clippy::unused_self, reason = "only a story writes")]
    fn write(&self, line: &str) {
        // A reader that went away ends the demo at its next step; a line less is no reason to stop cleaning up.
        let _ = writeln!(io::stdout().lock(), "{line}");
    }
}
