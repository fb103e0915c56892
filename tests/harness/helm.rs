//! Helm in both majors that people use. Neither learns anything about the person at the machine, nor leaves anything there.
//!
//! ```no_run
//! use harness::helm::{self, Helm};
//!
//! let chart = helm::chart("novacula-operator");
//! let manifests = Helm::Three.template("novacula-operator", &chart, &["--set", "image.pin=true"])?;
//! # anyhow::Ok(())
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::daemon::succeeded;
use crate::parts::{Part, workspace};

/// Which version of Kubernetes `template` makes manifests for: it asks no cluster.
const FOR: &str = "1.36.3";

/// Where `template` says that it installs to.
pub const NAMESPACE: &str = "there";

/// A major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helm {
    /// Patches what is in the cluster from the client, three-way.
    Three,
    /// Applies on the server's side, with an owner for each field.
    Four,
}

/// Both.
pub const BOTH: [Helm; 2] = [Helm::Three, Helm::Four];

// === impl Helm ===

impl Helm {
    /// It, with nothing said yet.
    ///
    /// # Errors
    /// When it is missing.
    pub fn command(self) -> Result<Command> {
        let program = match self {
            Self::Three => Part::Helm3.find()?,
            Self::Four => Part::Helm4.find()?,
        };
        // Nothing is there, and charts in folders need nothing there.
        let home = workspace().join("target/helm");
        let mut command = Command::new(program);
        for (name, folder) in [("CACHE", "cache"), ("CONFIG", "config"), ("DATA", "data")] {
            command.env(format!("HELM_{name}_HOME"), home.join(folder));
        }
        Ok(command)
    }

    /// The manifests of a release, which no cluster is asked about.
    ///
    /// # Errors
    /// With what it said, when it refuses.
    pub fn template(self, release: &str, chart: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = self.command()?;
        command.arg("template").arg(release).arg(chart).args(["--namespace", NAMESPACE, "--kube-version", FOR]);
        succeeded(&command.args(arguments).output()?).with_context(|| format!("{self:?}: {arguments:?}"))
    }

    /// What `helm lint` finds, warnings too.
    ///
    /// # Errors
    /// With what it found.
    pub fn lint(self, chart: &Path, values: &Path) -> Result<()> {
        let mut command = self.command()?;
        command.args(["lint", "--strict", "--kube-version", FOR]).arg(chart).arg("--values").arg(values);
        let output = command.output()?;
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        succeeded(&output).with_context(|| format!("{self:?}: {found}")).map(drop)
    }
}

/// The folder of one of our charts.
#[must_use]
pub fn chart(name: &str) -> PathBuf {
    workspace().join("deploy/helm").join(name)
}
