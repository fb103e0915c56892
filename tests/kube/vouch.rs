//! A cluster's word: tokens that a real API server signs, proven by the keys that it publishes, make its operator an executor.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use executor_sdk::{
    credentials::{CredentialStore, Credentials},
    enrol::{ClusterWord, Error, enrol_by_cluster},
    probe::probe,
};
use harness::{
    control_plane::ControlPlane,
    kube::{Cluster, Namespace},
    parts::{Part, trial},
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::Result;

/// What the operator runs as.
const ACCOUNT: &str = "novacula-operator";

pub(crate) fn trials() -> Vec<Trial> {
    let parts = &[Part::Root, Part::Namespaces, Part::Kubeone, Part::Containerd];
    vec![trial("tokens_of_a_real_api_server_enrol_its_operator_by_file_and_by_url", parts, || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(vouch())
    })]
}

async fn vouch() -> Result {
    let cluster = Cluster::shared()?;
    let namespace = cluster.namespace("vouch")?;
    namespace.kubectl(&["create", "serviceaccount", ACCOUNT])?;
    // What the page says, so that strangers may read the keys.
    let binding = format!("oidc-keys-{}", namespace.name());
    let role = "--clusterrole=system:service-account-issuer-discovery";
    cluster.kubectl(&["create", "clusterrolebinding", &binding, role, "--group=system:unauthenticated"])?;
    let configuration: Value =
        serde_json::from_str(&cluster.kubectl(&["get", "--raw", "/.well-known/openid-configuration"])?)?;
    let issuer = configuration["issuer"].as_str().context("an issuer")?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("clusters.toml");
    fs::write(folder.path().join("keys.json"), cluster.kubectl(&["get", "--raw", "/openid/v1/jwks"])?)?;
    fs::copy(cluster.authority(), folder.path().join("ca.crt"))?;
    let url = format!("keys_url = \"{}/openid/v1/jwks\"\nkeys_ca_file = \"ca.crt\"", cluster.api().url());
    let other = namespace.kubectl(&["create", "serviceaccount", "other"]).map(|_| "other")?;
    let row = |name: &str, account: &str, keys: &str| {
        let subject = format!("system:serviceaccount:{}:{account}", namespace.name());
        format!(
            "[[cluster]]\nname = \"{name}\"\norganization = \"acme\"\nexecutor = \"{name}\"\nissuer = \"{issuer}\"\naudience = \"novacula\"\nsubject = \"{subject}\"\n{keys}\n"
        )
    };
    fs::write(&path, row("by-file", ACCOUNT, "keys_file = \"keys.json\"") + &row("by-url", other, &url))?;
    let plane = ControlPlane::start_with(|config| config.trusted_clusters = Some(path)).await?;

    for (account, name) in [(ACCOUNT, "by-file"), (other, "by-url")] {
        let home = tempfile::tempdir()?;
        let credentials = enrol(&plane, &token(&namespace, account, "novacula")?, home.path()).await?;
        ensure!(credentials.executor.to_string() == format!("organizations/acme/executors/{name}"));
        probe(&credentials).await?;
    }
    // For the cluster's own API, and of an account that nobody named.
    let foreign = token(&namespace, ACCOUNT, issuer)?;
    refused(&plane, &foreign, "is not for audience").await?;
    refused(&plane, &token(&namespace, "default", "novacula")?, "not one of a cluster that is trusted").await?;
    // Somebody else with a good token: the name is taken.
    refused(&plane, &token(&namespace, ACCOUNT, "novacula")?, "enrolled already").await?;
    cluster.kubectl(&["delete", "clusterrolebinding", &binding])?;
    plane.stop().await
}

fn token(namespace: &Namespace<'_>, account: &str, audience: &str) -> Result<String> {
    namespace.kubectl(&["create", "token", account, "--audience", audience])
}

async fn enrol(plane: &ControlPlane, token: &str, home: &Path) -> std::result::Result<Credentials, Error> {
    let word = ClusterWord {
        token: token.to_owned().into(),
        endpoint: plane.executor_addr().to_string().parse().expect("an endpoint"),
        authorities: fs::read_to_string(plane.data_dir().join("ca.pem")).expect("its authority"),
    };
    enrol_by_cluster(&word, None, &CredentialStore::new(home)).await
}

async fn refused(plane: &ControlPlane, token: &str, says: &str) -> Result {
    let home = tempfile::tempdir()?;
    let Err(error) = enrol(plane, token, home.path()).await else { anyhow::bail!("{says}: it was let in") };
    let told = executor_sdk::report::chain(&error);
    ensure!(told.contains(says), "{says:?} is not in {told:?}");
    Ok(())
}
