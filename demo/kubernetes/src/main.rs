//! `cargo demo --operator`: an operator that upgrades its own Deployment, in a whole Kubernetes on this machine.
//!
//! The cluster is the tests' ([`harness::kube`]): API server, controllers, scheduler, kubelet, containerd, runc and a registry, on an
//! address that nobody routes. It ends with this program, whatever becomes of it.

#![expect(clippy::print_stderr, reason = "a program that tells a story")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use demo::attempt::{length, receipt, text};
use demo::story::Story;
use harness::fleet::Programs;
use harness::fleet::control_plane::{As, ControlPlane};
use harness::fleet::release::publish_image;
use harness::kube::operator::{Installation, NAME};
use harness::kube::{Cluster, NODE, Namespace, Tier, built, images};
use harness::parts::Part;
use harness::wait;
use operator::Misbehaviour;
use serde_json::Value;
use tempfile::TempDir;

/// What the operator is called in the organization.
const EXECUTOR: &str = "cluster-1";

/// How long a new version runs in the demo before it is confirmed; 120 s in real life.
const PROBATION: Duration = Duration::from_secs(5);

/// How long a node may take to start a pod.
const START_SECONDS: u32 = 90;

/// Longest wait for a pod.
const LIMIT: Duration = Duration::from_secs(120);

/// Who is who.
struct Scene<'c> {
    cluster: &'c Cluster,
    namespace: Namespace<'c>,
    control: ControlPlane,
    folder: TempDir,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let missing = NODE.iter().chain(&[Part::Helm3]).filter_map(|part| part.find().err());
    let missing: Vec<String> = missing.map(|missing| missing.to_string()).collect();
    ensure!(missing.is_empty(), "a whole Kubernetes is not to be had here:\n  {}", missing.join("\n  "));
    let mut story = Story::new();
    let cluster = started(&mut story)?;
    let scene = Scene::new(&cluster, &mut story)?;
    scene.installed(&mut story)?;
    scene.good_upgrade(&mut story)?;
    scene.bad_upgrade(&mut story)?;
    story.chapter("How to go on");
    story.tell("docs/operate/operator.md says what an operator does at each moment, and what it needs");
    story.tell(
        "deploy/helm/novacula-operator is its chart: a Role for its own Deployment, Lease and Secret, and no more",
    );
    story.tell(&format!("the story took {:.0} s", story.elapsed().as_secs_f64()));
    Ok(())
}

fn started(story: &mut Story) -> anyhow::Result<Cluster> {
    story.chapter("A whole Kubernetes, on this machine");
    let cluster = Cluster::start(Tier::Node)?;
    let version: Value = serde_json::from_str(&cluster.kubectl(&["version", "--output", "json"])?)?;
    story.tell(&format!(
        "Kubernetes {}: API server, controllers, scheduler, kubelet, containerd, runc, and a registry beside it",
        text(&version["serverVersion"], "gitVersion")
    ));
    story.tell(&format!("up after {:.1} s; it ends with this demo", story.elapsed().as_secs_f64()));
    Ok(cluster)
}

impl<'c> Scene<'c> {
    fn new(cluster: &'c Cluster, story: &mut Story) -> anyhow::Result<Self> {
        story.chapter("A control plane that pods can reach");
        let programs = Programs {
            server: built("fixture-server")?,
            novacula: built("fixture-novacula")?,
            agent: built("fixture-agent")?,
        };
        let folder = tempfile::Builder::new().prefix("novacula-demo-").tempdir().context("make a folder")?;
        let control = ControlPlane::start_at(&programs, folder.path(), PROBATION, cluster.address())?;
        let namespace = cluster.namespace("novacula-system")?;
        namespace.restrict()?;
        story.tell("outside of the cluster, as it would be: the operator dials out, and nobody dials in");
        Ok(Self { cluster, namespace, control, folder })
    }

    fn installed(&self, story: &mut Story) -> anyhow::Result<()> {
        story.chapter("A cluster joins: operator 1.0.0, by its Helm chart");
        let first = images::operator("1.0.0", None)?;
        self.cluster.push(&first, "operator:1.0.0")?;
        let join_token = self.control.succeed(As::Owner, &["join-token", "create", "--executor", EXECUTOR])?;
        let (probation, start_seconds) = (PROBATION, START_SECONDS);
        let installation =
            Installation { join_token: &join_token, first: &first, probation, start_seconds, values: &[] };
        story.command(&format!("helm install {NAME} deploy/helm/novacula-operator --namespace novacula-system ..."));
        installation.install(&self.namespace)?;
        self.online("1.0.0")?;
        story.command("novacula executor list");
        story.quote(&self.control.succeed(As::Owner, &["executor", "list"])?);
        self.show_pods(story)
    }

    fn good_upgrade(&self, story: &mut Story) -> anyhow::Result<()> {
        story.chapter("Upgrade to 1.1.0");
        self.release("1.1.0", None)?;
        story
            .tell("what is signed is the image's digest, and by it the operator names the image in its own Deployment");
        let attempt = self.upgrade(story, "1.1.0", "OUTCOME_SUCCEEDED")?;
        story.tell(&format!("from the write in the database to the operator's receipt: {}", receipt(&attempt)?));
        story.tell(&format!("from the request to the new pod's confirmation: {}", length(&attempt)?));
        self.online("1.1.0")?;
        self.show_pods(story)
    }

    fn bad_upgrade(&self, story: &mut Story) -> anyhow::Result<()> {
        story.chapter("Upgrade to 1.2.0, which cannot start");
        self.release("1.2.0", Some(Misbehaviour::CrashAtStart))?;
        let attempt = self.upgrade(story, "1.2.0", "OUTCOME_ROLLED_BACK")?;
        story.tell(&format!("from the request to the old image and the reason why: {}", length(&attempt)?));
        story.tell(
            "the old pod stayed until the new one would be ready, watched it fail, and patched the old image back",
        );
        self.online("1.1.0")?;
        self.show_pods(story)
    }

    /// Pushes, signs and publishes.
    fn release(&self, version: &str, misbehaviour: Option<Misbehaviour>) -> anyhow::Result<()> {
        let image = images::operator(version, misbehaviour)?;
        self.cluster.push(&image, &format!("operator:{version}"))?;
        let repository = self.cluster.registry().reference("operator");
        publish_image(&self.control, &repository, &image, version, self.folder.path())
    }

    /// Asks for a version and waits; it has to end so.
    fn upgrade(&self, story: &Story, version: &str, outcome: &str) -> anyhow::Result<Value> {
        story.command(&format!("novacula upgrade request {EXECUTOR} {version} --wait"));
        let output = self.control.output(As::Owner, &["upgrade", "request", EXECUTOR, version, "--wait"])?;
        story.quote(&String::from_utf8_lossy(&output.stderr));
        let history = self.control.json(As::Owner, &["upgrade", "history", EXECUTOR, "--limit", "1"])?;
        let attempt = history.get(0).cloned().with_context(|| format!("{EXECUTOR} has no attempt"))?;
        if text(&attempt, "outcome") != outcome {
            bail!("expected {outcome}, and got {} with {attempt}\n{}", output.status, self.namespace.story());
        }
        Ok(attempt)
    }

    /// Waits until the operator speaks as this version, and nothing of another one is left.
    fn online(&self, version: &str) -> anyhow::Result<()> {
        // Before it is enrolled there is none.
        let look = || Ok(self.control.json(As::Owner, &["executor", "get", EXECUTOR]).unwrap_or_default());
        let wanted = |executor: &Value| executor["online"] == true && executor["version"] == version;
        wait::until_at_leisure(&format!("the operator with {version}"), LIMIT, look, wanted)
            .with_context(|| self.namespace.story())?;
        self.namespace.rolled_out(NAME, LIMIT).map(drop)
    }

    fn show_pods(&self, story: &Story) -> anyhow::Result<()> {
        story.command("kubectl --namespace novacula-system get deployment,pods");
        story.quote(&self.namespace.kubectl(&["get", "deployment,pods"])?);
        let deployment = self.namespace.get(&format!("apps/v1/deployments/{NAME}"))?;
        let image = text(&deployment["spec"]["template"]["spec"]["containers"][0], "image");
        story.tell(&format!("the Deployment names {image}"));
        Ok(())
    }
}
