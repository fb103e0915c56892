//! `import`: an embedded installation goes over to PostgreSQL, and a person is told what else has to.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use store::import::{Imported, Progress, Step, import};
use store::postgres::PostgresStore;

use super::{complain, say};
use crate::args::Import;
use crate::config::{self, Config};
use crate::run::parts::{DATABASE, open_authorities};
use crate::tls::authority::{BUNDLE_FILE, OWN_FILE, Source};

/// How often a person hears that it goes on.
const TELL: Duration = Duration::from_secs(2);

/// Copies, checks, and says what is left to do.
pub(super) async fn carry_over(config: &Config, wanted: &Import) -> anyhow::Result<()> {
    let Some(options) = &config.database else {
        let mistake = "database_url: must be set: import carries the embedded store into that database".to_owned();
        return Err(config::Error { mistakes: vec![mistake] }.into());
    };
    let path = database(&wanted.from_sqlite);
    let folder = path.parent().unwrap_or_else(|| Path::new(".")).to_owned();
    same_authority(&folder.join(BUNDLE_FILE), &config.authority)?;
    let mut told = Instant::now();
    let imported = import(&path, options, |progress| {
        if told.elapsed() >= TELL {
            told = Instant::now();
            complain(&sentence(progress));
        }
    });
    let imported = imported.await?;
    // Before any replica could make one of its own.
    let (store, _) = PostgresStore::open(options).await.context("open the store")?;
    open_authorities(config, &folder.join(OWN_FILE), &store).await.context("take the authority in")?;
    report(&imported, &folder, config);
    Ok(())
}

/// A data directory is named as well as the file in it.
fn database(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(DATABASE) } else { path.to_owned() }
}

/// Replicas whose authority the executors do not know, or that does not know theirs, would turn all of them away.
fn same_authority(bundle: &Path, authority: &Source) -> anyhow::Result<()> {
    let (Source::Given(files) | Source::Store { first: Some(files), .. }) = authority else {
        return Ok(());
    };
    let certificate = &files.certificate;
    if !bundle.is_file() {
        return Ok(());
    }
    let signer = certificates(bundle)?.into_iter().next();
    let signer = signer.with_context(|| format!("{} holds no certificate", bundle.display()))?;
    ensure!(
        certificates(certificate)?.contains(&signer),
        "{} is not among the authorities in {} (--authority-certificate): every executor would be turned away; give the replicas \
         the installation's own authority, {BUNDLE_FILE} and {OWN_FILE} of its data directory, or --authority-encryption-key-file alone",
        bundle.display(),
        certificate.display(),
    );
    Ok(())
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let Ok(certificates) = CertificateDer::pem_slice_iter(&pem).collect() else {
        bail!("{} is not PEM", path.display());
    };
    Ok(certificates)
}

fn sentence(Progress { step, table, n_rows }: Progress) -> String {
    match step {
        Step::Copy => format!("{table}: {n_rows} rows copied"),
        Step::Check => format!("{table}: {n_rows} rows checked"),
    }
}

fn report(imported: &Imported, folder: &Path, config: &Config) {
    for (table, n_rows) in &imported.tables {
        say(&format!("{table:<13} {n_rows}"));
    }
    say(&format!(
        "Every row was read back and is the same. Changes go on above {}, events above {}.",
        imported.change_number, imported.event_number
    ));
    say("Do not start the embedded server again. What is not in the database has to be where the replicas are:");
    let own = folder.join(OWN_FILE);
    match (&config.authority, own.is_file()) {
        (Source::Store { .. }, true) => say(&format!(
            "authority     in the database now, encrypted; remove {} when all replicas run",
            own.display()
        )),
        (Source::Given(_) | Source::Own, true) => {
            let bundle = folder.join(BUNDLE_FILE);
            say(&format!(
                "authority     {} as --authority-certificate, {} as --authority-key",
                bundle.display(),
                own.display()
            ));
        }
        (_, false) => {}
    }
    let artifacts = folder.join("artifacts");
    if artifacts.is_dir() {
        let wanted = config.data_dir.join("artifacts");
        say(&format!(
            "artifacts     {} as {} of every replica, on a volume that they share",
            artifacts.display(),
            wanted.display()
        ));
    }
}
