//! What the charts refuse, by values that a person may give, and that the refusal says what to do.

use anyhow::{Context as _, bail, ensure};
use harness::helm::{self, BOTH, Helm};
use harness::parts::{Part, trial};
use libtest_mimic::Trial;

use crate::Result;
use crate::golden::cases;

const OPERATOR: &str = "novacula-operator";
const SERVER: &str = "novacula-server";

/// A chart, what is set beside the least that it needs, and what the refusal has to name.
const REFUSED: &[(&str, &str, &[&str])] = &[
    (OPERATOR, "image.digest=", &["image.digest is empty", "image.allowTag"]),
    (OPERATOR, "image.digest=,image.tag=1.0.0", &["image.digest is empty"]),
    (OPERATOR, "image.digest=,image.allowTag=true", &["image.tag is empty"]),
    (OPERATOR, "image.digest=sha256:abc", &["/image/digest", "does not match pattern"]),
    (OPERATOR, "image.repository=registry.example/operator:1.0.0", &["/image/repository"]),
    (OPERATOR, "image.repository=,joinToken.existingSecret=", &["image.repository is empty", "no way to enrol"]),
    (OPERATOR, "joinToken.value=nvc1", &["joinToken has existingSecret and value"]),
    (
        OPERATOR,
        "serviceAccountEnrolment.enabled=true",
        &["two ways to enrol", "endpoint is empty", "authority is empty"],
    ),
    (OPERATOR, "controlPlane.authority=-----BEGIN CERTIFICATE-----", &["a join token names the authority itself"]),
    (OPERATOR, "channel=nightly", &["/channel", "'stable', 'beta', 'dev'"]),
    (OPERATOR, "controlPlane.endpoint=https://control.example", &["/controlPlane/endpoint"]),
    (OPERATOR, "registry.mirrors={mirror.internal}", &["/registry/mirrors/0"]),
    (OPERATOR, "image.pin=yes please", &["/image/pin", "want boolean"]),
    // What makes a rollout safe is no choice.
    (OPERATOR, "rollout.probationSeconds=0", &["/rollout/probationSeconds", "minimum"]),
    (OPERATOR, "rollout.probationSeconds=null", &["probationSeconds"]),
    (OPERATOR, "rollout.startSeconds=0", &["/rollout/startSeconds"]),
    (
        OPERATOR,
        "rollout.patience.pullSeconds=0,rollout.patience.unschedulableSeconds=7200",
        &["/rollout/patience/pullSeconds", "minimum", "/rollout/patience/unschedulableSeconds", "maximum"],
    ),
    (OPERATOR, "rollout.patience.restarts=9", &["'restarts' not allowed"]),
    (OPERATOR, "replicas=2", &["'replicas' not allowed"]),
    (OPERATOR, "strategy.type=Recreate", &["'strategy' not allowed"]),
    (OPERATOR, "rollout.maxUnavailable=1", &["'maxUnavailable' not allowed"]),
    (OPERATOR, "readinessProbe=null,securityContext.runAsUser=0", &["not allowed"]),
    (OPERATOR, "podDisruptionBudget.enabled=true", &["'podDisruptionBudget' not allowed"]),
    (SERVER, "image.digest=,image.repository=", &["image.digest is empty", "image.repository is empty"]),
    (SERVER, "executorEndpoint=,secret.existing=", &["executorEndpoint is empty", "secret.existing is empty"]),
    (SERVER, "settings.database_url=postgres://secret", &["/settings", "'database_url' not allowed"]),
    (SERVER, "settings.drain_ms=10s", &["/settings/drain_ms"]),
    (SERVER, "settings.probation_ms=3600000", &["/settings/probation_ms", "maximum"]),
    (SERVER, "artifacts.accessMode=ReadWriteOnce", &["artifacts.accessMode"]),
    (SERVER, "artifacts.shared=false,artifacts.existingClaim=mine", &["artifacts.existingClaim"]),
    (SERVER, "trustedClusters.keys=none", &["lacks trusted-clusters.toml"]),
    (SERVER, "migrate.existingSecret=owner", &["migrate.enabled is false"]),
    (SERVER, "replicas=0", &["/replicas"]),
    (SERVER, "services.api.type=ExternalName", &["/services/api/type"]),
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("what_a_chart_refuses_it_names", &[Part::Helm3, Part::Helm4], refused)]
}

fn refused() -> Result {
    for (place, (chart, set, named)) in REFUSED.iter().enumerate() {
        // All of them by both would double what it takes, and tell nothing: their schemas are judged by the same library.
        let helm = BOTH[place % BOTH.len()];
        check(helm, chart, set, named).with_context(|| format!("{chart} {set}"))?;
    }
    Ok(())
}

fn check(helm: Helm, chart: &str, set: &str, named: &[&str]) -> Result {
    let least =
        cases(chart)?.into_iter().find(|case| case.ends_with("least")).context("the least")?.join("values.yaml");
    let least = least.to_str().context("a path of text")?;
    let said = match helm.template(chart, &helm::chart(chart), &["--values", least, "--set", set]) {
        Ok(rendered) => bail!("it was taken: {rendered}"),
        Err(error) => format!("{error:?}"),
    };
    for named in named {
        ensure!(said.contains(named), "{named} is not named: {said}");
    }
    Ok(())
}
