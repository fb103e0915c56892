//! Whether a package manager owns a file. Its next upgrade would overwrite ours, so such an agent says that it is pinned.
//!
//! dpkg's file lists are read as they are, rpm is asked; other package managers are not known, and a person pins instead.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use crate::apply::obstacle::Obstacle;
use crate::command;

/// dpkg's lists of installed files, one per package.
const DPKG_LISTS: &str = "/var/lib/dpkg/info";

/// rpm's databases, old and new.
const RPM_DATABASES: [&str; 2] = ["/var/lib/rpm", "/usr/lib/sysimage/rpm"];

/// rpm may wait for a lock that an installation holds.
const RPM_LIMIT: Duration = Duration::from_secs(10);

/// The package that owns `binary`, if one does.
pub async fn owner(binary: &Path) -> Option<Obstacle> {
    if let Some(package) = dpkg(Path::new(DPKG_LISTS), binary) {
        return Some(Obstacle::PackageOwned { path: binary.to_owned(), manager: "dpkg", package });
    }
    if RPM_DATABASES.iter().any(|path| Path::new(path).is_dir()) {
        return rpm(binary).await;
    }
    None
}

/// Searches dpkg's lists. A list that cannot be read owns nothing: a false alarm would pin a healthy host.
fn dpkg(lists: &Path, binary: &Path) -> Option<String> {
    let wanted = binary.to_str()?;
    let mut line = String::new();
    for entry in fs::read_dir(lists).ok()?.flatten() {
        let name = entry.file_name();
        let Some(package) = name.to_str().and_then(|name| name.strip_suffix(".list")) else {
            continue;
        };
        let Ok(list) = File::open(entry.path()) else {
            continue;
        };
        let mut list = BufReader::new(list);
        loop {
            line.clear();
            match list.read_line(&mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) if line.trim_end() == wanted => return Some(package.to_owned()),
                Ok(_) => {}
            }
        }
    }
    None
}

async fn rpm(binary: &Path) -> Option<Obstacle> {
    let arguments = ["-qf", "--queryformat", "%{NAME}\n"].map(str::to_owned);
    let path = binary.to_str()?.to_owned();
    let output = command::run("rpm", arguments.into_iter().chain([path]), RPM_LIMIT).await.ok()?;
    let package = output.stdout.lines().next()?.trim().to_owned();
    output.success.then(|| Obstacle::PackageOwned { path: binary.to_owned(), manager: "rpm", package })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_binary_is_owned_and_a_directory_above_it_is_not() {
        let lists = tempfile::tempdir().unwrap();
        fs::write(lists.path().join("other.list"), "/.\n/opt\n/opt/novacula/bin\n").unwrap();
        let binary = Path::new("/opt/novacula/bin/novacula-agent");
        assert_eq!(dpkg(lists.path(), binary), None);
        fs::write(lists.path().join("novacula-agent:amd64.list"), format!("/.\n{}\n", binary.display())).unwrap();
        assert_eq!(dpkg(lists.path(), binary), Some("novacula-agent:amd64".to_owned()));
        assert_eq!(dpkg(&lists.path().join("absent"), binary), None);
    }
}
