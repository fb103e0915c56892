//! With executors that say what a story needs.

use std::time::Duration;

use anyhow::ensure;
use harness::browser::{Browser, Key};
use harness::catalog::Draft;
use harness::fake_executor::{FakeExecutor, Hello, Stream};
use harness::relay::Relay;
use proto::v1;
use proto::v1::Role;
use proto::v1::sync_executor_request::Message as Say;
use serde_json::json;

use crate::Result;
use crate::http::Http;
use crate::stage::{Stage, ask, attempt};

/// The one executor, which runs 1.0.0.
const WEB: &str = "/organizations/acme/executors/web-1";

struct Scene {
    stage: Stage,
    executor: FakeExecutor,
    stream: Stream,
}

impl Scene {
    /// 0.9.0, 1.1.0, 2.0.0 and 3.0.0 are there to go to.
    async fn new() -> Result<Self> {
        let stage = Stage::bare().await?;
        for (version, sequence) in [("0.9.0", 1), ("1.1.0", 2), ("2.0.0", 3), ("3.0.0", 4)] {
            stage.plane.release(&Draft::new(version, sequence)).await?;
        }
        let (executor, stream) = FakeExecutor::online(&stage.plane, "web-1", "1.0.0").await?;
        Ok(Self { stage, executor, stream })
    }

    async fn ask(&self, version: &str) -> Result<String> {
        Ok(ask(&self.stage.plane, self.executor.name(), version).await?.name)
    }

    async fn attempts(&self) -> Result<usize> {
        let parent = self.executor.name().to_owned();
        let list = v1::ListAttemptsRequest { parent, ..v1::ListAttemptsRequest::default() };
        Ok(self.stage.plane.member().upgrades().list_attempts(list).await?.into_inner().attempts.len())
    }

    /// So much of 4 MB.
    async fn downloads(&self, desired: &v1::Desired, bytes_done: u64) -> Result {
        self.says(desired, bytes_done, None).await
    }

    async fn says(&self, desired: &v1::Desired, bytes_done: u64, waiting: Option<v1::Waiting>) -> Result {
        let progress = v1::Progress {
            attempt: desired.attempt.clone(),
            generation: desired.generation,
            phase: v1::Phase::Downloading.into(),
            bytes_done,
            bytes_total: 4 << 20,
            waiting,
        };
        self.stream.say(Say::Progress(progress)).await
    }

    /// The same, until the control plane has written it: it writes every two seconds at most, so that it is said again, as agents do.
    async fn hears_of(&self, name: &str, desired: &v1::Desired, bytes_done: u64) -> Result {
        let end = tokio::time::Instant::now() + harness::browser::SOON;
        while attempt(&self.stage.plane, name).await?.bytes_done != bytes_done {
            ensure!(tokio::time::Instant::now() < end, "the control plane does not hear of bytes");
            self.downloads(desired, bytes_done).await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }
}

/// A clock that can be put forward, an interval that is looked at at once, and a count of both and of dials.
const CLOCK: &str = "
    let ahead = 0;
    const now = Date.now.bind(Date), every = setInterval.bind(window), Source = EventSource;
    window.dials = 0;
    window.looks = 0;
    window.passes = (ms) => { ahead += ms; window.looks = 0; };
    Date.now = () => now() + ahead;
    window.setInterval = (work, ms) => every(() => { work(); window.looks += 1; }, Math.min(ms, 50));
    window.EventSource = class extends Source { constructor(url) { super(url); window.dials += 1; } };";

async fn mark(browser: &Browser) -> Result {
    browser.script("window.unbroken = true", json!([])).await.map(drop)
}

/// What the page's clock has counted.
async fn count(browser: &Browser, what: &str) -> Result<u64> {
    let counted = browser.script(&format!("return window.{what}"), json!([])).await?;
    Ok(counted.as_u64().unwrap_or_default())
}

async fn expect_unbroken(browser: &Browser) -> Result {
    let mark = browser.script("return window.unbroken === true", json!([])).await?;
    ensure!(mark == true, "the page was loaded again");
    Ok(())
}

fn success(desired: &v1::Desired, to: &str) -> v1::Report {
    v1::Report {
        attempt: desired.attempt.clone(),
        outcome: v1::Outcome::Succeeded.into(),
        running_version: to.to_owned(),
        target_version: to.to_owned(),
        from_version: "1.0.0".to_owned(),
        ..v1::Report::default()
    }
}

pub(super) async fn member() -> Result {
    let scene = Scene::new().await?;
    let browser = scene.stage.signed_in(Role::Member).await?;
    browser.go(WEB).await?;
    browser.see("Available upgrades").await?;
    browser.see("1.1.0").await?;
    for offer in ["Upgrade to 1.1.0…", "Downgrade to 0.9.0…", "Begin with 2.0.0…"] {
        ensure!(!browser.offers(offer).await?, "a member is offered {offer:?}");
    }
    browser.go(&format!("{WEB}/upgrade?to=1.1.0")).await?;
    ensure!(!browser.offers("Upgrade to 1.1.0").await?, "a member is offered the decision");
    // By hand, with everything that a form of the session carries: nothing but the role speaks against it.
    let http = Http::new(&scene.stage)?;
    let cookie = http.sign_in(scene.stage.plane.secret(Role::Member)).await?;
    let token = http.forgery_token(&cookie, WEB).await?;
    let form = format!("forgery_token={token}&to=1.1.0&expected_version=1.0.0&ttl=&request_id=");
    let answer = http.post(&format!("{WEB}/upgrade"), &cookie, &[("sec-fetch-site", "same-origin")], &form).await?;
    ensure!(answer.status == 403, "{answer:?}");
    ensure!(scene.attempts().await? == 0, "a member made an attempt");
    // The same form from one who may is another thing.
    let cookie = http.sign_in(scene.stage.plane.secret(Role::Admin)).await?;
    let without = http.post(&format!("{WEB}/upgrade"), &cookie, &[("sec-fetch-site", "same-origin")], &form).await?;
    ensure!(without.status == 403, "another session's forgery token: {without:?}");
    let token = http.forgery_token(&cookie, WEB).await?;
    let form = format!("forgery_token={token}&to=1.1.0&expected_version=1.0.0&ttl=&request_id=");
    let forged = http.post(&format!("{WEB}/upgrade"), &cookie, &[("sec-fetch-site", "cross-site")], &form).await?;
    ensure!(forged.status == 403 && scene.attempts().await? == 0, "{forged:?}");
    let asked = http.post(&format!("{WEB}/upgrade"), &cookie, &[("sec-fetch-site", "same-origin")], &form).await?;
    ensure!(asked.status == 303 && scene.attempts().await? == 1, "{asked:?}");
    Ok(())
}

pub(super) async fn downgrade() -> Result {
    let mut scene = Scene::new().await?;
    let browser = scene.stage.signed_in(Role::Admin).await?;
    browser.go(WEB).await?;
    browser.press("Downgrade to 0.9.0…").await?;
    browser.see("Downgrade web-1 to 0.9.0").await?;
    browser.press("Downgrade to 0.9.0").await?;
    browser.at(&format!("{WEB}/attempts/")).await?;
    browser.see("Downgrade of web-1 to 0.9.0").await?;
    mark(&browser).await?;
    let desired = scene.stream.desired().await?;
    scene.stream.ask_leave(&desired).await?;
    scene.stream.report(success(&desired, "0.9.0")).await?;
    browser.see("0.9.0 runs and is confirmed").await?;
    expect_unbroken(&browser).await
}

pub(super) async fn major_hop() -> Result {
    let scene = Scene::new().await?;
    let browser = scene.stage.signed_in(Role::Admin).await?;
    browser.go(WEB).await?;
    browser.see("equires upgrade to 2.x first").await?;
    ensure!(!browser.offers("Upgrade to 3.0.0…").await?, "two majors at once are offered");
    browser.see("1.0.0 → 2.0.0 → 3.0.0").await?;
    // Whoever goes there all the same is told why not, in place.
    browser.go(&format!("{WEB}/upgrade?to=3.0.0")).await?;
    browser.see("Refused:").await?;
    browser.see("MAJOR_HOP_REQUIRED").await?;
    ensure!(!browser.offers("Upgrade to 3.0.0").await?, "a refused request can be sent");
    browser.go(WEB).await?;
    browser.press("Begin with 2.0.0…").await?;
    browser.press("Upgrade to 2.0.0").await?;
    browser.at(&format!("{WEB}/attempts/")).await
}

pub(super) async fn expires() -> Result {
    let scene = Scene::new().await?;
    // It goes before it has heard.
    let name = scene.ask("1.1.0").await?;
    let Scene { stage, executor, stream } = scene;
    drop(stream);
    let browser = stage.signed_in(Role::Admin).await?;
    browser.go(&format!("/{name}")).await?;
    browser.see("may be picked up until").await?;
    mark(&browser).await?;
    stage.plane.clock().advance(Duration::from_secs(16 * 60));
    browser.see("Expired").await?;
    browser.see("What to do next").await?;
    expect_unbroken(&browser).await?;
    ensure!(attempt(&stage.plane, &name).await?.outcome() == v1::Outcome::Expired, "the page is ahead of the truth");
    drop(executor);
    Ok(())
}

/// The page of an attempt in the middle of its download, behind a network that can fail.
struct Remote {
    scene: Scene,
    name: String,
    desired: v1::Desired,
    relay: Relay,
    browser: Browser,
}

impl Remote {
    /// Every page begins with this script.
    async fn open(script: &str) -> Result<Self> {
        let mut scene = Scene::new().await?;
        let name = scene.ask("1.1.0").await?;
        let desired = scene.stream.desired().await?;
        scene.downloads(&desired, 1 << 20).await?;
        let relay = Relay::new().await?;
        relay.turn_to(scene.stage.plane.api_addr());
        let mut browser = scene.stage.browser().await?;
        browser.turn_to(relay.address());
        browser.before_each_page(script).await?;
        browser.sign_in(scene.stage.plane.secret(Role::Member)).await?;
        browser.go(&format!("/{name}")).await?;
        browser.see("1.0 MiB of 4.0 MiB").await?;
        browser.see("live").await?;
        mark(&browser).await?;
        Ok(Self { scene, name, desired, relay, browser })
    }

    /// More is downloaded, of which the page hears nothing yet.
    async fn goes_on_unseen(&self) -> Result {
        self.browser.see("connection lost, dialling again").await?;
        self.scene.hears_of(&self.name, &self.desired, 3 << 20).await
    }

    /// The network is back.
    async fn catches_up(mut self) -> Result {
        // The whole part comes first, so that nothing is missed.
        self.browser.see("3.0 MiB of 4.0 MiB").await?;
        self.browser.gone("connection lost").await?;
        self.scene.stream.ask_leave(&self.desired).await?;
        self.scene.stream.report(success(&self.desired, "1.1.0")).await?;
        self.browser.see("1.1.0 runs and is confirmed").await?;
        expect_unbroken(&self.browser).await
    }
}

pub(super) async fn network() -> Result {
    let remote = Remote::open("").await?;
    let (error_code, message) = ("UNREACHABLE".to_owned(), "no route to host".to_owned());
    let waiting = v1::Waiting { error_code, message, since_time: None };
    remote.scene.says(&remote.desired, 1 << 20, Some(waiting)).await?;
    remote.browser.see("1.0 MiB of 4.0 MiB; waits out UNREACHABLE: no route to host").await?;
    remote.relay.cut();
    remote.goes_on_unseen().await?;
    remote.browser.see("waits out").await?;
    remote.relay.turn_to(remote.scene.stage.plane.api_addr());
    remote.browser.gone("waits out").await?;
    remote.catches_up().await
}

/// Nothing is cut, and nothing comes: a network that died without a word.
pub(super) async fn silence() -> Result {
    let remote = Remote::open(CLOCK).await?;
    let browser = &remote.browser;
    remote.relay.hold();
    let lamp = "return document.querySelector('[data-lamp]').textContent";
    // The server says something every 15 s.
    browser.script("window.passes(20_000)", json!([])).await?;
    browser.until("looks at the silence", || count(browser, "looks"), |looks| *looks > 2).await?;
    let said = browser.script(lamp, json!([])).await?;
    ensure!(said == "live" && count(browser, "dials").await? == 1, "{said} after 20 s");
    browser.script("window.passes(25_000)", json!([])).await?;
    remote.goes_on_unseen().await?;
    ensure!(count(browser, "dials").await? == 2, "it dials anew");
    remote.relay.go_on();
    remote.catches_up().await
}

/// What an old operator says of its nodes is not understood: the page says so, and what to do. All else goes on.
pub(super) async fn nodes() -> Result {
    let stage = Stage::of_version("4.0.0").await?;
    let executor = FakeExecutor::enrol(&stage.plane, "east", "1.0.0").await?;
    let operator = Hello {
        kind: v1::Kind::Operator.into(),
        platform: String::new(),
        binary_sha256: String::new(),
        ..executor.hello()
    };
    let _stream = executor.connect_with(operator).await?;
    let browser = stage.signed_in(Role::Admin).await?;
    let east = "/organizations/acme/executors/east";
    browser.go(east).await?;
    browser.see("out of support").await?;
    browser.go(&format!("{east}/nodes")).await?;
    for said in ["Its nodes cannot be shown:", "upgrade it to 3.x or later, hop by hop", "OUT_OF_SUPPORT"] {
        browser.see(said).await?;
    }
    let code = browser.script("return performance.getEntriesByType('navigation')[0].responseStatus", json!([])).await?;
    ensure!(code == 409, "{code}");
    browser.press("its page").await?;
    browser.at(east).await?;
    browser.see("live").await
}

pub(super) async fn two_tabs() -> Result {
    let scene = Scene::new().await?;
    let browser = scene.stage.signed_in(Role::Admin).await?;
    browser.go(&format!("{WEB}/upgrade?to=1.1.0")).await?;
    browser.see("What will happen").await?;
    let first = browser.tab().await?;
    let second = browser.new_tab().await?;
    browser.go(&format!("{WEB}/upgrade?to=2.0.0")).await?;
    browser.press("Upgrade to 2.0.0").await?;
    browser.at(&format!("{WEB}/attempts/")).await?;
    // What the first tab shows is a minute old: it is refused in place, and nothing is replaced by accident.
    browser.switch_to(&first).await?;
    browser.press("Upgrade to 1.1.0").await?;
    browser.see("Refused:").await?;
    ensure!(scene.attempts().await? == 1, "the second request went through");
    // Both look at the attempt; one cancels it.
    browser.switch_to(&second).await?;
    let path = browser.path().await?;
    browser.switch_to(&first).await?;
    browser.go(&path).await?;
    browser.see("live").await?;
    mark(&browser).await?;
    browser.switch_to(&second).await?;
    browser.press("Cancel it").await?;
    browser.see("Cancelled").await?;
    browser.switch_to(&first).await?;
    browser.see("Cancelled").await?;
    expect_unbroken(&browser).await
}

pub(super) async fn without_scripts() -> Result {
    let mut scene = Scene::new().await?;
    let browser = scene.stage.browser().await?;
    browser.without_scripts(true).await?;
    browser.sign_in(scene.stage.plane.secret(Role::Admin)).await?;
    browser.press("web-1").await?;
    browser.press("Upgrade to 1.1.0…").await?;
    browser.at(&format!("{WEB}/upgrade?to=1.1.0")).await?;
    browser.press("Upgrade to 1.1.0").await?;
    browser.at(&format!("{WEB}/attempts/")).await?;
    let desired = scene.stream.desired().await?;
    scene.stream.ask_leave(&desired).await?;
    scene.stream.report(success(&desired, "1.1.0")).await?;
    browser.reload().await?;
    browser.see("1.1.0 runs and is confirmed").await
}

pub(super) async fn keyboard() -> Result {
    let scene = Scene::new().await?;
    let browser = scene.stage.signed_in(Role::Admin).await?;
    browser.go(WEB).await?;
    browser.tab_to("Upgrade to 1.1.0…").await?;
    browser.key(Key::Enter).await?;
    browser.see("What will happen").await?;
    ensure!(browser.path().await? == WEB, "the decision is no dialog");
    // What lies under a dialog is out of reach, and Escape leads back to where one was.
    browser.tab_to("Not now").await?;
    browser.key(Key::Escape).await?;
    browser.gone("What will happen").await?;
    ensure!(browser.focused().await? == "Upgrade to 1.1.0…", "the focus is on {:?}", browser.focused().await?);
    ensure!(scene.attempts().await? == 0, "a dialog that was closed asked all the same");
    browser.key(Key::Enter).await?;
    browser.tab_to("Upgrade to 1.1.0").await?;
    browser.key(Key::Enter).await?;
    browser.at(&format!("{WEB}/attempts/")).await
}
