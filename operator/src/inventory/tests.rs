//! Events, as watches say them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn node(name: &str, ready: &str) -> core::Node {
    let node = json!({
        "metadata": { "name": name },
        "status": {
            "conditions": [{ "type": "MemoryPressure", "status": "True" }, { "type": "Ready", "status": ready, "lastHeartbeatTime": "2026-01-01T00:00:00Z" }],
            "nodeInfo": {
                "architecture": "arm64", "operatingSystem": "linux", "kernelVersion": "6.1.0", "osImage": "Debian", "kubeletVersion": "v1.36.3",
                "bootID": "", "containerRuntimeVersion": "", "kubeProxyVersion": "", "machineID": "", "systemUUID": "",
            },
        },
    });
    serde_json::from_value(node).expect("a node")
}

fn names(nodes: &Nodes) -> Option<String> {
    nodes.sorted().map(|nodes| {
        nodes.iter().map(|node| if node.ready { node.name.to_uppercase() } else { node.name.clone() }).collect()
    })
}

#[test]
fn what_is_reported_is_what_the_kubelet_said() {
    let expected = Node {
        name: "a".to_owned(),
        platform: "linux/arm64".to_owned(),
        kernel_version: "6.1.0".to_owned(),
        os_image: "Debian".to_owned(),
        kubelet_version: "v1.36.3".to_owned(),
        ready: true,
    };
    assert_eq!(seen(&node("a", "True")), Some(expected));
    assert!(!seen(&node("a", "Unknown")).expect("a node").ready);
    let mut cordoned = node("a", "True");
    cordoned.spec = Some(core::NodeSpec { unschedulable: Some(true), ..core::NodeSpec::default() });
    assert!(!seen(&cordoned).expect("a node").ready);
    let fresh = core::Node { status: None, ..node("a", "True") };
    let fresh = seen(&fresh).expect("a node");
    assert!(fresh.platform.is_empty() && !fresh.ready, "a node that has just registered: {fresh:?}");
}

#[test]
fn nothing_is_known_before_the_first_list_is_complete() {
    let mut nodes = Nodes::default();
    for event in [Event::Init, Event::InitApply(node("b", "True")), Event::InitApply(node("a", "False"))] {
        assert!(!nodes.take(event));
        assert_eq!(names(&nodes), None);
    }
    assert!(nodes.take(Event::InitDone));
    assert_eq!(names(&nodes).as_deref(), Some("aB"));
    assert!(nodes.take(Event::Apply(node("a", "True"))));
    assert!(!nodes.take(Event::Apply(node("a", "True"))), "a sign of life is no news");
    assert!(nodes.take(Event::Delete(node("b", "True"))));
    assert!(!nodes.take(Event::Delete(node("b", "True"))));
    assert_eq!(names(&nodes).as_deref(), Some("A"));
}

#[test]
fn an_empty_cluster_is_known_to_be_empty() {
    let mut nodes = Nodes::default();
    nodes.take(Event::Init);
    assert!(nodes.take(Event::InitDone));
    assert_eq!(nodes.sorted(), Some(Vec::new()));
}

#[test]
fn a_list_that_begins_anew_forgets_what_is_gone_and_keeps_the_old_until_then() {
    let mut nodes = Nodes::default();
    let list = |nodes: &mut Nodes, names: &[&str]| {
        nodes.take(Event::Init);
        for name in names {
            nodes.take(Event::InitApply(node(name, "True")));
        }
    };
    list(&mut nodes, &["a", "b"]);
    nodes.take(Event::InitDone);
    // Broken off by a 410 or an API server that went, then again.
    list(&mut nodes, &["x"]);
    assert_eq!(names(&nodes).as_deref(), Some("AB"));
    list(&mut nodes, &["b", "c"]);
    assert!(nodes.take(Event::InitDone));
    assert_eq!(names(&nodes).as_deref(), Some("BC"));
    list(&mut nodes, &["b", "c"]);
    assert!(!nodes.take(Event::InitDone), "the same list is no news");
}

#[test]
fn a_role_too_small_is_named() {
    let status = |code: u16| {
        let status = json!({ "code": code, "reason": "Forbidden", "message": "nodes is forbidden: User \"system:serviceaccount:x:y\" cannot list" });
        Box::new(serde_json::from_value(status).expect("a status"))
    };
    let list = Problem::from(&watcher::Error::InitialListFailed(kube::Error::Api(status(403))));
    assert!(list.to_string().contains("allow this operator to list nodes"), "{list}");
    let watch = Problem::from(&watcher::Error::WatchStartFailed(kube::Error::Api(status(403))));
    assert!(watch.to_string().contains("allow this operator to watch nodes"), "{watch}");
    let gone = Problem::from(&watcher::Error::WatchError(status(410)));
    assert!(matches!(&gone, Problem::Other(told) if told.contains("410")), "{gone}");
}

proptest! {
    #[test]
    fn news_is_told_exactly_when_something_is_different(steps in proptest::collection::vec((0u8..5, "[a-c]", any::<bool>()), 0..40)) {
        let mut nodes = Nodes::default();
        for (step, name, ready) in steps {
            let before = nodes.sorted();
            let node = node(&name, if ready { "True" } else { "False" });
            let told = nodes.take(match step {
                0 => Event::Init,
                1 => Event::InitApply(node),
                2 => Event::InitDone,
                3 => Event::Apply(node),
                _ => Event::Delete(node),
            });
            prop_assert_eq!(told, before != nodes.sorted());
        }
    }
}
