//! What the recipes of `docs/operate/gitops.md` rest on. Neither tool runs here; their kind of writing does: server-side apply, by
//! force, under their names.

use std::fs;

use anyhow::{Context as _, ensure};
use harness::parts::{trial, workspace};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::Result;
use crate::environment::own;
use crate::golden::{cases, documents, parsed};
use crate::image::{MANAGER, image, move_to};
use crate::release::{PARTS, restricted};

const PAGE: &str = "docs/operate/gitops.md";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("the_recipes_point_at_the_image", &[], recipes),
        trial("a_tool_that_names_no_image_leaves_the_operators", PARTS, fields),
    ]
}

/// The documents of the page.
fn written() -> Result<Vec<Value>> {
    let page = fs::read_to_string(workspace().join(PAGE))?;
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(|block| Ok(parsed(block)?.remove(0))).collect()
}

fn recipes() -> Result {
    let written = written()?;
    let kinds: Vec<&str> = written.iter().filter_map(|document| document["kind"].as_str()).collect();
    ensure!(kinds == ["Application", "HelmRelease", "Kustomization"], "{kinds:?}");
    let patch = written[2]["spec"]["patches"][0]["patch"].as_str().context("a patch")?;
    let patch: Value = serde_yaml_ng::from_str(patch)?;
    let pointers = [
        &written[0]["spec"]["ignoreDifferences"][0]["jsonPointers"][0],
        &written[1]["spec"]["driftDetection"]["ignore"][0]["paths"][0],
        &patch[0]["path"],
    ];
    for case in cases("novacula-operator")? {
        let documents = documents(&case)?;
        let deployment = documents.iter().find(|document| document["kind"] == "Deployment").context("a Deployment")?;
        for pointer in pointers {
            let found = deployment.pointer(pointer.as_str().context("a path")?).and_then(Value::as_str);
            ensure!(
                found.is_some_and(|image| image.contains("/operator")),
                "{pointer} of {}: {found:?}",
                case.display()
            );
        }
    }
    // Their values say that the image is ignored, in the words of the chart.
    for values in [&written[0]["spec"]["source"]["helm"]["valuesObject"], &written[1]["spec"]["values"]] {
        ensure!(values["gitops"]["ignored"] == true, "{values}");
    }
    let options = written[0]["spec"]["syncPolicy"]["syncOptions"].to_string();
    ensure!(options.contains("RespectIgnoreDifferences=true"), "{options}");
    let most = documents(&workspace().join("tests/charts/novacula-operator/most"))?;
    let said = most.iter().any(|document| document["metadata"]["annotations"]["novacula.dev/gitops"] == "ignored");
    ensure!(said, "the value becomes the annotation");
    Ok(())
}

fn fields() -> Result {
    let namespace = restricted("gitops")?;
    let path = namespace.path("apps/v1/deployments/novacula-operator");
    let apply = |manager: &str, fields: &Value| namespace.api().apply(&path, manager, fields);
    let container =
        || -> Result<Value> { Ok(namespace.api().get(&path)?["spec"]["template"]["spec"]["containers"][0].clone()) };

    // As Flux does it: what git says, which is what the chart renders.
    let least = documents(&workspace().join("tests/charts/novacula-operator/least"))?;
    let mut with = least.into_iter().find(|document| document["kind"] == "Deployment").context("a Deployment")?;
    with["metadata"]["namespace"] = json!(namespace.name());
    apply("kustomize-controller", &with)?;
    let given = container()?["image"].clone();
    let seen = || Ok::<_, anyhow::Error>(own(&namespace.api().get(&path)?)?.managed);
    let why = seen()?.context("it sees Flux")?;
    ensure!(why.contains("Flux") && why.contains("containers[name=operator].image"), "{why}");
    ensure!(why.contains("novacula.dev/gitops=ignored"), "{why}");
    let mut without = with.clone();
    let named = without["spec"]["template"]["spec"]["containers"][0].as_object_mut().context("a container")?;
    named.remove("image");
    // Nobody else owns it yet, so that there would be none.
    let refused = format!("{:?}", apply("kustomize-controller", &without).err().context("an image is needed")?);
    ensure!(refused.contains("image: Required value"), "{refused}");

    apply(MANAGER, &move_to(&image(2)))?;
    let deployment = namespace.api().get(&path)?;
    let managed = deployment["metadata"]["managedFields"].as_array().context("managed fields")?;
    let operators = managed.iter().find(|entry| entry["manager"] == MANAGER).context("the operator's")?;
    let owned = json!({"k:{\"name\":\"operator\"}": {".": {}, "f:image": {}, "f:name": {}}});
    let wanted = json!({
        "f:metadata": {"f:annotations": {"f:novacula.dev/image": {}}},
        "f:spec": {"f:template": {"f:spec": {"f:containers": owned}}},
    });
    ensure!(operators["fieldsV1"] == wanted, "{operators}");

    // The recipe: git says the rest, and the image is left alone.
    without["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    apply("kustomize-controller", &without)?;
    ensure!(container()?["image"] == image(2) && container()?["imagePullPolicy"] == "Always", "{}", container()?);
    // Without the recipe it is written over.
    apply("kustomize-controller", &with)?;
    ensure!(container()?["image"] == given, "{}", container()?);

    // What the chart's value makes of it, and that alone, is believed.
    with["metadata"]["annotations"]["novacula.dev/gitops"] = json!("ignored");
    apply("kustomize-controller", &with)?;
    ensure!(seen()?.is_none(), "{:?}", seen()?);
    Ok(())
}
