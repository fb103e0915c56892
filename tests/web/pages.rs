//! Every page, by its path: what must hold of each, and its picture.
//!
//! `NOVACULA_SCREENSHOTS=1` keeps the pictures in `docs/screenshots` (`just screenshots`). What differs between two runs of the
//! same stage (times, ids that are random) is written over before a picture is taken, so that a picture changes with its page.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use harness::browser::{Browser, Colours, Screen};
use harness::parts::workspace;
use libtest_mimic::Trial;
use proto::v1::Role;
use serde_json::json;

use crate::stage::Stage;
use crate::{Result, trial};

/// Writes over what another run would write otherwise.
const SETTLE: &str = include_str!("settle.js");

/// How a page is looked at.
const LOOKS: [(Colours, Screen, &str); 3] = [
    (Colours::Light, Screen::Desk, "light"),
    (Colours::Dark, Screen::Desk, "dark"),
    (Colours::Light, Screen::Phone, "phone"),
];

/// A page of the full stage.
pub(crate) struct Seen {
    /// Its picture's name.
    pub(crate) name: &'static str,
    /// Who reads it.
    pub(crate) role: Role,
    /// Where it is.
    pub(crate) path: String,
}

/// Pages that are kept as a phone shows them, too: those that somebody is woken for.
const POCKET: [&str; 3] = ["executors", "executor", "attempt-rolled-back"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("pages::of_the_fleet_keep_nobody_out_and_break_no_rule", fleet),
        trial("pages::of_access_keep_nobody_out_and_break_no_rule", access),
        trial("pages::of_the_catalog_keep_nobody_out_and_break_no_rule", catalog),
    ]
}

/// What those who deploy see.
pub(crate) fn of_the_fleet(stage: &Stage) -> Vec<Seen> {
    let seen = |name, path: &str| Seen { name, role: Role::Owner, path: path.to_owned() };
    let attempt = |name, path: &String| Seen { name, role: Role::Owner, path: format!("/{path}") };
    let web = "/organizations/acme/executors/web-1";
    vec![
        seen("executors", "/organizations/acme/executors"),
        seen("executors-none", "/organizations/acme/executors?filter=name%3Anobody"),
        seen("filter-refused", "/organizations/acme/executors?filter=colour%3Dred"),
        seen("not-found", "/organizations/acme/executors/nobody"),
        seen("executor", "/organizations/acme/executors/db-2"),
        seen("executor-held", web),
        seen("executor-pinned", "/organizations/acme/executors/db-1"),
        seen("executor-out-of-support", "/organizations/acme/executors/billing-1"),
        seen("executor-offline", "/organizations/acme/executors/api-2"),
        seen("executor-upgrade", "/organizations/acme/executors/db-2/upgrade?to=4.2.1"),
        seen("executor-downgrade", "/organizations/acme/executors/db-2/upgrade?to=4.0.0"),
        seen("executor-refused", "/organizations/acme/executors/billing-1/upgrade?to=4.2.1"),
        seen("executor-settings", "/organizations/acme/executors/web-1/settings"),
        seen("executor-delete", "/organizations/acme/executors/web-1/decide/delete"),
        seen("executor-attempts", "/organizations/acme/executors/web-1/attempts"),
        seen("nodes", "/organizations/acme/executors/k8s-ams/nodes"),
        attempt("attempt-rolled-back", &stage.shown.rolled_back),
        attempt("attempt-downloading", &stage.shown.downloading),
        attempt("attempt-expired", &stage.shown.expired),
        attempt("attempt-succeeded", &stage.shown.succeeded),
        attempt("attempt-waiting", &stage.shown.waiting),
        seen("compare", "/releases/compare?kind=agent&from=4.0.0&to=4.2.1"),
    ]
}

/// What those who let others in see, and those who manage the installation.
pub(crate) fn of_access(_: &Stage) -> Vec<Seen> {
    let seen = |name, role, path: &str| Seen { name, role, path: path.to_owned() };
    vec![
        seen("events", Role::Owner, "/organizations/acme/events"),
        seen("access", Role::Owner, "/organizations/acme/access"),
        seen("join-token-new", Role::Owner, "/organizations/acme/joinTokens/new"),
        seen("token-new", Role::Owner, "/organizations/acme/tokens/new"),
        seen("session", Role::Owner, "/session"),
        seen("installation-access", Role::InstallationAdmin, "/access"),
        seen("installation-events", Role::InstallationAdmin, "/events"),
        seen("organization-new", Role::InstallationAdmin, "/organizations/new"),
    ]
}

/// What those who publish see, and those who are nobody yet.
pub(crate) fn of_the_catalog(_: &Stage) -> Vec<Seen> {
    let seen = |name, role, path: &str| Seen { name, role, path: path.to_owned() };
    vec![
        seen("signin", Role::Unspecified, "/signin"),
        seen("releases", Role::Publisher, "/releases"),
        seen("releases-operators", Role::Publisher, "/releases?kind=operator"),
        seen("release-new", Role::Publisher, "/releases/new"),
        seen("release", Role::Publisher, "/releases/agent-4.2.1"),
        seen("release-compared", Role::Publisher, "/releases/agent-4.2.1?against=4.1.0"),
        seen("release-draft", Role::Publisher, "/releases/agent-4.3.0"),
        seen("release-upload", Role::Publisher, "/releases/agent-4.3.0/upload"),
        seen("release-signatures", Role::Publisher, "/releases/agent-4.2.1/signatures"),
        seen("release-yank", Role::Publisher, "/releases/agent-4.2.0/yank"),
        seen("release-yanked", Role::Publisher, "/releases/agent-4.1.1"),
        seen("release-member", Role::Member, "/releases/agent-4.2.1"),
    ]
}

async fn fleet() -> Result {
    let stage = Stage::full().await?;
    let pages = of_the_fleet(&stage);
    walk(&stage, &pages).await
}

async fn access() -> Result {
    let stage = Stage::full().await?;
    let pages = of_access(&stage);
    walk(&stage, &pages).await
}

async fn catalog() -> Result {
    let stage = Stage::full().await?;
    let pages = of_the_catalog(&stage);
    walk(&stage, &pages).await
}

async fn walk(stage: &Stage, pages: &[Seen]) -> Result {
    let browser = stage.browser().await?;
    let mut signed_in = Role::Unspecified;
    let mut wrong = Vec::new();
    for page in pages {
        if page.role != signed_in {
            browser.sign_in(stage.plane.secret(page.role)).await?;
            signed_in = page.role;
        }
        let found = look_at(&browser, page).await.with_context(|| page.path.clone())?;
        wrong.extend(found.into_iter().map(|finding| format!("{}: {finding}", page.path)));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Everything that is wrong with a page, and its pictures.
async fn look_at(browser: &Browser, page: &Seen) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (colours, screen, ending) in LOOKS {
        browser.look(colours, screen).await?;
        browser.go(&page.path).await?;
        let loaded = browser.complaints().await?;
        // A page that refuses says so with its status as well, which a console repeats.
        wrong.extend(loaded.into_iter().filter(|line| !line.contains("the server responded with a status of")));
        if screen == Screen::Phone {
            let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            let over = browser.script(script, json!([])).await?;
            if over.as_i64().unwrap_or_default() > 0 {
                wrong.push(format!("it is {over} pixels wider than a phone"));
            }
        }
        wrong.extend(browser.barriers().await?.into_iter().map(|line| format!("{ending}: {line}")));
        let is_kept = screen != Screen::Phone || POCKET.contains(&page.name);
        if let Some(folder) = kept().filter(|_| is_kept) {
            std::fs::create_dir_all(&folder)?;
            browser.script(SETTLE, json!([])).await?;
            browser.picture(&folder.join(format!("{}-{ending}.webp", page.name))).await?;
        }
    }
    Ok(wrong)
}

fn kept() -> Option<PathBuf> {
    let folder = workspace().join("docs/screenshots");
    std::env::var("NOVACULA_SCREENSHOTS").is_ok_and(|value| value == "1").then_some(folder)
}
