//! How the pages write what the API says: times, sizes, words. Pure; one spelling for every page.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;
use humantime::format_rfc3339_seconds;
use prost_types::Timestamp;
use proto::v1;

/// A moment: UTC for machines and without a script, the reader's zone where there is one.
#[derive(Clone, Copy, Debug)]
pub struct At(Option<Timestamp>);

impl HtmlSafe for At {}

/// A time of the API, for a template.
#[must_use]
pub fn at(time: Option<&Timestamp>) -> At {
    At(time.copied())
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(text) = self.0.and_then(rfc3339) else {
            return f.write_str("<span class=\"none\">never</span>");
        };
        // Digits, letters and colons only. The script writes the same width, so that nothing moves.
        let shown = text.replace('T', " ");
        let shown = shown.trim_end_matches('Z');
        write!(f, "<time datetime=\"{text}\" title=\"{shown} UTC\">{shown}</time>")
    }
}

/// `2026-11-22T11:03:37Z`.
#[must_use]
pub fn rfc3339(time: Timestamp) -> Option<String> {
    let seconds = u64::try_from(time.seconds).ok()?;
    let since = Duration::from_secs(seconds);
    let moment = std::time::UNIX_EPOCH.checked_add(since)?;
    // Later years have five digits, which RFC 3339 has not.
    (seconds < 253_402_300_800).then(|| format_rfc3339_seconds(moment).to_string())
}

/// `12.4 MiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut tenths = n.saturating_mul(10) / 1024;
    for unit in UNITS {
        if tenths < 10_240 || unit == "TiB" {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        tenths /= 1024;
    }
    format!("{n} B")
}

/// `agent` of `KIND_AGENT`, `ready to swap` of `PHASE_READY_TO_SWAP`; empty when it is not set.
#[must_use]
pub fn word(name: &str) -> String {
    let rest = name.split_once('_').map_or(name, |(_, rest)| rest);
    if rest == "UNSPECIFIED" { String::new() } else { rest.to_lowercase().replace('_', " ") }
}

/// `agent`, `operator`.
#[must_use]
pub fn kind(kind: v1::Kind) -> String {
    word(kind.as_str_name())
}

/// `stable`, `beta`, `dev`.
#[must_use]
pub fn channel(channel: v1::Channel) -> String {
    word(channel.as_str_name())
}

/// `web-1` of `organizations/acme/executors/web-1`.
#[must_use]
pub fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Who an actor is to people: what it is called, or, where nothing is known or told of it, what its resource name says.
#[must_use]
pub fn who(name: &str, display_name: &str) -> String {
    let mut parts = name.rsplit('/');
    let (last, collection) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match (collection, display_name) {
        ("executors", "") => "an executor".to_owned(),
        ("executors", id) => format!("executor {id}"),
        ("tokens", "") => format!("token {last}"),
        ("system", _) => format!("control plane ({last})"),
        (_, "") => name.to_owned(),
        (_, called) => called.to_owned(),
    }
}

/// A whole number of parts of a hundred, never over it; none when the whole is not known.
#[must_use]
pub fn percent(done: u64, total: u64) -> Option<u64> {
    (total > 0).then(|| (u128::from(done.min(total)) * 100 / u128::from(total)).try_into().unwrap_or(100))
}

/// Text that is HTML already, made by us from what was escaped or sanitized.
#[derive(Clone, Debug, Default)]
pub struct Safe(pub String);

impl HtmlSafe for Safe {}

impl fmt::Display for Safe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_utc_for_machines_and_has_a_word_when_there_is_none() {
        let time = Timestamp { seconds: 1_795_345_417, nanos: 5 };
        let said =
            "<time datetime=\"2026-11-22T11:03:37Z\" title=\"2026-11-22 11:03:37 UTC\">2026-11-22 11:03:37</time>";
        assert_eq!(at(Some(&time)).to_string(), said);
        assert!(at(None).to_string().contains("never"));
        for absurd in [i64::MIN, -1, i64::MAX] {
            assert!(at(Some(&Timestamp { seconds: absurd, nanos: -1 })).to_string().contains("never"));
        }
    }

    #[test]
    fn sizes_are_in_binary_units_with_one_digit() {
        for (n, said) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (12_946_637, "12.3 MiB"), (u64::MAX, "1677721.5 TiB")]
        {
            assert_eq!(bytes(n), said, "{n}");
        }
    }

    #[test]
    fn an_actor_is_called_by_its_name_and_never_by_nothing() {
        for (name, display_name, said) in [
            ("organizations/acme/tokens/0197", "Kim", "Kim"),
            ("tokens/0197", "", "token 0197"),
            ("executors/0adc412d", "web-1", "executor web-1"),
            ("executors/0adc412d", "", "an executor"),
            ("system/expiry", "", "control plane (expiry)"),
            ("console", "", "console"),
        ] {
            assert_eq!(who(name, display_name), said);
        }
    }

    #[test]
    fn a_share_is_never_more_than_all() {
        assert_eq!((percent(1, 0), percent(5, 4), percent(u64::MAX, u64::MAX)), (None, Some(100), Some(100)));
    }
}
