//! Which crate may name which: HOUSE's floors, from `cargo metadata`.

use cargo_metadata::{DependencyKind, Package};

use crate::{
    finding::{Finding, Findings},
    source::House,
};

/// A package's folder and the folders it may name. `None` is the roof: it may name everything.
const FLOORS: &[(&str, Option<&[&str]>)] = &[
    ("domain", Some(&[])),
    ("proto", Some(&["domain"])),
    // tests/cluster: a throw-away PostgreSQL, which knows nothing of ours and which the store's suites need.
    ("cluster", Some(&[])),
    ("store", Some(&["domain", "cluster"])),
    ("server", Some(&["proto", "store", "domain"])),
    ("executor-sdk", Some(&["proto", "domain"])),
    ("agent", Some(&["executor-sdk", "domain"])),
    ("operator", Some(&["executor-sdk", "domain"])),
    ("cli", Some(&["proto", "domain"])),
    ("tests", None),
    ("bench", None),
    ("demo", None),
    // deploy/docker: images are made of files and know nothing of what is in them.
    ("docker", Some(&[])),
    // demo/agents, demo/kubernetes
    ("agents", None),
    ("kubernetes", None),
];

/// What the ground floor stands on: data types without I/O, clock or randomness.
const GROUND: &[&str] = &["semver", "thiserror", "uuid", "zeroize"];

/// Ways out of the ground floor that need no dependency.
const WAYS_OUT: &[&str] = &[
    "std :: env",
    "std :: fs",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "std :: process",
    "std :: thread",
    "SystemTime :: now",
    "Instant :: now",
];

/// Dependencies of every kind, tests included, follow the floors.
pub(crate) fn edges(house: &House) -> Findings {
    let mut places = Vec::new();
    for package in &house.metadata.packages {
        let folder = folder(package);
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == folder) else {
            places.push(manifest(
                &folder,
                1,
                format!("package `{}` stands on no floor", package.name),
                "give it a row in tests/tidy/floors.rs and a line in ARCHITECTURE.md",
            ));
            continue;
        };
        let Some(allowed) = allowed else { continue };
        for dependency in &package.dependencies {
            let Some(target) = dependency.path.as_ref().and_then(|path| path.file_name()) else {
                continue;
            };
            if !allowed.contains(&target) {
                places.push(manifest(
                    &folder,
                    line_of(package, dependency.rename.as_deref().unwrap_or(&dependency.name)),
                    format!("`{folder}` names `{target}`"),
                    "move what is shared to a lower floor, or pass it in from above (HOUSE, allowed edges)",
                ));
            }
        }
    }
    Findings::Places(places)
}

/// The ground floor has no door to the outside.
pub(crate) fn ground(house: &House) -> Findings {
    let mut places = Vec::new();
    let domain = house.metadata.packages.iter().find(|package| folder(package) == "domain");
    for dependency in domain
        .iter()
        .flat_map(|package| package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal))
    {
        if !GROUND.contains(&dependency.name.as_str()) {
            places.push(manifest(
                "domain",
                domain.map_or(1, |package| line_of(package, &dependency.name)),
                format!("`domain` depends on `{}`", dependency.name),
                "keep decisions pure: take the value as an argument",
            ));
        }
    }
    for file in house.under("domain/src") {
        for way in WAYS_OUT {
            places.extend(file.occurrences(way).into_iter().filter(|&line| !file.is_test(line)).map(|line| Finding {
                path: file.path.clone(),
                line,
                what: format!("`{}` on the ground floor", way.replace(' ', "")),
                remedy: "keep decisions pure: `now` and whatever was read are arguments",
            }));
        }
    }
    Findings::Places(places)
}

fn folder(package: &Package) -> String {
    package.manifest_path.parent().and_then(|folder| folder.file_name()).unwrap_or_default().to_owned()
}

fn line_of(package: &Package, dependency: &str) -> usize {
    let text = std::fs::read_to_string(&package.manifest_path).unwrap_or_default();
    text.lines().position(|line| line.starts_with(dependency)).map_or(1, |line| line + 1)
}

fn manifest(folder: &str, line: usize, what: String, remedy: &'static str) -> Finding {
    Finding { path: format!("{folder}/Cargo.toml"), line, what, remedy }
}
