//! An operator's pod on its way to a certificate that is taken, before it may speak: the product's own loop, a control plane that moved,
//! and of the cluster no more than the Secret and the Lease.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use domain::JoinSecret;
use domain::join::Endpoint;
use executor_sdk::credentials::{Credentials, Keeper as _};
use harness::relay::Relay;
use libtest_mimic::Trial;
use operator::args::{Arguments, Command};
use operator::cluster::{Cluster, Names};
use operator::keep::Kept;
use operator::operator::Registries;
use store::Clock as _;
use tempfile::TempDir;
use tokio::task::{JoinHandle, LocalSet, spawn_blocking, spawn_local};
use tokio_util::sync::CancellationToken;

use crate::cluster::{CREDENTIALS, FakeCluster};
use crate::plane::{DAY, Plane};
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("an_operator_enrols_where_its_environment_says", || here(enrols())),
        trial("an_operator_whose_certificate_has_ended_renews_it_before_it_is_ready", || here(renews())),
        trial("an_operator_that_was_deleted_keeps_the_lease_from_nobody", || here(deleted())),
        trial("what_a_cluster_keeps_of_another_request_stays", || here(keeps_another())),
        trial("an_operator_joins_a_new_control_plane_once_the_old_certificate_is_taken_away", || here(joins_anew())),
    ]
}

/// An operator stays on one thread.
async fn here(case: impl Future<Output = Result>) -> Result {
    LocalSet::new().run_until(case).await
}

/// Where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

/// A pod's container.
struct Pod {
    cluster: Arc<FakeCluster>,
    folder: TempDir,
    end: CancellationToken,
    running: JoinHandle<()>,
}

impl Pod {
    /// With this join token and this endpoint in its environment.
    fn start(cluster: &Arc<FakeCluster>, join: Option<&JoinSecret>, endpoint: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let path = |name: &str| -> String { folder.path().join(name).to_string_lossy().into_owned() };
        let (ready, token) = (path("ready"), path("token"));
        let mut words =
            ["novacula-operator", "run", "--pod", "a", "--ready-file", &ready, "--endpoint", endpoint].to_vec();
        if let Some(join) = join {
            std::fs::write(&token, join.reveal().as_str())?;
            words.extend(["--join-token-file", &token, "--executor-name", "east"]);
        }
        let arguments = <Arguments as clap::Parser>::try_parse_from(words)?;
        let Command::Run(arguments) = arguments.command else { anyhow::bail!("{arguments:?}") };
        let api = Cluster::new(cluster.client(), operator::run::names(&arguments));
        let (version, end) = ("1.0.0".parse()?, CancellationToken::new());
        let told = end.clone();
        let serve = async move { operator::run::serve(version, *arguments, Registries::default(), api, &told).await };
        Ok(Self { cluster: Arc::clone(cluster), folder, end, running: spawn_local(serve) })
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.path().join("ready")
    }

    /// Waits until it is ready, and gives back what it keeps.
    async fn ready(&self, plane: &Plane) -> Result<Credentials> {
        let file = self.ready_file();
        plane.until("a pod that is ready", || async { Ok(file.exists()) }, |ready| *ready).await?;
        self.cluster.credentials()?.context("none")
    }

    async fn stop(self) -> Result {
        self.end.cancel();
        Ok(self.running.await?)
    }
}

/// By a join token from before the control plane moved.
async fn enrols() -> Result {
    let plane = Plane::start().await?;
    let relay = Relay::new().await?;
    relay.turn_to(plane.address()?);
    let mut join = plane.join_token().await?;
    join.endpoint = NOWHERE.parse()?;
    let pod = Pod::start(&Arc::default(), Some(&join), &relay.address().to_string())?;
    let kept = pod.ready(&plane).await?;
    let there: Endpoint = relay.address().to_string().parse()?;
    ensure!(kept.executor.to_string().ends_with("east") && kept.endpoints == [there], "{:?}", kept.endpoints);
    ensure!(kept.uid == plane.executor("east").await?.executor.uid);
    ensure!(!pod.cluster.has("pending-key.pem"), "what is in the credentials is kept once");
    pod.stop().await
}

/// Credentials are written for other reasons than a request's answer: that request's key is not theirs to take away.
async fn keeps_another() -> Result {
    let plane = Plane::start().await?;
    let (credentials, _) = plane.enrol("east").await?;
    let name = || "novacula-operator".to_owned();
    let names = Names {
        namespace: "default".to_owned(),
        deployment: name(),
        container: name(),
        secret: name(),
        lease: name(),
        pod: "a".to_owned(),
    };
    let kept = Kept::new(Cluster::new(Arc::<FakeCluster>::default().client(), names));
    spawn_blocking(move || {
        let asked = kept.pending_key()?;
        kept.save(&credentials)?;
        ensure!(kept.pending_key()?.pem() == asked.pem(), "the key of a request is gone");
        ensure!(kept.load()?.print() == credentials.print());
        Ok(())
    })
    .await?
}

/// A cluster that was off for longer than its certificate is good, while the control plane moved as well.
async fn renews() -> Result {
    let plane = Plane::start().await?;
    let today = plane.clock.now();
    plane.clock.set(today.minus(40 * DAY));
    let (mut first, _) = plane.enrol("east").await?;
    plane.clock.set(today);
    ensure!(first.validity().is_over(today) && first.move_to(&NOWHERE.parse()?));
    let cluster = Arc::new(FakeCluster::with(&first));
    let address = plane.address()?.to_string();
    let pod = Pod::start(&cluster, None, &address)?;
    let kept = pod.ready(&plane).await?;
    ensure!(kept.uid == first.uid && !kept.validity().is_over(today) && kept.endpoints == [address.parse()?]);
    ensure!(plane.events("executor.certificate_renewed").await? == 1, "once");
    pod.stop().await
}

/// Neither its certificate nor its renewal is taken. A pod that another control plane takes must not wait for this one.
async fn deleted() -> Result {
    let plane = Plane::start().await?;
    let (first, _) = plane.enrol("east").await?;
    plane.delete("east").await?;
    let cluster = Arc::new(FakeCluster::with(&first));
    let pod = Pod::start(&cluster, None, &plane.address()?.to_string())?;
    let look = || async { Ok(cluster.lease()) };
    let given_back = |(transitions, holder): &(i64, String)| *transitions >= 1 && holder.is_empty();
    plane.until("a Lease that was taken and given back", look, given_back).await?;
    ensure!(!pod.ready_file().exists());
    let kept = cluster.credentials()?.context("none")?;
    ensure!(kept.uid == first.uid && kept.chain() == first.chain(), "what it had is kept");
    pod.stop().await
}

/// Another authority: nothing that this pod has proves anything there, and it says so until a person takes it away.
async fn joins_anew() -> Result {
    let (old, new) = (Plane::start().await?, Plane::start().await?);
    let (first, _) = old.enrol("east").await?;
    let cluster = Arc::new(FakeCluster::with(&first));
    let relay = Relay::new().await?;
    relay.turn_to(new.address()?);
    let join = new.join_token().await?;
    let pod = Pod::start(&cluster, Some(&join), &relay.address().to_string())?;
    new.until("a pod that asks there again", || async { Ok(relay.n_accepted()) }, |asked| *asked >= 2).await?;
    let kept = cluster.credentials()?.context("none")?;
    ensure!(!pod.ready_file().exists() && kept.uid == first.uid && kept.chain() == first.chain());
    ensure!(new.executor("east").await.is_err(), "a join token is used by nobody who has a certificate");
    cluster.forget(CREDENTIALS);
    let kept = pod.ready(&new).await?;
    ensure!(kept.uid == new.executor("east").await?.executor.uid && kept.uid != first.uid);
    pod.stop().await
}
