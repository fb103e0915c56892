//! `after-restore`: makes a restored backup safe to run, and tells what a person has to look at.

use proto::convert::field::to_timestamp;

use super::{open, say};
use crate::app::restore::{ApiTokens, Restored};
use crate::args::AfterRestore;
use crate::config::Config;

/// Ends pending upgrades, voids join tokens, lists (or revokes) API tokens, lists identities.
pub(super) async fn after_restore(config: &Config, wanted: AfterRestore) -> anyhow::Result<()> {
    let api_tokens = if wanted.revoke_tokens { ApiTokens::Revoke } else { ApiTokens::Keep };
    let app = open(config).await?;
    let done = app.after_restore(api_tokens).await?;
    say(&format!("pending upgrades ended  {}", done.pending_ended));
    say(&format!("join tokens voided      {}", done.join_tokens_voided));
    say_api_tokens(&done, api_tokens);
    say(
        "Executors of the backup. One that was deactivated, deleted or replaced since is active again: compare, and repeat it.",
    );
    for executor in done.executors {
        say(&format!("{}  uid {}  {}", executor.name, executor.uid, executor.state));
    }
    Ok(())
}

fn say_api_tokens(done: &Restored, api_tokens: ApiTokens) {
    match api_tokens {
        ApiTokens::Revoke => {
            say(&format!("API tokens revoked      {}", done.api_tokens.len()));
            say(
                "Nobody can call the API now: `novacula-server bootstrap --organization ID` makes new tokens, also where the organization is there. These count no more.",
            );
        }
        ApiTokens::Keep => {
            say(&format!("API tokens that count   {}", done.api_tokens.len()));
            say(
                "One that was revoked since the backup counts again: compare, and revoke it, or all of them with --revoke-tokens.",
            );
        }
    }
    for token in &done.api_tokens {
        let made = to_timestamp(token.create_time);
        say(&format!("{}  {}  made {made}  {}", token.name, token.role, token.display_name));
    }
}
