//! Whom a page keeps out: nobody who reads with a keyboard, nobody whose browser runs no script, and nobody who clicks twice.

use anyhow::ensure;
use harness::browser::Key;
use libtest_mimic::Trial;
use proto::v1::Role;

use crate::stage::Stage;
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("access::a_keyboard_is_enough_to_sign_in_and_out", keyboard),
        trial("access::signing_in_and_filtering_need_no_script", without_scripts),
        trial("access::a_second_click_does_not_take_the_place_of_a_secret", second_click),
    ]
}

async fn keyboard() -> Result {
    let stage = Stage::full().await?;
    let browser = stage.browser().await?;
    browser.go("/signin").await?;
    // The field has the focus already: a token is pasted, and that is it.
    ensure!(browser.focused().await? == "Token", "{} has the focus", browser.focused().await?);
    browser.type_text(stage.plane.secret(Role::Admin)).await?;
    browser.key(Key::Enter).await?;
    browser.at("/organizations/acme/executors").await?;
    browser.key(Key::Tab).await?;
    ensure!(browser.focused().await? == "Skip to the content", "{} is first", browser.focused().await?);
    browser.key(Key::Enter).await?;
    browser.tab_to("web-1").await?;
    browser.key(Key::Enter).await?;
    browser.at("/organizations/acme/executors/web-1").await?;
    browser.go("/organizations/acme/executors").await?;
    browser.tab_to("Sign out").await?;
    browser.key(Key::Enter).await?;
    browser.at("/signin").await
}

async fn without_scripts() -> Result {
    let stage = Stage::full().await?;
    let browser = stage.browser().await?;
    browser.without_scripts(true).await?;
    browser.sign_in(stage.plane.secret(Role::Admin)).await?;
    let ran = browser.script("return document.documentElement.dataset.script ?? ''", serde_json::json!([])).await?;
    ensure!(ran == "", "the page's script ran");
    browser.see("billing-1").await?;
    browser.press("Sign out").await?;
    browser.at("/signin").await
}

async fn second_click() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.signed_in(Role::Owner).await?;
    browser.go("/organizations/acme/tokens/new").await?;
    let twice = "const form = document.querySelector('form[data-single]'); form.requestSubmit(); form.requestSubmit();";
    browser.script(twice, serde_json::json!([])).await?;
    browser.see("This is shown once").await
}
