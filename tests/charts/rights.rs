//! What the operator's account may do in a real API server, which is asked as `kubectl auth can-i --as` asks it: all that it needs,
//! and of all else what an attacker would want first.

use anyhow::{Context as _, ensure};
use harness::helm::Helm;
use harness::kube::Namespace;
use harness::parts::trial;
use libtest_mimic::Trial;
use serde_json::json;

use crate::Result;
use crate::release::{PARTS, Release};

/// Verb, what, and where it must be allowed: `-` is the operator's namespace, `*` all of them.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("get", "deployments.apps/novacula-operator", "-"),
    ("list", "deployments.apps/novacula-operator", "-"),
    ("watch", "deployments.apps/novacula-operator", "-"),
    ("patch", "deployments.apps/novacula-operator", "-"),
    ("get", "leases.coordination.k8s.io/novacula-operator", "-"),
    ("update", "leases.coordination.k8s.io/novacula-operator", "-"),
    ("patch", "leases.coordination.k8s.io/novacula-operator", "-"),
    ("get", "secrets/novacula-operator-identity", "-"),
    ("update", "secrets/novacula-operator-identity", "-"),
    ("patch", "secrets/novacula-operator-identity", "-"),
    ("get", "secrets/registry", "-"),
    ("get", "pods", "-"),
    ("list", "pods", "-"),
    ("watch", "pods", "-"),
    ("get", "pods/log", "-"),
    ("list", "replicasets.apps", "-"),
    ("watch", "replicasets.apps", "-"),
    ("list", "events", "-"),
    ("watch", "events", "-"),
    ("list", "nodes", "*"),
    ("watch", "nodes", "*"),
];

/// The same, and it must be denied.
const DENIED: &[(&str, &str, &str)] = &[
    // Others' workloads, and its own beyond its image's patch.
    ("patch", "deployments.apps/another", "-"),
    ("patch", "deployments.apps", "-"),
    ("list", "deployments.apps", "-"),
    ("update", "deployments.apps/novacula-operator", "-"),
    ("delete", "deployments.apps/novacula-operator", "-"),
    ("create", "deployments.apps", "-"),
    ("patch", "deployments.apps/novacula-operator", "default"),
    ("patch", "replicasets.apps", "-"),
    ("create", "pods", "-"),
    ("delete", "pods", "-"),
    ("patch", "pods", "-"),
    ("create", "pods/exec", "-"),
    ("create", "pods/attach", "-"),
    ("create", "pods/portforward", "-"),
    ("create", "pods/eviction", "-"),
    ("list", "pods", "kube-system"),
    ("get", "pods/log", "kube-system"),
    // Secrets: none but its own and those to pull with.
    ("list", "secrets", "-"),
    ("watch", "secrets", "-"),
    ("create", "secrets", "-"),
    ("get", "secrets/novacula-join-token", "-"),
    ("delete", "secrets/novacula-operator-identity", "-"),
    ("patch", "secrets/registry", "-"),
    ("get", "secrets/novacula-operator-identity", "kube-system"),
    ("get", "configmaps", "-"),
    // Leases of others, such as those of the cluster's own controllers.
    ("create", "leases.coordination.k8s.io", "-"),
    ("list", "leases.coordination.k8s.io", "-"),
    ("update", "leases.coordination.k8s.io/kube-scheduler", "kube-system"),
    // More rights, or somebody else's.
    ("create", "serviceaccounts/token", "-"),
    ("get", "serviceaccounts", "-"),
    ("impersonate", "users", "*"),
    ("create", "roles.rbac.authorization.k8s.io", "-"),
    ("patch", "roles.rbac.authorization.k8s.io/novacula-operator", "-"),
    ("escalate", "roles.rbac.authorization.k8s.io", "-"),
    ("bind", "clusterroles.rbac.authorization.k8s.io", "*"),
    // The cluster.
    ("patch", "nodes", "*"),
    ("get", "nodes/proxy", "*"),
    ("list", "namespaces", "*"),
    ("list", "pods", "*"),
    ("list", "events", "*"),
    ("create", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "*"),
    ("patch", "customresourcedefinitions.apiextensions.k8s.io", "*"),
    ("create", "certificatesigningrequests.certificates.k8s.io", "*"),
    ("create", "networkpolicies.networking.k8s.io", "-"),
    ("delete", "networkpolicies.networking.k8s.io/novacula-operator", "-"),
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("the_operators_account_may_do_this_and_not_that", PARTS, rights)]
}

fn rights() -> Result {
    let release = Release::install(Helm::Four, "novacula-operator", &["--set", "image.pullSecrets={registry}"])?;
    let namespace = release.namespace();
    for (rules, wanted) in [(ALLOWED, true), (DENIED, false)] {
        for (verb, what, place) in rules {
            let allowed = can(namespace, verb, what, place)?;
            ensure!(allowed == wanted, "{verb} {what} in {place}: {}", if allowed { "allowed" } else { "denied" });
        }
    }
    // All that there is, of which nothing may slip through the tables above: what it writes are its own three.
    let account = account(namespace);
    let listed = namespace.kubectl(&["auth", "can-i", "--list", "--no-headers", "--as", &account])?;
    let mut written = Vec::new();
    for line in listed.lines().filter(|line| !line.contains("selfsubject")) {
        let verbs = line.rsplit('[').next().context("verbs")?.trim_end_matches(']');
        if verbs.split(' ').any(|verb| !["get", "list", "watch", ""].contains(&verb)) {
            written.push(line.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
        }
    }
    written.sort();
    let own = [
        "deployments.apps [] [novacula-operator]",
        "leases.coordination.k8s.io [] [novacula-operator]",
        "secrets [] [novacula-operator-identity]",
    ];
    ensure!(written == own, "{listed}");
    Ok(())
}

/// What the API server knows the operator's pods by.
fn account(namespace: &Namespace<'_>) -> String {
    format!("system:serviceaccount:{}:novacula-operator", namespace.name())
}

fn can(namespace: &Namespace<'_>, verb: &str, what: &str, place: &str) -> Result<bool> {
    let (resource, name) = what.split_once('/').unwrap_or((what, ""));
    // `pods/log` is a part of every pod, `secrets/registry` is one Secret.
    let part = ["log", "exec", "attach", "portforward", "eviction", "token", "proxy"].contains(&name);
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let groups = ["system:authenticated", "system:serviceaccounts"].map(str::to_owned);
    let groups = groups.into_iter().chain([format!("system:serviceaccounts:{}", namespace.name())]);
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": account(namespace),
            "groups": groups.collect::<Vec<_>>(),
            "resourceAttributes": {
                "verb": verb,
                "group": group,
                "resource": resource,
                "subresource": if part { name } else { "" },
                "name": if part { "" } else { name },
                "namespace": match place {
                    "*" => "",
                    "-" => namespace.name(),
                    other => other,
                },
            },
        },
    });
    let answer = namespace.api().create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review)?;
    answer["status"]["allowed"].as_bool().with_context(|| answer.to_string())
}
