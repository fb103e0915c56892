//! The control plane's chart as a release: it comes, changes and goes, and its Job runs before it where it is asked for.

use std::thread;

use anyhow::{Context as _, anyhow, ensure};
use harness::helm::Helm;
use harness::kube::Namespace;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::Result;
use crate::release::{Case, Release, SOON, with_both};

const CHART: &str = "novacula-server";

pub(crate) fn trials() -> Vec<Trial> {
    let cases: [(&str, Case); 2] = [
        ("a_control_plane_comes_changes_and_goes", life),
        ("the_schema_is_migrated_before_the_replicas_change", migrated),
    ];
    with_both(&cases)
}

fn life(helm: Helm) -> Result {
    let release = Release::install(helm, CHART, &[])?;
    release.admitted()?;
    let before = release.deployment()?["spec"]["template"].clone();
    // Settings are read at the start, so new ones are new pods; a value that is none of the pods' is not.
    release.upgrade(&["--set", "services.executors.type=NodePort"])?;
    ensure!(release.deployment()?["spec"]["template"] == before, "no pod was replaced for a Service");
    release.upgrade(&["--set", "settings.retention_days=30"])?;
    let config = release.namespace().get(&format!("v1/configmaps/{CHART}"))?;
    ensure!(
        config["data"]["server.toml"].as_str().is_some_and(|toml| toml.contains("retention_days = 30")),
        "{config}"
    );
    ensure!(release.deployment()?["spec"]["template"] != before, "its pods are replaced");
    release.roll_back("1", &[])?;
    ensure!(release.deployment()?["spec"]["template"] == before, "and come back");
    release.admitted()?;

    let said = release.uninstall()?;
    let claim = format!("{CHART}-artifacts");
    ensure!(said.contains(&claim), "it says what it keeps: {said}");
    let label = format!("app.kubernetes.io/instance={CHART}");
    let kinds =
        "deployments,services,configmaps,secrets,networkpolicies,poddisruptionbudgets,jobs,persistentvolumeclaims";
    let left = release.namespace().kubectl(&["get", kinds, "--selector", &label, "--output", "name"])?;
    ensure!(left.trim() == format!("persistentvolumeclaim/{claim}"), "{left}");
    // What was kept is taken over by the next one.
    release.install_again(&[]).map(drop)
}

fn migrated(helm: Helm) -> Result {
    let release = Release::install(helm, CHART, &[])?;
    let before = release.deployment()?["metadata"]["generation"].clone();
    thread::scope(|scope| {
        let upgrading = scope.spawn(|| release.upgrade(&["--set", "migrate.enabled=true,replicas=4"]));
        let pod = release.namespace().wait(
            "v1/pods?labelSelector=app.kubernetes.io/component%3Dmigrate",
            "the Job's pod",
            SOON,
            some,
        )?;
        ensure!(release.deployment()?["metadata"]["generation"] == before, "the replicas wait for it");
        let policy = format!("networking.k8s.io/v1/networkpolicies/{CHART}-migrate");
        release.namespace().get(&policy).context("it may dial the database")?;
        succeed(release.namespace(), &pod["items"][0])?;
        upgrading.join().map_err(|_| anyhow!("the upgrade's thread panicked"))?.map(drop)
    })?;
    ensure!(release.deployment()?["spec"]["replicas"] == 4);
    // Neither is left behind, when all went well.
    let left = release.namespace().kubectl(&["get", "jobs,networkpolicies", "--output", "name"])?;
    ensure!(left.trim() == format!("networkpolicy.networking.k8s.io/{CHART}"), "{left}");
    Ok(())
}

fn some(list: &Value) -> bool {
    list["items"].as_array().is_some_and(|items| !items.is_empty())
}

/// Writes what a kubelet would of a pod whose container ended with 0.
fn succeed(namespace: &Namespace<'_>, pod: &Value) -> Result {
    let name = pod["metadata"]["name"].as_str().context("a name")?;
    namespace.patch(&format!("v1/pods/{name}/status"), &json!({"status": {"phase": "Succeeded"}})).map(drop)
}
