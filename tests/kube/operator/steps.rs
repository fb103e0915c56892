//! The operator dies between any two of its writes, or its pod is taken away: another process goes on from what is written, and the
//! end is the same, told once.

use std::time::Duration;

use ::operator::{Misbehaviour, fault::Point};
use anyhow::ensure;
use harness::{kube::NODE, parts::trial};
use libtest_mimic::Trial;
use serde_json::json;

use super::scene::{FIRST, LABEL, Scene};
use crate::{LIMIT, Result};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = [Point::Changed, Point::BeforeBack, Point::Back, Point::OutcomeKept]
        .into_iter()
        .map(|point| trial(format!("a_rollback_survives_a_death_at_{}", named(point)), NODE, move || rollback(point)))
        .collect();
    trials.push(trial("an_upgrade_survives_the_old_pods_death_before_the_change", NODE, || {
        upgrade(Some(Point::BeforeChange), None)
    }));
    trials.push(trial("an_upgrade_survives_the_old_pods_death_once_changed", NODE, || {
        upgrade(Some(Point::Changed), None)
    }));
    trials.push(trial("an_upgrade_survives_the_new_pods_death_at_outcome_kept", NODE, || {
        upgrade(None, Some(Point::OutcomeKept))
    }));
    trials.push(trial("a_pod_that_is_taken_away_while_it_watches_is_followed_by_one_that_goes_on", NODE, pod_gone));
    trials
}

fn named(point: Point) -> String {
    point.as_str().replace('-', "_")
}

fn rollback(point: Point) -> Result {
    let scene = Scene::start_as(&format!("dies-{}", point.as_str()), &[], Some(Misbehaviour::DieAt(point)))?;
    let before = scene.image()?;
    scene.release(Some(Misbehaviour::CrashAtStart))?;
    scene.request()?;
    let (attempt, _) = scene.ended()?;
    let expected = attempt["outcome"] == "OUTCOME_ROLLED_BACK" && attempt["errorCode"] == "CRASH_LOOP";
    ensure!(expected, "{attempt}\n{}", scene.story());
    scene.settled(&before)?;
    scene.online(FIRST)?;
    died(&scene)
}

fn upgrade(old: Option<Point>, new: Option<Point>) -> Result {
    let scene = Scene::start_as("dies-up", &[], old.map(Misbehaviour::DieAt))?;
    let image = scene.release(new.map(Misbehaviour::DieAt))?;
    scene.request()?;
    if old.is_some() {
        died(&scene)?;
    }
    let (attempt, _) = scene.ended()?;
    ensure!(attempt["outcome"] == "OUTCOME_SUCCEEDED", "{attempt}\n{}", scene.story());
    scene.online(&scene.target)?;
    scene.settled(&scene.pinned(&image)?)?;
    if new.is_some() {
        died(&scene)?;
    }
    Ok(())
}

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

/// Waits until a pod's container was started again.
fn died(scene: &Scene<'_>) -> Result {
    let restarted = || {
        let pods = scene.namespace.pods(LABEL)?;
        Ok(pods.iter().any(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1)))
    };
    harness::wait::until_at_leisure("a death", LIMIT.min(Duration::from_secs(60)), restarted, |died| *died).map(drop)
}
