//! An artifact on its way from a browser: its network goes and comes back, and no byte that arrived is sent twice.

use std::fs;

use anyhow::{Context as _, ensure};
use harness::catalog::Draft;
use harness::relay::Relay;
use libtest_mimic::Trial;
use proto::v1;
use proto::v1::Role;
use serde_json::json;

use crate::stage::Stage;
use crate::{Result, trial};

/// A few seconds of [`LINE`].
const SIZE: usize = 8 << 20;

/// Bytes a second.
const LINE: u32 = 2 << 20;

/// Notes what each piece says of itself.
const NOTE: &str = "window.ranges = []; \
    const set = XMLHttpRequest.prototype.setRequestHeader; \
    XMLHttpRequest.prototype.setRequestHeader = function (name, value) { \
        if (name === 'content-range') window.ranges.push(value); \
        return set.call(this, name, value); \
    };";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("upload::a_file_whose_network_was_cut_goes_on_from_there", cut)]
}

async fn cut() -> Result {
    let stage = Stage::bare().await?;
    let mut draft = Draft::new("1.1.0", 1);
    draft.bytes = (0..SIZE).map(|n| (n / 4096 + n) as u8).collect();
    stage.plane.draft(&draft).await?;
    let folder = tempfile::tempdir()?;
    let (file, signature) = (folder.path().join("novacula-agent"), folder.path().join("novacula-agent.minisig"));
    fs::write(&file, &draft.bytes)?;
    let artifact = draft.artifact(&stage.plane);
    fs::write(&signature, artifact.minisign_signatures.concat())?;

    let relay = Relay::new().await?;
    relay.turn_to(stage.plane.api_addr());
    let mut browser = stage.browser().await?;
    browser.turn_to(relay.address());
    browser.sign_in(stage.plane.secret(Role::Publisher)).await?;
    browser.go(&format!("/{}/upload", draft.name())).await?;
    browser.choose("Signature files", &signature).await?;
    browser.choose("Binary", &file).await?;
    browser.script(NOTE, json!([])).await?;
    browser.sends_slowly(LINE).await?;
    browser.press("Add the artifact").await?;
    let sent =
        || async { Ok(browser.script("return document.querySelector('progress').value", json!([])).await?.as_u64()) };
    browser.until("a quarter to be sent", sent, |percent| percent.is_some_and(|percent| percent >= 25)).await?;
    relay.cut();
    browser.see("Connection lost; it goes on from there.").await?;
    relay.turn_to(stage.plane.api_addr());
    let begun = || browser.script("return window.ranges", json!([]));
    let ranges =
        browser.until("it to go on", begun, |ranges| ranges.as_array().is_some_and(|all| all.len() > 1)).await?;
    let ranges: Vec<String> = serde_json::from_value(ranges)?;
    let from = |range: &String| range.trim_start_matches("bytes ").split('-').next().and_then(|from| from.parse().ok());
    let from: Vec<usize> = ranges.iter().filter_map(from).collect();
    ensure!(from[0] == 0 && from.last().is_some_and(|last| (1..SIZE).contains(last)), "{ranges:?}");
    browser.at(&format!("/{}", draft.name())).await?;
    browser.see("novacula-agent").await?;

    let request = v1::GetReleaseRequest { name: draft.name() };
    let release = stage.plane.publisher().releases().get_release(request).await?.into_inner();
    ensure!(release.artifacts == [artifact], "{release:?}");
    stage.plane.publish(&draft.name()).await.context("what was put together is what was signed")?;
    Ok(())
}
