//! Why a new version does not come up, each as a kubelet, a scheduler or a controller says it: the operator goes back, and says why.

use std::time::Duration;

use ::operator::Misbehaviour;
use anyhow::{Context as _, ensure};
use harness::{
    fleet::control_plane::As,
    kube::{Cluster, NODE, images},
    parts::trial,
    wait,
};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::scene::{FIRST, Scene};
use crate::{LIMIT, Result};

/// For trials that wait until the Deployment gives up.
const SHORT: [&str; 2] = ["--set", "rollout.startSeconds=15"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_good_version_takes_over_and_is_confirmed", NODE, good),
        trial("a_crash_loop_is_rolled_back_with_its_last_lines", NODE, crash_loop),
        trial("a_clean_exit_is_rolled_back", NODE, || back("exits", Misbehaviour::ExitClean, "CLEAN_EXIT").map(drop)),
        trial("a_version_killed_for_its_memory_is_rolled_back", NODE, || {
            back("memory", Misbehaviour::TakeMemory, "OUT_OF_MEMORY").map(drop)
        }),
        trial("a_version_that_is_never_ready_is_rolled_back", NODE, never_ready),
        trial("a_version_that_crashes_once_it_leads_brings_the_old_one_back", NODE, crash_later),
        trial("a_version_that_says_another_one_is_rolled_back", NODE, wrong_version),
        trial("an_image_that_nodes_cannot_pull_is_rolled_back", NODE, pull),
        trial("a_container_that_cannot_start_is_rolled_back", NODE, no_program),
        trial("a_container_whose_configuration_is_gone_is_rolled_back", NODE, no_configuration),
        trial("a_pod_that_no_node_takes_is_rolled_back", NODE, unschedulable),
        trial("a_pod_that_quota_refuses_is_rolled_back", NODE, quota),
        trial("a_rollout_that_stands_still_is_rolled_back", NODE, stands_still),
    ]
}

fn good() -> Result {
    let scene = Scene::start("good", &[])?;
    let image = scene.release(None)?;
    scene.request()?;
    let (attempt, took) = scene.ended()?;
    ensure!(attempt["outcome"] == "OUTCOME_SUCCEEDED", "{attempt}");
    scene.online(&scene.target)?;
    scene.settled(&scene.pinned(&image)?)?;
    tell("good", took);
    Ok(())
}

fn crash_loop() -> Result {
    let scene = back("crash-loop", Misbehaviour::CrashAtStart, "CRASH_LOOP")?;
    let lines = scene.log_tail()?;
    ensure!(lines.contains("goes wrong on purpose"), "{lines}");
    Ok(())
}

fn never_ready() -> Result {
    let scene = Scene::start("never-ready", &SHORT)?;
    scene.release(Some(Misbehaviour::NeverProve))?;
    rolled_back(&scene, "NEVER_READY", "does not become ready")?;
    let lines = scene.log_tail()?;
    ensure!(lines.contains("goes wrong on purpose"), "{lines}");
    Ok(())
}

/// Nobody of the old version is left then.
fn crash_later() -> Result {
    let late = Misbehaviour::CrashAfterLead(Duration::from_secs(1));
    back("crash-later", late, "TOO_MANY_STARTS").map(drop)
}

fn wrong_version() -> Result {
    let scene = Scene::start("wrong", &[])?;
    let image = scene.push("1.99.0", None)?;
    scene.publish(&image)?;
    rolled_back(&scene, "WRONG_VERSION", "1.99.0")
}

/// The operator sees it at a mirror that nodes do not ask.
fn pull() -> Result {
    let nowhere = "127.0.0.1:9";
    let registry = Cluster::shared()?.registry().address();
    let mirror = format!("registry.mirrors={{{nowhere}={registry}}}");
    let scene = Scene::start("pull", &["--set", &mirror])?;
    let image = scene.push(&scene.target, None)?;
    scene.publish_from(&format!("{nowhere}/operator"), &image)?;
    rolled_back(&scene, "IMAGE_PULL", nowhere)
}

fn no_program() -> Result {
    let scene = Scene::start("no-program", &[])?;
    let image = images::pod(&["wait"], scene.namespace.name())?;
    Cluster::shared()?.push(&image, &format!("operator:{}", scene.namespace.name()))?;
    scene.publish(&image)?;
    rolled_back(&scene, "CONTAINER_CONFIG", "/novacula-operator")
}

fn no_configuration() -> Result {
    let scene = Scene::start("no-configuration", &[])?;
    scene.namespace.kubectl(&["create", "configmap", "extra", "--from-literal=key=value"])?;
    let from = json!([{ "configMapRef": { "name": "extra" } }]);
    scene.change_pod(&json!({ "containers": [{ "name": "operator", "envFrom": from }] }))?;
    scene.namespace.kubectl(&["delete", "configmap", "extra"])?;
    scene.release(None)?;
    rolled_back(&scene, "CONTAINER_CONFIG", "extra")
}

fn unschedulable() -> Result {
    let cluster = Cluster::shared()?;
    cluster.kubectl(&["label", "nodes", "--all", "novacula.test/room=yes"])?;
    let scene = Scene::start("unschedulable", &["--set-string", "nodeSelector.novacula\\.test/room=yes"])?;
    scene.release(None)?;
    cluster.kubectl(&["label", "nodes", "--all", "novacula.test/room-"])?;
    let before = scene.image()?;
    scene.request()?;
    // It takes a while to count, and is said all the time.
    let told =
        |attempt: &Value| attempt["phase"] == "PHASE_RESTARTING" && attempt["waiting"]["errorCode"] == "UNSCHEDULABLE";
    wait::until_at_leisure("the attempt to say what it waits out", LIMIT, || scene.attempt(), told)
        .with_context(|| scene.story())?;
    let explained = scene.control().succeed(As::Owner, &["executor", "explain", &scene.executor])?;
    ensure!(explained.contains("does not come up yet") && explained.contains("no node takes pod"), "{explained}");
    comes_back(&scene, &before, "UNSCHEDULABLE", "node")
}

fn quota() -> Result {
    let scene = Scene::start("quota", &[])?;
    scene.release(None)?;
    scene.namespace.kubectl(&["create", "quota", "one", "--hard=pods=1"])?;
    rolled_back(&scene, "ADMISSION_REFUSED", "exceeded quota")
}

fn stands_still() -> Result {
    let scene = Scene::start("still", &SHORT)?;
    scene.namespace.kubectl(&["create", "secret", "generic", "extra", "--from-literal=key=value"])?;
    scene.change_pod(&json!({
        "volumes": [{ "name": "extra", "secret": { "secretName": "extra" } }],
        "containers": [{ "name": "operator", "volumeMounts": [{ "name": "extra", "mountPath": "/extra" }] }],
    }))?;
    scene.namespace.kubectl(&["delete", "secret", "extra"])?;
    scene.release(None)?;
    rolled_back(&scene, "PROGRESS_DEADLINE", "secret \\\"extra\\\" not found")
}

/// A version that goes wrong is brought back for this reason.
fn back(name: &str, misbehaviour: Misbehaviour, code: &str) -> Result<Scene<'static>> {
    let scene = Scene::start(name, &[])?;
    scene.release(Some(misbehaviour))?;
    rolled_back(&scene, code, "")?;
    Ok(scene)
}

/// The published target is asked for, and goes wrong for this reason, in words that hold `says`.
fn rolled_back(scene: &Scene<'_>, code: &str, says: &str) -> Result {
    let before = scene.image()?;
    scene.request()?;
    comes_back(scene, &before, code, says)
}

/// The same of a target that is asked for already, with what ran before.
pub(super) fn comes_back(scene: &Scene<'_>, before: &str, code: &str, says: &str) -> Result {
    let (attempt, took) = scene.ended()?;
    ensure!(
        attempt["outcome"] == "OUTCOME_ROLLED_BACK" && attempt["errorCode"] == code,
        "{attempt}\n{}",
        scene.story()
    );
    ensure!(attempt["rolledBackTo"] == FIRST && attempt["message"].to_string().contains(says), "{attempt}");
    scene.settled(before)?;
    scene.online(FIRST)?;
    tell(code, took);
    Ok(())
}

/// For the table of the closing note.
#[expect(clippy::print_stdout, reason = "read by people with --nocapture")]
fn tell(name: &str, took: Duration) {
    println!("{name}: {:.1} s from the request to the end", took.as_secs_f64());
}
