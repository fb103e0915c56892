//! The machine's journal, read from outside.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use super::proc;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was said; bytes that are not UTF-8 are replaced.
    pub message: String,
    /// Who said it: `systemd`, or the program's name.
    pub identifier: String,
    /// The process that said it, as the machine numbers it; empty when unknown.
    pub pid: String,
    /// Differs from boot to boot.
    pub boot: String,
    /// Where a later reading may go on.
    pub cursor: String,
}

pub(super) fn read(folder: &Path, unit: Option<&str>) -> Result<Vec<Entry>> {
    let mut command = Command::new("journalctl");
    command.arg("--directory").arg(folder).args(["--output=json", "--no-pager", "--quiet", "--all"]);
    if let Some(unit) = unit {
        command.args(["--unit", unit]);
    }
    proc::run(&mut command)?.lines().map(entry).collect()
}

fn entry(line: &str) -> Result<Entry> {
    let fields: Value = serde_json::from_str(line).with_context(|| format!("read journal line {line}"))?;
    let field = |name: &str| text(&fields[name]);
    Ok(Entry {
        message: field("MESSAGE"),
        identifier: field("SYSLOG_IDENTIFIER"),
        pid: field("_PID"),
        boot: field("_BOOT_ID"),
        cursor: field("__CURSOR"),
    })
}

/// Text, or the array of bytes that journalctl prints for what is not UTF-8.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(bytes) => {
            let bytes = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok());
            String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
        }
        _ => String::new(),
    }
}
