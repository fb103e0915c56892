//! `bootstrap`: the first organization and the first tokens, printed (or written) once.

use std::path::Path;

use anyhow::Context as _;
use domain::OrganizationId;

use super::{open, say};
use crate::app::bootstrap::Made;
use crate::args::Bootstrap;
use crate::config::Config;
use crate::tls::files::{self, Mode};

/// Makes them.
pub(super) async fn bootstrap(config: &Config, wanted: Bootstrap) -> anyhow::Result<()> {
    let organization = OrganizationId::new(&wanted.organization).context("--organization")?;
    let app = open(config).await.context("bootstrap works while no server runs on the data directory")?;
    let made = app.bootstrap(&organization).await?;
    match made.organization {
        Made::Now => say(&format!("organization  organizations/{organization}")),
        Made::Before => say(&format!("organization  organizations/{organization} (was there)")),
    }
    say(&format!("authority     {}", config.data_dir.join("ca.pem").display()));
    for (role, token) in &made.tokens {
        let secret = token.reveal();
        let shown = match &wanted.token_dir {
            Some(folder) => write(folder, role.as_str(), &secret)?,
            None => secret.to_string(),
        };
        say(&format!("{:<13} {shown}", role.as_str()));
    }
    if wanted.token_dir.is_none() {
        say("The tokens are shown this once; whoever has one has its role.");
    }
    Ok(())
}

fn write(folder: &Path, role: &str, secret: &str) -> anyhow::Result<String> {
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join(format!("{role}.token"));
    files::replace(&path, format!("{secret}\n").as_bytes(), Mode::Private)?;
    Ok(path.display().to_string())
}
