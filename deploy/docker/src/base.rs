//! The lower layer: what a dynamically linked Rust program needs, out of Debian's own packages.
//!
//! Taken are the libraries, the public authorities (as one file, the way `update-ca-certificates` writes it) and each package's
//! licence; nothing that runs by itself, so there is no shell to break out into. Each package leaves its entry where scanners of
//! images look for it, so that a hole in the C library is found in ours as in any.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use tar::{Archive, EntryType};

use crate::{
    Error, Result,
    blob::Digest,
    manifest::Architecture,
    tree::{Kind, NONROOT, Node, Tree},
};

/// Debian's packages that a base is made of.
const PACKAGES: [&str; 4] = ["ca-certificates", "gcc-12-base", "libc6", "libgcc-s1"];

/// Where the authorities of the packages lie, and where programs look for them.
const AUTHORITIES: &str = "usr/share/ca-certificates/mozilla/";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// The layer's files, and what they came from.
#[derive(Debug, Clone)]
pub struct Base {
    /// What is packed.
    pub tree: Tree,
    /// For the bill of materials.
    pub packages: Vec<Package>,
}

/// A package of Debian's.
#[derive(Debug, Clone)]
pub struct Package {
    /// As `libc6`.
    pub name: String,
    /// As `2.36-9+deb12u14`.
    pub version: String,
    /// `amd64`, `arm64` or `all`.
    pub architecture: String,
    /// As `debian-12`.
    pub release: String,
    /// Of the package's file.
    pub digest: Digest,
}

// === impl Base ===

impl Base {
    /// Out of a folder of packages (`.deb`) and the `os-release` of the Debian that they are of.
    ///
    /// # Errors
    /// A package is missing, or `dpkg-deb` cannot read it.
    pub fn from_packages(folder: &Path, architecture: Architecture) -> Result<Self> {
        let about = folder.join("os-release");
        let about = fs::read_to_string(&about).map_err(Error::read(about))?;
        let release = format!("{}-{}", field(&about, "ID"), field(&about, "VERSION_ID"));
        let mut base = Self { tree: Tree::default(), packages: Vec::new() };
        let mut authorities = String::new();
        for name in PACKAGES {
            let path = find(folder, name)?;
            let package = Package::read(&path, release.clone(), &mut base.tree)?;
            if package.architecture != "all" && package.architecture != architecture.as_str() {
                let (program, packages) = (architecture.as_str(), package.architecture);
                return Err(Error::Platforms { program, package: package.name, packages });
            }
            unpack(&path, &mut base.tree, &mut authorities)?;
            base.packages.push(package);
        }
        base.tree.file(BUNDLE, authorities);
        base.identity(&about);
        Ok(base)
    }

    /// Who is known here, and what this is.
    fn identity(&mut self, about: &str) {
        let id = NONROOT;
        let tree = &mut self.tree;
        tree.file(
            "etc/passwd",
            format!("root:x:0:0:root:/:/nologin\nnonroot:x:{id}:{id}:nonroot:/home/nonroot:/nologin\n"),
        );
        tree.file("etc/group", format!("root:x:0:\nnonroot:x:{id}:\n"));
        tree.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
        let known = ["ID", "VERSION_ID", "VERSION_CODENAME"].map(|key| format!("{key}=\"{}\"\n", field(about, key)));
        let name = "NAME=\"Novacula base\"\nPRETTY_NAME=\"Novacula base, of Debian's packages\"\n";
        tree.file("etc/os-release", format!("{name}{}", known.concat()));
        tree.own_folder("home/nonroot");
        tree.add("tmp", Node { kind: Kind::Folder, mode: 0o1777, owner: 0 });
    }
}

// === impl Package ===

impl Package {
    /// Its description, which goes where scanners look for it.
    fn read(path: &Path, release: String, tree: &mut Tree) -> Result<Self> {
        let description = dpkg("--field", path)?;
        let description = String::from_utf8_lossy(&description);
        let of = |key: &str| {
            let line = description.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            line.unwrap_or_default().to_owned()
        };
        let file = fs::read(path).map_err(Error::read(path))?;
        let package = Self {
            name: of("Package"),
            version: of("Version"),
            architecture: of("Architecture"),
            release,
            digest: Digest::of(&file),
        };
        tree.file(&format!("var/lib/dpkg/status.d/{}", package.name), description.as_bytes());
        Ok(package)
    }
}

/// The files of a package that are wanted.
fn unpack(path: &Path, tree: &mut Tree, authorities: &mut String) -> Result<()> {
    let content = dpkg("--fsys-tarfile", path)?;
    let mut found = Vec::new();
    let mut archive = Archive::new(content.as_slice());
    for entry in archive.entries().map_err(Error::read(path))? {
        let mut entry = entry.map_err(Error::read(path))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        let kind = match entry.header().entry_type() {
            EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).map_err(Error::read(path))?;
                Kind::File(content)
            }
            EntryType::Symlink => {
                Kind::Link(String::from_utf8_lossy(&entry.link_name_bytes().unwrap_or_default()).into_owned())
            }
            _ => continue,
        };
        found.push((name, entry.header().mode().unwrap_or(0o644), kind));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, mode, kind) in found {
        match kind {
            Kind::File(content) if name.starts_with(AUTHORITIES) => {
                authorities.push_str(String::from_utf8_lossy(&content).trim_end());
                authorities.push('\n');
            }
            kind if wanted(&name) => tree.add(&name, Node { kind, mode, owner: 0 }),
            _ => {}
        }
    }
    Ok(())
}

/// Libraries and licences. Left out are conversions between alphabets, which take twice the room of all the rest.
fn wanted(name: &str) -> bool {
    let library = name.starts_with("lib/") || name.starts_with("lib64/");
    let licence = name.strip_prefix("usr/share/doc/").is_some_and(|rest| {
        // One package's folder may be a link to another's.
        rest.ends_with("/copyright") || !rest.contains('/')
    });
    library || licence
}

fn find(folder: &Path, name: &'static str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(Error::read(folder))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let prefix = format!("{name}_");
    let is = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        file.starts_with(&prefix) && file.ends_with(".deb")
    };
    files.into_iter().find(is).ok_or_else(|| Error::NoPackage { name, folder: folder.to_owned() })
}

fn dpkg(what: &str, path: &Path) -> Result<Vec<u8>> {
    let output = Command::new("dpkg-deb").arg(what).arg(path).output().map_err(Error::read(path))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Foreign { program: "dpkg-deb", path: path.to_owned(), complaint })
}

/// Of a file like `os-release`.
fn field(text: &str, key: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}
