//! Images of test programs, over the same base as the products'.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow};
use image::{
    base::Base,
    layer::{Effort, Layer},
    manifest::{Architecture, Image, Settings},
    tree::Tree,
};
use operator::Misbehaviour;
use tempfile::TempDir;

use crate::{
    daemon::succeeded,
    kube::{built, edition},
    parts::Part,
};

/// An image that runs this program with these arguments. Another `label` makes another digest of the same program.
///
/// # Errors
/// The program cannot be read, or the base's packages are missing.
pub fn of(program: &Path, arguments: &[&str], label: &str) -> Result<Image> {
    let name = program.file_name().and_then(|name| name.to_str()).context("a program has a name")?;
    let folder = TempDir::new()?;
    let content = fs::read(stripped(program, folder.path())?)?;
    with(name, content, arguments, label)
}

/// An image of the operator as this version, good or wrong in one way, where its chart looks for it.
///
/// # Errors
/// As [`of`].
pub fn operator(says: &str, misbehaviour: Option<Misbehaviour>) -> Result<Image> {
    static STRIPPED: OnceLock<Vec<u8>> = OnceLock::new();
    let program = match STRIPPED.get() {
        Some(program) => program,
        None => {
            let folder = TempDir::new()?;
            let program = fs::read(stripped(&built("fixture-operator")?, folder.path())?)?;
            STRIPPED.get_or_init(|| program)
        }
    };
    let mut content = program.clone();
    content.extend(edition::line(says, misbehaviour).bytes());
    with("novacula-operator", content, &[], says)
}

fn with(name: &str, content: Vec<u8>, arguments: &[&str], label: &str) -> Result<Image> {
    let architecture = Architecture::of(&content).with_context(|| format!("{name} is a program"))?;
    let mut tree = Tree::default();
    tree.program(name, content);
    let settings = Settings {
        entrypoint: vec![format!("/{name}")],
        arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        labels: BTreeMap::from([("novacula.test".to_owned(), label.to_owned())]),
        ..Settings::default()
    };
    let layers = vec![base(architecture)?.clone(), Layer::pack(&tree, Effort::Least)?];
    Ok(Image::new(layers, &settings, architecture))
}

/// An image that waits, ends at once or grows without end: `fixture-pod` with these words.
///
/// # Errors
/// As [`of`].
pub fn pod(words: &[&str], label: &str) -> Result<Image> {
    of(&built("fixture-pod")?, words, label)
}

pub(super) fn pause() -> Result<Image> {
    pod(&["wait"], "pause")
}

/// A copy without what only a debugger reads, which is most of a test's program.
///
/// # Errors
/// `strip`, which comes with the linker, refuses it.
pub fn stripped(program: &Path, folder: &Path) -> Result<PathBuf> {
    let copy = folder.join("stripped");
    let mut strip = Command::new("strip");
    succeeded(&strip.arg("-o").arg(&copy).arg(program).output()?)?;
    Ok(copy)
}

/// Where deploy/dev/parts left Debian's packages.
///
/// # Errors
/// Nowhere.
pub fn base_packages() -> Result<PathBuf> {
    let told = Command::new(Part::ImageBase.find()?).output()?;
    Ok(PathBuf::from(succeeded(&told)?.trim()))
}

/// Packed once for all images of a test binary.
fn base(architecture: Architecture) -> Result<&'static Layer> {
    static BASE: OnceLock<std::result::Result<Layer, String>> = OnceLock::new();
    let pack = || -> Result<Layer> {
        Ok(Layer::pack(&Base::from_packages(&base_packages()?, architecture)?.tree, Effort::Least)?)
    };
    BASE.get_or_init(|| pack().map_err(|error| format!("{error:?}"))).as_ref().map_err(|error| anyhow!("{error}"))
}
