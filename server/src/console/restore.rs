//! `after-restore`: makes a restored backup safe to run, and tells what a person has to look at.

use super::{open, say};
use crate::config::Config;

/// Ends pending upgrades, voids join tokens, lists identities.
pub(super) async fn after_restore(config: &Config) -> anyhow::Result<()> {
    let app = open(config).await?;
    let done = app.after_restore().await?;
    say(&format!("pending upgrades ended  {}", done.pending_ended));
    say(&format!("join tokens voided      {}", done.join_tokens_voided));
    say(
        "Executors of the backup. One that was deactivated, deleted or replaced since is active again: compare, and repeat it.",
    );
    for executor in done.executors {
        say(&format!("{}  uid {}  {}", executor.name, executor.uid, executor.state));
    }
    Ok(())
}
