//! `cargo image server --binary target/dist/novacula-server --output server.tar`

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use image::{
    layer::Effort,
    layout,
    manifest::Image,
    product::{self, Product, Recipe},
    push::{self, Access},
};

/// Make a container image of a product, and say the digest by which it is deployed
///
/// The same program and packages give the same digest on any machine. No Docker daemon is needed.
#[derive(Debug, Parser)]
#[command(name = "novacula-image", version)]
struct Arguments {
    /// What to make an image of
    product: Which,
    /// Its program, as cargo built it: target/dist/novacula-server, for example
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// The folder of Debian's packages for the base; without it, what deploy/dev/parts fetched
    #[arg(long, value_name = "DIRECTORY")]
    packages: Option<PathBuf>,
    /// The commit that the program was built from; without it, the checkout's
    #[arg(long, value_name = "COMMIT")]
    revision: Option<String>,
    /// What the image is called in the file of --output; without it, the product's name and version
    #[arg(long, value_name = "REPOSITORY:TAG")]
    name: Option<String>,
    /// Write it as an OCI layout in a tar, for `ctr images import`, `podman load` and `skopeo copy oci-archive:`
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the bill of materials (CycloneDX), which is in the image as well
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,
    /// Send it to a registry
    #[arg(long, value_name = "REGISTRY/REPOSITORY:TAG")]
    push: Option<String>,
    /// Who sends it, where the registry asks
    #[arg(long, env = "NOVACULA_REGISTRY_USER", requires = "password", value_name = "NAME")]
    user: Option<String>,
    /// The user's password or token; by the environment, where nobody else reads it
    #[arg(long, env = "NOVACULA_REGISTRY_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    password: Option<String>,
    /// Authorities that vouch for the registry, beside the public ones (PEM)
    #[arg(long, value_name = "FILE")]
    registry_ca: Option<PathBuf>,
    /// Speak HTTP without TLS with the registry, as with one on loopback
    #[arg(long)]
    plain_http: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Server,
    Agent,
    Operator,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(digest) => {
            say(&digest);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let recipe = Recipe {
        product: match arguments.product {
            Which::Server => Product::Server,
            Which::Agent => Product::Agent,
            Which::Operator => Product::Operator,
        },
        program: arguments.binary.clone(),
        packages: match &arguments.packages {
            Some(packages) => packages.clone(),
            None => fetched(&workspace)?,
        },
        revision: match &arguments.revision {
            Some(revision) => revision.clone(),
            None => commit(&workspace),
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        effort: Effort::Best,
        workspace,
    };
    let image = product::make(&recipe)?;
    if let (Some(path), Some(bill)) = (&arguments.sbom, image.about().first()) {
        std::fs::write(path, bill.document()).with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &arguments.output {
        let name = format!("{}:{}", recipe.product.name(), recipe.version);
        layout::write(&image, arguments.name.as_ref().unwrap_or(&name), path)?;
    }
    match &arguments.push {
        Some(name) => send(arguments, &image, name),
        None => Ok(image.digest().to_string()),
    }
}

fn send(arguments: &Arguments, image: &Image, name: &str) -> Result<String> {
    let access = Access {
        credentials: arguments.user.clone().zip(arguments.password.clone()),
        authorities: arguments.registry_ca.clone(),
        plain_http: arguments.plain_http,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let digest = runtime.block_on(push::push(image, name, &access))?;
    // A digest without the tag: what is deployed does not move.
    let repository = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(before, _)| before);
    Ok(format!("{repository}@{digest}"))
}

/// Where deploy/dev/parts left the packages.
fn fetched(workspace: &Path) -> Result<PathBuf> {
    let told = Command::new(workspace.join(".parts/bin/image-base")).output();
    let told = told.context("find the base's packages: run deploy/dev/parts, or name their folder with --packages")?;
    ensure!(told.status.success(), "deploy/dev/parts left a base that does not say where it is: run it again");
    Ok(PathBuf::from(String::from_utf8(told.stdout)?.trim()))
}

/// Nothing outside of a checkout.
fn commit(workspace: &Path) -> String {
    let told = Command::new("git").current_dir(workspace).args(["rev-parse", "HEAD"]).output();
    let told = told.ok().filter(|told| told.status.success());
    told.map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned()).unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "the digest is what this program is run for")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a program says on stderr why it failed")]
fn complain(line: &str) {
    eprintln!("novacula-image: {line}");
}
