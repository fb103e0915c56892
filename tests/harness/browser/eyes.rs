//! What a browser sees of a page: its picture, what is wrong with it, what it weighs; and how it looks at it: in the dark, on a
//! phone, without a script.

use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::Browser;
use crate::parts::Part;

/// Of axe-core's findings, those that keep somebody from reading or using a page.
const GRAVE: [&str; 2] = ["serious", "critical"];

/// Which of two lists of colours the reader's system asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// On what the page is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// A window of a laptop.
    Desk,
    /// A phone, upright.
    Phone,
}

/// What went over the network since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Requests that were answered.
    pub requests: usize,
    /// Bytes of their answers as they came, heads included.
    pub bytes: u64,
}

// === impl Colours ===

impl Colours {
    /// `light`, `dark`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

// === impl Browser ===

impl Browser {
    /// Reads in these colours, without motion, on this screen from now on.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn look(&self, colours: Colours, screen: Screen) -> Result<()> {
        let features = json!([
            { "name": "prefers-color-scheme", "value": colours.as_str() },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.driver.tool("Emulation.setEmulatedMedia", json!({ "features": features })).await?;
        let (width, height, mobile) = match screen {
            Screen::Desk => (1180, 740, false),
            Screen::Phone => (390, 844, true),
        };
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.driver.tool("Emulation.setDeviceMetricsOverride", metrics).await.map(drop)
    }

    /// Runs no script of a page from now on, or does again.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn without_scripts(&self, without: bool) -> Result<()> {
        self.driver.tool("Emulation.setScriptExecutionDisabled", json!({ "value": without })).await.map(drop)
    }

    /// Runs this before the scripts of each page that is opened from now on: it may take the place of what a browser gives them.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn before_each_page(&self, script: &str) -> Result<()> {
        self.driver.tool("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await.map(drop)
    }

    /// Writes the whole page as a picture, to at most three screens' height.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn picture(&self, file: &Path) -> Result<()> {
        const TALLEST: u64 = 2400;
        let size = self.driver.tool("Page.getLayoutMetrics", json!({})).await?;
        let size = &size["cssContentSize"];
        let height = size["height"].as_f64().unwrap_or_default() as u64;
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": height.min(TALLEST), "scale": 1 });
        let asked = json!({ "format": "webp", "quality": 82, "captureBeyondViewport": true, "clip": clip });
        let taken = self.driver.tool("Page.captureScreenshot", asked).await?;
        let image = STANDARD.decode(taken["data"].as_str().context("a picture")?)?;
        std::fs::write(file, image).with_context(|| format!("write {}", file.display()))
    }

    /// What the console has said since it was asked last, as warnings or worse: scripts that threw, requests that failed, what the
    /// page's policy forbade.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let entries = self.driver.post("/se/log", json!({ "type": "browser" })).await?;
        let all = entries.as_array().map_or(&[][..], Vec::as_slice);
        let grave = all.iter().filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        Ok(grave.filter_map(|entry| entry["message"].as_str().map(str::to_owned)).collect())
    }

    /// What went over the network since it was asked last.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn weight(&self) -> Result<Weight> {
        let entries = self.driver.post("/se/log", json!({ "type": "performance" })).await?;
        let all = entries.as_array().map_or(&[][..], Vec::as_slice);
        let mut weight = Weight::default();
        let mut kept = std::collections::BTreeSet::new();
        for entry in all {
            let text = entry["message"].as_str().context("a log entry")?;
            let event: Value = serde_json::from_str(text)?;
            let (method, params) = (&event["message"]["method"], &event["message"]["params"]);
            let request = params["requestId"].to_string();
            match method.as_str() {
                // What the browser has kept costs nothing.
                Some("Network.requestServedFromCache") => drop(kept.insert(request)),
                Some("Network.loadingFinished") if !kept.contains(&request) => {
                    let bytes = params["encodedDataLength"].as_f64().unwrap_or_default() as u64;
                    // An answer has a head; the empty page that a browser begins with has not.
                    weight.requests += usize::from(bytes > 0);
                    weight.bytes += bytes;
                }
                _ => {}
            }
        }
        Ok(weight)
    }

    /// Reads no file that it kept from now on, as a browser that was never here; or does again.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn without_cache(&self, without: bool) -> Result<()> {
        self.driver.tool("Network.enable", json!({})).await?;
        self.driver.tool("Network.setCacheDisabled", json!({ "cacheDisabled": without })).await.map(drop)
    }

    /// Sends no more than this from now on, as over a line that is slow one way.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn sends_slowly(&self, bytes_per_second: u32) -> Result<()> {
        self.driver.tool("Network.enable", json!({})).await?;
        let line =
            json!({ "offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second });
        self.driver.tool("Network.emulateNetworkConditions", line).await.map(drop)
    }

    /// What axe-core finds on the page that keeps somebody from reading or using it: a line each.
    ///
    /// # Errors
    /// It does not run.
    pub async fn barriers(&self) -> Result<Vec<String>> {
        let told = std::process::Command::new(Part::AxeCore.find()?).output().context("start axe-core")?;
        let file = String::from_utf8(told.stdout)?;
        let source = std::fs::read_to_string(file.trim()).context("read axe-core")?;
        let run = "const done = arguments[arguments.length - 1]; \
             axe.run(document, { resultTypes: ['violations'] }).then((all) => done(all.violations), (why) => done(String(why)))";
        self.script(&source, json!([])).await?;
        let found = self.driver.post("/execute/async", json!({ "script": run, "args": [] })).await?;
        let all = found.as_array().with_context(|| format!("axe-core's findings, not {found}"))?;
        let grave = all.iter().filter(|rule| GRAVE.iter().any(|grave| rule["impact"] == *grave));
        Ok(grave.flat_map(lines).collect())
    }

    /// Ends the session in order. Dropping it ends it as well.
    ///
    /// # Errors
    /// The browser is gone.
    pub async fn close(self) -> Result<()> {
        self.driver.send(Method::DELETE, "", None).await.map(drop)
    }
}

fn lines(rule: &Value) -> Vec<String> {
    let nodes = rule["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let line = |node: &Value| {
        let why = node["failureSummary"].as_str().unwrap_or_default().replace('\n', " ");
        format!("{} ({}): {}: {why}", rule["id"], rule["impact"], node["html"])
    };
    nodes.iter().map(line).collect()
}
