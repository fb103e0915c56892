//! Available upgrades and downgrades.

use domain::target::Target;

use crate::v1;

impl From<Target> for v1::UpgradeTarget {
    fn from(target: Target) -> Self {
        let (blocked_reason, blocked_message) = match &target.blocked {
            Some(refusal) => (refusal.reason.as_str().to_owned(), refusal.message.clone()),
            None => (String::new(), String::new()),
        };
        Self {
            release: target.release.resource_name(),
            version: target.release.version.to_string(),
            channel: v1::Channel::from(target.channel).into(),
            direction: v1::upgrade_target::Direction::from(target.direction).into(),
            allowed_as_direct_target: target.blocked.is_none(),
            blocked_reason,
            blocked_message,
            release_notes: target.release_notes,
            held: target.held,
            // Not the catalog's to know.
            warnings: Vec::new(),
        }
    }
}
