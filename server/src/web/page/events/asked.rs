//! Which events a page shows: one type or family, one target, from one place on. Pure.

use domain::audit::EventKind;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proto::v1;
use serde::Deserialize;

/// The query of the page, its live part and its export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Asked {
    /// `executor.connected`, `executor.*`; empty: all.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// A resource name, or an executor's own name; empty: all.
    #[serde(default)]
    pub target: String,
    /// Where the page begins; empty: at the newest.
    #[serde(default)]
    pub page_token: String,
    /// Of an export: `csv` or `ndjson`.
    #[serde(default)]
    pub format: String,
}

/// Types with a common beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// `executor`.
    pub name: &'static str,
    /// `executor.connected` and so on.
    pub kinds: Vec<&'static str>,
}

// === impl Asked ===

impl Asked {
    /// As the API takes it.
    #[must_use]
    pub fn types(&self) -> Vec<String> {
        if self.kind.is_empty() { Vec::new() } else { vec![self.kind.clone()] }
    }

    /// The newest rows, or those from the page on.
    #[must_use]
    pub fn request(&self, parent: &str, rows: i32) -> v1::ListEventsRequest {
        v1::ListEventsRequest {
            parent: parent.to_owned(),
            page_size: rows,
            page_token: self.page_token.clone(),
            after_sequence: 0,
            types: self.types(),
            target: target(&self.target, parent),
            newest_first: true,
        }
    }

    /// Whether this is the page that new rows come to.
    #[must_use]
    pub fn is_newest(&self) -> bool {
        self.page_token.is_empty()
    }

    /// Type and target, for links: `type=executor.%2A&target=`.
    #[must_use]
    pub fn query(&self) -> String {
        let quoted = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        format!("type={}&target={}", quoted(&self.kind), quoted(self.target.trim()))
    }
}

/// Every type there is, by family.
#[must_use]
pub fn families() -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for kind in EventKind::ALL {
        let kind = kind.as_str();
        let name = kind.split_once('.').map_or(kind, |(name, _)| name);
        match families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.kinds.push(kind),
            None => families.push(Family { name, kinds: vec![kind] }),
        }
    }
    families
}

/// A word without a slash is an executor's name: that is what people type at night.
fn target(typed: &str, parent: &str) -> String {
    let typed = typed.trim().trim_start_matches('/');
    if typed.is_empty() || typed.contains('/') || parent.is_empty() {
        return typed.to_owned();
    }
    format!("{parent}/executors/{typed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_an_executor_and_a_path_is_itself() {
        for (typed, target_name) in [
            (" web-1 ", "organizations/acme/executors/web-1"),
            ("/organizations/acme/executors/web-1", "organizations/acme/executors/web-1"),
            ("releases/agent-1.2.0", "releases/agent-1.2.0"),
            ("", ""),
        ] {
            assert_eq!(target(typed, "organizations/acme"), target_name, "{typed}");
        }
        assert_eq!(target("web-1", ""), "web-1");
    }

    #[test]
    fn a_query_is_quoted() {
        let asked = Asked { kind: "executor.*".to_owned(), target: "a&b=\"<".to_owned(), ..Asked::default() };
        assert_eq!(asked.query(), "type=executor%2E%2A&target=a%26b%3D%22%3C");
    }

    #[test]
    fn every_type_is_in_a_family() {
        let kinds: usize = families().iter().map(|family| family.kinds.len()).sum();
        assert_eq!(kinds, EventKind::ALL.len());
        assert!(families().iter().any(|family| family.name == "attempt"));
    }
}
