//! What a Deployment says, from documents as the API gives them.

use serde_json::{Value, json};

use super::*;

/// As the chart makes it.
fn chart() -> Value {
    json!({
        "metadata": {
            "name": "novacula-operator",
            "resourceVersion": "7",
            "generation": 2,
            "managedFields": [{
                "manager": "helm", "operation": "Apply", "time": "2026-11-22T10:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:spec": { "f:template": { "f:spec": { "f:containers": {
                    "k:{\"name\":\"operator\"}": { ".": {}, "f:image": {} }
                } } } } },
            }],
        },
        "spec": {
            "replicas": 1,
            "minReadySeconds": 120,
            "selector": { "matchLabels": { "app": "operator", "release": "one" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": { "spec": { "containers": [
                { "name": "operator", "image": "registry.example/operator@sha256:aa", "readinessProbe": { "exec": {} } },
                { "name": "beside", "image": "registry.example/beside" },
            ] } },
        },
        "status": { "observedGeneration": 2, "conditions": [
            { "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too long" },
        ] },
    })
}

fn read(document: Value) -> Own {
    let deployment: Deployment = serde_json::from_value(document).expect("a Deployment");
    Own::read(&deployment, "operator").expect("our Deployment")
}

fn changed(pointer: &str, value: Value) -> Own {
    let mut document = chart();
    *document.pointer_mut(pointer).expect("it is in the chart") = value;
    read(document)
}

#[test]
fn the_charts_deployment_is_safe_and_ours() {
    let own = read(chart());
    assert_eq!(own.image, "registry.example/operator@sha256:aa");
    assert_eq!(own.selector, "app=operator,release=one");
    assert_eq!(own.set_by(), ["helm (2026-11-22T10:00:00Z)"]);
    assert_eq!(own.hazards, Vec::<String>::new());
    assert_eq!(own.managed, None);
    assert!(own.progressing.is_some_and(|found| found.reason == "ProgressDeadlineExceeded"));
}

#[test]
fn each_shape_that_could_not_be_undone_is_named_with_its_field() {
    for (pointer, value, field) in [
        ("/spec/strategy", json!({ "type": "Recreate" }), "spec.strategy.type"),
        ("/spec/strategy/rollingUpdate/maxUnavailable", json!(1), "maxUnavailable"),
        ("/spec/strategy/rollingUpdate/maxUnavailable", json!("100%"), "maxUnavailable"),
        ("/spec/minReadySeconds", json!(0), "minReadySeconds"),
        ("/spec/template/spec/containers/0/readinessProbe", Value::Null, "readinessProbe"),
        ("/spec/replicas", json!(0), "spec.replicas"),
    ] {
        let hazards = changed(pointer, value).hazards;
        assert!(hazards.len() == 1 && hazards[0].contains(field), "{pointer}: {hazards:?}");
    }
    let quarter = changed("/spec/strategy/rollingUpdate/maxUnavailable", json!("25%"));
    assert_eq!(quarter.hazards, Vec::<String>::new(), "a quarter of one pod is none");
}

#[test]
fn tools_that_would_undo_an_upgrade_are_named_with_field_and_remedy() {
    for (manager, tool) in
        [("argocd-controller", "Argo CD"), ("kustomize-controller", "Flux"), ("helm-controller", "Flux")]
    {
        let why = changed("/metadata/managedFields/0/manager", json!(manager)).managed.expect("managed");
        assert!(why.starts_with(tool), "{why}");
        assert!(why.contains("spec.template.spec.containers[name=operator].image"), "{why}");
        assert!(why.contains("novacula.dev/gitops=ignored"), "{why}");
    }
    let mut document = chart();
    document["metadata"]["annotations"] = json!({ "argocd.argoproj.io/tracking-id": "x" });
    assert!(read(document.clone()).managed.is_some());
    document["metadata"]["annotations"][GITOPS] = json!(GITOPS_IGNORED);
    assert_eq!(read(document).managed, None, "somebody has read the recipe");
}

#[test]
fn conditions_of_before_the_last_change_say_nothing() {
    assert_eq!(changed("/status/observedGeneration", json!(1)).progressing, None);
}

#[test]
fn an_attempt_that_cannot_be_read_is_no_error_and_comes_with_the_line_that_removes_it() {
    for (text, why) in
        [("garbage", "it is not JSON"), ("{}", "it names no format"), ("{\"format\":2}", "it has format 2")]
    {
        let mut document = chart();
        document["metadata"]["namespace"] = json!("novacula-system");
        document["metadata"]["annotations"] = json!({ record::ANNOTATION: text });
        let own = read(document);
        assert_eq!(own.record, None);
        assert_eq!(own.managed, own.unreadable, "no upgrade until a person has looked");
        let told = own.unreadable.expect("a reason");
        let line = "kubectl -n novacula-system annotate deployment novacula-operator novacula.dev/attempt- (";
        assert!(told.contains(line) && told.contains(why), "{told}");
    }
}

#[test]
fn whoever_else_set_the_image_is_named() {
    let mut document = chart();
    let mut ours = document["metadata"]["managedFields"][0].clone();
    ours["manager"] = json!(FIELD_MANAGER);
    document["metadata"]["managedFields"].as_array_mut().expect("a list").push(ours.clone());
    assert_eq!(read(document.clone()).set_by(), ["helm (2026-11-22T10:00:00Z)"]);
    document["metadata"]["managedFields"] = json!([ours]);
    assert_eq!(read(document).set_by(), ["novacula-operator (2026-11-22T10:00:00Z)"]);
}
