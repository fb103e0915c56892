//! The pin: a file in the state directory whose presence refuses upgrades and whose text says why.

use std::fs;
use std::io;
use std::path::Path;

use executor_sdk::disk::{self, Mode};

use crate::layout::Layout;

/// Longest reason kept, in bytes: it travels in every hello.
const REASON_MAX: usize = 256;

/// Pins.
///
/// # Errors
/// When the state directory cannot be written.
pub fn pin(layout: &Layout, reason: &str) -> Result<(), disk::Error> {
    disk::replace(layout.state_dir(), "pinned", format!("{}\n", tidy(reason)).as_bytes(), Mode::Private)
}

/// Takes the pin away; says whether there was one.
///
/// # Errors
/// When it cannot be removed.
pub fn unpin(layout: &Layout) -> io::Result<bool> {
    match fs::remove_file(layout.pin()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Why upgrades are refused, when they are. A pin that cannot be read is a pin.
#[must_use]
pub fn reason(layout: &Layout) -> Option<String> {
    read(&layout.pin())
}

fn read(path: &Path) -> Option<String> {
    match fs::read(path) {
        Ok(bytes) => Some(tidy(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(format!("pinned; the reason cannot be read: {error}")),
    }
}

/// One line, no control characters, bounded.
fn tidy(reason: &str) -> String {
    let line: String = reason.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let mut end = line.len().min(REASON_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    if line.is_empty() { "pinned".to_owned() } else { line[..end].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_back_and_taken_away_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new("/b", dir.path(), "/c");
        assert_eq!(reason(&layout), None);
        pin(&layout, " audit\nuntil \u{1b}friday ").unwrap();
        assert_eq!(reason(&layout).as_deref(), Some("audit until  friday"));
        assert!(unpin(&layout).unwrap());
        assert!(!unpin(&layout).unwrap());
    }

    #[test]
    fn a_pin_without_readable_words_still_pins() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new("/b", dir.path(), "/c");
        fs::write(layout.pin(), "ä".repeat(REASON_MAX)).unwrap();
        assert!(reason(&layout).unwrap().len() <= REASON_MAX);
        fs::write(layout.pin(), "").unwrap();
        assert_eq!(reason(&layout).as_deref(), Some("pinned"));
        fs::remove_file(layout.pin()).unwrap();
        fs::create_dir(layout.pin()).unwrap();
        assert!(reason(&layout).is_some());
    }
}
