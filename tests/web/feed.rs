//! The feed while it is read: new rows come above, and the one that somebody has open stays open, and keeps the focus.

use anyhow::ensure;
use libtest_mimic::Trial;
use proto::v1;
use proto::v1::Role;
use serde_json::json;

use crate::stage::Stage;
use crate::{Result, trial};

const FEED: &str = "/organizations/acme/events";

/// Opens the newest row, as a person does with the keyboard; which it is.
const OPEN: &str = "const row = document.querySelector('[data-key]'); \
    const summary = row.querySelector('summary'); summary.focus(); summary.click(); return row.dataset.key;";

/// The newest row, and whether the one of before is open and has the focus.
const SEEN: &str = "const row = document.querySelector(`[data-key='${arguments[0]}']`); \
    return [document.querySelector('[data-key]').dataset.key, row.querySelector('details').open, \
        row.contains(document.activeElement)];";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("feed::a_row_that_is_read_stays_open_while_others_come", reading)]
}

async fn reading() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.signed_in(Role::Owner).await?;
    browser.go(FEED).await?;
    browser.see("live").await?;
    let read = browser.script(OPEN, json!([])).await?;
    for n in 0..3 {
        let parent = "organizations/acme".to_owned();
        let executor_id = format!("web-{n}");
        let request = v1::CreateJoinTokenRequest { parent, executor_id, ..v1::CreateJoinTokenRequest::default() };
        let made = stage.plane.owner().organizations().create_join_token(request).await?.into_inner();
        let id = made.join_token.map(|token| token.name).unwrap_or_default();
        let id = id.rsplit('/').next().unwrap_or_default().to_owned();
        ensure!(!id.is_empty(), "a join token has a name");
        browser.see(&id).await?;
        let seen = browser.script(SEEN, json!([read])).await?;
        ensure!(seen[0] != read && seen[1] == true && seen[2] == true, "after {n}: {seen}, opened {read}");
    }
    Ok(())
}
