//! Signing in by an identity provider: a real one, with a browser between it and the control plane.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context as _, ensure};
use harness::browser::Browser;
use harness::control_plane::ControlPlane;
use harness::daemon::tied;
use harness::parts::{self, Part};
use libtest_mimic::Trial;
use proto::v1;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;
use server::tls::authority::{Files, Source};
use tempfile::TempDir;

use crate::{Result, run};

const NEEDS: &[Part] =
    &[Part::Namespaces, Part::Chromium, Part::Chromedriver, Part::Certutil, Part::AxeCore, Part::OidcProvider];

/// What the provider's login page needs: a person would type the same.
const LOG_IN: &str = "document.querySelector('[name=login]').value = arguments[0]; \
     document.querySelector('[name=password]').value = 'any'; document.querySelector('form').requestSubmit();";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        parts::trial("oidc::a_group_is_a_role_and_signing_out_everywhere_ends_it", NEEDS, || run(a_group_is_a_role)),
        parts::trial("oidc::whom_no_role_fits_and_who_began_elsewhere_stay_outside", NEEDS, || run(stay_outside)),
    ]
}

/// A provider, and a control plane that believes it.
struct Doors {
    plane: ControlPlane,
    folder: TempDir,
    provider: Child,
    origin: String,
}

impl Doors {
    async fn open() -> Result<Self> {
        let folder = TempDir::new()?;
        authority(folder.path())?;
        let (here, there) = (free_port()?, free_port()?);
        let redirect = format!("https://localhost:{here}/signin/oidc/callback");
        let mut command = tied(&Part::OidcProvider.find()?);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("web/provider.mjs"));
        command.arg(folder.path()).args([&there.to_string(), &redirect]);
        let mut provider = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut said = String::new();
        BufReader::new(provider.stdout.take().context("its output")?).read_line(&mut said)?;
        ensure!(said.trim() == "listening", "the provider says {said:?}");
        let origin = format!("https://localhost:{there}");
        let file = folder.path().join("oidc.toml");
        fs::write(
            &file,
            format!(
                "issuer = \"{origin}\"\nclient_id = \"novacula\"\nclient_secret_file = \"secret\"\nredirect_uri = \"{redirect}\"\n\
                 ca_file = \"ca.pem\"\nscopes = [\"openid\", \"email\", \"groups\"]\nname = \"Acme ID\"\n\
                 [[role]]\nclaim = \"groups\"\nvalue = \"sre\"\nrole = \"admin\"\norganization = \"acme\"\n"
            ),
        )?;
        fs::write(folder.path().join("secret"), "a secret & more\n")?;
        let files = Files { certificate: folder.path().join("ca.pem"), key: folder.path().join("ca.key") };
        let plane = ControlPlane::start_with(|config| {
            config.api_listen = (Ipv4Addr::LOCALHOST, here).into();
            config.authority = Source::Given(files);
            config.oidc = Some(file);
        });
        Ok(Self { plane: plane.await?, folder, provider, origin })
    }

    async fn browser(&self) -> Result<Browser> {
        Browser::open(self.plane.api_addr(), &self.folder.path().join("ca.pem")).await
    }

    /// To the provider, in as `name`, and wherever that leads.
    async fn sign_in(&self, browser: &Browser, name: &str) -> Result {
        browser.press("Sign in with Acme ID").await?;
        browser.at(&format!("{}/interaction/", self.origin)).await?;
        browser.see("Sign-in").await?;
        browser.script(LOG_IN, json!([name])).await?;
        browser.see("Authorize").await?;
        browser.press("Continue").await
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        let _ = self.provider.kill();
        let _ = self.provider.wait();
    }
}

async fn a_group_is_a_role() -> Result {
    let doors = Doors::open().await?;
    let browser = doors.browser().await?;
    browser.go("/organizations/acme/executors?filter=online%3Dtrue").await?;
    browser.at("/signin?next=").await?;
    doors.sign_in(&browser, "ann").await?;
    browser.at("/organizations/acme/executors?filter=online%3Dtrue").await?;
    browser.see("admin of acme").await?;
    browser.go("/session").await?;
    browser.see("ann@acme.example").await?;
    browser.see(&format!("oidc:{} ann", doors.origin)).await?;
    let complaints = browser.complaints().await?;
    // The provider's own pages have their faults.
    let ours: Vec<_> = complaints.iter().filter(|line| line.starts_with(browser.origin())).collect();
    ensure!(ours.is_empty(), "{ours:?}");

    // What is under way is forgotten, and the feed knows who came.
    ensure!(browser.cookie("__Host-novacula-signin").await?.is_null(), "the cookie of the sign-in stayed");
    let parent = "organizations/acme".to_owned();
    let types = vec!["token.created".to_owned()];
    let list = v1::ListEventsRequest { parent, types, newest_first: true, ..v1::ListEventsRequest::default() };
    let events = doors.plane.owner().events().list_events(list).await?.into_inner().events;
    let newest = events.first().context("an event")?;
    let by = newest.details.get("signed_in_by").map(String::as_str).unwrap_or_default();
    ensure!(by == format!("oidc:{} ann", doors.origin), "{newest:?}");

    // The same person in another browser: one word ends both.
    let other = doors.browser().await?;
    other.go("/signin").await?;
    doors.sign_in(&other, "ann").await?;
    other.at("/organizations/acme/executors").await?;
    browser.press("Sign out everywhere").await?;
    browser.at("/signin").await?;
    other.reload().await?;
    other.at("/signin?next=").await
}

async fn stay_outside() -> Result {
    let doors = Doors::open().await?;
    let browser = doors.browser().await?;
    browser.go("/signin").await?;
    doors.sign_in(&browser, "bob").await?;
    browser.see("the identity provider knows you, and none of the roles here fits").await?;
    ensure!(browser.cookie("__Host-novacula").await?.is_null(), "a session for nobody");

    // A link that carries somebody else's answer signs nobody in: this browser began no such sign-in.
    let planted = doors.browser().await?;
    planted.go("/signin/oidc/callback?code=abc&state=def").await?;
    planted.see("began in another browser").await?;
    ensure!(planted.cookie("__Host-novacula").await?.is_null(), "a session that was planted");

    // The provider is gone. A control plane that had asked it before sends browsers there still; one that had not says so.
    let mut doors = Doors::open().await?;
    doors.provider.kill()?;
    doors.provider.wait()?;
    let browser = doors.browser().await?;
    browser.go("/signin").await?;
    browser.press("Sign in with Acme ID").await?;
    browser.see("the identity provider cannot be asked now; sign in with a token").await
}

/// An authority, and a certificate of it for the provider.
fn authority(folder: &Path) -> Result {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "Authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    fs::write(folder.join("ca.pem"), params.self_signed(&key)?.pem())?;
    fs::write(folder.join("ca.key"), key.serialize_pem())?;
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    fs::write(folder.join("provider.pem"), params.signed_by(&own, &issuer)?.pem())?;
    fs::write(folder.join("provider.key"), own.serialize_pem())?;
    Ok(())
}

/// Free a moment ago: both sides have to know it before either listens.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
