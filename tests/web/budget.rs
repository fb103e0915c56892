//! What a page costs who reads it far away at night.

use anyhow::ensure;
use libtest_mimic::Trial;
use proto::v1::Role;
use serde_json::json;

use crate::stage::Stage;
use crate::{Result, trial};

/// Everything that the first page of a browser fetches: page, style, script, icon.
/// The promise is 60 kB; compressed it is a fifth of that, and this notices when it is not.
const FIRST_PAGE_BYTES: u64 = 25_000;

/// Less than style and script are together, which a browser keeps.
const STYLE_AND_SCRIPT_BYTES: u64 = 6_000;

/// From the request to a page that can be used, on the test's machine while other tests run on it.
const USABLE_MS: f64 = 1000.0;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("budget::a_first_page_is_light_and_soon_usable", first_pages)]
}

async fn first_pages() -> Result {
    let stage = Stage::full().await?;
    // Two browsers that were never here: one for the door, one for the fleet behind it.
    let browser = stage.browser().await?;
    browser.weight().await?;
    browser.go("/signin").await?;
    let door = browser.weight().await?;
    ensure!((3..=4).contains(&door.requests), "page, style, script, icon: {door:?}");
    ensure!((1_000..FIRST_PAGE_BYTES).contains(&door.bytes), "{door:?}");
    browser.sign_in(stage.plane.secret(Role::Owner)).await?;
    browser.without_cache(true).await?;
    browser.weight().await?;
    browser.go("/organizations/acme/executors").await?;
    let fleet = browser.weight().await?;
    ensure!(fleet.bytes > door.bytes && fleet.bytes < FIRST_PAGE_BYTES, "{fleet:?} after {door:?}");
    let timing = "return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd";
    let usable = browser.script(timing, json!([])).await?.as_f64().unwrap_or(f64::MAX);
    ensure!(usable < USABLE_MS, "usable after {usable} ms");
    browser.without_cache(false).await?;
    // Once a browser has been here, a page is the page alone.
    browser.go("/organizations/acme/executors").await?;
    let again = browser.weight().await?;
    ensure!(again.requests == 1 && again.bytes + STYLE_AND_SCRIPT_BYTES < fleet.bytes, "{again:?} after {fleet:?}");
    Ok(())
}
