//! Files of the machine, from the host's side.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{Lab, root};

impl Lab {
    /// Where the host finds a file of the machine, on or off. Links are followed as inside. Not for `/tmp` and `/run`.
    ///
    /// # Errors
    ///
    /// When the path is relative or its links run in a circle.
    pub fn path(&self, inside: impl AsRef<Path>) -> Result<PathBuf> {
        let inside = inside.as_ref();
        ensure!(inside.is_absolute(), "{} is not absolute", inside.display());
        let followed = root::follow(inside, |path| self.locate(path))?;
        Ok(self.locate(&followed))
    }

    /// Writes a file (0644), and the folders above it.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, inside: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<()> {
        let inside = inside.as_ref();
        let path = self.with_parent(inside)?;
        fs::write(&path, contents).with_context(|| format!("write {} of the lab", inside.display()))
    }

    /// Copies a program of the host (0755).
    ///
    /// # Errors
    ///
    /// When it cannot be read here or written there.
    pub fn install(&self, program: impl AsRef<Path>, inside: impl AsRef<Path>) -> Result<()> {
        let (program, inside) = (program.as_ref(), inside.as_ref());
        let path = self.with_parent(inside)?;
        fs::copy(program, &path)
            .and_then(|_| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("install {} as {} of the lab", program.display(), inside.display()))
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn read(&self, inside: impl AsRef<Path>) -> Result<Vec<u8>> {
        let inside = inside.as_ref();
        fs::read(self.path(inside)?).with_context(|| format!("read {} of the lab", inside.display()))
    }

    /// Whether something is there; a link that leads nowhere is not.
    ///
    /// # Errors
    ///
    /// When the path is relative or its links run in a circle.
    pub fn exists(&self, inside: impl AsRef<Path>) -> Result<bool> {
        Ok(self.path(inside)?.exists())
    }

    /// Writes a unit file. A running machine learns of it by `systemctl daemon-reload`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn unit(&self, name: &str, text: &str) -> Result<()> {
        self.write(Path::new(root::UNITS).join(name), text)
    }

    /// Lets the next boot start a unit, whatever its `[Install]` section says.
    ///
    /// # Errors
    ///
    /// When the link cannot be made.
    pub fn enable(&self, unit: &str) -> Result<()> {
        let target = if unit.ends_with(".timer") { "timers" } else { "multi-user" };
        let link = self.with_parent(&Path::new(root::UNITS).join(format!("{target}.target.wants/{unit}")))?;
        match symlink(format!("../{unit}"), &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("enable {unit}"))
            }
            _ => Ok(()),
        }
    }

    /// Where the host finds a path without links on its way: on the deepest disk that holds it, or on the root.
    fn locate(&self, inside: &Path) -> PathBuf {
        let held = self
            .disks
            .iter()
            .filter_map(|disk| Some((disk, inside.strip_prefix(disk.inside()).ok()?)))
            .min_by_key(|(_, rest)| rest.components().count());
        match held {
            Some((disk, rest)) => self.strip.seen(&disk.mount().join(rest)),
            None => self.root.locate(&self.strip, inside),
        }
    }

    fn with_parent(&self, inside: &Path) -> Result<PathBuf> {
        let path = self.path(inside)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("make the folder of {}", inside.display()))?;
        }
        Ok(path)
    }
}
