//! Printing: tables for people, proto3 JSON for programs. Any message of `novacula.v1` prints through its descriptor, so
//! that `--output json` and grpcurl agree to the letter.

use std::io::{self, IsTerminal as _, Write};

use comfy_table::{ContentArrangement, Table, presets};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use crate::args::Format;
use crate::error::Error;

/// Prints data to stdout in the format that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    format: Format,
}

impl Printer {
    pub(crate) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether programs read.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// One message: JSON, or whatever `people` prints.
    pub(crate) fn message<M: Message + Name>(
        self,
        message: &M,
        people: impl FnOnce(&M) -> String,
    ) -> Result<(), Error> {
        let text = if self.is_json() { pretty(message)? } else { people(message) };
        line(text.trim_end())
    }

    /// A list: a JSON array of messages, or a table with a row each.
    pub(crate) fn list<M: Message + Name>(
        self,
        messages: &[M],
        header: &[&str],
        row: impl Fn(&M) -> Vec<String>,
    ) -> Result<(), Error> {
        if self.is_json() {
            let values = messages.iter().map(json).collect::<Result<Vec<_>, _>>()?;
            let text = serde_json::to_string_pretty(&values).map_err(|error| Error::local("print JSON", error))?;
            return line(&text);
        }
        line(&table(header, messages.iter().map(row)))
    }

    /// One message of a stream: one JSON document a line, or whatever `people` prints.
    pub(crate) fn streamed<M: Message + Name>(
        self,
        message: &M,
        people: impl FnOnce(&M) -> String,
    ) -> Result<(), Error> {
        let text = if self.is_json() { json(message)?.to_string() } else { people(message) };
        line(&text)
    }
}

/// A table with a header, as wide as the terminal; no borders, so that `awk` can read it too.
pub(crate) fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for row in rows {
        table.add_row(row.into_iter().map(|cell| printable(&cell)));
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Lines of `name: value`, aligned; empty values are left out.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let shown = facts.iter().filter(|(_, value)| !value.is_empty());
    let width = shown.clone().map(|(name, _)| name.len() + 1).max().unwrap_or_default();
    let lines = shown.map(|(name, value)| format!("{:width$} {}", format!("{name}:"), printable(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The text without control characters: what an executor wrote must not drive the reader's terminal. (The server strips
/// them too; this is the second lock.)
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Writes one line to stdout. A reader that went away (`| head`) is the end, not an error worth a trace.
pub(crate) fn line(text: &str) -> Result<(), Error> {
    writeln!(io::stdout().lock(), "{text}").map_err(|error| Error::file("write", "standard output", error))
}

fn json<M: Message + Name>(message: &M) -> Result<serde_json::Value, Error> {
    let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET)
        .map_err(|error| Error::local("read the descriptors of novacula.v1", error))?;
    let descriptor = pool
        .get_message_by_name(&M::full_name())
        .ok_or_else(|| Error::Refused(format!("{} has no descriptor", M::full_name())))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| Error::local("read a message back", error))?;
    let options = SerializeOptions::new().skip_default_fields(false);
    dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| Error::local("print JSON", error))
}

fn pretty<M: Message + Name>(message: &M) -> Result<String, Error> {
    serde_json::to_string_pretty(&json(message)?).map_err(|error| Error::local("print JSON", error))
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::*;

    #[test]
    fn json_has_the_names_that_grpcurl_prints() {
        let attempt = v1::Attempt {
            name: "organizations/acme/executors/web-1/attempts/x".to_owned(),
            phase: v1::Phase::Downloading.into(),
            bytes_total: 5,
            ..v1::Attempt::default()
        };
        let value = json(&attempt).expect("prints");
        assert_eq!(value["bytesTotal"], "5");
        assert_eq!(value["phase"], "PHASE_DOWNLOADING");
        assert_eq!(value["rolledBackTo"], "");
    }

    #[test]
    fn escapes_of_a_terminal_do_not_reach_it() {
        assert_eq!(printable("a\u{1b}[2Jb\rc\nd"), "a\u{fffd}[2Jb\u{fffd}c\nd");
        assert!(!table(&["a"], std::iter::once(vec!["x\u{1b}]0;y\u{7}".to_owned()])).contains('\u{1b}'));
    }
}
