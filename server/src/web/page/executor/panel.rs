//! The Upgrade panel: the targets as the API lists them, as a ladder that a person reads from the top, and the way to those
//! that are too far for one step. Pure.

use domain::{Reason, Version};
use proto::v1;
use proto::v1::explain_upgrade_response::Finding;
use proto::v1::upgrade_target::Direction;

use crate::web::markdown;
use crate::web::show::{self, Safe};

/// Rows that are seen at once: a rung for each release of some months.
const SHOWN: usize = 8;

/// The panel.
#[derive(Debug, Default)]
pub(super) struct Panel {
    /// What keeps it from every upgrade now.
    pub(super) blocked: Option<Blocked>,
    /// Newer versions.
    pub(super) upgrades: Ladder,
    /// Older ones.
    pub(super) downgrades: Ladder,
}

/// Why nothing can be asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blocked {
    /// `EXECUTOR_OFFLINE`.
    pub(super) reason: String,
    /// The API's sentence.
    pub(super) message: String,
    /// What to do, as the diagnosis says it.
    pub(super) remedy: String,
}

/// One direction: direct targets first, the newest on top, then what needs more than one step.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    /// Seen at once.
    pub(super) shown: Vec<Row>,
    /// Behind "more".
    pub(super) folded: Vec<Row>,
}

/// One release.
#[derive(Debug)]
pub(super) struct Row {
    /// `releases/agent-1.2.0`.
    pub(super) release: String,
    /// Its version.
    pub(super) version: String,
    /// Its channel.
    pub(super) channel: String,
    /// What the button says.
    pub(super) verb: &'static str,
    /// Whether a request for it would be accepted.
    pub(super) is_direct: bool,
    /// Why not.
    pub(super) blocked: String,
    /// The versions on the way, itself last; empty: no way is known, or none is needed.
    pub(super) hops: Vec<String>,
    /// Whether it went wrong here before.
    pub(super) held: bool,
    /// What a request for it would be told.
    pub(super) warnings: Vec<v1::UpgradeWarning>,
    /// What its makers say of it.
    pub(super) notes: Safe,
}

// === impl Panel ===

impl Panel {
    /// Of what the API says of an executor that runs `running`.
    pub(super) fn new(listed: v1::ListUpgradeTargetsResponse, running: &str, findings: &[Finding]) -> Self {
        let blocked = (!listed.blocked_reason.is_empty()).then(|| Blocked {
            remedy: remedy(findings, &listed.blocked_reason),
            reason: listed.blocked_reason,
            message: listed.blocked_message,
        });
        let of = |direction| Ladder::new(&listed.targets, direction, running, blocked.is_some());
        let (upgrades, downgrades) = (of(Direction::Upgrade), of(Direction::Downgrade));
        Self { upgrades, downgrades, blocked }
    }
}

// === impl Ladder ===

impl Ladder {
    fn new(targets: &[v1::UpgradeTarget], direction: Direction, running: &str, is_blocked: bool) -> Self {
        let mut theirs: Vec<&v1::UpgradeTarget> =
            targets.iter().filter(|target| target.direction() == direction).collect();
        // The API says the nearest first.
        if direction == Direction::Upgrade {
            theirs.reverse();
        }
        let far = |target: &&v1::UpgradeTarget| !target.allowed_as_direct_target;
        theirs.sort_by_key(far);
        let mut shown: Vec<Row> =
            theirs.into_iter().map(|target| Row::new(target, hops(targets, running, target), is_blocked)).collect();
        let folded = shown.split_off(shown.len().min(SHOWN));
        Self { shown, folded }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

// === impl Row ===

impl Row {
    fn new(target: &v1::UpgradeTarget, hops: Vec<String>, is_blocked: bool) -> Self {
        // What keeps the executor from every upgrade is said once, above the rows.
        let is_everybodys = is_blocked && !is_its_own(&target.blocked_reason);
        Self {
            release: target.release.clone(),
            version: target.version.clone(),
            channel: show::channel(target.channel()),
            verb: if target.direction() == Direction::Downgrade { "Downgrade" } else { "Upgrade" },
            is_direct: target.allowed_as_direct_target && !is_blocked,
            blocked: if is_everybodys { String::new() } else { target.blocked_message.clone() },
            hops,
            held: target.held,
            warnings: target.warnings.clone(),
            notes: markdown::render(&target.release_notes),
        }
    }

    /// The first step on the way to it.
    pub(super) fn first_hop(&self) -> Option<&String> {
        self.hops.first().filter(|_| self.hops.len() > 1)
    }
}

/// Reasons that speak of the release, and not of the executor as a whole.
fn is_its_own(reason: &str) -> bool {
    matches!(Reason::parse(reason), Some(Reason::BelowFloor | Reason::PlatformMissing | Reason::MajorHopRequired))
}

/// The versions on the way from `running` to a target that is more than one major away: the newest of each major between, as the
/// API's own message counts them. Empty when a major between has nothing to go to.
fn hops(targets: &[v1::UpgradeTarget], running: &str, target: &v1::UpgradeTarget) -> Vec<String> {
    if Reason::parse(&target.blocked_reason) != Some(Reason::MajorHopRequired) {
        return Vec::new();
    }
    let (Ok(running), Ok(wanted)) = (running.parse::<Version>(), target.version.parse::<Version>()) else {
        return Vec::new();
    };
    let (low, high) = (running.major().min(wanted.major()), running.major().max(wanted.major()));
    let newest = |major: u64| {
        let passable = targets.iter().filter(|other| {
            !matches!(Reason::parse(&other.blocked_reason), Some(Reason::BelowFloor | Reason::PlatformMissing))
        });
        passable.filter_map(|other| other.version.parse::<Version>().ok()).filter(|other| other.major() == major).max()
    };
    let between: Option<Vec<Version>> = (low + 1..high).map(newest).collect();
    let Some(mut between) = between else { return Vec::new() };
    if wanted < running {
        between.reverse();
    }
    between.iter().chain([&wanted]).map(ToString::to_string).collect()
}

fn remedy(findings: &[Finding], reason: &str) -> String {
    findings.iter().find(|finding| finding.reason == reason).map(|finding| finding.remedy.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(version: &str, direction: Direction, reason: &str) -> v1::UpgradeTarget {
        v1::UpgradeTarget {
            version: version.to_owned(),
            direction: direction.into(),
            allowed_as_direct_target: reason.is_empty(),
            blocked_reason: reason.to_owned(),
            blocked_message: if reason.is_empty() { String::new() } else { format!("{version} is blocked") },
            ..v1::UpgradeTarget::default()
        }
    }

    fn up(version: &str, reason: &str) -> v1::UpgradeTarget {
        target(version, Direction::Upgrade, reason)
    }

    fn panel(targets: Vec<v1::UpgradeTarget>, blocked_reason: &str, findings: &[Finding]) -> Panel {
        let blocked_message = "why".to_owned();
        let blocked_reason = blocked_reason.to_owned();
        Panel::new(v1::ListUpgradeTargetsResponse { targets, blocked_reason, blocked_message }, "1.0.0", findings)
    }

    fn versions(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.version.as_str()).collect()
    }

    const FAR: &str = "MAJOR_HOP_REQUIRED";

    #[test]
    fn the_newest_direct_target_is_on_top_and_the_way_to_a_far_one_is_told() {
        let listed = vec![
            up("1.1.0", ""),
            up("1.2.0", ""),
            up("2.0.0", ""),
            up("2.4.0", ""),
            up("3.0.0", FAR),
            up("3.1.0", FAR),
            up("4.0.0", FAR),
            target("0.9.0", Direction::Downgrade, ""),
            target("0.8.0", Direction::Downgrade, "BELOW_FLOOR"),
        ];
        let panel = panel(listed, "", &[]);
        assert_eq!(versions(&panel.upgrades.shown), ["2.4.0", "2.0.0", "1.2.0", "1.1.0", "4.0.0", "3.1.0", "3.0.0"]);
        assert_eq!(versions(&panel.downgrades.shown), ["0.9.0", "0.8.0"]);
        assert_eq!(panel.upgrades.shown[4].hops, ["2.4.0", "3.1.0", "4.0.0"]);
        assert_eq!(panel.upgrades.shown[6].first_hop().map(String::as_str), Some("2.4.0"));
        assert!(panel.upgrades.shown[0].hops.is_empty());
        assert_eq!(panel.downgrades.shown[1].blocked, "0.8.0 is blocked");
        assert!(!panel.downgrades.shown[1].is_direct && panel.upgrades.shown[0].is_direct);
    }

    #[test]
    fn a_way_with_a_missing_major_is_no_way() {
        let listed = vec![up("2.0.0", "PLATFORM_MISSING"), up("3.0.0", FAR)];
        assert!(panel(listed, "", &[]).upgrades.shown.iter().all(|row| row.hops.is_empty()));
        assert!(hops(&[], "not a version", &up("3.0.0", FAR)).is_empty());
    }

    #[test]
    fn what_blocks_all_is_said_once_with_what_to_do() {
        let finding =
            Finding { reason: "EXECUTOR_PINNED".to_owned(), remedy: "unpin it".to_owned(), ..Finding::default() };
        let listed = vec![up("1.1.0", "EXECUTOR_PINNED"), up("3.0.0", FAR)];
        let panel = panel(listed, "EXECUTOR_PINNED", &[finding]);
        assert_eq!(panel.blocked.as_ref().map(|blocked| blocked.remedy.as_str()), Some("unpin it"));
        let said: Vec<_> = panel.upgrades.shown.iter().map(|row| row.blocked.as_str()).collect();
        assert_eq!(said, ["3.0.0 is blocked", ""], "the newest on top, and only what is its own");
        assert!(panel.upgrades.shown.iter().all(|row| !row.is_direct));
    }

    #[test]
    fn a_long_list_is_folded() {
        let listed = (1..=11).map(|n| up(&format!("1.{n}.0"), "")).collect();
        let panel = panel(listed, "", &[]);
        assert_eq!((panel.upgrades.shown.len(), panel.upgrades.folded.len()), (8, 3));
        assert_eq!(panel.upgrades.shown[0].version, "1.11.0");
        assert!(panel.downgrades.is_empty());
    }
}
