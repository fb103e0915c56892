//! A small disk for a cluster's data, to be filled: memory, mounted in a namespace of its own. It is gone with the process
//! that holds it, and nobody else has to unmount anything. Needs root.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Error, LIFE};

/// Mounts, says which process it is, and holds the namespace.
const HOLD: &str = r#"mount -t tmpfs -o "$1" disk "$2" && echo $$ && exec sleep "$3""#;

/// What takes the room.
const FILLER: &str = "filler";

#[derive(Debug)]
pub(crate) struct Disk {
    holder: Child,
    /// Of the process in the namespace.
    pid: u32,
    at: PathBuf,
}

impl Disk {
    /// One at `at`, which belongs to `owner`.
    pub(crate) fn make(at: &Path, mebibytes: u32, (uid, gid): (u32, u32)) -> Result<Self, Error> {
        let io = |error| Error::Io("make a disk", error);
        fs::create_dir(at).map_err(io)?;
        let mut hold = Command::new("timeout");
        hold.args([LIFE, "unshare", "--mount", "sh", "-c", HOLD, "hold"]);
        hold.arg(format!("size={mebibytes}m,mode=700,uid={uid},gid={gid}")).arg(at).arg(LIFE);
        let mut holder = hold.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(io)?;
        let mut said = String::new();
        if let Some(output) = holder.stdout.take() {
            BufReader::new(output).read_line(&mut said).map_err(io)?;
        }
        let pid = said.trim().parse().map_err(|error| io(io::Error::other(error)))?;
        Ok(Self { holder, pid, at: at.to_owned() })
    }

    /// The namespace that programs enter to see it.
    pub(crate) fn namespace(&self) -> String {
        format!("/proc/{}/ns/mnt", self.pid)
    }

    /// A path on it, as it is seen from here.
    pub(crate) fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Takes all the room there is.
    pub(crate) fn fill(&self) -> Result<(), Error> {
        let io = |error| Error::Io("fill the disk", error);
        let mut filler = File::create(self.seen(&self.at.join(FILLER))).map_err(io)?;
        // Large pieces first, so that not a page is left.
        for size in [1 << 20, 1 << 12] {
            let piece = vec![1; size];
            while let Ok(n) = filler.write(&piece)
                && n > 0
            {}
        }
        Ok(())
    }

    /// Gives it back.
    pub(crate) fn free(&self) -> Result<(), Error> {
        fs::remove_file(self.seen(&self.at.join(FILLER))).map_err(|error| Error::Io("free the disk", error))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // `timeout` hands it on to the process that holds the namespace.
        let _ = Command::new("kill").arg(self.holder.id().to_string()).status();
        let _ = self.holder.wait();
    }
}
