//! Signing in and out, as a person does it and as somebody else would.

use anyhow::ensure;
use libtest_mimic::Trial;
use proto::v1::Role;

use crate::stage::Stage;
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("signin::a_token_becomes_a_session_and_signing_out_ends_it", a_token_becomes_a_session),
        trial("signin::a_wrong_token_is_refused_in_place", a_wrong_token_is_refused),
    ]
}

async fn a_token_becomes_a_session() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.browser().await?;
    browser.go("/organizations/acme/executors?filter=name%3Aweb").await?;
    browser.at("/signin?next=").await?;
    browser.fill("Token", stage.plane.secret(Role::Admin)).await?;
    browser.press("Sign in").await?;
    browser.at("/organizations/acme/executors?filter=name").await?;
    let cookie = browser.cookie("__Host-novacula").await?;
    ensure!(cookie["httpOnly"] == true && cookie["secure"] == true && cookie["sameSite"] == "Lax", "{cookie}");
    let complaints = browser.complaints().await?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    browser.press("Sign out").await?;
    browser.at("/signin").await?;
    ensure!(browser.cookie("__Host-novacula").await?.is_null(), "the cookie is still there");
    Ok(())
}

async fn a_wrong_token_is_refused() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.browser().await?;
    browser.go("/signin").await?;
    browser.fill("Token", "nvt_wrong").await?;
    browser.press("Sign in").await?;
    browser.see("This token is unknown, expired or revoked.").await?;
    ensure!(browser.cookie("__Host-novacula").await?.is_null(), "a cookie for nobody");
    Ok(())
}
