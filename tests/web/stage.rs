//! What the trials play on: a control plane, and the fleet of an organization that could be somebody's.

mod catalog;
mod fleet;
mod history;

use std::time::Duration;

use harness::browser::Browser;
use harness::control_plane::ControlPlane;
use harness::fake_executor::{FakeExecutor, Hello, Stream};
use proto::v1;
use tokio::task::JoinSet;

use crate::Result;

/// The control plane's version on a full stage.
pub(crate) const SERVER: &str = "4.2.1";

/// How often an executor of the stage gives a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A control plane and whoever is connected to it.
pub(crate) struct Stage {
    /// The control plane.
    pub(crate) plane: ControlPlane,
    /// Those whose streams are open; they end with the stage.
    online: JoinSet<()>,
    /// Resource names of attempts that pages are about.
    pub(crate) shown: Shown,
}

/// What is worth a page of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// It came back, and says why.
    pub(crate) rolled_back: String,
    /// Bytes are coming.
    pub(crate) downloading: String,
    /// Nobody picked it up.
    pub(crate) expired: String,
    /// It went well.
    pub(crate) succeeded: String,
    /// It is not picked up, since its executor is away.
    pub(crate) waiting: String,
}

// === impl Stage ===

impl Stage {
    /// An empty control plane.
    pub(crate) async fn bare() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        Ok(Self { plane, online: JoinSet::new(), shown: Shown::default() })
    }

    /// The same, of this version.
    pub(crate) async fn of_version(version: &str) -> Result<Self> {
        let version = version.parse()?;
        let plane = ControlPlane::start_with(|config| config.settings.server_version = version).await?;
        Ok(Self { plane, online: JoinSet::new(), shown: Shown::default() })
    }

    /// Forty executors of both kinds, a catalog, and three days of history.
    pub(crate) async fn full() -> Result<Self> {
        let mut stage = Self::of_version(SERVER).await?;
        catalog::publish(&stage.plane).await?;
        let fleet = fleet::enrol(&stage.plane).await?;
        history::play(&mut stage, fleet).await?;
        Ok(stage)
    }

    /// A browser that reads it.
    pub(crate) async fn browser(&self) -> Result<Browser> {
        Browser::open(self.plane.api_addr(), &self.plane.data_dir().join("ca.pem")).await
    }

    /// A browser that is signed in with the token of `role`.
    pub(crate) async fn signed_in(&self, role: v1::Role) -> Result<Browser> {
        let browser = self.browser().await?;
        browser.sign_in(self.plane.secret(role)).await?;
        Ok(browser)
    }

    /// Connects an executor that says no more than that it is there, for as long as the stage stands.
    pub(crate) async fn connect(&mut self, executor: FakeExecutor, hello: Hello) -> Result {
        let stream = executor.connect_with(hello).await?;
        self.keep(executor, stream);
        Ok(())
    }

    fn keep(&mut self, executor: FakeExecutor, mut stream: Stream) {
        self.online.spawn(async move {
            // Whatever it hears, it says nothing of it.
            while stream.acknowledge(0).await.is_ok() {
                let _ = tokio::time::timeout(HEARTBEAT, async { while let Ok(Some(_)) = stream.next().await {} }).await;
            }
            drop(executor);
        });
    }
}

/// Asks for an upgrade as somebody who may.
pub(crate) async fn ask(plane: &ControlPlane, name: &str, target: &str) -> Result<v1::Attempt> {
    let request = v1::RequestUpgradeRequest {
        name: name.to_owned(),
        target_version: target.to_owned(),
        ..v1::RequestUpgradeRequest::default()
    };
    Ok(plane.admin().upgrades().request_upgrade(request).await?.into_inner())
}

/// An attempt as it is now.
pub(crate) async fn attempt(plane: &ControlPlane, name: &str) -> Result<v1::Attempt> {
    let request = v1::GetAttemptRequest { name: name.to_owned() };
    Ok(plane.member().upgrades().get_attempt(request).await?.into_inner())
}
