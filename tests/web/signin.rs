//! Signing in and out, as a person does it and as somebody else would.

use anyhow::{Context as _, ensure};
use harness::browser::Browser;
use libtest_mimic::Trial;
use proto::v1;
use proto::v1::Role;

use crate::http::Http;
use crate::stage::Stage;
use crate::{Result, trial};

const COOKIE: &str = "__Host-novacula";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("signin::leads_back_and_keeps_a_cookie_that_no_script_reads", leads_back),
        trial("signin::a_wrong_token_is_refused_in_place", a_wrong_token_is_refused),
        trial("signin::signing_out_ends_the_session_itself", signing_out_ends_the_session),
        trial("signin::a_session_that_was_planted_is_not_gone_on_with", a_planted_session),
        trial("signin::leads_to_no_other_site", leads_to_no_other_site),
        trial("signin::a_revoked_session_is_asked_to_sign_in_again", a_revoked_session),
        trial("signin::a_guesser_is_slowed_down", a_guesser_is_slowed_down),
    ]
}

async fn leads_back() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.browser().await?;
    browser.go("/organizations/acme/executors?filter=name%3Aweb").await?;
    browser.at("/signin?next=").await?;
    browser.fill("Token", stage.plane.secret(Role::Admin)).await?;
    browser.press("Sign in").await?;
    browser.at("/organizations/acme/executors?filter=name").await?;
    let cookie = browser.cookie(COOKIE).await?;
    ensure!(cookie["httpOnly"] == true && cookie["secure"] == true && cookie["sameSite"] == "Lax", "{cookie}");
    ensure!(cookie["path"] == "/" && cookie["domain"] == "localhost", "{cookie}");
    let read = browser.script("return document.cookie", serde_json::json!([])).await?;
    ensure!(read == "", "a script reads {read}");
    let complaints = browser.complaints().await?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

async fn a_wrong_token_is_refused() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.browser().await?;
    let never_made = format!("nvt_{}_{}", "a".repeat(26), "b".repeat(43));
    for wrong in ["nvt_wrong", "<b>", &never_made] {
        browser.go("/signin").await?;
        browser.fill("Token", wrong).await?;
        browser.press("Sign in").await?;
        browser.see("This token is unknown, expired or revoked.").await?;
        ensure!(browser.cookie(COOKIE).await?.is_null(), "a cookie for {wrong}");
    }
    Ok(())
}

async fn signing_out_ends_the_session() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.signed_in(Role::Admin).await?;
    let kept = value(&browser).await?;
    let http = Http::new(&stage)?;
    let fleet = "/organizations/acme/executors";
    let cookie = format!("{COOKIE}={kept}");
    ensure!(http.get(fleet, &cookie).await?.status == 200, "the cookie is good elsewhere before");
    browser.press("Sign out").await?;
    browser.at("/signin").await?;
    ensure!(browser.cookie(COOKIE).await?.is_null(), "the cookie is still there");
    let answer = http.get(fleet, &cookie).await?;
    ensure!(answer.status == 303 && answer.header("location").starts_with("/signin"), "{answer:?}");
    // The token that it was signed in with lives on.
    stage.plane.admin().organizations().who_am_i(v1::WhoAmIRequest {}).await?;
    Ok(())
}

/// Session fixation: somebody signs in as himself, plants his cookie, and waits for another to sign in with it.
async fn a_planted_session() -> Result {
    let stage = Stage::bare().await?;
    let http = Http::new(&stage)?;
    let planted = http.sign_in(stage.plane.secret(Role::Member)).await?;
    let browser = stage.browser().await?;
    browser.go("/signin").await?;
    let (_, secret) = planted.split_once('=').context("a cookie")?;
    browser.plant(COOKIE, secret).await?;
    browser.sign_in(stage.plane.secret(Role::Owner)).await?;
    browser.see("owner of acme").await?;
    ensure!(value(&browser).await? != secret, "the planted session became the owner's");
    let his = http.get("/organizations/acme/executors", &planted).await?.body;
    ensure!(his.contains("member of acme") && !his.contains("owner of acme"), "{his}");
    Ok(())
}

async fn leads_to_no_other_site() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.browser().await?;
    for elsewhere in ["//localhost.evil.example/", "https://evil.example/", "/%5Cevil.example", "javascript:alert(1)"] {
        browser.go(&format!("/signin?next={elsewhere}")).await?;
        browser.fill("Token", stage.plane.secret(Role::Member)).await?;
        browser.press("Sign in").await?;
        browser.at("/organizations/acme/executors").await.context(elsewhere)?;
        browser.press("Sign out").await?;
    }
    // A form that somebody changed says the same.
    let http = Http::new(&stage)?;
    let form = format!("token={}&next=%2F%2Fevil.example", stage.plane.secret(Role::Member));
    let answer = http.post("/signin", "", &[], &form).await?;
    ensure!(answer.header("location") == "/", "{answer:?}");
    Ok(())
}

async fn a_revoked_session() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.signed_in(Role::Admin).await?;
    let owner = stage.plane.owner();
    // The cookie is the session's own token: `nvt_<id>_<secret>`.
    let cookie = value(&browser).await?;
    let id = cookie.split('_').nth(1).context("a token")?;
    let name = format!("organizations/acme/tokens/{id}");
    owner.organizations().revoke_token(v1::RevokeTokenRequest { name }).await?;
    browser.go("/organizations/acme/executors").await?;
    browser.at("/signin?next=%2Forganizations%2Facme%2Fexecutors").await
}

async fn a_guesser_is_slowed_down() -> Result {
    /// More than a person's typing errors in a minute.
    const GUESSES: usize = 60;
    let stage = Stage::bare().await?;
    let http = Http::new(&stage)?;
    let cookie = http.sign_in(stage.plane.secret(Role::Member)).await?;
    let mut refused = 0;
    for _ in 0..GUESSES {
        let answer = http.post("/signin", "", &[], "token=nvt_guess").await?;
        ensure!([401, 429].contains(&answer.status), "{answer:?}");
        if answer.status == 429 {
            ensure!(answer.body.contains("Too many sign-ins from this address"), "{answer:?}");
            refused += 1;
        }
    }
    ensure!(refused >= GUESSES / 3, "{refused} of {GUESSES} guesses were refused");
    // Whoever is signed in reads on.
    ensure!(http.get("/organizations/acme/executors", &cookie).await?.status == 200, "a reader was slowed down");
    Ok(())
}

async fn value(browser: &Browser) -> Result<String> {
    let cookie = browser.cookie(COOKIE).await?;
    Ok(cookie["value"].as_str().context("a cookie")?.to_owned())
}
