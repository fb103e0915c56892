//! What others would have a page do: run their script, show it in a frame of theirs, send a form in a reader's name, hand out files.

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use proto::v1::Role;
use serde_json::json;

use crate::http::{Foreign, Http};
use crate::pages::{Seen, of_access, of_the_catalog, of_the_fleet};
use crate::stage::Stage;
use crate::{Result, trial};

/// A page that every role of the organization has, with a form on it.
const FLEET: &str = "/organizations/acme/executors";

/// What each answer says of itself, whatever it is about.
const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", "default-src 'none'; script-src 'self'; style-src 'self'; "),
    ("content-security-policy", "frame-ancestors 'none'"),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// What a request says of itself beside its form.
type Headers<'a> = &'a [(&'static str, &'a str)];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("security::every_page_says_what_it_may_do", headers),
        trial("security::another_site_cannot_frame_a_page", framed),
        trial("security::a_form_of_another_site_does_nothing_in_a_real_browser", forged_in_a_browser),
        trial("security::a_form_counts_with_its_session_s_token_from_our_origin_only", forged_by_hand),
        trial("security::no_path_leads_to_other_files", traversal),
    ]
}

async fn headers() -> Result {
    let stage = Stage::full().await?;
    let http = Http::new(&stage)?;
    let pages: Vec<Seen> =
        [of_the_fleet(&stage), of_the_catalog(&stage), of_access(&stage)].into_iter().flatten().collect();
    let mut cookies = std::collections::BTreeMap::from([(Role::Unspecified as i32, String::new())]);
    for page in &pages {
        if let std::collections::btree_map::Entry::Vacant(new) = cookies.entry(page.role as i32) {
            new.insert(http.sign_in(stage.plane.secret(page.role)).await?);
        }
        let answer = http.get(&page.path, &cookies[&(page.role as i32)]).await?;
        ensure!(answer.status != 303, "{} is not shown", page.path);
        for (name, part) in HEADERS {
            ensure!(answer.header(name).contains(part), "{}: {name}: {}", page.path, answer.header(name));
        }
        // The policy would forbid it; that it is not there is our own rule.
        for inline in ["<style", "style=\"", "onclick=", "onload=", "javascript:"] {
            ensure!(!answer.body.contains(inline), "{}: {inline}", page.path);
        }
    }
    Ok(())
}

async fn framed() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.signed_in(Role::Owner).await?;
    let frame = format!("<h1>Win a prize</h1><iframe src=\"{}{FLEET}\"></iframe>", browser.origin());
    let foreign = Foreign::serve(frame).await?;
    browser.complaints().await?;
    browser.go(&foreign.url()).await?;
    browser.see("Win a prize").await?;
    let refused = |lines: &Vec<String>| lines.iter().any(|line| line.contains("frame-ancestors"));
    browser.until("the browser to refuse the frame", || browser.complaints(), refused).await?;
    Ok(())
}

async fn forged_in_a_browser() -> Result {
    let stage = Stage::bare().await?;
    let browser = stage.signed_in(Role::Owner).await?;
    let form =
        format!("<form method=\"post\" action=\"{}/signout\"><button>Win a prize</button></form>", browser.origin());
    let foreign = Foreign::serve(form).await?;
    browser.go(&foreign.url()).await?;
    browser.press("Win a prize").await?;
    // The cookie did not travel with it, so that nobody is known there.
    browser.at("/signin").await?;
    browser.go(FLEET).await?;
    browser.see("owner of acme").await
}

async fn forged_by_hand() -> Result {
    let stage = Stage::bare().await?;
    let http = Http::new(&stage)?;
    let cookie = http.sign_in(stage.plane.secret(Role::Owner)).await?;
    let other = http.sign_in(stage.plane.secret(Role::Owner)).await?;
    let ours = format!("forgery_token={}", http.forgery_token(&cookie, FLEET).await?);
    let others = format!("forgery_token={}", http.forgery_token(&other, FLEET).await?);
    let origin = format!("https://localhost:{}", stage.plane.api_addr().port());
    let from = |origin: &'static str| [("origin", origin)];
    let forged: [(&str, Headers<'_>, &str); 7] = [
        ("no token", &[("sec-fetch-site", "same-origin")], ""),
        ("another session's token", &[("sec-fetch-site", "same-origin")], &others),
        ("another site", &[("sec-fetch-site", "cross-site")], &ours),
        ("another port of this host", &[("sec-fetch-site", "same-site")], &ours),
        ("another origin", &from("https://evil.example"), &ours),
        ("an opaque origin", &from("null"), &ours),
        ("a token that is the cookie", &[("sec-fetch-site", "same-origin")], "forgery_token=__Host-novacula"),
    ];
    for (what, headers, form) in forged {
        let answer = http.post("/signout", &cookie, headers, form).await?;
        ensure!(answer.status == 403, "{what}: {answer:?}");
        ensure!(answer.body.contains("this form did not come from a page of this session"), "{what}: {answer:?}");
    }
    ensure!(http.get(FLEET, &cookie).await?.status == 200, "a forged form signed the reader out");
    // The one difference is the token and where it comes from.
    let answer = http.post("/signout", &cookie, &[("origin", &origin)], &ours).await?;
    ensure!(answer.status == 303 && answer.header("location") == "/signin", "{answer:?}");
    ensure!(http.get(FLEET, &cookie).await?.status == 303, "the session goes on");
    Ok(())
}

async fn traversal() -> Result {
    let stage = Stage::bare().await?;
    let http = Http::new(&stage)?;
    let cookie = http.sign_in(stage.plane.secret(Role::Owner)).await?;
    let script = http.get("/signin", "").await?.body;
    let (_, script) = script.split_once("src=\"").context("a script")?;
    let script = script.split('"').next().unwrap_or_default();
    ensure!(http.get(script, "").await?.status == 200, "{script} is there");
    let folders =
        ["/static/", "/artifacts/", "/releases/", "/organizations/acme/executors/", "/organizations/", "/upload/"];
    let ways = [
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%2fca.key",
        "..%5c..%5cca.key",
        "%2fetc%2fpasswd",
        "%00",
        "....%2f%2fca.key",
        "%252e%252e%252fca.key",
    ];
    for folder in folders {
        for way in ways {
            let answer = http.get(&format!("{folder}{way}"), &cookie).await?;
            ensure!((400..500).contains(&answer.status), "{folder}{way}: {answer:?}");
            ensure!(
                !answer.body.contains("root:") && !answer.body.contains("PRIVATE KEY"),
                "{folder}{way}: {answer:?}"
            );
        }
    }
    let browser = stage.browser().await?;
    browser.go("/static/%3Cimg%20src=x%20onerror=window.owned=1%3E").await?;
    ensure!(browser.script("return window.owned ?? null", json!([])).await?.is_null(), "a path ran a script");
    Ok(())
}
