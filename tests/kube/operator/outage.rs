//! What is no reason to go back: a control plane that is away.

use anyhow::ensure;
use harness::{kube::NODE, parts::trial};
use libtest_mimic::Trial;
use serde_json::Value;

use super::scene::{NAME, Scene};
use crate::{LIMIT, Result};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("a_control_plane_that_is_away_in_the_middle_rolls_nobody_back", NODE, away)]
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
