//! Images of the products: the same bytes each time, with what is in them said, and they run.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use harness::{
    daemon::succeeded,
    fleet::edition::Edition,
    kube::{Cluster, NODE, Namespace, built, images},
    parts::{Part, trial, workspace},
};
use image::{
    layer::Effort,
    manifest::Image,
    product::{self, Product, Recipe},
};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{LIMIT, Result};

/// What programs say that they are; no release of ours does.
const VERSION: &str = "7.8.9";

/// All that the restricted standard asks of a container, and what ours bear beyond it.
const RESTRICTED: &str =
    r#"{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}"#;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("an_image_is_the_same_bytes_each_time", &[Part::ImageBase], same),
        trial("an_image_says_what_it_is_made_of", &[Part::ImageBase], made_of),
        trial("a_registry_has_the_bill_of_materials_beside_the_image", NODE, beside),
        trial("the_server_runs_from_its_image", NODE, server),
        trial("agent_and_operator_run_from_their_images", NODE, executors),
    ]
}

fn same() -> Result {
    let folder = TempDir::new()?;
    let (one, other) = (make(Product::Operator, folder.path())?, make(Product::Operator, folder.path())?);
    ensure!(one.digest() == other.digest());
    // And another program is another image.
    let recipe = Recipe { program: built("fixture-pod")?, ..recipe(Product::Operator, folder.path())? };
    ensure!(product::make(&recipe)?.digest() != one.digest());
    Ok(())
}

fn made_of() -> Result {
    let folder = TempDir::new()?;
    let image = make(Product::Server, folder.path())?;
    let bill: Value = serde_json::from_slice(image.about()[0].document())?;
    let components = bill["components"].as_array().context("components")?;
    let named = |name: &str| components.iter().find(|component| component["name"] == name);
    for name in ["tonic", "aws-lc-rs", "novacula-domain", "libc6", "ca-certificates"] {
        ensure!(named(name).is_some(), "{name} is in the server");
    }
    for name in ["proptest", "novacula-tests", "prost-build"] {
        ensure!(named(name).is_none(), "{name} is not linked into the server");
    }
    ensure!(
        named("tonic").is_some_and(|tonic| tonic["hashes"][0]["content"].as_str().is_some_and(|hash| hash.len() == 64))
    );

    let files = files(&image)?;
    ensure!(files.contains(&product::bill_path(Product::Server)), "the bill is in the image, too");
    ensure!(files.contains(&"var/lib/dpkg/status.d/libc6".to_owned()), "scanners find the base's packages");
    ensure!(files.contains(&"usr/share/doc/libc6/copyright".to_owned()), "licences come along");
    for file in files {
        let name = file.rsplit('/').next().unwrap_or_default();
        ensure!(!["sh", "bash", "dash", "busybox"].contains(&name), "{file} is a shell");
    }
    Ok(())
}

fn beside() -> Result {
    let cluster = Cluster::shared()?;
    let folder = TempDir::new()?;
    let image = make(Product::Agent, folder.path())?;
    cluster.push(&image, "beside/agent:1")?;
    let registry = cluster.registry().url();
    let fetch = |accept: &str, what: &str| -> Result<Value> {
        let mut curl = Command::new(Part::Curl.find()?);
        let fetched = curl
            .args(["-fsS", "-H", &format!("Accept: {accept}"), &format!("{registry}/v2/beside/agent/{what}")])
            .output()?;
        Ok(serde_json::from_str(&succeeded(&fetched)?)?)
    };
    let list = format!("manifests/sha256-{}", image.digest().digits());
    let list = fetch(image::manifest::INDEX, &list)?;
    ensure!(list["manifests"][0]["artifactType"] == image::sbom::MEDIA_TYPE, "{list}");
    let digest = list["manifests"][0]["digest"].as_str().context("a digest")?;
    let manifest = fetch(image::manifest::MANIFEST, &format!("manifests/{digest}"))?;
    ensure!(manifest["subject"]["digest"] == image.digest().as_str(), "{manifest}");
    let bill = fetch("*/*", &format!("blobs/{}", manifest["layers"][0]["digest"].as_str().context("a digest")?))?;
    ensure!(bill["metadata"]["component"]["name"] == "novacula-agent", "{bill}");
    Ok(())
}

/// As deploy/ runs it, but for the embedded store.
fn server() -> Result {
    let cluster = Cluster::shared()?;
    let namespace = restricted(cluster, "server")?;
    let image = pushed(cluster, Product::Server)?;
    let container = |name: &str, words: &[&str]| -> Result<Value> {
        let data = json!([{ "name": "data", "mountPath": "/var/lib/novacula-server" }]);
        let context: Value = serde_json::from_str(RESTRICTED)?;
        Ok(json!({ "name": name, "image": image, "args": words, "volumeMounts": data, "securityContext": context }))
    };
    let mut serves =
        container("server", &["--api-listen", "0.0.0.0:7443", "--executor-listen", "0.0.0.0:7444", "run"])?;
    serves["readinessProbe"] =
        json!({ "httpGet": { "path": "/readyz", "port": 7443, "scheme": "HTTPS" }, "periodSeconds": 1 });
    let first =
        container("bootstrap", &["bootstrap", "--organization", "acme", "--token-dir", "/var/lib/novacula-server"])?;
    let mut pod = pod("server", serves);
    pod["spec"]["initContainers"] = json!([first]);
    pod["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
    pod["spec"]["securityContext"]["fsGroup"] = json!(65_532);
    namespace.apply(&pod.to_string())?;
    let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
    namespace.wait("v1/pods/server", "a server that is ready", LIMIT, ready)?;
    // Told to end, it drains and does not wait to be killed.
    namespace.kubectl(&["delete", "pod", "server", "--timeout", "60s"]).map(drop)
}

fn executors() -> Result {
    let cluster = Cluster::shared()?;
    let namespace = restricted(cluster, "executors")?;
    for product in [Product::Agent, Product::Operator] {
        let image = pushed(cluster, product)?;
        let context: Value = serde_json::from_str(RESTRICTED)?;
        let container = json!({ "name": "it", "image": image, "args": ["--version"], "securityContext": context });
        let name = product.name();
        namespace.apply(&pod(name, container).to_string())?;
        let ended = |pod: &Value| ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase);
        namespace.wait(&format!("v1/pods/{name}"), "the version", LIMIT, ended)?;
        let said = namespace.kubectl(&["logs", name])?;
        ensure!(said.starts_with(&format!("{name} {VERSION}")), "{said}");
    }
    Ok(())
}

fn pod(name: &str, container: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [container],
        },
    })
}

fn restricted<'c>(cluster: &'c Cluster, name: &str) -> Result<Namespace<'c>> {
    let namespace = cluster.namespace(name)?;
    namespace.restrict()?;
    Ok(namespace)
}

/// By digest, as it is deployed.
fn pushed(cluster: &Cluster, product: Product) -> Result<String> {
    let folder = TempDir::new()?;
    let digest = cluster.push(&make(product, folder.path())?, &format!("{}:{VERSION}", product.name()))?;
    Ok(cluster.registry().pinned(product.name(), &digest))
}

fn make(product: Product, folder: &Path) -> Result<Image> {
    Ok(product::make(&recipe(product, folder)?)?)
}

/// What cargo built for tests, small, and saying that it is [`VERSION`].
fn recipe(product: Product, folder: &Path) -> Result<Recipe> {
    let fixture = match product {
        Product::Server => "fixture-server",
        Product::Agent => "fixture-agent",
        Product::Operator => "fixture-operator",
    };
    let program: PathBuf = folder.join(fixture);
    Edition::good(VERSION).write(&images::stripped(&built(fixture)?, folder)?, &program)?;
    Ok(Recipe {
        product,
        program,
        packages: images::base_packages()?,
        workspace: workspace().to_owned(),
        version: VERSION.to_owned(),
        revision: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        effort: Effort::Least,
    })
}

/// What is in an image, layer by layer.
fn files(image: &Image) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for layer in image.layers() {
        let mut archive = Vec::new();
        flate2::read::GzDecoder::new(layer.blob().content()).read_to_end(&mut archive)?;
        for entry in tar::Archive::new(archive.as_slice()).entries()? {
            files.push(entry?.path()?.display().to_string());
        }
    }
    Ok(files)
}
