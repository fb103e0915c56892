//! A whole Kubernetes for tests: `tests/kube/cluster.sh` as a child, with a registry beside it.
//!
//! With a node ([`Tier::Node`]) everything is real: kubelet, containerd, runc, pulls from the registry. Without one
//! ([`Tier::ControlPlane`]) the test writes what a kubelet would, at the moment that it chooses, and needs no root.
//!
//! A test binary starts one cluster ([`Cluster::shared`]) and gives every trial a [`Namespace`] of its own. Trials that stop the API
//! server, or anything else that others need, start a cluster of theirs. Whatever becomes of the test, the cluster ends with it: it
//! lives as long as the pipe to it is open.

pub mod api;
pub mod edition;
pub mod images;
mod line;
pub mod namespace;
pub mod operator;
pub mod registry;
mod tier;

use std::{
    env, fs,
    fs::File,
    io::{Read as _, Seek as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use image::{blob::Digest, layout, manifest::Image};

use crate::{
    daemon::{free_address, succeeded},
    parts::{Part, workspace},
    wait,
};

use line::Line;

pub use api::Api;
pub use namespace::Namespace;
pub use registry::{Door, Registry};
pub use tier::{Program, Tier};

/// What a whole cluster needs of the machine.
pub const NODE: &[Part] = &[
    Part::Root,
    Part::Namespaces,
    Part::Kubeone,
    Part::Containerd,
    Part::ImageBase,
    Part::Ip,
    Part::Openssl,
    Part::Curl,
];

/// What a cluster without a node needs of the machine.
pub const CONTROL_PLANE: &[Part] = &[Part::Namespaces, Part::Kubeone, Part::Openssl, Part::Curl];

/// Longest wait for what starts or ends, on a machine that does other things as well.
const SOON: Duration = Duration::from_secs(60);

/// What pods' sandboxes run; cluster.sh names it.
const PAUSE: &str = "pause.cluster/pause:1";

static SHARED: OnceLock<std::result::Result<Cluster, String>> = OnceLock::new();

/// A running cluster; ended when dropped.
#[derive(Debug)]
pub struct Cluster {
    line: Mutex<Line>,
    home: PathBuf,
    tier: Tier,
    api: Api,
    registry: Option<Registry>,
}

// === impl Cluster ===

impl Cluster {
    /// The cluster of this test binary, with a node; started by the first who asks.
    ///
    /// # Errors
    /// It does not start; everybody who asks is told why.
    pub fn shared() -> Result<&'static Self> {
        let started = SHARED.get_or_init(|| Self::start(Tier::Node).map_err(|error| format!("{error:?}")));
        started.as_ref().map_err(|error| anyhow!("the cluster of this binary: {error}"))
    }

    /// Ends the cluster of this test binary, if anybody asked for it. A binary does it last, so that nothing of the cluster is left when
    /// it has ended; without it the cluster ends a moment later by itself.
    pub fn end_shared() {
        if let Some(Ok(cluster)) = SHARED.get() {
            cluster.end();
        }
    }

    /// A cluster of one's own. It takes five seconds.
    ///
    /// # Errors
    /// A part is missing, or it does not become ready.
    pub fn start(tier: Tier) -> Result<Self> {
        // The script's: it removes it at its end, which comes whatever becomes of us.
        let home = tempfile::Builder::new().prefix("novacula-kube-").tempdir()?.keep();
        let mut log = File::options().read(true).append(true).create(true).open(home.join("script.log"))?;
        let mut command = Command::new("bash");
        command.arg(workspace().join("tests/kube/cluster.sh")).arg(&home).arg(home_of(Part::Kubeone)?.join("bin"));
        match tier {
            Tier::Node | Tier::Nodes => {
                command.arg(packages()?).env("CLUSTER_NODES", tier.n_nodes().to_string());
            }
            Tier::ControlPlane => {
                for name in ["API_PORT", "ETCD_PORT", "ETCD_PEER_PORT"] {
                    command.env(name, free_address()?.port().to_string());
                }
            }
        }
        command.stderr(log.try_clone()?);
        let Some(line) = Line::open(command)? else {
            let mut said = String::new();
            log.rewind()?;
            log.read_to_string(&mut said)?;
            return Err(anyhow!("the cluster did not start: {said}"));
        };
        let api = Api::of(&home)?;
        let mut cluster = Self { line: Mutex::new(line), home, tier, api, registry: None };
        if tier != Tier::ControlPlane {
            cluster.import(&images::pause()?, PAUSE)?;
            let registry = Registry::start(cluster.address(), Door::Open)?;
            cluster.trust(&registry)?;
            cluster.registry = Some(registry);
        }
        Ok(cluster)
    }

    /// The API, as an administrator.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Where the API server, and this machine, is for pods too.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.api.address().ip()
    }

    /// For kubectl, helm and clients of every kind: an administrator's.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.home.join("admin.kubeconfig")
    }

    /// The certificate of the authority that vouches for the API server.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.home.join("pki/ca.crt")
    }

    /// kubectl, ready for its words.
    ///
    /// # Errors
    /// It is not on this machine.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(home_of(Part::Kubeone)?.join("bin/kubectl"));
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.home);
        Ok(command)
    }

    /// What kubectl prints.
    ///
    /// # Errors
    /// What it says otherwise.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        succeeded(&self.command()?.args(words).output()?).with_context(|| format!("kubectl {}", words.join(" ")))
    }

    /// What Helm 3 or 4 prints.
    ///
    /// # Errors
    /// What it says otherwise.
    pub fn helm(&self, helm: Part, words: &[&str]) -> Result<String> {
        let mut command = Command::new(helm.find()?);
        command.args(words).env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.home);
        succeeded(&command.output()?).with_context(|| format!("helm {}", words.join(" ")))
    }

    /// A namespace that nobody else has, for as long as the value lives.
    ///
    /// # Errors
    /// The API server refuses it.
    pub fn namespace(&self, name: &str) -> Result<Namespace<'_>> {
        Namespace::make(self, name)
    }

    /// The registry that pods of this cluster pull from without a secret.
    ///
    /// # Panics
    /// There is none without a node.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        self.registry.as_ref().expect("a cluster with a node has a registry")
    }

    /// Puts an image into the registry as `name:tag`. See [`Registry::reference`] for what pods call it then.
    ///
    /// # Errors
    /// The registry refuses it.
    pub fn push(&self, image: &Image, name: &str) -> Result<Digest> {
        self.registry().push(image, name)
    }

    /// Lets pods pull from a registry: by HTTP, or by TLS with its own authority.
    ///
    /// # Errors
    /// The node's configuration cannot be written.
    pub fn trust(&self, registry: &Registry) -> Result<()> {
        let folder = self.home.join("hosts").join(registry.address().to_string());
        fs::create_dir_all(&folder)?;
        let url = registry.url();
        let authority = registry.authority().map(|path| format!("  ca = \"{}\"\n", path.display())).unwrap_or_default();
        let hosts =
            format!("server = \"{url}\"\n[host.\"{url}\"]\n  capabilities = [\"pull\", \"resolve\"]\n{authority}");
        Ok(fs::write(folder.join("hosts.toml"), hosts)?)
    }

    /// Loads an image into the nodes themselves, past every registry.
    ///
    /// # Errors
    /// containerd refuses it.
    pub fn import(&self, image: &Image, name: &str) -> Result<()> {
        let file = self.home.join("image.tar");
        layout::write(image, name, &file)?;
        let load = |node: u8| {
            let mut load = Command::new(packages()?.join("bin/ctr"));
            load.arg("--address").arg(self.home.join(format!("node-{node}/containerd.sock")));
            load.args(["--namespace", "k8s.io", "images", "import"]).arg(&file);
            succeeded(&load.output()?).map(drop).with_context(|| format!("load an image into node-{node}"))
        };
        let loaded = (1..=self.tier.n_nodes()).try_for_each(load);
        fs::remove_file(&file)?;
        loaded
    }

    /// Kills a program of the cluster.
    ///
    /// # Errors
    /// The cluster has ended.
    pub fn kill(&self, program: Program) -> Result<()> {
        self.tell("kill", program)
    }

    /// Starts a program that was killed. Returns before it is ready.
    ///
    /// # Errors
    /// The cluster has ended.
    pub fn start_again(&self, program: Program) -> Result<()> {
        self.tell("start", program)
    }

    /// Stops a program in its tracks, so that its connections stay and nobody answers on them.
    ///
    /// # Errors
    /// The cluster has ended.
    pub fn freeze(&self, program: Program) -> Result<()> {
        self.tell("freeze", program)
    }

    /// Lets a frozen program go on.
    ///
    /// # Errors
    /// The cluster has ended.
    pub fn thaw(&self, program: Program) -> Result<()> {
        self.tell("thaw", program)
    }

    /// Ends what speaks for a node, `node-1`: its pods run on, nobody learns of them, and nobody can end them.
    ///
    /// # Errors
    /// The cluster has ended.
    pub fn cut(&self, node: &str) -> Result<()> {
        self.line().tell("cut", node)
    }

    /// Takes the power of a node away: `node-1`. Its pods' processes are gone, and nobody is told.
    ///
    /// # Errors
    /// The cluster has ended.
    pub fn lose(&self, node: &str) -> Result<()> {
        self.line().tell("lose", node)
    }

    /// Kills the API server and waits until another one is ready in its place.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn restart_api_server(&self) -> Result<()> {
        self.kill(Program::ApiServer)?;
        self.start_again(Program::ApiServer)?;
        self.until_ready()
    }

    /// Waits until the API server says that it is ready.
    ///
    /// # Errors
    /// It does not say so.
    pub fn until_ready(&self) -> Result<()> {
        let look = || Ok(self.api.call("GET", "/readyz", None).map_or(0, |answer| answer.status));
        wait::until("the API server", SOON, look, |status| *status == 200).map(drop)
    }

    /// The last lines of what a program of the cluster logged.
    #[must_use]
    pub fn logged(&self, program: Program) -> String {
        let text = fs::read_to_string(self.home.join("log").join(program.name())).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// How much of it is real.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    fn tell(&self, verb: &str, program: Program) -> Result<()> {
        self.line().tell(verb, program.name())
    }

    fn end(&self) {
        self.line().end();
        if let Some(registry) = &self.registry {
            registry.end();
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where a pinned part is kept: the folder with `bin/` in it.
fn home_of(part: Part) -> Result<PathBuf> {
    let program = part.find()?.canonicalize()?;
    let home = program.parent().and_then(Path::parent).context("a program lies in a folder of programs")?;
    Ok(home.to_owned())
}

/// The folder of containerd, runc and the rest: `usr/` of what Debian packs.
pub(crate) fn packages() -> Result<PathBuf> {
    home_of(Part::Containerd)
}

/// A program that cargo built for this one, a test binary or a bench's or demo's program.
///
/// # Errors
/// It is not there: whoever runs a test binary by hand builds the programs first.
pub fn built(name: &str) -> Result<PathBuf> {
    let here = env::current_exe()?;
    // target/debug/deps/SUITE-0123456789abcdef, or target/debug/PROGRAM
    let folder = here.parent().context("a program lies in a folder of cargo's")?;
    let programs = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let program = programs.join(name);
    ensure!(program.is_file(), "{} is not built: run it by cargo test", program.display());
    Ok(program)
}
