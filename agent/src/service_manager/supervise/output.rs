//! The child's output in a file, as long as it needs to be for a report: what journald keeps elsewhere.
//!
//! Each start begins with a line that names it, which is what a cursor points at. The parent writes; anyone who rolls back
//! reads, also after the parent is gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::attempt::outcome::LOG_TAIL_MAX_BYTES;
use uuid::Uuid;

use crate::service_manager::tail;

/// The file in the state directory.
pub const FILE: &str = "supervise.log";

/// When it is longer than this, its newer half is kept.
const FILE_MAX: u64 = 4 * LOG_TAIL_MAX_BYTES as u64;

const MARK: &str = "-- novacula-agent supervise: start ";

/// How a child's line begins that only says how far the file has to be written before it is read.
const SO_FAR: &str = "-- novacula-agent supervise: so far ";

/// How often the file is looked at for it.
const LOOK: Duration = Duration::from_millis(20);

/// A parent that is busier than this costs the last lines, and nothing else.
const PATIENCE: Duration = Duration::from_secs(5);

/// The writing end.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Option<File>,
}

impl Log {
    /// Goes on with the file that is there. A file that cannot be opened costs the log tail, and nothing else.
    #[must_use]
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let file = append(&path).inspect_err(|error| tracing::warn!(%error, "the child's output is not kept")).ok();
        Self { path, file }
    }

    /// Begins the output of one start.
    pub fn mark(&mut self, invocation: &str) {
        self.write(format!("{MARK}{invocation}\n").as_bytes());
    }

    /// Keeps a piece of output. A full disk costs the log tail, and nothing else.
    pub fn write(&mut self, bytes: &[u8]) {
        let Some(file) = self.file.as_mut() else {
            return;
        };
        let kept = file.write_all(bytes).and_then(|()| file.metadata());
        if kept.is_ok_and(|meta| meta.len() > FILE_MAX) {
            match halve(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) => tracing::warn!(%error, "the child's output cannot be cut"),
            }
        }
    }
}

/// What the starts after `cursor` said last; without a cursor, the last of everything.
#[must_use]
pub fn tail_after(state_dir: &Path, cursor: Option<&str>) -> Vec<String> {
    let bytes = fs::read(state_dir.join(FILE)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = tail(after(&text, cursor));
    lines.retain(|line| !line.starts_with(MARK) && !line.starts_with(SO_FAR));
    lines
}

/// Waits until the parent has written everything that this process, its child, has said so far.
pub async fn wait_for_own_lines(state_dir: &Path) {
    let line = format!("{SO_FAR}{}\n", Uuid::new_v4().simple());
    if io::stderr().lock().write_all(line.as_bytes()).is_err() {
        return;
    }
    let written = async {
        while !fs::read(state_dir.join(FILE)).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&line)) {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(PATIENCE, written).await.is_err() {
        tracing::warn!("the last lines may be missing: the supervisor is busy");
    }
}

fn after<'t>(text: &'t str, cursor: Option<&str>) -> &'t str {
    // A cursor that was cut away is older than all that is left.
    let begin = cursor.and_then(|cursor| text.find(&format!("{MARK}{cursor}\n"))).map(|mark| mark + MARK.len());
    begin.map_or(text, |begin| {
        let rest = &text[begin..];
        rest.find(MARK).map_or("", |next| &rest[next..])
    })
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Replaces the file by its newer half.
fn halve(path: &Path) -> io::Result<File> {
    let mut old = File::open(path)?;
    old.seek(SeekFrom::End(-i64::try_from(FILE_MAX / 2).unwrap_or(0)))?;
    let mut newer = Vec::new();
    old.read_to_end(&mut newer)?;
    let begin = newer.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let new = path.with_extension("log.new");
    fs::write(&new, &newer[begin..])?;
    fs::rename(&new, path)?;
    append(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_what_the_starts_after_the_cursor_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path());
        for (start, said) in [("a", "old says\n"), ("b", "new crashes\n"), ("c", "new crashes again\n")] {
            log.mark(start);
            log.write(said.as_bytes());
        }
        assert_eq!(tail_after(dir.path(), Some("a")), ["new crashes", "new crashes again"]);
        assert_eq!(tail_after(dir.path(), Some("c")), Vec::<String>::new());
        assert_eq!(tail_after(dir.path(), Some("cut away")).len(), 3);
        assert_eq!(tail_after(dir.path(), None).len(), 3);
    }

    #[test]
    fn the_file_stays_small_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path());
        for n in 0..20_000 {
            log.write(format!("line {n:05} of a child that talks and talks\n").as_bytes());
        }
        assert!(fs::metadata(dir.path().join(FILE)).unwrap().len() <= FILE_MAX);
        assert!(tail_after(dir.path(), None).last().unwrap().starts_with("line 19999"));
    }
}
