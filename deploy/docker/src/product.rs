//! The products, and the upper layer of each.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Error, Result,
    base::Base,
    layer::{Effort, Layer},
    manifest::{Architecture, Image, Settings},
    sbom,
    tree::Tree,
};

/// What there are images of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// The control plane.
    Server,
    /// The executor on hosts; in a container it runs under its own supervisor.
    Agent,
    /// The executor in a cluster.
    Operator,
}

/// What an image is made from.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Which product.
    pub product: Product,
    /// Its program, as cargo built it.
    pub program: PathBuf,
    /// The folder of Debian's packages.
    pub packages: PathBuf,
    /// The workspace that the program was built from.
    pub workspace: PathBuf,
    /// The version that the image says it has.
    pub version: String,
    /// The commit that it was built from.
    pub revision: String,
    /// How hard to compress.
    pub effort: Effort,
}

// === impl Product ===

impl Product {
    /// The crate, the program and the image are called the same.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "novacula-server",
            Self::Agent => "novacula-agent",
            Self::Operator => "novacula-operator",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Server => "Novacula control plane",
            Self::Agent => "Novacula agent",
            Self::Operator => "Novacula operator",
        }
    }

    /// Where the program lies. The operator's is where its chart's probes name it.
    fn path(self) -> String {
        match self {
            Self::Server | Self::Agent => format!("/usr/bin/{}", self.name()),
            Self::Operator => format!("/{}", self.name()),
        }
    }

    fn ports(self) -> Vec<u16> {
        match self {
            // The API; executors.
            Self::Server => vec![7443, 7444],
            Self::Agent | Self::Operator => Vec::new(),
        }
    }

    /// What the program's user may write. What is mounted there takes its owner from here.
    fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Server => &["var/lib/novacula-server", "var/lib/novacula-server/artifacts"],
            Self::Agent => &["var/lib/novacula", "etc/novacula"],
            Self::Operator => &["run/novacula"],
        }
    }
}

/// Makes an image, with its bill of materials in it and beside it.
///
/// # Errors
/// The program or a package cannot be read, or cargo does not say what the program is made of.
pub fn make(recipe: &Recipe) -> Result<Image> {
    let product = recipe.product;
    let program = fs::read(&recipe.program).map_err(Error::read(&recipe.program))?;
    let architecture = Architecture::of(&program).ok_or_else(|| Error::NotAProgram { path: recipe.program.clone() })?;
    let base = Base::from_packages(&recipe.packages, architecture)?;
    let bill = sbom::of(&recipe.workspace, product.name(), architecture, &recipe.version, &base.packages)?;
    let mut tree = Tree::default();
    for folder in product.folders() {
        tree.own_folder(folder);
    }
    tree.program(&product.path(), program);
    tree.file(&bill_path(product), bill.content());
    tree.file(&format!("usr/share/doc/{}/copyright", product.name()), licence(&recipe.workspace)?);
    let layers = vec![Layer::pack(&base.tree, recipe.effort)?, Layer::pack(&tree, recipe.effort)?];
    let settings = Settings {
        entrypoint: vec![product.path()],
        arguments: vec!["run".to_owned()],
        ports: product.ports(),
        labels: labels(recipe),
    };
    Ok(Image::new(layers, &settings, architecture).with(bill))
}

/// Where an image has its bill of materials.
#[must_use]
pub fn bill_path(product: Product) -> String {
    format!("usr/share/sbom/{}.cdx.json", product.name())
}

fn labels(recipe: &Recipe) -> BTreeMap<String, String> {
    let labels = [
        ("title", recipe.product.title()),
        ("version", &recipe.version),
        ("revision", &recipe.revision),
        ("source", env!("CARGO_PKG_REPOSITORY")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
    ];
    let labels = labels.iter().filter(|(_, value)| !value.is_empty());
    labels.map(|(key, value)| (format!("org.opencontainers.image.{key}"), (*value).to_owned())).collect()
}

fn licence(workspace: &Path) -> Result<Vec<u8>> {
    let path = workspace.join("LICENSE");
    fs::read(&path).map_err(Error::read(path))
}
