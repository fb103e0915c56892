//! The files of a layer, before they are packed.
//!
//! Sorted by name, without times. Whoever adds a file gets the folders on its way, so that every tree unpacks by itself.

use std::collections::{BTreeMap, btree_map::Entry};

/// Who owns the files that the program may write: nobody's user, the one that distroless images have as well.
pub const NONROOT: u64 = 65_532;

/// Files by name, relative to the root.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// One file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its permissions.
    pub mode: u32,
    /// The number of its owner and of its group.
    pub owner: u64,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// With its content.
    File(Vec<u8>),
    /// A folder.
    Folder,
    /// With what it points at.
    Link(String),
}

// === impl Tree ===

impl Tree {
    /// Adds a file of root's that all may read.
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.add(path, Node { kind: Kind::File(content.into()), mode: 0o644, owner: 0 });
    }

    /// Adds a file of root's that all may run.
    pub fn program(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.add(path, Node { kind: Kind::File(content.into()), mode: 0o755, owner: 0 });
    }

    /// Adds a folder that the program's user has for itself.
    pub fn own_folder(&mut self, path: &str) {
        self.add(path, Node { kind: Kind::Folder, mode: 0o700, owner: NONROOT });
    }

    /// Adds anything, in the place of what had the name before.
    pub fn add(&mut self, path: &str, node: Node) {
        let path = path.trim_start_matches("./").trim_matches('/');
        for (slash, _) in path.match_indices('/') {
            if let Entry::Vacant(vacant) = self.nodes.entry(path[..slash].to_owned()) {
                vacant.insert(Node { kind: Kind::Folder, mode: 0o755, owner: 0 });
            }
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// Everything, each folder before what is in it.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// What has this name.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut tree = Tree::default();
        tree.file("usr/share/doc/a", "a");
        tree.program("/usr/bin/b", "b");
        tree.own_folder("./usr/bin");
        let names: Vec<_> = tree.nodes().map(|(name, node)| (name, node.mode)).collect();
        let wanted = [
            ("usr", 0o755),
            ("usr/bin", 0o700),
            ("usr/bin/b", 0o755),
            ("usr/share", 0o755),
            ("usr/share/doc", 0o755),
            ("usr/share/doc/a", 0o644),
        ];
        assert_eq!(names, wanted);
    }
}
