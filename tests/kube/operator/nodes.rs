//! Two nodes: what is watched, and who watches it, may be on either, and one of them may go.

use std::sync::Arc;

use ::operator::Misbehaviour;
use anyhow::{Context as _, ensure};
use harness::{
    fleet::control_plane::As,
    kube::{Cluster, NODE, Tier},
    parts::trial,
    wait,
};
use libtest_mimic::Trial;
use serde_json::Value;

use super::{
    reasons::comes_back,
    scene::{LABEL, Plane, Scene},
};
use crate::{LIMIT, Result};

/// For upgrades that end when the Deployment gives up.
const SHORT: [&str; 2] = ["--set", "rollout.startSeconds=30"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_node_that_is_lost_takes_the_watch_with_it_and_another_goes_on", NODE, lost),
        trial("a_node_that_is_cut_off_lets_its_pod_speak_and_nobody_besides", NODE, cut_off),
        trial("versions_come_up_on_another_node_and_a_drain_moves_the_watch_there", NODE, drained),
    ]
}

/// The power of the watching pod's node is gone. Its Lease ends, Kubernetes makes the pod anew on the other node, and that one goes
/// back as the first would have.
fn lost() -> Result {
    let cluster = Cluster::start(Tier::Nodes)?;
    let scene = Scene::start_in(&cluster, "lost", &SHORT)?;
    let before = scene.image()?;
    let old = scene.leader("")?;
    nodes_are(&scene, &[("node-1", true), ("node-2", true)])?;
    let Pair { here, there } = hangs_elsewhere(&scene, &old)?;

    cluster.lose(&here)?;
    let next = taken_over(&scene, &old, &there)?;
    scene.logged_by(&next, "watching over the new version")?;
    nodes_are(&scene, &[(&here, false), (&there, true)])?;
    comes_back(&scene, &before, "NEVER_READY", "does not become ready")
}

/// The watching pod lives on where nobody can end it. Kubernetes makes it anew on the other node, and that one waits.
fn cut_off() -> Result {
    let cluster = Cluster::start(Tier::Nodes)?;
    let scene = Scene::start_in(&cluster, "cut", &SHORT)?;
    let before = scene.image()?;
    let old = scene.leader("")?;
    let Pair { here, there } = hangs_elsewhere(&scene, &old)?;

    cluster.cut(&here)?;
    nodes_are(&scene, &[(&here, false), (&there, true)])?;
    let anew = |pods: &Vec<Value>| pods.iter().any(|pod| pod["spec"]["nodeName"] == there.as_str() && is_ready(pod));
    wait::until_at_leisure("the pod anew", LIMIT, || scene.namespace.pods(LABEL), anew)
        .with_context(|| scene.story())?;
    // Until the API server takes the old one's token away, a minute after it should have ended.
    ensure!(scene.leader("")? == old, "the pod that watched speaks still");
    comes_back(&scene, &before, "NEVER_READY", "does not become ready")?;
    scene.never_two()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn drained() -> Result {
    let cluster = Cluster::start(Tier::Nodes)?;
    let plane = Arc::new(Plane::start(&cluster)?);
    let scene = Scene::start_at(Arc::clone(&plane), &cluster, "drained", &SHORT, None)?;
    let before = scene.image()?;
    let old = scene.leader("")?;
    let Pair { here, there } = hangs_elsewhere(&scene, &old)?;
    cluster.kubectl(&["drain", &here, "--delete-emptydir-data"])?;
    let next = taken_over(&scene, &old, &there)?;
    scene.logged_by(&next, "watching over the new version")?;
    comes_back(&scene, &before, "NEVER_READY", "does not become ready")?;
    cluster.kubectl(&["uncordon", &here])?;

    // A good one moves by itself.
    let scene = Scene::start_at(plane, &cluster, "moves", &[], None)?;
    let old = scene.leader("")?;
    let Pair { here, there } = Pair::of(&scene, &old)?;
    cluster.kubectl(&["cordon", &here])?;
    scene.release(None)?;
    scene.request()?;
    let (attempt, _) = scene.ended()?;
    ensure!(attempt["outcome"] == "OUTCOME_SUCCEEDED", "{attempt}\n{}", scene.story());
    scene.online(&scene.target)?;
    taken_over(&scene, &old, &there).map(drop)
}

/// The node of a pod, and the other one.
struct Pair {
    here: String,
    there: String,
}

impl Pair {
    fn of(scene: &Scene<'_>, pod: &str) -> Result<Self> {
        let here = node_of(scene, pod)?;
        let there = if here == "node-1" { "node-2" } else { "node-1" };
        Ok(Self { here, there: there.to_owned() })
    }
}

fn node_of(scene: &Scene<'_>, pod: &str) -> Result<String> {
    let pod = scene.namespace.get(&format!("v1/pods/{pod}"))?;
    Ok(pod["spec"]["nodeName"].as_str().context("a node")?.to_owned())
}

/// Waits until another pod than `old` speaks, on this node, and says its name.
fn taken_over(scene: &Scene<'_>, old: &str, there: &str) -> Result<String> {
    let next = scene.leader(old)?;
    ensure!(node_of(scene, &next)? == there, "{next} is not on {there}");
    Ok(next)
}

/// A version is asked for that comes up on the other node than `old`'s and is never ready, and `old` watches over it.
fn hangs_elsewhere(scene: &Scene<'_>, old: &str) -> Result<Pair> {
    let Pair { here, there } = Pair::of(scene, old)?;
    scene.namespace.cluster().kubectl(&["cordon", &here])?;
    scene.release(Some(Misbehaviour::NeverProve))?;
    scene.request()?;
    scene.changed()?;
    let new = |pods: &Vec<Value>| {
        pods.iter().any(|pod| pod["metadata"]["name"] != old && pod["spec"]["nodeName"] == there.as_str())
    };
    wait::until_at_leisure("a pod on the other node", LIMIT, || scene.namespace.pods(LABEL), new)?;
    scene.namespace.cluster().kubectl(&["uncordon", &here])?;
    scene.logged_by(old, "watching over the new version")?;
    Ok(Pair { here, there })
}

/// Waits until the control plane shows nodes as they are: by name, and whether they are ready.
fn nodes_are(scene: &Scene<'_>, wanted: &[(&str, bool)]) -> Result {
    let look = || scene.control().json(As::Owner, &["executor", "nodes", &scene.executor]);
    let is = |nodes: &Value, (name, ready): &(&str, bool)| {
        let node = nodes.as_array().into_iter().flatten().find(|node| node["nodeName"] == *name);
        node.is_some_and(|node| node["kubeletVersion"].is_string() && (node["ready"] == true) == *ready)
    };
    let all = |nodes: &Value| wanted.iter().all(|wanted| is(nodes, wanted));
    wait::until_at_leisure(&format!("nodes {wanted:?}"), LIMIT, look, all).map(drop)
}
