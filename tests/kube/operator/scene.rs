//! One operator in a namespace of its own, enrolled and online.

use std::{
    fs,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ::operator::Misbehaviour;
use anyhow::{Context as _, anyhow, ensure};
use harness::{
    fleet::{
        Programs,
        control_plane::{As, ControlPlane},
        release::publish_image,
    },
    kube::{Cluster, Namespace, images, operator::Installation},
    wait,
};
use image::manifest::Image;
use serde_json::Value;
use tempfile::TempDir;

use crate::{LIMIT, Result};

/// What every operator here begins as.
pub(crate) const FIRST: &str = "1.0.0";

/// What the chart calls what it makes.
pub(crate) const NAME: &str = harness::kube::operator::NAME;

/// What all its pods have.
pub(crate) const LABEL: &str = "novacula.dev/component=operator";

/// As short as the chart allows, and the control plane's the same.
const PROBATION: Duration = Duration::from_secs(5);

/// How long a node has to start a pod, before the Deployment gives up. Trials that wait for that say less.
const START_SECONDS: u32 = 90;

/// A control plane that pods of one cluster reach.
pub(crate) struct Plane {
    control: ControlPlane,
    folder: TempDir,
    publishing: Mutex<()>,
}

static PLANE: OnceLock<std::result::Result<Arc<Plane>, String>> = OnceLock::new();

/// One operator.
pub(crate) struct Scene<'c> {
    pub(crate) namespace: Namespace<'c>,
    pub(crate) executor: String,
    /// The only one of its trial.
    pub(crate) target: String,
    plane: Arc<Plane>,
}

fn programs() -> Programs {
    Programs {
        server: env!("CARGO_BIN_EXE_fixture-server").into(),
        novacula: env!("CARGO_BIN_EXE_fixture-novacula").into(),
        agent: env!("CARGO_BIN_EXE_fixture-agent").into(),
    }
}

impl Plane {
    pub(crate) fn start(cluster: &Cluster) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("novacula-plane-").tempdir()?;
        Ok(Self {
            control: ControlPlane::start_at(&programs(), folder.path(), PROBATION, cluster.address())?,
            folder,
            publishing: Mutex::default(),
        })
    }

    pub(crate) fn shared() -> Result<Arc<Self>> {
        let started = PLANE.get_or_init(|| {
            // A process of the harness ends with the thread that started it, and a trial's thread ends with the trial.
            let (said, heard) = std::sync::mpsc::sync_channel(1);
            thread::spawn(move || {
                // Nobody waits any more: the test binary is ending.
                let started = Cluster::shared().and_then(Self::start);
                let _ = said.send(started.map(Arc::new).map_err(|error| format!("{error:?}")));
                loop {
                    thread::park();
                }
            });
            heard.recv().unwrap_or_else(|error| Err(error.to_string()))
        });
        started.clone().map_err(|error| anyhow!("{error}"))
    }
}

/// Takes away what the shared control plane wrote. A binary does it last.
pub(crate) fn end_shared() {
    if let Some(Ok(plane)) = PLANE.get() {
        // It writes until the binary has ended; what is left of it then is empty.
        let _ = std::fs::remove_dir_all(plane.folder.path());
    }
}

impl Scene<'static> {
    /// Installs the chart with what every trial needs, and `values` besides; waits until the operator is online.
    pub(crate) fn start(name: &str, values: &[&str]) -> Result<Self> {
        Self::start_at(Plane::shared()?, Cluster::shared()?, name, values, None)
    }

    /// Under a control plane of its own, which the trial may stop. It ends with the trial's thread.
    pub(crate) fn start_apart(name: &str, values: &[&str]) -> Result<Self> {
        let cluster = Cluster::shared()?;
        Self::start_at(Arc::new(Plane::start(cluster)?), cluster, name, values, None)
    }
}

impl<'c> Scene<'c> {
    /// In a cluster of its own, under a control plane of its own.
    pub(crate) fn start_in(cluster: &'c Cluster, name: &str, values: &[&str]) -> Result<Self> {
        Self::start_at(Arc::new(Plane::start(cluster)?), cluster, name, values, None)
    }

    /// In this cluster, under this control plane, as one that goes wrong already.
    pub(crate) fn start_at(
        plane: Arc<Plane>,
        cluster: &'c Cluster,
        name: &str,
        values: &[&str],
        first: Option<Misbehaviour>,
    ) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = cluster.namespace(name)?;
        namespace.restrict()?;
        let executor = namespace.name().to_owned();
        let token = plane.control.succeed(As::Owner, &["join-token", "create", "--executor", &executor])?;
        let scene = Self { namespace, executor, target: format!("1.{number}.0"), plane };
        let first = scene.push(FIRST, first)?;
        let (probation, start_seconds) = (PROBATION, START_SECONDS);
        Installation { join_token: &token, first: &first, probation, start_seconds, values }
            .install(&scene.namespace)?;
        scene.online(FIRST)?;
        Ok(scene)
    }

    /// Puts an edition of the operator into the registry.
    pub(crate) fn push(&self, says: &str, misbehaviour: Option<Misbehaviour>) -> Result<Image> {
        let image = images::operator(says, misbehaviour)?;
        self.namespace.cluster().push(&image, &format!("operator:{}-{says}", self.executor))?;
        Ok(image)
    }

    /// Publishes an image as this trial's target.
    pub(crate) fn publish(&self, image: &Image) -> Result<()> {
        self.publish_from(&self.namespace.cluster().registry().reference("operator"), image)
    }

    /// The same, by the name of another repository.
    pub(crate) fn publish_from(&self, repository: &str, image: &Image) -> Result<()> {
        // Each release has a number above the last one's.
        let _turn = self.plane.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        publish_image(&self.plane.control, repository, image, &self.target, self.plane.folder.path())
    }

    /// Pushes and publishes an edition that says it is the target.
    pub(crate) fn release(&self, misbehaviour: Option<Misbehaviour>) -> Result<Image> {
        let image = self.push(&self.target, misbehaviour)?;
        self.publish(&image)?;
        Ok(image)
    }

    /// Asks for the target.
    pub(crate) fn request(&self) -> Result<String> {
        self.control().succeed(As::Owner, &["upgrade", "request", &self.executor, &self.target])
    }

    /// What somebody reads who asks for the target and is refused.
    pub(crate) fn request_output(&self) -> Result<String> {
        let output = self.control().output(As::Owner, &["upgrade", "request", &self.executor, &self.target])?;
        ensure!(!output.status.success(), "it was taken");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Changes the Deployment's pods as a person does, and waits until they are.
    pub(crate) fn change_pod(&self, fields: &Value) -> Result<()> {
        let fields = serde_json::json!({ "spec": { "template": { "spec": fields } } }).to_string();
        self.namespace.kubectl(&["patch", "deployment", NAME, "--patch", &fields])?;
        self.namespace.rolled_out(NAME, LIMIT)?;
        self.online(FIRST)
    }

    pub(crate) fn control(&self) -> &ControlPlane {
        &self.plane.control
    }

    /// The executor, as the control plane sees it.
    pub(crate) fn executor(&self) -> Result<Value> {
        self.control().json(As::Owner, &["executor", "get", &self.executor])
    }

    /// Waits until it is online with this version.
    pub(crate) fn online(&self, version: &str) -> Result<()> {
        // Before it is enrolled there is none.
        let look = || Ok(self.executor().unwrap_or_default());
        let wanted = |executor: &Value| executor["online"] == true && executor["version"] == version;
        wait::until_at_leisure(&format!("the operator with {version}"), LIMIT, look, wanted)
            .map(drop)
            .with_context(|| self.story())
    }

    /// The newest attempt.
    pub(crate) fn attempt(&self) -> Result<Value> {
        let attempts = self.control().json(As::Owner, &["upgrade", "history", &self.executor])?;
        let list = attempts.as_array().or_else(|| attempts["attempts"].as_array()).context("a list")?;
        list.first().cloned().with_context(|| format!("no attempt: {attempts}"))
    }

    /// Waits for the end of the newest attempt, and says how long that took.
    pub(crate) fn ended(&self) -> Result<(Value, Duration)> {
        let begin = Instant::now();
        let over =
            |attempt: &Value| attempt["outcome"].as_str().is_some_and(|outcome| outcome != "OUTCOME_UNSPECIFIED");
        let attempt = wait::until_at_leisure("the attempt's end", LIMIT, || self.attempt(), over)
            .with_context(|| self.story())?;
        Ok((attempt, begin.elapsed()))
    }

    /// What the failing version of the newest attempt said last.
    pub(crate) fn log_tail(&self) -> Result<String> {
        let output = self.control().output(As::Owner, &["upgrade", "watch", &self.executor, "--output", "json"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let attempt: Value = serde_json::from_str(text.lines().last().context("nothing was printed")?)?;
        Ok(attempt["logTail"].to_string())
    }

    pub(crate) fn deployment(&self) -> Result<Value> {
        self.namespace.get(&format!("apps/v1/deployments/{NAME}"))
    }

    /// What the Deployment's container is to run.
    pub(crate) fn image(&self) -> Result<String> {
        let deployment = self.deployment()?;
        let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
        Ok(image.context("an image")?.to_owned())
    }

    /// The image of an edition as the Deployment names it.
    pub(crate) fn pinned(&self, image: &Image) -> Result<String> {
        Ok(self.namespace.cluster().registry().pinned("operator", image.digest()))
    }

    /// Waits until it is back: one pod, the first image, and no attempt written on the Deployment.
    pub(crate) fn settled(&self, image: &str) -> Result<()> {
        self.namespace.rolled_out(NAME, LIMIT)?;
        let now = self.image()?;
        ensure!(now == image, "the Deployment names {now}, not {image}");
        self.namespace.wait(
            &format!("apps/v1/deployments/{NAME}"),
            "the attempt's annotation to go",
            LIMIT,
            |deployment| deployment["metadata"]["annotations"]["novacula.dev/attempt"].is_null(),
        )?;
        Ok(())
    }

    /// Waits until the Deployment is changed, and says so.
    pub(crate) fn changed(&self) -> Result<()> {
        let what = format!("apps/v1/deployments/{NAME}");
        let written = |deployment: &Value| deployment["metadata"]["annotations"]["novacula.dev/attempt"].is_string();
        self.namespace.wait(&what, "the attempt to be written", LIMIT, written).map(drop)
    }

    /// Waits until another pod than `not` speaks for the executor, and says its name.
    pub(crate) fn leader(&self, not: &str) -> Result<String> {
        let holder = |lease: &Value| lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        let other = |lease: &Value| ![not, ""].contains(&&*holder(lease));
        let what = format!("coordination.k8s.io/v1/leases/{NAME}");
        Ok(holder(&self.namespace.wait(&what, "a pod to take the Lease", LIMIT, other)?))
    }

    /// No two pods of it ever spoke at once.
    pub(crate) fn never_two(&self) -> Result {
        let events = self.control().succeed(As::Owner, &["event", "list", "--output", "json"])?;
        let duel = events.lines().any(|line| line.contains("executor.duplicated") && line.contains(&self.executor));
        ensure!(!duel, "two pods speak at once: {events}");
        Ok(())
    }

    /// Waits until the control plane shows its people why this executor takes no upgrades, in words that hold `says`.
    pub(crate) fn pinned_by(&self, says: &str) -> Result<String> {
        let why = |executor: &Value| executor["pinnedReason"].as_str().unwrap_or_default().to_owned();
        let pinned = |executor: &Value| executor["pinned"] == true && why(executor).contains(says);
        let look = || self.executor();
        let executor = wait::until_at_leisure(&format!("a pin for {says}"), LIMIT, look, pinned);
        executor.map(|executor| why(&executor)).with_context(|| self.story())
    }

    /// Waits until it takes upgrades again.
    pub(crate) fn unpinned(&self) -> Result<()> {
        let look = || self.executor();
        wait::until_at_leisure("the pin to go", LIMIT, look, |executor| executor["pinned"] != true).map(drop)
    }

    /// Runs a line of kubectl as the operator gave it to people.
    pub(crate) fn obey(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (program, words) = words.split_first().context("a line")?;
        ensure!(*program == "kubectl", "{line}");
        self.namespace.cluster().kubectl(words)
    }

    /// The process of a pod's operator, as this machine numbers it.
    pub(crate) fn process(&self, pod: &str) -> Result<i32> {
        let mark = format!("NOVACULA_POD={pod}");
        for process in fs::read_dir("/proc")?.filter_map(std::result::Result::ok) {
            let read = |name: &str| fs::read(process.path().join(name)).unwrap_or_default();
            let holds = |bytes: &[u8], word: &str| bytes.split(|byte| *byte == 0).any(|found| found == word.as_bytes());
            if holds(&read("environ"), &mark) && holds(&read("cmdline"), "run") {
                return Ok(process.file_name().to_string_lossy().parse()?);
            }
        }
        Err(anyhow!("no process of pod {pod}"))
    }

    /// What its pods log.
    pub(crate) fn logs(&self) -> Result<String> {
        self.namespace.kubectl(&["logs", "--selector", LABEL, "--tail", "40", "--prefix"])
    }

    /// Waits until one of its pods has logged this.
    pub(crate) fn logged(&self, says: &str) -> Result<()> {
        let look = || self.logs();
        wait::until_at_leisure(&format!("a line with {says:?}"), LIMIT, look, |logs| logs.contains(says)).map(drop)
    }

    /// Waits until this pod has.
    pub(crate) fn logged_by(&self, pod: &str, says: &str) -> Result<()> {
        let look = || self.namespace.kubectl(&["logs", pod]);
        wait::until_at_leisure(&format!("a line with {says:?}"), LIMIT, look, |logs| logs.contains(says))
            .map(drop)
            .with_context(|| self.story())
    }

    /// For whoever reads a failure.
    pub(crate) fn story(&self) -> String {
        let logs = self.logs();
        let deployment = self.deployment().map(|deployment| deployment["metadata"]["annotations"].to_string());
        format!(
            "{}\n{}\nannotations {}\nattempt {:?}",
            self.namespace.story(),
            logs.unwrap_or_else(|error| format!("no logs: {error:#}")),
            deployment.unwrap_or_default(),
            self.attempt(),
        )
    }
}
