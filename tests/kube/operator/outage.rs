//! What is away for a while: control plane, API server, registry, the pod itself. None of it is a reason to go back, but an image that nodes cannot pull.

use std::process::Command;

use ::operator::Misbehaviour;
use anyhow::ensure;
use harness::{
    daemon::succeeded,
    fleet::control_plane::As,
    kube::{Cluster, Door, NODE, Program, Registry, Tier, images, operator::NAME},
    parts::{Part, trial},
};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{
    reasons::comes_back,
    scene::{FIRST, Scene},
};
use crate::{LIMIT, Result};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_control_plane_that_is_away_in_the_middle_rolls_nobody_back", NODE, away),
        trial("an_api_server_that_restarts_costs_no_watch_and_no_upgrade", NODE, api_server),
        trial("a_pod_that_is_taken_away_while_it_watches_is_followed_by_one_that_goes_on", NODE, pod_gone),
        trial("a_registry_that_is_away_is_waited_for_before_the_change_and_a_reason_after_it", NODE, registry),
    ]
}

/// The new pod cannot prove itself, the Deployment gives up waiting for it, and all of that is nobody's fault.
fn away() -> Result {
    let scene = Scene::start_apart("outage", &["--set", "rollout.startSeconds=15"])?;
    let image = scene.release(None)?;
    scene.request()?;
    let deployment = format!("apps/v1/deployments/{NAME}");
    scene.changed()?;
    scene.control().hold()?;
    scene.namespace.wait(&deployment, "the Deployment to give up", LIMIT, gave_up)?;
    // The old pod has asked the control plane itself by then, and says why it waits.
    let asked = || scene.logs();
    let waits = |logs: &String| logs.contains("the control plane is away from here as well");
    harness::wait::until_at_leisure("the old pod to ask", LIMIT, asked, waits)?;
    ensure!(scene.image()? == scene.pinned(&image)?, "nothing was changed back");
    scene.control().go_on()?;
    let (attempt, _) = scene.ended()?;
    ensure!(attempt["outcome"] == "OUTCOME_SUCCEEDED", "{attempt}\n{}", scene.story());
    scene.online(&scene.target)
}

fn gave_up(deployment: &Value) -> bool {
    let conditions = deployment["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["reason"] == "ProgressDeadlineExceeded")
}

/// In the middle of an upgrade, twice. A new API server, whose store has compacted away what changed meanwhile: every watch that would
/// go on from before is told that it is expired (410). And one that hangs for longer than the Lease counts: nobody speaks.
fn api_server() -> Result {
    let cluster = Cluster::start(Tier::Node)?;
    // The Deployment gives up after the API server was away and frozen, also where both take long: a watch waits up to half a minute
    // before it asks again, and nobody watches once the verdict is spoken.
    let values = ["--set", "logs.level=debug", "--set", "rollout.startSeconds=90"];
    let scene = Scene::start_in(&cluster, "api-server", &values)?;
    let before = scene.image()?;
    let pod = scene.leader("")?;
    scene.release(Some(Misbehaviour::NeverProve))?;
    scene.request()?;
    // Its watch is there.
    scene.logged_by(&pod, "/pods?&watch=true")?;

    cluster.kill(Program::ApiServer)?;
    compact(&cluster)?;
    cluster.start_again(Program::ApiServer)?;
    cluster.until_ready()?;
    for watch in ["a watch of the rollout begins again", "the watch of the Deployment begins again"] {
        let expired =
            |logs: &String| logs.lines().any(|line| line.contains(watch) && line.contains("too old resource"));
        let look = || scene.namespace.kubectl(&["logs", &pod]);
        harness::wait::until_at_leisure("a watch that is expired", LIMIT, look, expired)?;
    }
    // What the watch is for is seen again.
    let deployment = format!("deployment/{NAME}");
    scene.namespace.kubectl(&["label", &deployment, "argocd.argoproj.io/instance=apps"])?;
    scene.pinned_by("Argo CD")?;
    scene.namespace.kubectl(&["label", &deployment, "argocd.argoproj.io/instance-"])?;
    scene.unpinned()?;
    ensure!(scene.leader("")? == pod, "the same pod all the time");

    cluster.freeze(Program::ApiServer)?;
    let look = || scene.executor();
    harness::wait::until_at_leisure("silence", LIMIT, look, |executor| executor["online"] != true)?;
    cluster.thaw(Program::ApiServer)?;
    comes_back(&scene, &before, "NEVER_READY", "does not become ready")
}

/// Lets the cluster's store forget all that went before, as API servers do every five minutes.
fn compact(cluster: &Cluster) -> Result {
    let ask = |path: &str, body: &Value| -> Result<Value> {
        let mut curl = Command::new(Part::Curl.find()?);
        let url = format!("http://{}:2379/v3/{path}", cluster.address());
        let answer = curl.args(["-fsS", "--data", &body.to_string(), &url]).output()?;
        Ok(serde_json::from_str(&succeeded(&answer)?)?)
    };
    let status = ask("maintenance/status", &json!({}))?;
    ask("kv/compaction", &json!({ "revision": status["header"]["revision"], "physical": true })).map(drop)
}

/// What an operator logs that waits for a registry.
const AGAIN: &str = "asking the registry again until the upgrade's time is over";

/// How an attempt names it.
const AWAY: &str = "REGISTRY_UNREACHABLE";

/// A registry of the trial's own, on a node that takes no new pod until it is told to. It is away until an upgrade's time is over, and
/// for a moment of the next one.
fn registry() -> Result {
    let cluster = Cluster::shared()?;
    let own = Registry::start(cluster.address(), Door::Open)?;
    cluster.trust(&own)?;
    cluster.kubectl(&["label", "nodes", "--all", "novacula.test/late=yes"])?;
    let plain = format!("registry.plainHttp={{{},{}}}", cluster.registry().address(), own.address());
    let selector = "nodeSelector.novacula\\.test/late=yes";
    let scene = Scene::start("registry", &["--set", &plain, "--set-string", selector])?;
    let before = scene.image()?;
    let image = images::operator(&scene.target, None)?;
    own.push(&image, "operator:late")?;
    scene.publish_from(&own.reference("operator"), &image)?;

    let pod = scene.leader("")?;
    let asked = || Ok(scene.namespace.kubectl(&["logs", &pod])?.matches(AGAIN).count());
    own.kill();
    scene.control().succeed(As::Owner, &["upgrade", "request", &scene.executor, &scene.target, "--ttl", "6s"])?;
    scene.logged_by(&pod, AGAIN)?;
    let (attempt, _) = scene.ended()?;
    ensure!(attempt["outcome"] == "OUTCOME_EXPIRED", "{attempt}");
    // Whoever reads the attempt knows why, without the cluster.
    let says = |text: &Value| text.as_str().is_some_and(|text| text.contains(&own.address().to_string()));
    ensure!(attempt["errorCode"] == AWAY && says(&attempt["message"]), "{attempt}");
    ensure!(
        scene.deployment()?["metadata"]["annotations"]["novacula.dev/attempt"].is_null() && scene.image()? == before
    );

    let n_asked = asked()?;
    scene.request()?;
    harness::wait::until_at_leisure("the registry to be asked again", LIMIT, asked, |n| *n > n_asked)?;
    let attempt = scene.attempt()?;
    let waits = attempt["outcome"] == "OUTCOME_UNSPECIFIED" && attempt["refused"] != true;
    ensure!(waits && scene.image()? == before, "{attempt}");
    let told = |attempt: &Value| attempt["waiting"]["errorCode"] == AWAY && says(&attempt["waiting"]["message"]);
    harness::wait::until_at_leisure("the attempt to say what it waits out", LIMIT, || scene.attempt(), told)?;
    let explained = scene.control().succeed(As::Owner, &["executor", "explain", &scene.executor])?;
    ensure!(explained.contains(AWAY) && !explained.contains("kubectl logs"), "{explained}");

    cluster.kubectl(&["label", "nodes", "--all", "novacula.test/late-"])?;
    own.start_again()?;
    scene.changed()?;
    // What was waited out before leave is over; that no node takes the pod yet is another matter.
    let attempt = scene.attempt()?;
    ensure!(attempt["waiting"].is_null() || attempt["waiting"]["errorCode"] == "UNSCHEDULABLE", "{attempt}");
    own.kill();
    cluster.kubectl(&["label", "nodes", "--all", "novacula.test/late=yes"])?;
    comes_back(&scene, &before, "IMAGE_PULL", &own.address().to_string())?;
    scene.online(FIRST)
}

/// A drain, and then a node that ends.
fn pod_gone() -> Result {
    let scene = Scene::start("pod-gone", &["--set", "rollout.startSeconds=30"])?;
    let before = scene.image()?;
    let old = scene.leader("")?;
    scene.release(Some(Misbehaviour::NeverProve))?;
    scene.request()?;
    scene.changed()?;
    // As a drain asks it to leave: it says goodbye, and another pod of its version watches.
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": old } });
    scene.namespace.api().create(&scene.namespace.path(&format!("v1/pods/{old}/eviction")), &eviction)?;
    let next = scene.leader(&old)?;
    scene.logged_by(&next, "watching over the new version")?;
    // As a node ends: nobody is told.
    scene.namespace.kubectl(&["delete", "pod", &next, "--force", "--grace-period=0"])?;
    let (attempt, _) = scene.ended()?;
    ensure!(
        attempt["outcome"] == "OUTCOME_ROLLED_BACK" && attempt["errorCode"] == "NEVER_READY",
        "{attempt}\n{}",
        scene.story()
    );
    scene.settled(&before)?;
    scene.online(FIRST)
}
