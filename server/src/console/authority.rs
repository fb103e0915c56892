//! `authority`: lists, rotates and retires the authorities in the database, while replicas serve.

use anyhow::Context as _;
use proto::convert::field::to_timestamp;
use serde_json::{Value, json};

use super::{open, say};
use crate::app::authority::{Dependents, Given, Listed};
use crate::args::{Authority, AuthorityRotate, Output};
use crate::config::Config;
use crate::tls::authority::{BUNDLE_FILE, Files};

/// Does what was asked.
pub(super) async fn authority(config: &Config, command: Authority) -> anyhow::Result<()> {
    let app = open(config).await?;
    match command {
        Authority::List(wanted) => {
            let listed = app.authority_list().await?;
            say(&match wanted.output {
                Output::Table => table(&listed),
                Output::Json => serde_json::to_string_pretty(&document(&listed))?,
            });
        }
        Authority::Rotate(wanted) => {
            let record = app.authority_rotate(given(wanted).await?).await?;
            let (number, sign_time) = (record.number, to_timestamp(record.sign_time));
            say(&format!("authority {number} is trusted, and signs for executors from {sign_time}"));
            say(&format!(
                "The fleet renews within {} s after that. See who still depends on the older one:",
                config.settings.authority_spread.as_secs()
            ));
            say("  novacula-server authority list");
        }
        Authority::Retire(wanted) => {
            let dependents = if wanted.force { Dependents::Lose } else { Dependents::Keep };
            let n_lost = app.authority_retire(wanted.number, dependents).await?;
            say(&format!("authority {} is retired, and its key is gone", wanted.number));
            if n_lost > 0 {
                say(&format!(
                    "{n_lost} executor(s) have to enroll again, each with a join token that replaces its name"
                ));
            }
            say(&format!(
                "Join tokens that were made before are void. Give people and programs the new {BUNDLE_FILE} of any replica's data directory."
            ));
        }
        Authority::Reseal => {
            let n_sealed = app.authority_reseal().await?;
            say(&format!("keys encrypted anew  {n_sealed}"));
        }
    }
    Ok(())
}

async fn given(wanted: AuthorityRotate) -> anyhow::Result<Option<Given>> {
    let AuthorityRotate { certificate: Some(certificate), key: Some(key) } = wanted else {
        return Ok(None);
    };
    let files: Files = Files { certificate, key };
    let given = tokio::task::spawn_blocking(move || Given::read(&files)).await.context("read the authority")??;
    Ok(Some(given))
}

/// What it does now, in words.
fn part(listed: &Listed) -> &'static str {
    match (listed.record.retire_time.is_some(), listed.signs_executors, listed.signs_servers) {
        (true, ..) => "retired",
        (false, true, true) => "signs",
        (false, true, false) => "signs executors",
        (false, false, true) => "signs servers",
        (false, false, false) => "trusted",
    }
}

fn table(listed: &[Listed]) -> String {
    let mut lines = vec![format!("{:<7} {:<16} {:>9}  {:<20} {}", "NUMBER", "PART", "EXECUTORS", "SIGNS FROM", "KEY")];
    lines.extend(listed.iter().map(|listed| {
        let record = &listed.record;
        format!(
            "{:<7} {:<16} {:>9}  {:<20} {}",
            record.number,
            part(listed),
            listed.executors,
            to_timestamp(record.sign_time).to_string(),
            record.public_key_sha256
        )
    }));
    lines.join("\n")
}

fn document(listed: &[Listed]) -> Value {
    let rows = listed.iter().map(|listed| {
        let record = &listed.record;
        json!({
            "number": record.number,
            "part": part(listed),
            "executors": listed.executors,
            "publicKeySha256": record.public_key_sha256.to_string(),
            "createTime": to_timestamp(record.create_time).to_string(),
            "signTime": to_timestamp(record.sign_time).to_string(),
            "retireTime": record.retire_time.map(|time| to_timestamp(time).to_string()),
        })
    });
    json!({ "authorities": rows.collect::<Vec<_>>() })
}
