//! The fleet in numbers: versions down, channels across, a bar for each version's share. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proto::v1;
use proto::v1::summarize_executors_response::Group;

use crate::web::show;

/// Versions that get a row of their own; the rest are one line. A fleet has a handful; one in trouble has more.
const ROWS: usize = 8;

/// Channels, as columns.
const CHANNELS: [v1::Channel; 3] = [v1::Channel::Stable, v1::Channel::Beta, v1::Channel::Dev];

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overview {
    /// All of them.
    pub(super) executors: u64,
    /// How many are more than one major behind.
    pub(super) out_of_support: u64,
    /// The largest first.
    pub(super) rows: Vec<Row>,
    /// How many more versions there are, and on how many executors.
    pub(super) rest: Option<(usize, u64)>,
}

/// One version of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// `agent`; empty: they never synced.
    pub(super) kind: String,
    /// The version; empty as well.
    pub(super) version: String,
    /// Whether it is out of support.
    pub(super) out_of_support: bool,
    /// How many in each channel.
    pub(super) channels: Vec<(String, u64)>,
    /// How many in all.
    pub(super) executors: u64,
    /// Of all executors, in parts of a hundred; at least one, so that a single one is seen.
    pub(super) percent: u64,
}

// === impl Overview ===

impl Overview {
    /// Of a summary.
    #[must_use]
    pub(super) fn new(summary: &v1::SummarizeExecutorsResponse) -> Self {
        let mut kinds: BTreeMap<(String, String), Vec<&Group>> = BTreeMap::new();
        for group in &summary.groups {
            kinds.entry((show::kind(group.kind()), group.version.clone())).or_default().push(group);
        }
        let mut rows: Vec<Row> = kinds.into_iter().map(|(key, groups)| row(key, &groups, summary.executors)).collect();
        // By size, as the eye looks for it; equal ones keep their order by kind and version.
        rows.sort_by_key(|row| Reverse(row.executors));
        let left = rows.split_off(rows.len().min(ROWS));
        let sum = |rows: &[Row]| rows.iter().map(|row| row.executors).sum::<u64>();
        Self {
            executors: summary.executors,
            out_of_support: summary
                .groups
                .iter()
                .filter(|group| group.out_of_support)
                .map(|group| group.executors)
                .sum(),
            rest: (!left.is_empty()).then(|| (left.len(), sum(&left))),
            rows,
        }
    }
}

fn row((kind, version): (String, String), groups: &[&Group], all: u64) -> Row {
    let executors = groups.iter().map(|group| group.executors).sum();
    let of = |channel| groups.iter().filter(|group| group.channel() == channel).map(|group| group.executors).sum();
    Row {
        channels: CHANNELS.into_iter().map(|channel| (show::channel(channel), of(channel))).collect(),
        out_of_support: groups.iter().any(|group| group.out_of_support),
        percent: show::percent(executors, all).unwrap_or(0).max(1),
        executors,
        kind,
        version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(kind: v1::Kind, version: &str, channel: v1::Channel, executors: u64) -> Group {
        let out_of_support = version.starts_with("0.");
        Group { kind: kind.into(), version: version.to_owned(), channel: channel.into(), executors, out_of_support }
    }

    fn overview(groups: Vec<Group>) -> Overview {
        let executors = groups.iter().map(|group| group.executors).sum();
        Overview::new(&v1::SummarizeExecutorsResponse { groups, executors })
    }

    #[test]
    fn versions_go_down_and_channels_across() {
        let shown = overview(vec![
            group(v1::Kind::Agent, "1.2.0", v1::Channel::Stable, 90),
            group(v1::Kind::Agent, "1.2.0", v1::Channel::Beta, 8),
            group(v1::Kind::Operator, "1.2.0", v1::Channel::Stable, 99_900),
            group(v1::Kind::Agent, "0.9.0", v1::Channel::Dev, 2),
        ]);
        assert_eq!((shown.executors, shown.out_of_support, shown.rest), (100_000, 2, None));
        let rows: Vec<_> = shown.rows.iter().map(|row| (row.kind.as_str(), row.executors, row.percent)).collect();
        assert_eq!(rows, [("operator", 99_900, 99), ("agent", 98, 1), ("agent", 2, 1)]);
        let counts: Vec<u64> = shown.rows[1].channels.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [90, 8, 0]);
    }

    #[test]
    fn many_versions_end_in_one_line() {
        let groups =
            (0..20).map(|n| group(v1::Kind::Agent, &format!("1.{n}.0"), v1::Channel::Stable, 20 - n)).collect();
        let shown = overview(groups);
        assert_eq!((shown.rows.len(), shown.rest), (8, Some((12, 78))));
    }

    #[test]
    fn an_empty_fleet_has_no_rows() {
        assert_eq!(overview(Vec::new()).rows, []);
    }
}
