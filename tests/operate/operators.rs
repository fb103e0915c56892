//! Executors of kind operator, as people meet them: releases that are images, signed with the stock `minisign`; the nodes of a
//! cluster; a climb out of a version that is out of support; and a pin that says what to set by hand.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use harness::control_plane::{ControlPlane, ORGANIZATION};
use harness::fake_executor::{FakeExecutor, Hello, Stream};
use harness::parts::Part;
use harness::signing::sha256;
use libtest_mimic::Trial;
use proto::v1;
use proto::v1::sync_executor_request::Message as Say;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{Result, trial};

/// Two majors above the oldest version that it serves whole.
const SERVER: &str = "4.0.0";

const IMAGE: &str = "registry.example:5000/novacula/operator";

const EAST: &str = "organizations/acme/executors/east";

pub(crate) fn trials() -> Vec<Trial> {
    let minisign = &[Part::Minisign];
    vec![
        trial("an_operator_out_of_support_climbs_in_two_hops_and_shows_its_nodes_again", minisign, climb),
        trial("a_pinned_operator_is_refused_with_the_image_to_set", minisign, pinned),
    ]
}

/// A control plane, a key of `minisign -G`, and `novacula` beside them.
struct Scene {
    plane: ControlPlane,
    folder: TempDir,
}

impl Scene {
    async fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        let (public, secret) = (folder.path().join("release.pub"), folder.path().join("release.key"));
        run(Command::new(Part::Minisign.find()?).args(["-G", "-W", "-p"]).arg(&public).arg("-s").arg(&secret)).await?;
        let keys = public.clone();
        let plane = ControlPlane::start_with(|config| {
            config.settings.server_version = SERVER.parse().expect("a version");
            config.release_keys = Some(keys);
        });
        let scene = Self { plane: plane.await?, folder };
        let owner = scene.plane.owner().organizations();
        let admin = scene.plane.installation_admin().organizations();
        let organization = format!("organizations/{ORGANIZATION}");
        let roles =
            [("owner", owner, organization, v1::Role::Owner), ("publisher", admin, String::new(), v1::Role::Publisher)];
        for (name, mut client, parent, role) in roles {
            let request = v1::CreateTokenRequest { parent, role: role.into(), ..v1::CreateTokenRequest::default() };
            let made = client.create_token(request).await?.into_inner();
            std::fs::write(scene.path(name), made.secret)?;
        }
        Ok(scene)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its end: whether it did what it was asked, and both its outputs.
    async fn ask(&self, role: &str, words: &[&str]) -> Result<(bool, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fixture-novacula"));
        command.env("NOVACULA_SERVER", format!("https://{}", self.plane.api_addr()));
        command.env("NOVACULA_CA", self.plane.data_dir().join("ca.pem"));
        command.env("NOVACULA_TOKEN_FILE", self.path(role)).env("NOVACULA_ORGANIZATION", ORGANIZATION);
        command.env("NOVACULA_CONFIG", self.path("config.toml"));
        let output = command.args(words).stdin(Stdio::null()).kill_on_drop(true).output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.success(), text(&output.stdout) + &text(&output.stderr)))
    }

    async fn done(&self, role: &str, words: &[&str]) -> Result<String> {
        let (done, out) = self.ask(role, words).await?;
        ensure!(done, "novacula {words:?}: {out}");
        Ok(out)
    }

    async fn refused(&self, words: &[&str], says: &[&str]) -> Result {
        let (done, out) = self.ask("owner", words).await?;
        ensure!(!done, "novacula {words:?} was not refused: {out}");
        for word in says {
            ensure!(out.contains(word), "{word:?} is not in {out:?}");
        }
        Ok(())
    }

    async fn json(&self, words: &[&str]) -> Result<Value> {
        let out = self.done("owner", &[words, &["--output", "json"]].concat()).await?;
        serde_json::from_str(&out).with_context(|| out.clone())
    }

    /// From the index as the registry serves it to an offer, as a publisher types it. Gives the digest back.
    async fn offer(&self, version: &str) -> Result<String> {
        let index = self.path(&format!("{version}.json"));
        std::fs::write(&index, format!(r#"{{"schemaVersion":2,"version":"{version}"}}"#))?;
        let digest = format!("sha256:{}", sha256(&std::fs::read(&index)?));
        let release = format!("operator-{version}");
        self.done("publisher", &["release", "create", "operator", version]).await?;
        let image = ["--image", IMAGE, "--digest", &digest];
        let words = [&["release", "manifest", "--version", version, "--floor", "1.0.0"], &image[..]].concat();
        let manifest = self.done("publisher", &words).await?;
        let signature = minisign(&self.path("release.key"), &index, manifest.trim_end()).await?;
        let signature = signature.to_str().context("a path")?;
        let words = ["release", "upload", &release, "--signature", signature];
        let other = ["--image", "registry.example/other", "--digest", &digest];
        let (done, out) = self.ask("publisher", &[&words, &other[..]].concat()).await?;
        ensure!(!done && out.contains("signed for image"), "{out}");
        self.done("publisher", &[&words, &image[..]].concat()).await?;
        self.done("publisher", &["release", "publish", &release]).await?;
        Ok(digest)
    }

    async fn operator(&self) -> Result<FakeExecutor> {
        FakeExecutor::by_word(&self.plane.join_word("east").await?, "1.0.0").await
    }

    /// One hop: asked for at the command line, carried out by the operator, which comes back as another pod.
    async fn hop(&self, east: &FakeExecutor, mut stream: Stream, from: &str, to: &str, digest: &str) -> Result<Stream> {
        self.done("owner", &["upgrade", "request", "east", to, "--expected-version", from]).await?;
        let desired = stream.desired().await?;
        let Some(v1::desired::Spec::Operator(spec)) = &desired.spec else { anyhow::bail!("{desired:?}") };
        let told = (spec.image.as_str(), spec.digest.as_str(), spec.target_version.as_str());
        ensure!(told == (IMAGE, digest, to), "{spec:?}");
        stream.ask_leave(&desired).await?;
        drop(stream);
        let hello = Hello { generation: desired.generation, open_attempt: desired.attempt.clone(), ..hello(east, to) };
        let mut stream = east.connect_with(hello).await?;
        let report = v1::Report {
            attempt: desired.attempt.clone(),
            outcome: v1::Outcome::Succeeded.into(),
            running_version: to.to_owned(),
            target_version: to.to_owned(),
            from_version: from.to_owned(),
            ..v1::Report::default()
        };
        stream.report(report).await?;
        let attempt = self.json(&["upgrade", "get", "east"]).await?;
        ensure!(attempt["outcome"] == "OUTCOME_SUCCEEDED" && attempt["targetVersion"] == to, "{attempt}");
        Ok(stream)
    }
}

async fn climb() -> Result {
    let scene = Scene::start().await?;
    let (two, three) = (scene.offer("2.0.0").await?, scene.offer("3.0.0").await?);
    let east = scene.operator().await?;
    let mut stream = east.connect_with(hello(&east, "1.0.0")).await?;
    inventory(&mut stream, true, &[node("a", "v1.36.3", true), node("b", "v1.36.3", true)], &[]).await?;

    let out_of_support = ["OUT_OF_SUPPORT", "running_version=1.0.0", "upgrade it to 3.x or later, hop by hop"];
    scene.refused(&["executor", "nodes", "east"], &out_of_support).await?;
    let targets = scene.json(&["upgrade", "targets", "east"]).await?;
    let row = |n: usize, key: &str| targets["targets"][n][key].clone();
    ensure!(row(0, "version") == "2.0.0" && row(0, "allowedAsDirectTarget") == true, "{targets}");
    ensure!(row(1, "version") == "3.0.0" && row(1, "allowedAsDirectTarget") == false, "{targets}");
    ensure!(row(1, "blockedMessage") == "requires upgrade to 2.x first", "{targets}");
    scene.refused(&["upgrade", "request", "east", "3.0.0"], &["MAJOR_HOP_REQUIRED", "via_version=2.0.0"]).await?;

    let mut stream = scene.hop(&east, stream, "1.0.0", "2.0.0", &two).await?;
    scene.refused(&["executor", "nodes", "east"], &["OUT_OF_SUPPORT", "running_version=2.0.0"]).await?;
    // What is told meanwhile is kept.
    inventory(&mut stream, false, &[node("c", "v1.36.3", false), node("a", "v1.37.1", true)], &["b"]).await?;
    let mut stream = scene.hop(&east, stream, "2.0.0", "3.0.0", &three).await?;
    let seen = shown(&scene).await?;
    ensure!(seen == [("a", "v1.37.1", true), ("c", "v1.36.3", false)].map(told), "{seen:?}");
    inventory(&mut stream, false, &[node("c", "v1.37.1", true)], &["a"]).await?;
    let seen = shown(&scene).await?;
    ensure!(seen == [("c", "v1.37.1", true)].map(told), "{seen:?}");
    let table = scene.done("owner", &["executor", "nodes", "east"]).await?;
    ensure!(table.contains("linux/arm64") && table.contains("v1.37.1") && table.contains("true"), "{table}");
    scene.plane.stop().await
}

async fn pinned() -> Result {
    let scene = Scene::start().await?;
    let digest = scene.offer("2.0.0").await?;
    let east = scene.operator().await?;
    let why = "argocd-controller owns spec.template.spec.containers[name=operator].image".to_owned();
    let _stream =
        east.connect_with(Hello { pinned: true, pinned_reason: why.clone(), ..hello(&east, "1.0.0") }).await?;
    let value = format!("image={IMAGE}@{digest}");
    let sentence = format!("by setting the image to {IMAGE}@{digest}");
    scene.refused(&["upgrade", "request", "east", "2.0.0"], &["EXECUTOR_PINNED", &why, &value, &sentence]).await?;
    let got = scene.json(&["executor", "get", "east"]).await?;
    ensure!(got["pinned"] == true && got["pinnedReason"] == why.as_str(), "{got}");
    scene.plane.stop().await
}

fn hello(east: &FakeExecutor, version: &str) -> Hello {
    Hello {
        kind: v1::Kind::Operator.into(),
        version: version.to_owned(),
        platform: String::new(),
        binary_sha256: String::new(),
        ..east.hello()
    }
}

fn node(name: &str, kubelet_version: &str, ready: bool) -> v1::Node {
    v1::Node {
        node_name: name.to_owned(),
        platform: "linux/arm64".to_owned(),
        kubelet_version: kubelet_version.to_owned(),
        ready,
        ..v1::Node::default()
    }
}

/// Says it, and waits until it is written: what comes later on a stream is answered later.
async fn inventory(stream: &mut Stream, full: bool, nodes: &[v1::Node], removed: &[&str]) -> Result {
    let removed_node_names = removed.iter().map(|name| (*name).to_owned()).collect();
    stream.say(Say::Inventory(v1::Inventory { full, nodes: nodes.to_vec(), removed_node_names })).await?;
    stream.heartbeat().await
}

fn told((name, kubelet, ready): (&str, &str, bool)) -> (String, String, bool) {
    (name.to_owned(), kubelet.to_owned(), ready)
}

async fn shown(scene: &Scene) -> Result<Vec<(String, String, bool)>> {
    let nodes = scene.json(&["executor", "nodes", "east"]).await?;
    let text = |node: &Value, key: &str| node[key].as_str().unwrap_or_default().to_owned();
    let one = |node: &Value| {
        ensure!(node["executor"] == EAST && node["platform"] == "linux/arm64", "{node}");
        Ok((text(node, "nodeName"), text(node, "kubeletVersion"), node["ready"] == true))
    };
    nodes.as_array().context("a list")?.iter().map(one).collect()
}

async fn minisign(key: &Path, file: &Path, comment: &str) -> Result<PathBuf> {
    run(Command::new(Part::Minisign.find()?).args(["-S", "-s"]).arg(key).arg("-m").arg(file).args(["-t", comment]))
        .await?;
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    Ok(name.into())
}

async fn run(command: &mut Command) -> Result {
    let output = command.stdin(Stdio::null()).output().await?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}
