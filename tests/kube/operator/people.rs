//! What people do meanwhile: their image wins, their tools are respected, and what they took away is named.

use std::time::Duration;

use ::operator::Misbehaviour;
use anyhow::{Context as _, ensure};
use harness::{
    fleet::control_plane::As,
    kube::{NODE, operator::helm},
    parts::trial,
    relay::Relay,
};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::scene::{FIRST, NAME, Scene};
use crate::{LIMIT, Result};

/// Between two changes of somebody who does nothing else: shorter than a look and the change that follows it.
const BREATH: Duration = Duration::from_millis(50);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("an_image_that_a_person_sets_ends_the_watch", NODE, another_image),
        trial("an_image_that_a_person_sets_while_nobody_watches_is_told_with_their_name", NODE, unwatched),
        trial("a_watch_without_a_verdict_hands_over_with_the_line_that_goes_back", NODE, handed_over),
        trial("an_attempt_that_cannot_be_read_silences_nobody", NODE, unreadable),
        trial("a_control_plane_that_moved_is_found_by_the_values", NODE, moved),
        trial("a_person_asks_for_the_old_version_while_the_new_one_starts", NODE, asks_back),
        trial("a_deployment_of_argo_cd_is_pinned_and_says_so", NODE, argo),
        trial("a_deployment_that_could_not_be_undone_is_refused", NODE, unsafe_deployment),
        trial("a_role_that_is_too_small_is_named", NODE, small_role),
        trial("an_image_that_is_not_there_is_refused", NODE, missing_image),
        trial("changes_by_others_cost_an_upgrade_nothing", NODE, hammered),
        trial("two_pods_are_one_executor", NODE, two_pods),
    ]
}

/// With a new version that never comes up, and is being watched.
fn watched(name: &str) -> Result<Scene<'static>> {
    let scene = Scene::start(name, &["--set", "rollout.startSeconds=120"])?;
    scene.release(Some(Misbehaviour::NeverProve))?;
    scene.request()?;
    scene.changed()?;
    Ok(scene)
}

fn set_image(scene: &Scene<'_>, image: &str) -> Result {
    let words = ["set", "image", &format!("deployment/{NAME}"), &format!("operator={image}")];
    scene.namespace.kubectl(&words).map(drop)
}

/// The attempt is over because of what a person did, who is named with the time.
fn superseded(scene: &Scene<'_>, says: &str) -> Result {
    let (attempt, _) = scene.ended()?;
    let told = attempt["outcome"] == "OUTCOME_SUPERSEDED" && attempt["message"].to_string().contains(says);
    ensure!(told, "{attempt}\n{}", scene.story());
    Ok(())
}

fn another_image() -> Result {
    let scene = watched("another")?;
    let image = scene.pinned(&scene.push("1.77.0", None)?)?;
    set_image(&scene, &image)?;
    superseded(&scene, "kubectl-set (20")?;
    scene.settled(&image)?;
    scene.online("1.77.0")
}

/// The old pod hangs, so that the person's own pod is the first to look.
fn unwatched() -> Result {
    let scene = Scene::start("unwatched", &["--set", "rollout.startSeconds=120"])?;
    scene.release(Some(Misbehaviour::NeverProve))?;
    let image = scene.pinned(&scene.push("1.78.0", None)?)?;
    let old = Pid::from_raw(scene.process(&scene.leader("")?)?).context("a process")?;
    scene.request()?;
    scene.changed()?;
    kill_process(old, Signal::STOP)?;
    set_image(&scene, &image)?;
    superseded(&scene, "kubectl-set (20")?;
    // It has been told to end meanwhile, and does.
    kill_process(old, Signal::CONT)?;
    scene.settled(&image)?;
    scene.online("1.78.0")
}

fn handed_over() -> Result {
    let scene =
        Scene::start("handed-over", &["--set", "rollout.startSeconds=120", "--set", "rollout.monitorWindow=6s"])?;
    let before = scene.image()?;
    scene.release(Some(Misbehaviour::NeverProve))?;
    scene.request()?;
    let message = |deployment: &Value| deployment["metadata"]["annotations"]["novacula.dev/message"].clone();
    let what = format!("apps/v1/deployments/{NAME}");
    let said = scene.namespace.wait(&what, "a word for people", LIMIT, |found| message(found).is_string())?;
    let said = message(&said).as_str().unwrap_or_default().to_owned();
    ensure!(said.starts_with("6s after the image was changed it is not known"), "{said}");
    let line = said.split_once("to go back by hand: ").context("the line")?.1;
    scene.logged(line)?;
    ensure!(scene.attempt()?["outcome"] == "OUTCOME_UNSPECIFIED", "the watch goes on");
    scene.obey(line)?;
    superseded(&scene, "set the image back to")?;
    scene.settled(&before)?;
    scene.online(FIRST)?;
    ensure!(message(&scene.deployment()?).is_null(), "what was said of the attempt went with it");
    Ok(())
}

/// Garbage, and what a later version might write: the operator goes on, says what is wrong, and lets a person decide.
fn unreadable() -> Result {
    let scene = Scene::start("unreadable", &["--set", "rollout.startSeconds=120"])?;
    let before = scene.image()?;
    scene.release(Some(Misbehaviour::NeverProve))?;
    let write = |text: &str| {
        let note = format!("novacula.dev/attempt={text}");
        scene.namespace.kubectl(&["annotate", "--overwrite", &format!("deployment/{NAME}"), &note])
    };
    write("garbage")?;
    scene.pinned_by("it is not JSON")?;
    let refused = scene.request_output()?;
    ensure!(refused.contains("EXECUTOR_PINNED") && refused.contains("it is not JSON"), "{refused}");
    // Nor does it silence a pod that begins with it.
    let first = scene.leader("")?;
    scene.namespace.kubectl(&["delete", "pod", &first])?;
    scene.leader(&first)?;
    scene.online(FIRST)?;
    let why = scene.pinned_by("it is not JSON")?;
    let line = |why: &str| -> Result<String> {
        let line = why.split_once("then: ").and_then(|(_, rest)| rest.split_once(" ("));
        Ok(line.with_context(|| format!("no line in {why}"))?.0.to_owned())
    };
    scene.obey(&line(&why)?)?;
    scene.unpinned()?;

    scene.request()?;
    scene.changed()?;
    scene.logged_by(&scene.leader("")?, "watching over the new version")?;
    write(r#"{"format":2}"#)?;
    superseded(&scene, "it has format 2")?;
    scene.online(FIRST)?;
    let why = scene.pinned_by("it has format 2")?;
    set_image(&scene, &before)?;
    scene.obey(&line(&why)?)?;
    scene.unpinned()?;
    scene.settled(&before)?;
    scene.online(FIRST)
}

/// By an address that leads nowhere at first.
fn moved() -> Result {
    let scene = Scene::start("moved", &[])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let relay = runtime.block_on(Relay::at(scene.namespace.cluster().address()))?;
    let first = scene.leader("")?;
    let endpoint = format!("controlPlane.endpoint={}", relay.address());
    helm(&scene.namespace, &["upgrade", "--reuse-values", "--set", &endpoint])?;
    harness::wait::until("a candidate to ask there", LIMIT, || Ok(relay.n_accepted()), |asked| *asked > 1)?;
    scene.online(FIRST)?;
    ensure!(scene.leader("")? == first, "the pod before it stays while nobody answers there");
    let kept = || {
        let template = r#"--template={{index .data "credentials.json" | base64decode}}"#;
        scene.namespace.kubectl(&["get", "secret", &format!("{NAME}-identity"), template])
    };
    ensure!(!kept()?.contains(&relay.address().to_string()), "nothing is kept of it");

    relay.turn_to(scene.control().executors_addr());
    scene.leader(&first)?;
    scene.namespace.rolled_out(NAME, LIMIT)?;
    scene.online(FIRST)?;
    // What is online may still be the pod before it.
    let relayed = relay.address().to_string();
    harness::wait::until_at_leisure("it to be kept", LIMIT, kept, |kept| kept.contains(&relayed))?;
    // And it is what the stream goes through.
    relay.cut();
    let look = || scene.executor();
    harness::wait::until_at_leisure("the stream to be cut", LIMIT, look, |executor| executor["online"] != true)?;
    relay.turn_to(scene.control().executors_addr());
    scene.online(FIRST)
}

fn asks_back() -> Result {
    let scene = watched("asks-back")?;
    scene.control().succeed(As::Owner, &["upgrade", "request", &scene.executor, FIRST])?;
    let (attempt, _) = scene.ended()?;
    ensure!(attempt["outcome"] == "OUTCOME_ROLLED_BACK" && attempt["rollbackRequested"] == true, "{attempt}");
    scene.online(FIRST)
}

fn argo() -> Result {
    let scene = Scene::start("argo", &[])?;
    scene.release(None)?;
    let image = scene.image()?;
    let fields = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": NAME },
        "spec": { "template": { "spec": { "containers": [{ "name": "operator", "image": image }] } } } });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), fields.to_string())?;
    let path = file.path().display().to_string();
    let apply = ["apply", "--server-side", "--field-manager=argocd-controller", "--filename", &path];
    scene.namespace.kubectl(&apply)?;
    let why = scene.pinned_by("Argo CD")?;
    ensure!(why.contains("spec.template.spec.containers[name=operator].image"), "{why}");
    let refused = scene.request_output()?;
    ensure!(refused.contains("EXECUTOR_PINNED") && refused.contains("@sha256:"), "{refused}");
    // Somebody reads docs/operate/gitops.md.
    scene.namespace.kubectl(&["annotate", &format!("deployment/{NAME}"), "novacula.dev/gitops=ignored"])?;
    scene.unpinned()?;
    scene.request()?;
    let (attempt, _) = scene.ended()?;
    ensure!(attempt["outcome"] == "OUTCOME_SUCCEEDED", "{attempt}\n{}", scene.story());
    Ok(())
}

/// Refused before leave: marked so, and told why.
fn refused(scene: &Scene<'_>, code: &str, says: &str) -> Result {
    let before = scene.image()?;
    scene.request()?;
    let marked = |attempt: &Value| attempt["refused"] == true;
    let attempt = harness::wait::until_at_leisure("the refusal", LIMIT, || scene.attempt(), marked);
    let attempt = attempt.map_err(|error| error.context(scene.story()))?;
    let explained = scene.control().succeed(As::Owner, &["executor", "explain", &scene.executor])?;
    ensure!(explained.contains(says), "{explained}\n{attempt}");
    ensure!(attempt.to_string().contains(code) || explained.contains(code), "{attempt}\n{explained}");
    ensure!(scene.image()? == before, "nothing was touched");
    Ok(())
}

fn unsafe_deployment() -> Result {
    let scene = Scene::start("unsafe", &[])?;
    scene.release(None)?;
    scene.namespace.patch(&format!("apps/v1/deployments/{NAME}"), &json!({ "spec": { "minReadySeconds": 0 } }))?;
    refused(&scene, "UNSAFE_DEPLOYMENT", "spec.minReadySeconds is 0")
}

fn small_role() -> Result {
    let scene = Scene::start("small-role", &[])?;
    scene.release(None)?;
    let role = scene.namespace.get(&format!("rbac.authorization.k8s.io/v1/roles/{NAME}"))?;
    let mut rules = role["rules"].clone();
    for rule in rules.as_array_mut().into_iter().flatten() {
        if rule["resources"] == json!(["deployments"])
            && let Some(verbs) = rule["verbs"].as_array_mut()
        {
            verbs.retain(|verb| verb != "patch");
        }
    }
    scene.namespace.patch(&format!("rbac.authorization.k8s.io/v1/roles/{NAME}"), &json!({ "rules": rules }))?;
    refused(&scene, "CLUSTER", "its Role lacks verb \"patch\" on \"deployments\"")
}

fn missing_image() -> Result {
    let scene = Scene::start("missing", &[])?;
    let image = harness::kube::images::operator(&scene.target, None)?;
    scene.publish(&image)?;
    refused(&scene, "IMAGE_NOT_FOUND", "push the image there")
}

/// Somebody writes on the Deployment all the time: each of our writes may meet another one.
fn hammered() -> Result {
    let scene = Scene::start("hammered", &[])?;
    scene.release(None)?;
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u32;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                number += 1;
                let note = json!({ "metadata": { "annotations": { "example.org/number": number.to_string() } } });
                let _ = scene.namespace.patch(&format!("apps/v1/deployments/{NAME}"), &note);
                // The cluster's own controllers write on it too, and have no more patience than they have.
                std::thread::park_timeout(BREATH);
            }
        });
        let run = || -> Result {
            scene.request()?;
            let (attempt, _) = scene.ended()?;
            ensure!(attempt["outcome"] == "OUTCOME_SUCCEEDED", "{attempt}\n{}", scene.story());
            scene.online(&scene.target)
        };
        let result = run();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        result
    })
}

fn two_pods() -> Result {
    let scene = Scene::start("two", &[])?;
    scene.release(None)?;
    scene.namespace.kubectl(&["scale", &format!("deployment/{NAME}"), "--replicas=2"])?;
    scene.namespace.rolled_out(NAME, LIMIT)?;
    scene.request()?;
    let (attempt, _) = scene.ended()?;
    ensure!(attempt["outcome"] == "OUTCOME_SUCCEEDED", "{attempt}\n{}", scene.story());
    scene.online(&scene.target)?;
    scene.never_two()
}
