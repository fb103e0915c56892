//! Takes known keys out of a TOML table and collects what is wrong; what is left over at the end is unknown.

use std::time::Duration;

use toml::{Table, Value};

/// A table that is being read.
pub(super) struct Reader {
    table: Table,
    mistakes: Vec<String>,
}

impl Reader {
    pub(super) fn new(table: Table) -> Self {
        Self { table, mistakes: Vec::new() }
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = match self.take(key)? {
            Value::String(text) => text,
            other => {
                return self.wrong(key, &format!("is {}, and not a text in quotes", other.type_str()));
            }
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(rule) => self.wrong(key, &format!("{rule}: {text:?}")),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        match self.take(key)? {
            Value::Boolean(flag) => Some(flag),
            other => self.wrong(key, &format!("is {}, and neither true nor false", other.type_str())),
        }
    }

    /// A whole number from 1 on.
    pub(super) fn positive(&mut self, key: &str) -> Option<u64> {
        match self.take(key)? {
            Value::Integer(number) if number > 0 => u64::try_from(number).ok(),
            other => self.wrong(key, &format!("is not a whole number from 1 on: {other}")),
        }
    }

    /// A duration with its unit, within bounds.
    pub(super) fn duration(&mut self, key: &str, least: Duration, most: Duration) -> Option<Duration> {
        let parse = |text: &str| {
            let duration = humantime::parse_duration(text).ok().filter(|duration| (least..=most).contains(duration));
            let bounds = || (humantime::format_duration(least), humantime::format_duration(most));
            duration.ok_or_else(|| format!("is not a duration from {} to {}", bounds().0, bounds().1))
        };
        self.parsed(key, parse)
    }

    /// All mistakes, unknown keys last.
    pub(super) fn finish(mut self) -> Vec<String> {
        for (name, value) in self.table {
            match value {
                Value::Table(table) => {
                    let unknown = table.keys().map(|key| format!("{name}.{key} is not an option"));
                    self.mistakes.extend(unknown);
                }
                _ => self.mistakes.push(format!("{name} is not an option")),
            }
        }
        self.mistakes
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        let (section, name) = key.split_once('.')?;
        match self.table.get_mut(section)? {
            Value::Table(table) => table.remove(name),
            _ => None,
        }
    }

    fn wrong<T>(&mut self, key: &str, rule: &str) -> Option<T> {
        self.mistakes.push(format!("{key} {rule}"));
        None
    }
}
