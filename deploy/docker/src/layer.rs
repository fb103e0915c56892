//! A tree as a layer: a compressed archive whose bytes depend on nothing but the tree.
//!
//! Times are zero, owners are numbers, order is the tree's. The compressor is the one in Rust: those in C and in vector
//! instructions choose by the processor, and would give two machines two digests.

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::{
    Error, Result,
    blob::{Blob, Digest},
    tree::{Kind, Node, Tree},
};

/// What registries call a compressed layer.
const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// For images that are kept and fetched often.
    Best,
    /// For images that are thrown away.
    Least,
}

/// A packed tree.
#[derive(Debug, Clone)]
pub struct Layer {
    blob: Blob,
    unpacked: Digest,
}

// === impl Layer ===

impl Layer {
    /// Packs it.
    ///
    /// # Errors
    /// A name that an archive cannot hold.
    pub fn pack(tree: &Tree, effort: Effort) -> Result<Self> {
        let archive = archive(tree).map_err(Error::Pack)?;
        let level = match effort {
            Effort::Best => Compression::best(),
            Effort::Least => Compression::fast(),
        };
        let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), level);
        packed.write_all(&archive).map_err(Error::Pack)?;
        let packed = packed.finish().map_err(Error::Pack)?;
        Ok(Self { blob: Blob::new(MEDIA_TYPE, packed), unpacked: Digest::of(&archive) })
    }

    /// As it is stored.
    #[must_use]
    pub fn blob(&self) -> &Blob {
        &self.blob
    }

    /// The digest of what is in it, by which configurations name layers.
    #[must_use]
    pub fn unpacked(&self) -> &Digest {
        &self.unpacked
    }
}

pub(crate) fn archive(tree: &Tree) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for (path, node) in tree.nodes() {
        append(&mut archive, path, node)?;
    }
    archive.into_inner()
}

fn append(archive: &mut Builder<Vec<u8>>, path: &str, node: &Node) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(node.mode);
    header.set_uid(node.owner);
    header.set_gid(node.owner);
    header.set_mtime(0);
    match &node.kind {
        Kind::File(content) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content.as_slice())
        }
        Kind::Folder => {
            header.set_entry_type(EntryType::Directory);
            header.set_size(0);
            archive.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Kind::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, path, target)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Effort, Layer};
    use crate::tree::{Kind, Node, Tree};

    /// Written once and for all: whatever changes it changes every image that was ever published.
    #[test]
    fn a_layer_is_the_same_bytes_for_ever() {
        let mut tree = Tree::default();
        tree.program("usr/bin/program", "#!");
        tree.own_folder("var/lib/program");
        tree.add("lib64", Node { kind: Kind::Link("lib".to_owned()), mode: 0o777, owner: 0 });
        let (one, other) = (Layer::pack(&tree, Effort::Best).unwrap(), Layer::pack(&tree, Effort::Best).unwrap());
        assert_eq!(one.blob().digest(), other.blob().digest());
        assert_eq!(one.unpacked().digits(), "8ea910729741bb51497a98adab4d1c8a09df02023e84b9b5330aec895ed7dcb4");
        assert_eq!(one.blob().digest().digits(), "642ee7ecdc30fec8424a0b1c8483fc6c91d4f5d8d0bdfadb593c1528f7114e33");
    }
}
