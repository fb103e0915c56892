//! What our pages tell their readers to type.

use std::fs;

use anyhow::{Context as _, Result};

use crate::parts::workspace;

/// The commands in the first shell block under a heading of a page, one a line.
///
/// # Errors
/// The page has no such heading, or no block under it.
pub fn commands(page: &str, heading: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace().join(page)).with_context(|| format!("read {page}"))?;
    let (_, section) = text.split_once(&format!("## {heading}\n")).with_context(|| format!("no heading {heading}"))?;
    let block = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
    Ok(block.context("no shell block")?.lines().map(str::to_owned).collect())
}
