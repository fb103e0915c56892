//! What holds whatever the values: each promise is asked of every case that is kept.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use harness::parts::trial;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::Result;
use crate::golden::{CHARTS, cases, documents};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("pods_may_do_no_more_than_they_have_to", &[], restricted),
        trial("an_old_operator_stays_until_the_new_one_is_proved", &[], rollout),
        trial("the_operator_has_these_rights_and_no_others", &[], rights),
        trial("nobody_reaches_the_operator_and_no_drain_waits_for_it", &[], apart),
        trial("an_operator_is_named_by_digest_unless_a_tag_is_allowed", &[], named),
        trial("what_the_operator_writes_no_release_names", &[], left_alone),
    ]
}

/// Each case of a chart, with its documents.
fn each(chart: &str, mut check: impl FnMut(&[Value]) -> Result) -> Result {
    for case in cases(chart)? {
        check(&documents(&case)?).with_context(|| case.display().to_string())?;
    }
    Ok(())
}

/// The documents of a kind.
fn of<'v>(documents: &'v [Value], kind: &str) -> Vec<&'v Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

fn one<'v>(documents: &'v [Value], kind: &str) -> Result<&'v Value> {
    let found = of(documents, kind);
    ensure!(found.len() == 1, "{} documents are a {kind}", found.len());
    Ok(found[0])
}

fn restricted() -> Result {
    for (chart, _) in CHARTS {
        each(chart, |documents| {
            for owner in [of(documents, "Deployment"), of(documents, "Job")].concat() {
                let pod = &owner["spec"]["template"]["spec"];
                ensure!(pod["securityContext"]["runAsNonRoot"] == true && pod["securityContext"]["runAsUser"] == 65532);
                ensure!(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "{pod}");
                for host in ["hostNetwork", "hostPID", "hostIPC"] {
                    ensure!(pod.get(host).is_none(), "{host}");
                }
                for container in pod["containers"].as_array().context("containers")? {
                    let wanted = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
                    ensure!(container["securityContext"] == wanted, "{container}");
                    ensure!(container["resources"]["limits"]["memory"].is_string(), "its memory is bounded");
                }
                for volume in pod["volumes"].as_array().context("volumes")? {
                    ensure!(volume.get("hostPath").is_none(), "{volume}");
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn rollout() -> Result {
    each("novacula-operator", |documents| {
        let deployment = &one(documents, "Deployment")?["spec"];
        ensure!(deployment["replicas"] == 1);
        ensure!(
            deployment["strategy"]
                == json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
        );
        let ready = deployment["minReadySeconds"].as_u64().context("minReadySeconds")?;
        let deadline = deployment["progressDeadlineSeconds"].as_u64().context("progressDeadlineSeconds")?;
        ensure!(ready > 0 && deadline > 3 * ready, "{deadline} s for {ready}");
        let container = &deployment["template"]["spec"]["containers"][0];
        ensure!(
            container["readinessProbe"]["exec"]["command"] == json!(["/novacula-operator", "ready"]),
            "{container}"
        );
        ensure!(container.get("livenessProbe").is_none() && container.get("ports").is_none(), "{container}");
        // Where `ready` looks is written by nobody but the operator, and is gone with the pod.
        let run = deployment["template"]["spec"]["volumes"]
            .as_array()
            .context("volumes")?
            .iter()
            .find(|volume| volume["name"] == "run");
        ensure!(run.context("run")?["emptyDir"]["medium"] == "Memory");
        Ok(())
    })
}

fn rights() -> Result {
    each("novacula-operator", |documents| {
        let deployment = one(documents, "Deployment")?;
        let name = deployment["metadata"]["name"].as_str().context("a name")?;
        let own = json!([name]);
        let mut wanted = vec![
            json!({"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": own, "verbs": ["get", "list", "watch", "patch"]}),
            json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": own, "verbs": ["get", "update", "patch"]}),
            json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": [format!("{name}-identity")], "verbs": ["get", "update", "patch"]}),
        ];
        let pull = deployment["spec"]["template"]["spec"]["imagePullSecrets"].as_array();
        if let Some(pull) = pull {
            let names: Vec<&Value> = pull.iter().map(|secret| &secret["name"]).collect();
            wanted.push(json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get"]}));
        }
        wanted.extend([
            json!({"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get", "list", "watch"]}),
            json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}),
            json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}),
            json!({"apiGroups": [""], "resources": ["events"], "verbs": ["list", "watch"]}),
        ]);
        ensure!(one(documents, "Role")?["rules"] == json!(wanted), "{}", one(documents, "Role")?);
        let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}]);
        ensure!(one(documents, "ClusterRole")?["rules"] == nodes);
        // Both are given to the operator's own account, and to nobody else.
        let account = json!([{"kind": "ServiceAccount", "name": name, "namespace": "there"}]);
        for binding in ["RoleBinding", "ClusterRoleBinding"] {
            ensure!(one(documents, binding)?["subjects"] == account, "{binding}");
        }
        ensure!(one(documents, "ServiceAccount")?["automountServiceAccountToken"] == false);
        Ok(())
    })
}

fn apart() -> Result {
    each("novacula-operator", |documents| {
        for kind in ["Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"] {
            ensure!(of(documents, kind).is_empty(), "a {kind}");
        }
        for policy in of(documents, "NetworkPolicy") {
            ensure!(
                policy["spec"]["policyTypes"] == json!(["Ingress", "Egress"]) && policy["spec"]["ingress"] == json!([])
            );
            let labels = &one(documents, "Deployment")?["spec"]["template"]["metadata"]["labels"];
            let selected = policy["spec"]["podSelector"]["matchLabels"].as_object().context("a selector")?;
            ensure!(selected.iter().all(|(key, value)| labels.get(key) == Some(value)), "it is about the pods");
        }
        Ok(())
    })
}

fn named() -> Result {
    let mut by_tag = BTreeSet::new();
    for (chart, _) in CHARTS {
        for case in cases(chart)? {
            for owner in documents(&case)?
                .iter()
                .filter(|document| document["kind"] == "Deployment" || document["kind"] == "Job")
            {
                let image = owner["spec"]["template"]["spec"]["containers"][0]["image"].as_str().context("an image")?;
                if !image.contains("@sha256:") {
                    by_tag.insert(case.file_name().map(ToOwned::to_owned));
                }
            }
        }
    }
    ensure!(by_tag == BTreeSet::from([Some("tag".into())]), "{by_tag:?}");
    Ok(())
}

/// A release that names a key, or a field, takes it away or puts it back one day.
fn left_alone() -> Result {
    each("novacula-operator", |documents| {
        let identity = of(documents, "Secret")
            .into_iter()
            .find(|secret| secret["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-identity")));
        let identity = identity.context("the identity's Secret")?;
        ensure!(identity.get("data").is_none() && identity.get("stringData").is_none(), "{identity}");
        ensure!(one(documents, "Lease")?.get("spec").is_none());
        for annotation in ["novacula.dev/attempt", "novacula.dev/image", "novacula.dev/message"] {
            ensure!(one(documents, "Deployment")?["metadata"]["annotations"].get(annotation).is_none(), "{annotation}");
        }
        Ok(())
    })
}
