//! The filter of executor lists: terms joined by spaces, all of which must hold.
//!
//! ```text
//! version=1.2.0 kind=agent channel=stable online=true state=active pinned=true held=true label.rack=a7 name:web
//! ```

use std::str::FromStr;

use domain::executor::State;
use domain::{Channel, Kind, OrganizationId, Version};
use store::ExecutorQuery;

use crate::app::error::Error;
use crate::app::executor::View;

/// Longest filter, in bytes.
const FILTER_MAX: usize = 1_024;

/// Which executors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    version: Option<Version>,
    name_contains: Option<String>,
    labels: Vec<(String, String)>,
    channel: Option<Channel>,
    online: Option<bool>,
    state: Option<State>,
    pinned: Option<bool>,
    kind: Option<Kind>,
    held: Option<bool>,
}

// === impl Filter ===

impl Filter {
    /// What the store can leave out by itself.
    pub(crate) fn query(&self, organization: &OrganizationId) -> ExecutorQuery {
        ExecutorQuery {
            organization: Some(organization.clone()),
            version: self.version.as_ref().map(ToString::to_string),
            name_contains: self.name_contains.clone(),
            labels: self.labels.clone(),
            kind: self.kind,
            channel: self.channel,
            state: self.state,
            pinned: self.pinned,
            held: self.held,
        }
    }

    /// Whether [`Self::query`] says all of it: presence is of the moment, and no row has it.
    pub(crate) const fn is_told_by_rows(&self) -> bool {
        self.online.is_none()
    }

    /// Whether every term holds.
    #[must_use]
    pub fn matches(&self, view: &View) -> bool {
        let executor = &view.executor;
        let label = |(key, value): &(String, String)| executor.labels.get(key) == Some(value);
        let name = |part: &String| executor.name.executor.as_str().contains(part.as_str());
        self.version.as_ref().is_none_or(|version| executor.version.as_ref() == Some(version))
            && self.name_contains.as_ref().is_none_or(name)
            && self.labels.iter().all(label)
            && self.channel.is_none_or(|channel| executor.channel == channel)
            && self.online.is_none_or(|online| view.presence.online == online)
            && self.state.is_none_or(|state| executor.state == state)
            && self.pinned.is_none_or(|pinned| executor.pinned.is_some() == pinned)
            && self.kind.is_none_or(|kind| executor.kind == Some(kind))
            && self.held.is_none_or(|held| executor.holds.is_empty() != held)
    }

    fn add(&mut self, term: &str) -> Result<(), Error> {
        if let Some(part) = term.strip_prefix("name:") {
            return once(&mut self.name_contains, part.to_owned(), term);
        }
        let (key, value) = term.split_once('=').ok_or_else(|| unknown(term))?;
        match key {
            "version" => once(&mut self.version, parsed(term, value)?, term),
            "channel" => once(&mut self.channel, parsed(term, value)?, term),
            "online" => once(&mut self.online, parsed(term, value)?, term),
            "kind" => once(&mut self.kind, parsed(term, value)?, term),
            "held" => once(&mut self.held, parsed(term, value)?, term),
            "pinned" => once(&mut self.pinned, parsed(term, value)?, term),
            "state" => {
                let state = match value {
                    "active" => State::Active,
                    "deactivated" => State::Deactivated,
                    _ => return Err(refused(term, "state is active or deactivated")),
                };
                once(&mut self.state, state, term)
            }
            _ => {
                let label = key.strip_prefix("label.").filter(|label| !label.is_empty());
                let label = label.ok_or_else(|| unknown(term))?;
                self.labels.push((label.to_owned(), value.to_owned()));
                Ok(())
            }
        }
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > FILTER_MAX {
            return Err(Error::field("filter", format!("is longer than {FILTER_MAX} bytes")));
        }
        let mut filter = Self::default();
        for term in text.split_ascii_whitespace() {
            filter.add(term)?;
        }
        Ok(filter)
    }
}

fn once<T>(slot: &mut Option<T>, value: T, term: &str) -> Result<(), Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(refused(term, "is said twice, and all terms must hold")),
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(term: &str, value: &str) -> Result<T, Error> {
    value.parse().map_err(|error: T::Err| refused(term, &error.to_string()))
}

fn unknown(term: &str) -> Error {
    refused(
        term,
        "is no term; write version=, kind=, channel=, online=, state=, pinned=, held=, label.<key>= or name:<part>",
    )
}

fn refused(term: &str, rule: &str) -> Error {
    let shown: String = term.chars().take(80).collect();
    Error::field("filter", format!("{shown:?}: {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_as_the_proto_file_says() {
        let text = "version=1.2.0 kind=agent channel=stable online=true state=active pinned=true held=false \
                    label.rack=a7 name:web";
        let filter: Filter = text.parse().expect("a filter");
        let expected = Filter {
            version: Some("1.2.0".parse().expect("a version")),
            name_contains: Some("web".to_owned()),
            labels: vec![("rack".to_owned(), "a7".to_owned())],
            channel: Some(Channel::Stable),
            online: Some(true),
            state: Some(State::Active),
            pinned: Some(true),
            kind: Some(Kind::Agent),
            held: Some(false),
        };
        assert_eq!(filter, expected);
        assert_eq!("".parse::<Filter>().expect("a filter"), Filter::default());
    }

    #[test]
    fn what_is_no_term_is_refused_by_name() {
        for bad in
            ["web", "colour=red", "online=maybe", "state=gone", "channel=fast", "label.=x", "online=true online=false"]
        {
            assert!(bad.parse::<Filter>().is_err(), "{bad}");
        }
    }
}
