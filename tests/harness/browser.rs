//! A real Chromium, driven as a person drives one: by what is written on the page.
//!
//! ```text
//! trial -> Browser -> chromedriver (WebDriver over HTTP on the loopback) -> Chromium, headless, TLS proved by the test's own authority
//! ```
//!
//! Each browser has a home of its own: profile, cookies and trusted authorities begin empty. It runs in a process namespace of
//! its own, so that nothing of it outlives the trial, whatever becomes of that.

mod driver;
mod eyes;

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::parts::Part;
use driver::Driver;

pub use eyes::{Colours, Screen, Weight};

/// What a browser needs of the machine.
pub const BROWSER: &[Part] = &[Part::Namespaces, Part::Chromium, Part::Chromedriver, Part::Certutil, Part::AxeCore];

/// Longest wait for what a page shows in a moment, on a machine that does other things as well.
pub const SOON: Duration = Duration::from_secs(30);

/// How often a page is looked at meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Finds what a person would press or fill, by its name.
const FIND: &str = include_str!("browser/find.js");

/// How WebDriver names an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window, or more.
#[derive(Debug)]
pub struct Browser {
    driver: Driver,
    origin: String,
}

/// A key that is no letter, as WebDriver writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// To the next control.
    Tab,
    /// Presses what has the focus.
    Enter,
    /// Closes a dialog.
    Escape,
}

/// A tab of a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab(String);

// === impl Key ===

impl Key {
    const fn code(self) -> char {
        match self {
            Self::Tab => '\u{e004}',
            Self::Enter => '\u{e007}',
            Self::Escape => '\u{e00c}',
        }
    }
}

// === impl Browser ===

impl Browser {
    /// One that reads the control plane at `address`, and trusts `authority` (PEM) and nobody else's.
    ///
    /// # Errors
    /// A part is missing, or it does not start.
    pub async fn open(address: SocketAddr, authority: &Path) -> Result<Self> {
        let driver = Driver::start(authority).await?;
        // Its certificate names the loopback by name and by address.
        Ok(Self { driver, origin: format!("https://localhost:{}", address.port()) })
    }

    /// The same pages at another address: through a relay, say.
    pub fn turn_to(&mut self, address: SocketAddr) {
        self.origin = format!("https://localhost:{}", address.port());
    }

    /// `https://localhost:7443`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Opens a path of the control plane, or a whole URL, and waits until it is loaded.
    ///
    /// # Errors
    /// It cannot be reached, or its certificate is not trusted.
    pub async fn go(&self, path: &str) -> Result<()> {
        let url = if path.starts_with('/') { format!("{}{path}", self.origin) } else { path.to_owned() };
        self.driver.post("/url", json!({ "url": url })).await.map(drop)
    }

    /// Loads the page again.
    ///
    /// # Errors
    /// As [`Self::go`].
    pub async fn reload(&self) -> Result<()> {
        self.driver.post("/refresh", json!({})).await.map(drop)
    }

    /// Where it is now: a path with its query, or a whole URL elsewhere.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn path(&self) -> Result<String> {
        let url = self.driver.send(Method::GET, "/url", None).await?;
        let url = url.as_str().unwrap_or_default();
        Ok(url.strip_prefix(&self.origin).unwrap_or(url).to_owned())
    }

    /// Waits until it is at a path that begins so.
    ///
    /// # Errors
    /// It is elsewhere after [`SOON`].
    pub async fn at(&self, path: &str) -> Result<()> {
        let what = format!("to be at {path}");
        self.until(&what, || self.path(), |seen| seen.starts_with(path)).await.map(drop)
    }

    /// Signs in through the form, as a person with a token does.
    ///
    /// # Errors
    /// The form is not there, or it leads nowhere.
    pub async fn sign_in(&self, secret: &str) -> Result<()> {
        self.go("/signin").await?;
        self.fill("Token", secret).await?;
        self.press("Sign in").await?;
        self.see("Sign out").await
    }

    /// Presses the one link, button or summary that is called so; in the dialog, where one is open. Waits for it to be there, and
    /// for the page that it leads to.
    ///
    /// # Errors
    /// There is none, more than one, or something lies above it.
    pub async fn press(&self, name: &str) -> Result<()> {
        let element = self.find("press", name).await?;
        self.driver.post(&format!("/element/{element}/click"), json!({})).await.map(drop)
    }

    /// Writes into the field that is labelled so, instead of what it says; in a select, chooses.
    ///
    /// # Errors
    /// There is none.
    pub async fn fill(&self, label: &str, text: &str) -> Result<()> {
        let element = self.find("fill", label).await?;
        let tag = self.driver.send(Method::GET, &format!("/element/{element}/name"), None).await?;
        if tag != "select" {
            self.driver.post(&format!("/element/{element}/clear"), json!({})).await?;
        }
        self.driver.post(&format!("/element/{element}/value"), json!({ "text": text })).await.map(drop)
    }

    /// Chooses a file of this machine in the field that is labelled so.
    ///
    /// # Errors
    /// There is none.
    pub async fn choose(&self, label: &str, file: &Path) -> Result<()> {
        let element = self.find("fill", label).await?;
        self.driver.post(&format!("/element/{element}/value"), json!({ "text": file })).await.map(drop)
    }

    /// Presses a key, wherever the focus is.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn key(&self, key: Key) -> Result<()> {
        let key = key.code();
        let pressed = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": pressed }] });
        self.driver.post("/actions", actions).await.map(drop)
    }

    /// Types, wherever the focus is.
    ///
    /// # Errors
    /// Nothing has the focus.
    pub async fn type_text(&self, text: &str) -> Result<()> {
        let active = self.driver.send(Method::GET, "/element/active", None).await?;
        let active = active[ELEMENT].as_str().context("nothing has the focus")?;
        self.driver.post(&format!("/element/{active}/value"), json!({ "text": text })).await.map(drop)
    }

    /// What has the focus, as a person would call it; empty: nothing.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn focused(&self) -> Result<String> {
        let name = self.script(&format!("{FIND}; return nameOf(document.activeElement)"), json!([])).await?;
        Ok(name.as_str().unwrap_or_default().to_owned())
    }

    /// Goes on with Tab until what is called so has the focus.
    ///
    /// # Errors
    /// No key brings the focus there.
    pub async fn tab_to(&self, name: &str) -> Result<()> {
        const MOST: usize = 80;
        let mut passed = Vec::new();
        for _ in 0..MOST {
            self.key(Key::Tab).await?;
            let focused = self.focused().await?;
            if focused == name {
                return Ok(());
            }
            passed.push(focused);
        }
        bail!("the keyboard does not reach {name:?}; it passes {passed:?}")
    }

    /// What a person reads on the page now.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn text(&self) -> Result<String> {
        let text = self.script("return document.body?.innerText ?? ''", json!([])).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page says so.
    ///
    /// # Errors
    /// It does not after [`SOON`]; with what it says instead.
    pub async fn see(&self, text: &str) -> Result<()> {
        let what = format!("the page to say {text:?}");
        self.until(&what, || self.text(), |seen| seen.contains(text)).await.map(drop)
    }

    /// Waits until the page does not say so any more.
    ///
    /// # Errors
    /// It still does after [`SOON`].
    pub async fn gone(&self, text: &str) -> Result<()> {
        let what = format!("the page not to say {text:?}");
        self.until(&what, || self.text(), |seen| !seen.contains(text)).await.map(drop)
    }

    /// Whether something is there to be pressed that is called so.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn offers(&self, name: &str) -> Result<bool> {
        Ok(!self.look_for("press", name).await?.is_empty())
    }

    /// Runs a script in the page and returns what it returns. For looking: what a person does goes through the other methods.
    ///
    /// # Errors
    /// What it throws.
    pub async fn script(&self, text: &str, arguments: Value) -> Result<Value> {
        self.driver.post("/execute/sync", json!({ "script": text, "args": arguments })).await
    }

    /// A cookie by its name, with its flags; null: there is none.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn cookie(&self, name: &str) -> Result<Value> {
        let cookies = self.driver.send(Method::GET, "/cookie", None).await?;
        let all = cookies.as_array().map_or(&[][..], Vec::as_slice);
        Ok(all.iter().find(|cookie| cookie["name"] == name).cloned().unwrap_or_default())
    }

    /// Puts a cookie into the browser, as somebody would who once had the keyboard.
    ///
    /// # Errors
    /// The browser does not take it.
    pub async fn plant(&self, name: &str, value: &str) -> Result<()> {
        let cookie = json!({ "name": name, "value": value, "path": "/", "secure": true, "httpOnly": true });
        self.driver.post("/cookie", json!({ "cookie": cookie })).await.map(drop)
    }

    /// The tab in front.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn tab(&self) -> Result<Tab> {
        let handle = self.driver.send(Method::GET, "/window", None).await?;
        Ok(Tab(handle.as_str().context("a window's handle")?.to_owned()))
    }

    /// Opens one more tab, and goes there.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn new_tab(&self) -> Result<Tab> {
        let made = self.driver.post("/window/new", json!({ "type": "tab" })).await?;
        let tab = Tab(made["handle"].as_str().context("a window's handle")?.to_owned());
        self.switch_to(&tab).await?;
        Ok(tab)
    }

    /// Brings a tab to the front.
    ///
    /// # Errors
    /// It is closed.
    pub async fn switch_to(&self, tab: &Tab) -> Result<()> {
        self.driver.post("/window", json!({ "handle": tab.0 })).await.map(drop)
    }

    /// Asks `look` until `wanted` holds for what it saw.
    ///
    /// # Errors
    /// It does not hold after [`SOON`]; with what was seen last.
    pub async fn until<T, F>(&self, what: &str, look: impl Fn() -> F, wanted: impl Fn(&T) -> bool) -> Result<T>
    where
        T: Debug,
        F: Future<Output = Result<T>>,
    {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let seen = look().await?;
            if wanted(&seen) {
                return Ok(seen);
            }
            ensure!(tokio::time::Instant::now() < end, "waited {SOON:?} for {what}; last seen: {seen:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn find(&self, how: &str, name: &str) -> Result<String> {
        let what = format!("something to {how} that is called {name:?}");
        let found = self.until(&what, || self.look_for(how, name), |found| !found.is_empty()).await;
        let found = found.with_context(|| format!("on {}", self.driver.last_url()))?;
        let [one] = found.as_slice() else {
            bail!("{} things to {how} are called {name:?}", found.len());
        };
        Ok(one.clone())
    }

    async fn look_for(&self, how: &str, name: &str) -> Result<Vec<String>> {
        let script = format!("{FIND}; return find(arguments[0], arguments[1])");
        let found = self.script(&script, json!([how, name])).await?;
        let all = found.as_array().map_or(&[][..], Vec::as_slice);
        Ok(all.iter().filter_map(|element| element[ELEMENT].as_str().map(str::to_owned)).collect())
    }
}
