//! With real agents, under their own supervisor.

use std::time::Duration;

use agent::Misbehaviour;
use anyhow::ensure;
use harness::browser::Browser;
use harness::fleet::control_plane::As;
use harness::fleet::edition::Edition;
use harness::fleet::{Fleet, Manager, NAME, Pace, Programs};
use serde_json::json;

use crate::Result;

/// Short enough for a test; the page shows the same steps.
const PACE: Pace = Pace { probation: Duration::from_millis(1500), window: Duration::from_secs(4) };

/// An agent at 1.0.0, a release for it, and its owner before the executor's page.
async fn begin(edition: &Edition) -> Result<(Fleet, Browser)> {
    let programs = Programs {
        server: env!("CARGO_BIN_EXE_fixture-server").into(),
        novacula: env!("CARGO_BIN_EXE_fixture-novacula").into(),
        agent: env!("CARGO_BIN_EXE_fixture-agent").into(),
    };
    let fleet = Fleet::start(&programs, Manager::Supervise, PACE)?;
    fleet.publish(edition.says(), edition)?;
    let browser = Browser::open(fleet.control.api_addr(), &fleet.control.data().join("ca.pem")).await?;
    browser.sign_in(&fleet.control.secret(As::Owner)?).await?;
    browser.press(NAME).await?;
    browser.see("Available upgrades").await?;
    Ok((fleet, browser))
}

/// Asks in the dialog, and marks the page that follows: whoever loads it again loses the mark.
async fn ask(browser: &Browser, version: &str) -> Result {
    browser.press(&format!("Upgrade to {version}…")).await?;
    browser.see("What will happen").await?;
    browser.press(&format!("Upgrade to {version}")).await?;
    browser.at(&format!("/organizations/acme/executors/{NAME}/attempts/")).await?;
    browser.script("window.unbroken = true", json!([])).await.map(drop)
}

async fn expect_unbroken(browser: &Browser) -> Result {
    let mark = browser.script("return window.unbroken === true", json!([])).await?;
    ensure!(mark == true, "the page was loaded again");
    let complaints = browser.complaints().await?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

pub(super) async fn succeeds() -> Result {
    let (fleet, browser) = begin(&Edition::good("1.1.0")).await?;
    ask(&browser, "1.1.0").await?;
    let end = browser.see("1.1.0 runs and is confirmed").await;
    end.map_err(|error| fleet.told(error))?;
    expect_unbroken(&browser).await?;
    fleet.wait_online("1.1.0")?;
    browser.go(&format!("/organizations/acme/executors/{NAME}")).await?;
    browser.see("It runs the newest release that its channel shows.").await?;
    browser.see("succeeded").await
}

pub(super) async fn comes_back() -> Result {
    let (fleet, browser) = begin(&Edition::bad("1.2.0", Misbehaviour::CrashAtStart)).await?;
    ask(&browser, "1.2.0").await?;
    let end = browser.see("What to do next").await;
    end.map_err(|error| fleet.told(error))?;
    for said in ["rolled back", "to 1.0.0", "CRASH_LOOP", "What 1.2.0 last said"] {
        browser.see(said).await?;
    }
    let tail = browser.script("return document.querySelector('pre.log').textContent", json!([])).await?;
    let tail = tail.as_str().unwrap_or_default();
    let told = fleet.log_tail()?;
    ensure!(!told.is_empty() && told.iter().all(|line| tail.contains(line)), "{tail}\nnot\n{told:?}");
    ensure!(browser.offers("Ask again…").await?, "it is not offered to ask again");
    expect_unbroken(&browser).await?;
    fleet.wait_online("1.0.0")?;
    browser.press(&format!("To {NAME}")).await?;
    browser.see("held").await
}
