//! Documents: the README's promise, and links that lead somewhere.

use std::{collections::HashMap, path::Path};

use crate::{
    finding::{Finding, Findings},
    source::House,
};

/// What a newcomer types first.
const COMMANDS: [&str; 2] = ["cargo demo", "cargo test --workspace"];

/// The first fenced block of the README is the two commands and nothing else.
pub(crate) fn readme(house: &House) -> Findings {
    let documents = house.documents("md");
    let Some((path, text)) = documents.iter().find(|(path, _)| path == "README.md") else {
        return Findings::Waiting("README.md does not exist yet");
    };
    let fences = text.lines().enumerate().filter(|(_, line)| line.starts_with("```"));
    let mut fences = fences.map(|(index, _)| index);
    let (first, last) = (fences.next().unwrap_or(0), fences.next().unwrap_or(0));
    let block: Vec<_> = text.lines().take(last).skip(first + 1).collect();
    let places = (block != COMMANDS).then(|| Finding {
        path: path.clone(),
        line: first + 1,
        what: format!("the first fenced block is {block:?}"),
        remedy: "let it be exactly `cargo demo` and `cargo test --workspace`",
    });
    Findings::Places(places.into_iter().collect())
}

/// Relative links name a file that exists, and a heading that it has.
pub(crate) fn links(house: &House) -> Findings {
    let root = house.metadata.workspace_root.as_std_path();
    let documents: HashMap<_, _> = house.documents("md").into_iter().collect();
    let mut places = Vec::new();
    for (path, text) in &documents {
        for (line, target) in targets(text) {
            if let Some(what) = broken(root, &documents, path, target) {
                places.push(Finding {
                    path: path.clone(),
                    line,
                    what,
                    remedy: "correct the link, or write what it promises",
                });
            }
        }
    }
    places.sort_by(|one, other| (&one.path, one.line).cmp(&(&other.path, other.line)));
    Findings::Places(places)
}

fn broken(root: &Path, documents: &HashMap<String, String>, from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let resolved = if file.is_empty() { from.to_owned() } else { joined(from, file) };
    if !root.join(&resolved).exists() {
        return Some(format!("link to `{target}`: no file `{resolved}`"));
    }
    let text = documents.get(&resolved)?;
    (!anchor.is_empty() && !headings(text).any(|heading| heading == anchor))
        .then(|| format!("link to `{target}`: no heading `#{anchor}` in {resolved}"))
}

/// Where a link of `from` leads, relative to the workspace.
fn joined(from: &str, file: &str) -> String {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Line and target of every inline link outside fenced blocks and code.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    for (line, prose) in prose(text) {
        // Odd pieces between backticks are code.
        for piece in prose.split('`').step_by(2) {
            let links = piece.split("](").skip(1);
            targets.extend(links.filter_map(|rest| Some((line, rest.split_once(')')?.0))));
        }
    }
    targets
}

fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// Headings as anchors: lower case, spaces to hyphens, other punctuation dropped.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter_map(|(_, line)| {
        let title = line.strip_prefix('#')?.trim_start_matches('#').trim();
        Some(
            title
                .to_lowercase()
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
                .map(|letter| if letter == ' ' { '-' } else { letter })
                .collect(),
        )
    })
}
