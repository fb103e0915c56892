//! Registries: who gets in, and who is believed.

use std::net::Ipv4Addr;

use anyhow::{Context as _, ensure};
use harness::{
    kube::{Cluster, Door, NODE, Registry, images},
    parts::{Part, trial},
};
use image::{
    base::Base,
    layer::{Effort, Layer},
    manifest::{Architecture, Image, Settings},
    push::{self, Access},
};
use libtest_mimic::Trial;
use serde_json::json;

use crate::{LIMIT, Result, deployment};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_pod_pulls_with_a_secret_and_not_without", NODE, pulls),
        trial("a_registry_takes_no_push_from_strangers", &[Part::Containerd, Part::ImageBase], strangers),
    ]
}

fn pulls() -> Result {
    let cluster = Cluster::shared()?;
    let registry = Registry::start(cluster.address(), Door::TlsAndPassword)?;
    cluster.trust(&registry)?;
    let digest = registry.push(&images::pod(&["wait"], "pulls")?, "pulls:1")?;
    let image = registry.pinned("pulls", &digest);
    let namespace = cluster.namespace("pulls")?;
    namespace.apply(&deployment(&image, &json!({})).to_string())?;
    let pod = namespace.waits_for("app=bot", "ImagePullBackOff", LIMIT)?;
    let said = namespace.get("v1/events")?.to_string();
    ensure!(
        said.contains("401") || said.contains("authorization failed") || said.contains("no basic auth"),
        "{pod} {said}"
    );

    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pull" },
        "type": "kubernetes.io/dockerconfigjson", "stringData": { ".dockerconfigjson": registry.pull_secret() } });
    namespace.apply(&secret.to_string())?;
    namespace.apply(&deployment(&image, &json!({ "imagePullSecrets": [{ "name": "pull" }] })).to_string())?;
    namespace.rolled_out("bot", LIMIT).map(drop)
}

/// Without a password, without its authority, and as one should.
fn strangers() -> Result {
    let registry = Registry::start(Ipv4Addr::LOCALHOST.into(), Door::TlsAndPassword)?;
    let base = Base::from_packages(&images::base_packages()?, Architecture::Amd64)?;
    let image = Image::new(vec![Layer::pack(&base.tree, Effort::Least)?], &Settings::default(), Architecture::Amd64);
    let name = registry.reference("base:1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let send = |access: Access| runtime.block_on(push::push(&image, &name, &access));
    let by_name = || Access { authorities: registry.authority(), ..Access::default() };
    let stranger = send(by_name()).err().context("a push without a password")?;
    ensure!(format!("{:?}", anyhow::Error::from(stranger)).contains("Unauthorized"), "it says why");
    let unknown = send(Access { authorities: None, ..by_name() }).err().context("a push to whom nobody vouches for")?;
    ensure!(format!("{:?}", anyhow::Error::from(unknown)).contains("certificate"), "it says why");
    ensure!(registry.push(&image, "base:1")? == *image.digest());
    // Twice is once.
    ensure!(registry.push(&image, "base:2")? == *image.digest());
    Ok(())
}
