//! What the operator's trials stand on, tried by itself: a real cluster does what one expects of a cluster, and images of ours run in it.
//!
//! One cluster for all trials but those that stop a part of it.

mod cluster;
mod operator;
mod products;
mod registries;
mod vouch;

use std::{process::ExitCode, time::Duration};

use harness::kube::Cluster;
use libtest_mimic::Arguments;

/// Trials at once: they wait for kubelets and controllers.
const AT_ONCE: usize = 6;

/// No rollout, pull or back-off of ours takes this long, on a machine that does other things as well.
const LIMIT: Duration = Duration::from_secs(180);

type Result<T = ()> = anyhow::Result<T>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let mut trials = cluster::trials();
    trials.extend(operator::trials());
    trials.extend(registries::trials());
    trials.extend(vouch::trials());
    trials.extend(products::trials());
    let crowd = libtest_mimic::run(&arguments, trials);
    // Eighteen operators at once: beside others, all of them would run out of time on a small machine.
    let matrix = libtest_mimic::run(&arguments, operator::matrix());
    operator::end_shared();
    Cluster::end_shared();
    if crowd.has_failed() { crowd.exit_code() } else { matrix.exit_code() }
}

/// A Deployment of one pod that runs `image`: a name, `bot`, that its pods have as their label `app`.
fn deployment(image: &str, pod: &serde_json::Value) -> serde_json::Value {
    let mut template = serde_json::json!({
        "terminationGracePeriodSeconds": 2,
        "containers": [{ "name": "bot", "image": image }],
    });
    if let (Some(template), Some(pod)) = (template.as_object_mut(), pod.as_object()) {
        template.extend(pod.clone());
    }
    serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "bot" },
        "spec": {
            "replicas": 1,
            // Without it a program that ends at once counts as rolled out, and the old pod goes.
            "minReadySeconds": 2,
            "selector": { "matchLabels": { "app": "bot" } },
            "strategy": { "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": { "metadata": { "labels": { "app": "bot" } }, "spec": template },
        },
    })
}
