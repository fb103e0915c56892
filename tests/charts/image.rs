//! Whose the image is: the operator's, until a person says otherwise. With Helm 3 and Helm 4, and an operator that is played: it
//! patches as the real one does.

use std::fs;

use anyhow::{Context as _, ensure};
use harness::helm::{self, Helm};
use libtest_mimic::Trial;
use operator::record::IMAGE;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Result;
use crate::environment::own;
use crate::release::{Case, Release, with_both};

const CHART: &str = "novacula-operator";

/// The operator's name among those who manage fields.
pub(crate) const MANAGER: &str = "novacula-operator";

/// The image of the least values.
const GIVEN: &str =
    "registry.example/novacula/operator@sha256:1111111111111111111111111111111111111111111111111111111111111111";

pub(crate) fn trials() -> Vec<Trial> {
    let cases: [(&str, Case); 6] = [
        ("values_alone_leave_the_operator_its_image", values_alone),
        ("a_pin_wins_over_the_operator", pinned),
        ("an_image_set_by_hand_gives_way_to_the_values", by_hand),
        ("a_rollback_brings_the_image_of_its_revision", rolled_back),
        ("an_uninstall_leaves_nothing", uninstalled),
        ("a_kept_identity_is_used_again", kept),
    ];
    with_both(&cases)
}

/// An image by its last digit.
pub(crate) fn image(last: u8) -> String {
    format!("registry.example/novacula/operator@sha256:{last:064}")
}

/// What the operator applies, by force, when it moves.
pub(crate) fn move_to(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": CHART, "annotations": {IMAGE: image}},
        "spec": {"template": {"spec": {"containers": [{"name": "operator", "image": image}]}}},
    })
}

/// The operator does what it does: it keeps its identity, takes its Lease, and moves.
fn live(release: &Release<'_>, image: &str) -> Result {
    let namespace = release.namespace();
    namespace.patch(&format!("v1/secrets/{CHART}-identity"), &json!({"data": {"journal.json": "e30="}}))?;
    let lease = format!("coordination.k8s.io/v1/leases/{CHART}");
    namespace.patch(&lease, &json!({"spec": {"holderIdentity": "pod", "leaseDurationSeconds": 15}}))?;
    let path = namespace.path(&format!("apps/v1/deployments/{CHART}"));
    namespace.api().apply(&path, MANAGER, &move_to(image)).map(drop)
}

/// What it keeps is as it left it.
fn untouched(release: &Release<'_>) -> Result {
    let secret = release.namespace().get(&format!("v1/secrets/{CHART}-identity"))?;
    ensure!(secret["data"] == json!({"journal.json": "e30="}), "{secret}");
    let lease = release.namespace().get(&format!("coordination.k8s.io/v1/leases/{CHART}"))?;
    ensure!(lease["spec"]["holderIdentity"] == "pod", "{lease}");
    Ok(())
}

fn runs(release: &Release<'_>, image: &str) -> Result {
    let container = release.container()?;
    ensure!(container["image"] == image, "{image} is wanted: {container}");
    Ok(())
}

fn values_alone(helm: Helm) -> Result {
    let release = Release::install(helm, CHART, &[])?;
    release.admitted()?;
    // Nobody has moved it: the values are the image.
    let given = format!("image.digest=sha256:{:064}", 2);
    release.upgrade(&["--set", &given])?;
    runs(&release, &image(2))?;
    // Helm is a person's hand, and no tool that would undo an upgrade.
    let own = own(&release.deployment()?)?;
    ensure!(own.managed.is_none() && own.hazards.is_empty(), "{own:?}");

    live(&release, &image(3))?;
    let said = release.upgrade(&["--set", "resources.limits.memory=99Mi,logs.level=debug"])?;
    runs(&release, &image(3))?;
    let container = release.container()?;
    ensure!(container["resources"]["limits"]["memory"] == "99Mi", "{container}");
    ensure!(container["env"].to_string().contains("debug"), "{container}");
    ensure!(said.contains(&image(3)) && said.contains(GIVEN) && said.contains("image.pin=true"), "{said}");
    untouched(&release)?;

    // A newer chart, too, and its image not at all.
    let newer = TempDir::new()?;
    copy(&helm::chart(CHART), newer.path())?;
    let template = newer.path().join("templates/deployment.yaml");
    let changed = fs::read_to_string(&template)?.replace("revisionHistoryLimit: 5", "revisionHistoryLimit: 6");
    fs::write(&template, changed)?;
    live(&release, &image(4))?;
    release.upgrade_to(newer.path(), &["--set", &given])?;
    runs(&release, &image(4))?;
    ensure!(release.deployment()?["spec"]["revisionHistoryLimit"] == 6, "the chart's change arrived");
    untouched(&release)?;
    release.admitted()
}

fn pinned(helm: Helm) -> Result {
    let release = Release::install(helm, CHART, &[])?;
    live(&release, &image(3))?;
    let pin = |more: &[&str]| release.upgrade(&[&["--set", "image.pin=true"], more].concat());
    let said = release.against(MANAGER, pin)?;
    ensure!(said.contains("pinned to"), "{said}");
    runs(&release, GIVEN)?;
    let told = json!({"name": "NOVACULA_PIN", "value": "image.pin is set in the values of the Helm chart"});
    let container = release.container()?;
    ensure!(container["env"].as_array().is_some_and(|env| env.contains(&told)), "{container}");
    // From now on it is theirs: nobody needs to be forced to another one.
    let next = format!("image.pin=true,image.digest=sha256:{:064}", 5);
    release.upgrade(&["--set", &next])?;
    runs(&release, &image(5))?;
    // Without the pin the old note of a move counts for nothing.
    release.upgrade(&[])?;
    runs(&release, GIVEN)?;
    ensure!(!release.container()?["env"].to_string().contains("NOVACULA_PIN"));
    untouched(&release)
}

fn by_hand(helm: Helm) -> Result {
    let release = Release::install(helm, CHART, &[])?;
    live(&release, &image(3))?;
    let set = format!("operator={}", image(4));
    release.namespace().kubectl(&["set", "image", &format!("deployment/{CHART}"), &set])?;
    let said = release.against("kubectl-set", |more| release.upgrade(more))?;
    ensure!(said.contains("by hand") && said.contains(&image(4)) && said.contains(GIVEN), "{said}");
    runs(&release, GIVEN)?;
    // Set by hand to what the operator had moved to: that is where it is.
    live(&release, &image(3))?;
    release.upgrade(&[])?;
    runs(&release, &image(3))
}

fn rolled_back(helm: Helm) -> Result {
    let release = Release::install(helm, CHART, &[])?;
    live(&release, &image(3))?;
    release.upgrade(&["--set", "resources.limits.memory=99Mi"])?;
    release.against(MANAGER, |more| release.roll_back("1", more))?;
    runs(&release, GIVEN)?;
    let memory = release.container()?["resources"]["limits"]["memory"].clone();
    ensure!(memory == "128Mi", "{memory}");
    untouched(&release)?;
    // The revision that kept the operator's image has it, too.
    release.roll_back("2", &[])?;
    runs(&release, &image(3))?;
    untouched(&release)
}

/// What of ours is there, in the namespace and beyond it.
fn left(release: &Release<'_>) -> Result<String> {
    let kinds = "deployments,replicasets,secrets,configmaps,leases,serviceaccounts,roles,rolebindings,networkpolicies,clusterroles,clusterrolebindings,persistentvolumeclaims";
    let label = format!("app.kubernetes.io/instance={CHART}");
    let listed = release.namespace().kubectl(&["get", kinds, "--selector", &label, "--output", "name"])?;
    let whose = release.namespace().name();
    // Those of the cluster are named by the namespace.
    let ours = |line: &&str| !line.contains("clusterrole") || line.contains(&format!("/{whose}-"));
    Ok(listed.lines().filter(ours).collect::<Vec<_>>().join("\n"))
}

fn uninstalled(helm: Helm) -> Result {
    let release = Release::install(helm, CHART, &["--set", "joinToken.existingSecret=,joinToken.value=nvc1_once"])?;
    ensure!(left(&release)?.lines().count() >= 10, "{}", left(&release)?);
    live(&release, &image(3))?;
    release.uninstall()?;
    ensure!(left(&release)?.is_empty(), "{}", left(&release)?);
    let secrets = release.namespace().kubectl(&["get", "secrets", "--output", "name"])?;
    ensure!(secrets.is_empty(), "Helm's own record is gone as well: {secrets}");
    Ok(())
}

fn kept(helm: Helm) -> Result {
    let keep: &[&str] = &["--set", "identity.keep=true"];
    let release = Release::install(helm, CHART, keep)?;
    live(&release, &image(3))?;
    let said = release.uninstall()?;
    ensure!(said.contains(&format!("{CHART}-identity")), "it says what it keeps: {said}");
    ensure!(left(&release)? == format!("secret/{CHART}-identity"), "{}", left(&release)?);
    release.install_again(keep)?;
    let secret = release.namespace().get(&format!("v1/secrets/{CHART}-identity"))?;
    ensure!(secret["data"] == json!({"journal.json": "e30="}), "{secret}");
    runs(&release, GIVEN)
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("a name")?);
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
