//! What an image is made of, as CycloneDX: every crate that is linked in and every package of the base.
//!
//! The list comes from what cargo resolved for this program and platform (not for tests, not for build scripts), with the
//! checksums of the lock file. It has neither a time nor a random number, since the image that carries it is reproducible.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, PackageId};
use serde_json::{Value, json};

use crate::{Error, Result, base::Package, blob::Blob, manifest::Architecture};

/// What registries call a bill of materials.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// The bill of materials of a program: `package` of the workspace at `root`, over these packages of Debian's.
///
/// # Errors
/// Cargo does not answer, or has no such package.
pub fn of(root: &Path, package: &str, architecture: Architecture, version: &str, base: &[Package]) -> Result<Blob> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| Error::Dependencies { package: package.to_owned(), source };
    let platform = match architecture {
        Architecture::Amd64 => "x86_64-unknown-linux-gnu",
        Architecture::Arm64 => "aarch64-unknown-linux-gnu",
    };
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .features(CargoOpt::SomeFeatures(Vec::new()))
        .other_options(["--locked", "--filter-platform", platform].map(str::to_owned))
        .exec()
        .map_err(|error| failed(error.into()))?;
    let found = metadata.workspace_packages().into_iter().find(|known| known.name.as_str() == package);
    let found = found.ok_or_else(|| failed("the workspace has no such package".into()))?;
    let lock = root.join("Cargo.lock");
    let lock = fs::read_to_string(&lock).map_err(Error::read(lock))?;
    let document = document(&metadata, &found.id, version, &checksums(&lock), base);
    Ok(Blob::new(MEDIA_TYPE, format!("{document:#}\n").into_bytes()))
}

fn document(
    metadata: &Metadata,
    program: &PackageId,
    version: &str,
    checksums: &BTreeMap<(String, String), String>,
    base: &[Package],
) -> Value {
    let edges = linked(metadata, program);
    let purl = |id: &PackageId| {
        let package = &metadata[id];
        format!("pkg:cargo/{}@{}", package.name, package.version)
    };
    let mut components: BTreeMap<String, Value> = BTreeMap::new();
    let mut dependencies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (id, needs) in &edges {
        dependencies.insert(purl(id), needs.iter().map(purl).collect());
        if id != program {
            components.insert(purl(id), crate_component(&metadata[id], &purl(id), checksums));
        }
    }
    for package in base {
        let reference = deb(package);
        dependencies.entry(purl(program)).or_default().insert(reference.clone());
        components.insert(reference.clone(), base_component(package, &reference));
    }
    let dependencies: Vec<_> =
        dependencies.into_iter().map(|(reference, needs)| json!({ "ref": reference, "dependsOn": needs })).collect();
    let name = metadata[program].name.as_str();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": {
            "type": "application", "bom-ref": purl(program), "name": name, "version": version,
            "licenses": [{ "expression": metadata[program].license.as_deref().unwrap_or_default() }],
        } },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies,
    })
}

/// Everything that the program links, each with what it links itself.
fn linked(metadata: &Metadata, program: &PackageId) -> BTreeMap<PackageId, Vec<PackageId>> {
    let nodes = metadata.resolve.as_ref().map(|resolve| resolve.nodes.as_slice()).unwrap_or_default();
    let mut edges = BTreeMap::new();
    let mut waiting = vec![program.clone()];
    while let Some(id) = waiting.pop() {
        if edges.contains_key(&id) {
            continue;
        }
        let node = nodes.iter().find(|node| node.id == id);
        let needs: Vec<_> = node
            .into_iter()
            .flat_map(|node| &node.deps)
            .filter(|needed| needed.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal))
            .map(|needed| needed.pkg.clone())
            .collect();
        waiting.extend(needs.iter().cloned());
        edges.insert(id, needs);
    }
    edges
}

fn crate_component(
    package: &cargo_metadata::Package,
    purl: &str,
    checksums: &BTreeMap<(String, String), String>,
) -> Value {
    let (name, version) = (package.name.to_string(), package.version.to_string());
    let mut component = json!({ "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl });
    if let Some(license) = &package.license {
        // The slash is the way of before there were expressions.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if let Some(checksum) = checksums.get(&(name, version)) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn base_component(package: &Package, reference: &str) -> Value {
    json!({
        "type": "library", "bom-ref": reference, "name": package.name, "version": package.version, "purl": reference,
        "hashes": [{ "alg": "SHA-256", "content": package.digest.digits() }],
    })
}

fn deb(package: &Package) -> String {
    let version = package.version.replace('+', "%2B").replace(':', "%3A");
    let (name, architecture, release) = (&package.name, &package.architecture, &package.release);
    format!("pkg:deb/debian/{name}@{version}?arch={architecture}&distro={release}")
}

/// Name and version to checksum, out of a lock file.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut checksums = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let of = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.map(|value| value.trim_end_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(checksum)) = (of("name"), of("version"), of("checksum")) {
            checksums.insert((name, version), checksum);
        }
    }
    checksums
}
