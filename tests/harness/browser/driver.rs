//! chromedriver and the Chromium that it starts: a process of the test, and WebDriver's commands as plain JSON.
//!
//! WebDriver is a dozen POSTs of JSON, and Chromium's own tools (`/goog/cdp/execute`) are one more; the crates that wrap them
//! stand on a library under a licence that `deny.toml` does not allow.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Client, Method};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::daemon::{succeeded, tied};
use crate::parts::Part;
use crate::wait;

/// Longest for one command: a page's load is one.
const COMMAND_LIMIT: Duration = Duration::from_secs(40);

/// Longest until chromedriver listens.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What chromedriver says once it listens.
const READY: &str = "started successfully on port ";

/// What it says when it has no port.
const TAKEN: &str = "port not available";

/// How often it is started.
const TRIES: usize = 5;

/// Headless, without what a test machine lacks (a sandbox under root, a GPU, the internet) and what would differ between two.
const ARGUMENTS: [&str; 14] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=Translate,OptimizationHints,MediaRouter",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--lang=en-US",
];

/// A browser's session.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    client: Client,
    session: String,
    last_url: Mutex<String>,
    _home: TempDir,
}

// === impl Driver ===

impl Driver {
    /// Starts a browser that trusts `authority`.
    ///
    /// chromedriver takes a port that is free for IPv6 and then wants the same for IPv4, which another process may have: its log
    /// says so, and it is started again.
    pub(super) async fn start(authority: &Path) -> Result<Self> {
        for _ in 1..TRIES {
            match Self::start_once(authority).await {
                Err(error) if format!("{error:#}").contains(TAKEN) => {}
                started => return started,
            }
        }
        Self::start_once(authority).await
    }

    async fn start_once(authority: &Path) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("novacula-browser-").tempdir()?;
        trust(home.path(), authority)?;
        let log = home.path().join("chromedriver.log");
        let file = File::create(&log)?;
        // Ends with the thread that starts it, and with it everything in its namespace.
        let mut command = tied(Path::new("unshare"));
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]).arg(Part::Chromedriver.find()?);
        command.arg("--port=0").env("HOME", home.path()).env("TMPDIR", home.path()).env("TZ", "Europe/Berlin");
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
        // Held from here on, so that it ends also when the session does not begin.
        let client = client()?;
        let mut driver = Self { child, client, session: String::new(), last_url: Mutex::default(), _home: home };
        let port = driver.port(&log)?;
        let base = format!("http://127.0.0.1:{port}/session");
        let made = driver.exchange(Method::POST, &base, Some(capabilities()?)).await.context("start Chromium")?;
        let id = made["sessionId"].as_str().context("chromedriver gave no session")?;
        driver.session = format!("{base}/{id}");
        Ok(driver)
    }

    /// A command of this session.
    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// A command of this session.
    pub(super) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        if let Some(url) = body.as_ref().and_then(|body| body["url"].as_str()) {
            url.clone_into(&mut self.last_url.lock().unwrap_or_else(PoisonError::into_inner));
        }
        self.exchange(method, &format!("{}{path}", self.session), body).await
    }

    /// A command of Chromium's own tools.
    pub(super) async fn tool(&self, command: &str, parameters: Value) -> Result<Value> {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// Where it was sent last.
    pub(super) fn last_url(&self) -> String {
        self.last_url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn port(&mut self, log: &Path) -> Result<u16> {
        let said = wait::until(
            "chromedriver to listen",
            START_LIMIT,
            || {
                let said = std::fs::read_to_string(log)?;
                ensure!(self.child.try_wait()?.is_none(), "chromedriver ended: {said}");
                Ok(said)
            },
            |said| said.contains(READY),
        )?;
        let (_, rest) = said.split_once(READY).context("a port")?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse()?)
    }

    async fn exchange(&self, method: Method, url: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.client.request(method, url).timeout(COMMAND_LIMIT);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.context("chromedriver does not answer")?.bytes().await?;
        let mut answer: Value = serde_json::from_slice(&answer).context("read chromedriver's answer")?;
        let value = answer["value"].take();
        if let Some(error) = value["error"].as_str() {
            let message = value["message"].as_str().unwrap_or_default();
            bail!("{error}: {}", message.lines().next().unwrap_or_default());
        }
        Ok(value)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The first process of a namespace takes all others with it, so that the folder can go afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Chromium on Linux trusts what its own database says.
fn trust(home: &Path, authority: &Path) -> Result<()> {
    let folder = home.join(".pki/nssdb");
    std::fs::create_dir_all(&folder)?;
    let database = format!("sql:{}", folder.display());
    let certutil = Part::Certutil.find()?;
    let run = |words: &[&str]| {
        let output = Command::new(&certutil).args(["-d", &database]).args(words).output().context("start certutil")?;
        succeeded(&output).map(drop)
    };
    run(&["-N", "--empty-password"])?;
    let file = authority.to_str().context("a path of text")?;
    run(&["-A", "-n", "test", "-t", "C,,", "-i", file]).context("trust the test's authority")
}

fn capabilities() -> Result<Value> {
    let chromium: PathBuf = Part::Chromium.find()?;
    let options = json!({ "binary": chromium, "args": ARGUMENTS });
    let always = json!({
        "browserName": "chrome",
        "goog:chromeOptions": options,
        // What the console says, policy violations among it, and what went over the network.
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        "unhandledPromptBehavior": "dismiss and notify",
    });
    Ok(json!({ "capabilities": { "alwaysMatch": always } }))
}

/// For plain HTTP on the loopback. reqwest wants to know of a TLS stack all the same: one that trusts nobody.
fn client() -> Result<Client> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    Ok(Client::builder().tls_backend_preconfigured(tls).no_proxy().http1_only().build()?)
}
