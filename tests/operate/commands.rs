//! What `novacula-server` does beside serving: first tokens, judging the configuration, migrating, and what monitors read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, ensure};
use harness::daemon::{Daemon, succeeded};
use libtest_mimic::Trial;
use proto::v1;

use crate::{Result, server, trial};

/// Every metric that API.md promises.
const METRICS: [&str; 10] = [
    "novacula_streams",
    "novacula_streams_opened_total",
    "novacula_streams_closed_total",
    "novacula_upgrade_requests_total",
    "novacula_attempts_total",
    "novacula_pending_upgrades",
    "novacula_delivery_seconds",
    "novacula_receipt_seconds",
    "novacula_store_seconds",
    "novacula_certificates_issued_total",
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("bootstrap_writes_private_tokens_that_have_their_roles", &[], bootstrap),
        trial("bootstrap_prints_its_tokens_once_when_no_folder_is_named", &[], bootstrap_prints),
        trial("commands_that_write_are_refused_while_a_server_holds_the_directory", &[], held),
        trial("check_config_reports_all_mistakes_at_once_and_touches_nothing", &[], check_config),
        trial("check_config_looks_into_the_files_that_are_named", &[], check_files),
        trial("migrate_brings_the_schema_and_may_be_repeated", &[], migrate),
        trial("every_metric_of_the_public_surface_is_there_from_the_start", &[], metrics),
        trial("a_grpc_web_call_is_answered", &[], grpc_web),
    ]
}

async fn bootstrap() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    for (role, expected) in [
        ("owner", v1::Role::Owner),
        ("publisher", v1::Role::Publisher),
        ("installation_admin", v1::Role::InstallationAdmin),
    ] {
        let file = daemon.tokens().join(format!("{role}.token"));
        let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{} has mode {mode:o}", file.display());
        let client = daemon.client(role).await?;
        let me = client.organizations().who_am_i(v1::WhoAmIRequest {}).await?.into_inner();
        let found = me.token.as_ref().map(v1::Token::role);
        ensure!(found == Some(expected), "{role} is {me:?}");
    }
    for secret in ["authority.pem", "novacula.db"] {
        let mode = fs::metadata(daemon.data_dir().join(secret))?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{secret} has mode {mode:o}");
    }
    Ok(())
}

async fn bootstrap_prints() -> Result {
    let daemon = Daemon::empty(server())?;
    let made = daemon.command().args(["bootstrap", "--organization", "acme"]).output()?;
    let printed = succeeded(&made)?;
    for word in ["organizations/acme", "ca.pem", "owner", "publisher", "installation_admin", "shown this once"] {
        ensure!(printed.contains(word), "{word} is not in {printed}");
    }
    let token = |printed: &str| printed.lines().find_map(|line| line.strip_prefix("owner").map(str::to_owned));
    let again = succeeded(&daemon.command().args(["bootstrap", "--organization", "acme"]).output()?)?;
    ensure!(again.contains("was there"), "{again}");
    ensure!(token(&printed) != token(&again), "a token is shown once: {again}");
    Ok(())
}

async fn held() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    for words in [&["migrate"][..], &["after-restore"], &["bootstrap", "--organization", "other"]] {
        let output = daemon.command().args(words).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{words:?} ended with {}: {said}", output.status);
        ensure!(said.contains("process") || said.contains("held"), "{words:?} said {said}");
    }
    Ok(())
}

async fn check_config() -> Result {
    let daemon = Daemon::empty(server())?;
    let file = daemon.folder().join("server.toml");
    fs::write(&file, "probation = 3\ndrain_ms = \"soon\"\nlog_level = \"loud\"\n")?;
    let mut command = daemon.command();
    command.arg("check-config").arg("--config").arg(&file);
    command.args(["--api-listen", "nowhere", "--tls-key", "/key.pem"]);
    let output = command.env("PENDING_UPGRADE_TTL_MS", "86400001").output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(78), "{}: {said}", output.status);
    for mistake in
        ["probation", "drain_ms", "log_level", "api_listen", "tls_certificate", "pending_upgrade_ttl_ms", "86400001"]
    {
        ensure!(said.contains(mistake), "{mistake} is not in {said}");
    }
    ensure!(said.contains("6 mistake(s)"), "{said}");
    ensure!(!daemon.data_dir().exists(), "nothing is written");
    let mut command = daemon.command();
    command.args(["run", "--api-listen", "nowhere"]);
    ensure!(command.output()?.status.code() == Some(78), "run judges the same");
    Ok(())
}

async fn check_files() -> Result {
    let daemon = Daemon::empty(server())?;
    let keys = daemon.folder().join("keys.pub");
    fs::write(&keys, "no key\n")?;
    let mut command = daemon.command();
    command.args(["check-config", "--tls-certificate", "/nowhere/c.pem", "--tls-key", "/nowhere/k.pem"]);
    command.arg("--release-keys").arg(&keys);
    command.args(["--authority-certificate", "/nowhere/ca.pem", "--authority-key", "/nowhere/ca.key"]);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(78), "{}: {said}", output.status);
    for mistake in ["/nowhere/c.pem", "keys.pub", "/nowhere/ca.pem"] {
        ensure!(said.contains(mistake), "{mistake} is not in {said}");
    }
    ensure!(!daemon.data_dir().exists(), "nothing is written");
    let good = daemon.command().arg("check-config").output()?;
    ensure!(succeeded(&good)?.contains("good"));
    Ok(())
}

async fn migrate() -> Result {
    let mut daemon = Daemon::empty(server())?;
    for _ in 0..2 {
        let printed = succeeded(&daemon.command().arg("migrate").output()?)?;
        ensure!(printed.contains("this version's schema"), "{printed}");
        ensure!(daemon.data_dir().join("novacula.db").exists());
    }
    daemon.bootstrap()?;
    daemon.start()
}

async fn metrics() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    let page = daemon.get("/metrics").await?;
    ensure!(page.status == 200);
    for name in METRICS {
        let kind = page.body.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")));
        let kind = kind.with_context(|| format!("{name} has no type in\n{}", page.body))?;
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
        let there = page.body.lines().any(|line| {
            let rest = line.strip_prefix(&sample);
            rest.is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
        });
        ensure!(there, "{name} has no value in\n{}", page.body);
    }
    Ok(())
}

/// As a browser would: HTTP/1.1, a frame of its own in the body, the status in a trailer frame.
async fn grpc_web() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    let token = fs::read_to_string(daemon.tokens().join("owner.token"))?;
    let head = |token: &str| {
        format!(
            "POST /novacula.v1.OrganizationService/WhoAmI HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\ncontent-length: 5\r\n{token}\r\n"
        )
    };
    let ask = async |head: String| daemon.http(&[head.as_bytes(), &[0; 5]].concat()).await;
    let page = ask(head(&format!("authorization: Bearer {}\r\n", token.trim()))).await?;
    ensure!(page.status == 200 && page.body.contains("organizations/acme"), "{page:?}");
    ensure!(page.body.contains("grpc-status:0"), "{page:?}");
    let page = ask(head("")).await?;
    ensure!(page.status == 200 && !page.body.contains("organizations/acme"), "{page:?}");
    Ok(())
}
