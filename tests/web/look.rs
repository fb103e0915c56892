//! A look at pages while they are being made: `NOVACULA_LOOK=/releases,/organizations/acme/executors cargo test … --test web -- look`
//! writes a picture of each, light, dark and on a phone, to `NOVACULA_LOOK_TO` (default `/tmp/novacula-look`).
use std::path::PathBuf;

use harness::browser::{Colours, Screen};
use libtest_mimic::Trial;
use proto::v1::Role;

use crate::stage::Stage;
use crate::{Result, trial};

/// Without paths there is nothing to do, and no trial.
pub(crate) fn trials() -> Vec<Trial> {
    std::env::var("NOVACULA_LOOK").is_ok().then(|| trial("look::at_pages", look)).into_iter().collect()
}

async fn look() -> Result {
    let paths = std::env::var("NOVACULA_LOOK")?;
    let folder = std::env::var("NOVACULA_LOOK_TO").unwrap_or_else(|_| "/tmp/novacula-look".to_owned());
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder)?;
    let stage = Stage::full().await?;
    let browser = stage.browser().await?;
    browser.sign_in(stage.plane.secret(Role::Owner)).await?;
    for path in paths.split(',') {
        let name = path.trim_start_matches('/').replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        for (colours, screen, ending) in [
            (Colours::Light, Screen::Desk, "light"),
            (Colours::Dark, Screen::Desk, "dark"),
            (Colours::Light, Screen::Phone, "phone"),
        ] {
            browser.look(colours, screen).await?;
            browser.go(path).await?;
            browser.picture(&folder.join(format!("{name}-{ending}.webp"))).await?;
        }
    }
    Ok(())
}
