//! `install` and `uninstall`: binary, directories and units in place, or gone. Both may be repeated.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use executor_sdk::disk::{Mode, replace, sync_directory};
use executor_sdk::report::chain;

use crate::args::{Install, Uninstall};
use crate::disk::{self, Content, content, copy_executable, during, remove_if_there};
use crate::exit::Failure;
use crate::layout::Layout;
use crate::output::tell;
use crate::service_manager::systemd::systemctl;
use crate::units;

/// The example that becomes the host's configuration where there is none.
const CONFIG_EXAMPLE: &str = include_str!("../../deploy/systemd/agent.toml");

/// Puts everything in place.
///
/// # Errors
/// With what could not be done; repeating goes on from there.
pub async fn install(layout: &Layout, arguments: &Install) -> Result<(), Failure> {
    let root = arguments.root.as_deref().unwrap_or(Path::new("/"));
    put_in_place(layout, root)?;
    if arguments.root.is_some() {
        tell("installed into the image; enable novacula-agent.service and novacula-agent-deadman.timer there");
        return Ok(());
    }
    if !Path::new("/run/systemd/system").is_dir() {
        let binary = units::typed(layout);
        tell(&format!("installed; this host is not run by systemd, so start it with: {binary} run --supervise"));
        return Ok(());
    }
    ask(&["daemon-reload"]).await?;
    let enable: &[&str] = if arguments.no_start { &["enable"] } else { &["enable", "--now"] };
    ask(&[enable, units::ENABLED.as_slice()].concat()).await?;
    let enroll = format!("{} enroll --join-token-file FILE", units::typed(layout));
    tell(&if arguments.no_start {
        format!("installed and enabled; next: {enroll}, then: systemctl start novacula-agent")
    } else {
        format!("installed, enabled and started; next, unless this host is enrolled: {enroll}")
    });
    Ok(())
}

fn put_in_place(layout: &Layout, root: &Path) -> Result<(), Failure> {
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let there = Layout::new(inside(layout.binary()), inside(layout.state_dir()), inside(layout.config()));
    make_directory(there.directory(), 0o755)?;
    make_directory(there.state_dir(), 0o700)?;
    place_binary(&there).map_err(|error| Failure::because(&error))?;
    if let Some(directory) = there.config().parent() {
        make_directory(directory, 0o755)?;
        if content(there.config()) == Content::Missing {
            write(directory, there.config(), CONFIG_EXAMPLE)?;
        }
    }
    let units = inside(Path::new(units::DIRECTORY));
    make_directory(&units, 0o755)?;
    for unit in units::all(layout) {
        write(&units, &units.join(unit.name), &unit.text)?;
    }
    Ok(())
}

/// Copies this program to its place, and beside it as the first `.prev`, so that the ways back have code to run from the
/// first day. A binary that is there already is this host's business: upgrades replace it, or a person removes it first.
fn place_binary(layout: &Layout) -> Result<(), disk::Error> {
    let own = Path::new("/proc/self/exe");
    if content(layout.binary()) == Content::Missing {
        copy_executable(own, &layout.back())?;
        fs::rename(layout.back(), layout.binary()).map_err(during("rename to", layout.binary()))?;
    }
    if content(&layout.previous()) == Content::Missing {
        copy_executable(layout.binary(), &layout.previous_new())?;
        fs::rename(layout.previous_new(), layout.previous()).map_err(during("rename to", &layout.previous()))?;
    }
    sync_directory(layout.directory()).map_err(|error| disk::Error {
        action: "sync",
        path: error.path,
        source: error.source,
    })
}

/// Stops everything and removes the units; with `--purge` also what they ran.
///
/// # Errors
/// With what could not be removed; repeating goes on from there.
pub async fn uninstall(layout: &Layout, arguments: &Uninstall) -> Result<(), Failure> {
    let systemd = Path::new("/run/systemd/system").is_dir();
    let units: Vec<_> = units::all(layout).into_iter().map(|unit| unit.name).collect();
    let directory = Path::new(units::DIRECTORY);
    let installed: Vec<&str> = units.iter().copied().filter(|name| directory.join(name).exists()).collect();
    if systemd && !installed.is_empty() {
        ask(&[&["disable", "--now"], units::ENABLED.as_slice()].concat()).await?;
        ask(&[&["stop"], installed.as_slice()].concat()).await?;
    }
    for name in installed {
        remove_if_there(&directory.join(name)).map_err(|error| Failure::because(&error))?;
    }
    if systemd {
        ask(&["daemon-reload"]).await?;
    }
    if arguments.purge {
        purge(layout)?;
    }
    tell(if arguments.purge {
        "uninstalled, and everything removed"
    } else {
        "uninstalled; binary and state are kept"
    });
    Ok(())
}

fn purge(layout: &Layout) -> Result<(), Failure> {
    let binaries = [layout.previous(), layout.previous_new(), layout.back(), layout.binary().to_owned()];
    for path in binaries.iter().map(AsRef::as_ref).chain([layout.config()]) {
        remove_if_there(path).map_err(|error| Failure::because(&error))?;
        if let Some(directory) = path.parent() {
            // Whatever else is in it is not ours.
            let _ = fs::remove_dir(directory);
        }
    }
    match fs::remove_dir_all(layout.state_dir()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::failed(format!("remove {}: {error}", layout.state_dir().display())))
        }
        _ => Ok(()),
    }
}

async fn ask(words: &[&str]) -> Result<(), Failure> {
    systemctl(words.iter().copied()).await.map_err(|error| Failure::because(&error))
}

fn make_directory(path: &Path, mode: u32) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|error| Failure::failed(format!("create {}: {error}", path.display())))
}

fn write(directory: &Path, path: &Path, text: &str) -> Result<(), Failure> {
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    replace(directory, &name.to_string_lossy(), text.as_bytes(), Mode::Public)
        .map_err(|error| Failure::failed(chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_gets_everything_once_and_keeps_what_is_its_own() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::default();
        put_in_place(&layout, root.path()).unwrap();
        let at = |path: &Path| root.path().join(path.strip_prefix("/").unwrap());
        assert_eq!(
            content(&at(layout.binary())),
            content(Path::new("/proc/self/exe").canonicalize().unwrap().as_path())
        );
        assert_eq!(content(&at(layout.binary())), content(&at(&layout.previous())));
        assert!(at(Path::new("/etc/systemd/system/novacula-agent-deadman.timer")).exists());
        fs::write(at(layout.config()), "# mine\n").unwrap();
        fs::write(at(layout.binary()), "upgraded since").unwrap();
        put_in_place(&layout, root.path()).unwrap();
        assert_eq!(fs::read_to_string(at(layout.config())).unwrap(), "# mine\n");
        assert_eq!(fs::read_to_string(at(layout.binary())).unwrap(), "upgraded since");
    }
}
