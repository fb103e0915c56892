//! A cluster: its pods, its API server, and the end of both.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use harness::{
    kube::{CONTROL_PLANE, Cluster, NODE, Program, Tier, images, namespace},
    parts::trial,
};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{LIMIT, Result, deployment};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_deployment_rolls_out_fails_and_goes_back", NODE, rolls),
        trial("a_pod_finds_the_api_from_a_network_of_its_own", NODE, reaches),
        trial("a_pod_is_restricted_and_runs_all_the_same", NODE, restricted),
        trial("a_test_writes_what_a_kubelet_would", CONTROL_PLANE, written),
        trial("an_api_server_dies_freezes_and_comes_back", CONTROL_PLANE, away),
        trial("nothing_is_left_of_a_cluster", NODE, nothing_left),
    ]
}

/// As the operator will do it, and what a kubelet says of it.
fn rolls() -> Result {
    let cluster = Cluster::shared()?;
    let namespace = cluster.namespace("rolls")?;
    let good = cluster.push(&images::pod(&["wait"], "rolls")?, "rolls:good")?;
    let bad = cluster.push(&images::pod(&["exit", "3"], "rolls")?, "rolls:bad")?;
    let registry = cluster.registry();
    let good = registry.pinned("rolls", &good);
    let mut bot = deployment(&good, &json!({}));
    // Longer than a kubelet on a busy machine takes to see that a program has ended: until then it counts as ready.
    bot["spec"]["minReadySeconds"] = json!(10);
    namespace.apply(&bot.to_string())?;
    namespace.rolled_out("bot", LIMIT)?;
    let pods = namespace.pods("app=bot")?;
    let pod = pods[0]["metadata"]["name"].as_str().context("a pod's name")?;
    ensure!(namespace.kubectl(&["logs", pod])? == "waiting\n", "the log is readable");

    let image = |image: &str| {
        let containers = json!([{ "name": "bot", "image": image }]);
        namespace.patch(
            "apps/v1/deployments/bot",
            &json!({ "spec": { "template": { "spec": { "containers": containers } } } }),
        )
    };
    for (image_of, reason) in [
        (registry.reference("rolls:missing"), "ImagePullBackOff"),
        (registry.pinned("rolls", &bad), "CrashLoopBackOff"),
    ] {
        image(&image_of)?;
        namespace.waits_for("app=bot", reason, LIMIT)?;
        let stays = namespace.get(&format!("v1/pods/{pod}"))?;
        ensure!(stays["status"]["containerStatuses"][0]["ready"] == true, "the old pod stays through {reason}");
        image(&good)?;
        namespace.rolled_out("bot", LIMIT)?;
    }
    Ok(())
}

fn reaches() -> Result {
    let cluster = Cluster::shared()?;
    let namespace = cluster.namespace("reaches")?;
    let digest = cluster.push(&images::pod(&["reach"], "reaches")?, "reaches:1")?;
    let image = cluster.registry().pinned("reaches", &digest);
    for (name, host_network) in [("own", false), ("host", true)] {
        let spec = json!({ "hostNetwork": host_network, "restartPolicy": "Never",
            "containers": [{ "name": "reach", "image": image }] });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec });
        namespace.apply(&pod.to_string())?;
        let what = format!("v1/pods/{name}");
        let ended = |pod: &Value| ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase);
        let pod = namespace.wait(&what, "the pod's end", LIMIT, ended)?;
        let said = namespace.kubectl(&["logs", name])?;
        ensure!(pod["status"]["phase"] == "Succeeded", "{name}: {said}");
        ensure!(said == format!("{}:443: reached\n", cluster.address()), "{name}: {said}");
    }
    Ok(())
}

/// What charts promise to admission controllers, enforced.
fn restricted() -> Result {
    let cluster = Cluster::shared()?;
    let namespace = cluster.namespace("restricted")?;
    namespace.restrict()?;
    let digest = cluster.push(&images::pod(&["wait"], "restricted")?, "restricted:1")?;
    let image = cluster.registry().pinned("restricted", &digest);
    let container = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } });
    let pod = json!({
        "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{ "name": "bot", "image": image, "securityContext": container }],
    });
    // The image's own user is a number, which is what lets a kubelet see that it is not root.
    namespace.apply(&deployment(&image, &pod).to_string())?;
    namespace.rolled_out("bot", LIMIT).map(drop)
}

fn written() -> Result {
    let cluster = Cluster::start(Tier::ControlPlane)?;
    let api = cluster.api();
    api.create("/api/v1/nodes", &json!({ "metadata": { "name": "fake" } }))?;
    let room = json!({ "cpu": "8", "memory": "32Gi", "pods": "110" });
    let ready = json!([{ "type": "Ready", "status": "True", "reason": "Written" }]);
    api.patch(
        "/api/v1/nodes/fake/status",
        &json!({ "status": { "capacity": room, "allocatable": room, "conditions": ready } }),
    )?;
    let namespace = cluster.namespace("written")?;
    namespace.apply(&deployment("nowhere.example/bot:1", &json!({})).to_string())?;
    let bound = |list: &Value| list["items"][0]["spec"]["nodeName"] == "fake";
    let pods = namespace.wait("v1/pods?labelSelector=app%3Dbot", "a pod on the node", LIMIT, bound)?;
    let pod = pods["items"][0]["metadata"]["name"].as_str().context("a pod's name")?;
    let waiting = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "written by a test" } });
    let status =
        json!([{ "name": "bot", "ready": false, "restartCount": 0, "image": "x", "imageID": "", "state": waiting }]);
    namespace.patch(&format!("v1/pods/{pod}/status"), &json!({ "status": { "containerStatuses": status } }))?;
    namespace.waits_for("app=bot", "ImagePullBackOff", LIMIT)?;
    let deployment = namespace.get("apps/v1/deployments/bot")?;
    ensure!(!namespace::rolled_out(&deployment), "{deployment}");
    Ok(())
}

fn away() -> Result {
    let cluster = Cluster::start(Tier::ControlPlane)?;
    let namespace = cluster.namespace("away")?;
    cluster.kill(Program::ApiServer)?;
    ensure!(cluster.api().find("/version").is_none(), "it is dead");
    cluster.start_again(Program::ApiServer)?;
    cluster.until_ready()?;
    cluster.freeze(Program::ApiServer)?;
    cluster.thaw(Program::ApiServer)?;
    cluster.restart_api_server()?;
    // What was there before is there still.
    let config = namespace.get("v1/configmaps/kube-root-ca.crt")?;
    let authority = fs::read_to_string(cluster.authority())?;
    ensure!(config["data"]["ca.crt"] == authority, "{config}");
    Ok(())
}

/// Daemons, mounts, containers, control groups, the address and the folder, with a pod running.
fn nothing_left() -> Result {
    let cluster = Cluster::start(Tier::Node)?;
    let (address, home) = (cluster.address(), cluster.kubeconfig());
    let namespace = cluster.namespace("left")?;
    let digest = cluster.push(&images::pod(&["wait"], "left")?, "left:1")?;
    namespace.apply(&deployment(&cluster.registry().pinned("left", &digest), &json!({})).to_string())?;
    namespace.rolled_out("bot", LIMIT)?;
    drop(namespace);
    drop(cluster);
    ensure!(!home.exists(), "the folder is gone");
    for process in fs::read_dir("/proc")?.filter_map(std::result::Result::ok) {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        ensure!(!line.contains(&address.to_string()), "{line} is left");
    }
    let addresses = fs::read_to_string("/proc/net/fib_trie")?;
    ensure!(!addresses.contains(&address.to_string()), "the address is left");
    let groups = Path::new("/sys/fs/cgroup");
    let left = |folder: &Path| folder.join(format!("novacula-{address}-node-1")).exists();
    ensure!(!left(groups), "a control group is left");
    for hierarchy in fs::read_dir(groups)?.filter_map(std::result::Result::ok) {
        ensure!(!left(&hierarchy.path()), "a control group is left in {}", hierarchy.path().display());
    }
    Ok(())
}
