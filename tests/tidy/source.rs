//! Our own sources, read once: text, tokens, and which lines are tests.
//!
//! Rules about words look at tokens, so that comments and strings do not count and the inside of macros does. Which lines
//! belong to tests is told by syntax: items under `#[cfg(test)]` and files that such an item declares.

use std::{
    collections::BTreeSet,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use cargo_metadata::{Metadata, MetadataCommand};
use harness::parts::workspace;
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::{Attribute, Item, spanned::Spanned};

use crate::functions::{Function, functions};

/// Everything the rules look at.
pub(crate) struct House {
    /// Of our packages alone.
    pub(crate) metadata: Metadata,
    /// Every `.rs` file of the workspace.
    pub(crate) files: Vec<SourceFile>,
}

/// One `.rs` file.
pub(crate) struct SourceFile {
    /// Relative to the workspace.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) functions: Vec<Function>,
    /// Files that `#[cfg(test)] mod name;` declares here, without their ending.
    test_modules: Vec<String>,
    tests: Tests,
}

/// One token with delimiters and punctuation as tokens of their own.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

enum Tests {
    Whole,
    Lines(Vec<RangeInclusive<usize>>),
}

impl House {
    /// Reads the workspace. A file that does not parse is a failure of the compiler, not ours: it ends the run.
    pub(crate) fn load() -> Self {
        let metadata = MetadataCommand::new()
            .manifest_path(workspace().join("Cargo.toml"))
            .no_deps()
            .exec()
            .expect("cargo metadata reads the manifest that built this test");
        let root = metadata.workspace_root.as_std_path();
        let mut paths = Vec::new();
        for package in &metadata.packages {
            let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
            collect(folder.as_std_path(), "rs", &mut paths);
        }
        collect(&root.join("fuzz"), "rs", &mut paths);
        paths.sort();
        let mut files: Vec<_> = paths.iter().map(|path| SourceFile::read(root, path)).collect();
        let declared: BTreeSet<_> = files.iter().flat_map(|file| file.test_modules.clone()).collect();
        for file in &mut files {
            let stem = file.path.trim_end_matches(".rs");
            if declared.iter().any(|module| stem == module || stem.starts_with(&format!("{module}/"))) {
                file.tests = Tests::Whole;
            }
        }
        Self { metadata, files }
    }

    /// The files of one package's folder, by the folder's name.
    pub(crate) fn under<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a SourceFile> {
        self.files.iter().filter(move |file| Path::new(&file.path).starts_with(folder))
    }

    /// Every file of `extension` in the workspace, relative to it, with its text.
    pub(crate) fn documents(&self, extension: &str) -> Vec<(String, String)> {
        let root = self.metadata.workspace_root.as_std_path();
        let mut paths = Vec::new();
        collect(root, extension, &mut paths);
        paths.sort();
        paths.iter().map(|path| (relative(root, path), read(path))).collect()
    }
}

impl SourceFile {
    fn read(root: &Path, path: &Path) -> Self {
        let text = read(path);
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut tokens = Vec::new();
        let stream: TokenStream = text.parse().expect("what parsed as a file has tokens");
        flatten(stream, &mut tokens);
        let path = relative(root, path);
        let tests = if path.split('/').any(|part| {
            matches!(part, "tests" | "tests.rs" | "conformance" | "conformance.rs" | "benches" | "examples" | "fuzz")
        }) {
            Tests::Whole
        } else {
            Tests::Lines(items_for_tests(&syntax.items).map(lines).collect())
        };
        Self {
            functions: functions(&text, &syntax),
            test_modules: declared_for_tests(&path, &syntax.items),
            path,
            text,
            tokens,
            tests,
        }
    }

    /// Whether a line is part of a test.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        match &self.tests {
            Tests::Whole => true,
            Tests::Lines(ranges) => ranges.iter().any(|range| range.contains(&line)),
        }
    }

    pub(crate) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    pub(crate) fn production_lines(&self) -> usize {
        (1..=self.lines()).filter(|&line| !self.is_test(line)).count()
    }

    /// The lines on which `pattern`, tokens parted by spaces, begins.
    pub(crate) fn occurrences(&self, pattern: &str) -> Vec<usize> {
        let pattern: Vec<_> = pattern.split(' ').collect();
        self.tokens
            .windows(pattern.len())
            .filter(|window| window.iter().zip(&pattern).all(|(token, word)| token.text == *word))
            .map(|window| window[0].line)
            .collect()
    }
}

fn declared_for_tests(path: &str, items: &[Item]) -> Vec<String> {
    let folder = match path.rsplit_once('/') {
        Some((folder, "lib.rs" | "main.rs")) => folder,
        _ => path.trim_end_matches(".rs"),
    };
    items_for_tests(items)
        .filter_map(|item| match item {
            Item::Mod(module) if module.content.is_none() => Some(format!("{folder}/{}", module.ident)),
            _ => None,
        })
        .collect()
}

/// Top-level items for tests only. A test module inside another is not ours to have: STYLE puts tests last in a file.
fn items_for_tests(items: &[Item]) -> impl Iterator<Item = &Item> {
    items.iter().filter(|item| attributes(item).iter().any(for_tests))
}

fn for_tests(attribute: &Attribute) -> bool {
    let Ok(list) = attribute.meta.require_list() else {
        return false;
    };
    let condition = list.tokens.to_string();
    list.path.is_ident("cfg")
        && !condition.contains("not")
        && condition.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == "test")
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn lines(item: &Item) -> RangeInclusive<usize> {
    let span = item.span();
    span.start().line..=span.end().line
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut half = false;
    for tree in stream {
        let line = tree.span().start().line;
        let mut push = |text: &str, line| {
            tokens.push(Token { text: text.to_owned(), line });
        };
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open, line);
                let end = group.span_close().start().line;
                flatten(group.stream(), tokens);
                tokens.push(Token { text: close.to_owned(), line: end });
            }
            // `::` is one word to a reader, so it is one here: its second half is dropped.
            TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint => {
                push("::", line);
                half = true;
                continue;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && half => {}
            TokenTree::Punct(punct) => push(&punct.to_string(), line),
            TokenTree::Ident(ident) => push(&ident.to_string(), line),
            TokenTree::Literal(literal) => push(&literal.to_string(), line),
        }
        half = false;
    }
}

fn collect(folder: &Path, extension: &str, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.to_string_lossy().starts_with('.');
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() && !hidden && name != "target" && name != "node_modules" {
            collect(&path, extension, paths);
        } else if kind.is_file() && path.extension().is_some_and(|end| end == extension) {
            paths.push(path);
        }
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).expect("found under the root").to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}
