//! Certificates that were given from outside: shown on the API listener, read again at SIGHUP, and never half.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use harness::daemon::{Daemon, SOON};
use harness::fake_executor::FakeExecutor;
use harness::wait;
use libtest_mimic::Trial;
use proto::v1::sync_executor_response::Message as Hear;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use crate::{Result, server, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_given_certificate_is_shown_and_sighup_shows_its_successor", &[], reload),
        trial("a_successor_that_does_not_fit_is_named_and_the_old_one_is_shown_still", &[], bad_successor),
        trial("a_given_authority_signs_executors_and_is_the_one_to_pin", &[], given_authority),
        trial("sighup_ends_no_open_stream", &[], streams_stay),
    ]
}

/// Somebody's public key infrastructure.
struct Office {
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Office {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "the company's own");
        Ok(Self { authority: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// A certificate for this host, and its key, written where they are asked for.
    fn issue(&self, certificate: &Path, key: &Path) -> Result<CertificateDer<'static>> {
        let pair = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf = CertificateParams::new(names)?.signed_by(&pair, &self.authority)?;
        fs::write(certificate, leaf.pem())?;
        fs::write(key, pair.serialize_pem())?;
        Ok(leaf.der().clone())
    }
}

/// Where the given files are.
fn files(daemon: &Daemon) -> (PathBuf, PathBuf) {
    (daemon.folder().join("given.pem"), daemon.folder().join("given.key"))
}

/// A daemon that was given a certificate.
fn given(office: &Office) -> Result<(Daemon, CertificateDer<'static>)> {
    let mut daemon = Daemon::bootstrapped(server())?;
    let (certificate, key) = files(&daemon);
    let leaf = office.issue(&certificate, &key)?;
    daemon.set("--tls-certificate", certificate.to_str().context("text")?);
    daemon.set("--tls-key", key.to_str().context("text")?);
    daemon.start()?;
    Ok((daemon, leaf))
}

/// The certificate that the API listener shows, proven by the office's authority.
async fn shown(daemon: &Daemon, office: &Office) -> Result<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    roots.add(office.authority.der().clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(daemon.api_addr()).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("localhost")?, tcp).await?;
    let chain = stream.get_ref().1.peer_certificates().context("a chain")?;
    Ok(chain.first().context("a leaf")?.clone().into_owned())
}

async fn logs(daemon: &Daemon, line: &str) -> Result {
    wait::until(line, SOON, || daemon.logged(), |log| log.contains(line)).map(drop)
}

async fn reload() -> Result {
    let office = Office::new()?;
    let (daemon, first) = given(&office)?;
    ensure!(shown(&daemon, &office).await? == first);
    let (certificate, key) = files(&daemon);
    let second = office.issue(&certificate, &key)?;
    ensure!(shown(&daemon, &office).await? == first, "files alone change nothing");
    daemon.signal(Signal::HUP)?;
    logs(&daemon, "server certificates were renewed").await?;
    ensure!(shown(&daemon, &office).await? == second);
    Ok(())
}

async fn bad_successor() -> Result {
    let office = Office::new()?;
    let (daemon, first) = given(&office)?;
    let (certificate, key) = files(&daemon);
    // The certificate of one pair, the key of another: half a rotation.
    let other = daemon.folder().join("other.key");
    office.issue(&certificate, &other)?;
    daemon.signal(Signal::HUP)?;
    logs(&daemon, "is not the key of the certificate").await?;
    ensure!(shown(&daemon, &office).await? == first);
    fs::rename(&other, &key)?;
    daemon.signal(Signal::HUP)?;
    logs(&daemon, "server certificates were renewed").await?;
    ensure!(shown(&daemon, &office).await? != first);
    Ok(())
}

async fn given_authority() -> Result {
    let office = Office::new()?;
    let mut daemon = Daemon::empty(server())?;
    let (certificate, key) = files(&daemon);
    fs::write(&certificate, office.authority.pem())?;
    fs::write(&key, office.authority.key().serialize_pem())?;
    let paths = [certificate.to_str().context("text")?, key.to_str().context("text")?];
    let mut bootstrap = daemon.command();
    bootstrap.args(["bootstrap", "--organization", "acme", "--token-dir"]).arg(daemon.tokens());
    bootstrap.args(["--authority-certificate", paths[0], "--authority-key", paths[1]]);
    harness::daemon::succeeded(&bootstrap.output()?)?;
    daemon.set("--authority-certificate", paths[0]);
    daemon.set("--authority-key", paths[1]);
    daemon.start()?;
    ensure!(!daemon.data_dir().join("authority.pem").exists(), "no authority of its own beside it");
    // The join token pins it, and what it signs is let in.
    let executor = FakeExecutor::by_word(&daemon.join_word("web-1").await?, "1.0.0").await?;
    executor.connect().await?;
    ensure!(executor.credentials().trust().contains(office.authority.der()));
    Ok(())
}

async fn streams_stay() -> Result {
    let office = Office::new()?;
    let (mut daemon, _) = given(&office)?;
    let authorities = daemon.folder().join("office.pem");
    fs::write(&authorities, office.authority.pem())?;
    daemon.trust(authorities);
    let executor = FakeExecutor::by_word(&daemon.join_word("web-1").await?, "1.0.0").await?;
    let mut stream = executor.connect().await?;
    daemon.signal(Signal::HUP)?;
    logs(&daemon, "server certificates were renewed").await?;
    stream.acknowledge(0).await?;
    stream.until("a heartbeat's answer", |word| matches!(word, Hear::HeartbeatAck(_))).await.map(drop)
}
