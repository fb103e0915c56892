//! The command line: flags and environment are declared here and nowhere else. In a pod everything comes by environment.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use domain::join::Endpoint;
use domain::{Channel, ExecutorId};
use executor_sdk::program::LogFormat;

use crate::rollout::Patience;

/// Where a pod's own credentials for the cluster are, and its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The Novacula operator.
///
/// A Deployment that the control plane upgrades: it changes the image of its own Deployment, watches the rollout, and changes it
/// back when the new version does not come up.
#[derive(Debug, Parser)]
#[command(name = "novacula-operator", max_term_width = 100, after_help = STORY)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const STORY: &str = "\
It is installed by its Helm chart, deploy/helm/novacula-operator, which makes the Deployment, the Lease, the Secret and the
few rights that it needs.

Exit codes: 0 done, 1 refused or failed, 2 usage, 78 bad configuration.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator; the pod's container does this
    Run(Box<Run>),
    /// Whether this pod has proved that it can reach the control plane (the pod's readiness probe)
    Ready(Ready),
}

/// Where it runs, and its wishes.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Namespace of everything named below [default: the pod's own]
    #[arg(long, env = "NOVACULA_NAMESPACE", default_value_t = own_namespace(), hide_default_value = true)]
    pub namespace: String,
    /// This pod's name
    #[arg(long, env = "NOVACULA_POD")]
    pub pod: String,
    /// The Deployment that this operator is, and changes
    #[arg(long, env = "NOVACULA_DEPLOYMENT", default_value = "novacula-operator")]
    pub deployment: String,
    /// Its container whose image is this operator
    #[arg(long, env = "NOVACULA_CONTAINER", default_value = "operator")]
    pub container: String,
    /// The Secret that keeps private key, certificate and journal
    #[arg(long, env = "NOVACULA_SECRET", default_value = "novacula-operator")]
    pub secret: String,
    /// The Lease that says which pod speaks for this executor
    #[arg(long, env = "NOVACULA_LEASE", default_value = "novacula-operator")]
    pub lease: String,
    /// Says to `ready` that this pod has proved itself
    #[arg(long, env = "NOVACULA_READY_FILE", default_value = READY_FILE)]
    pub ready_file: PathBuf,
    /// How long a rollout is watched for a verdict before a person is asked
    #[arg(long, env = "NOVACULA_MONITOR_WINDOW", default_value = "30m", value_parser = humantime::parse_duration)]
    pub monitor_window: Duration,
    #[command(flatten)]
    patience: Waits,
    #[command(flatten)]
    pub(crate) enrolment: Enrolment,
    #[command(flatten)]
    pub(crate) wishes: Wishes,
    #[command(flatten)]
    pub(crate) registries: Registries,
    /// How lines are logged
    #[arg(long, env = "NOVACULA_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace
    #[arg(long, env = "NOVACULA_LOG_LEVEL", default_value = "info")]
    pub log_level: tracing::Level,
}

/// For how long a reason against a new version has to last before it counts.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Patience with a new version")]
struct Waits {
    /// An image that cannot be pulled
    #[arg(long, env = "NOVACULA_PATIENCE_PULL", default_value = "15s", value_parser = humantime::parse_duration)]
    patience_pull: Duration,
    /// A container that cannot be made or started
    #[arg(long, env = "NOVACULA_PATIENCE_CONTAINER", default_value = "10s", value_parser = humantime::parse_duration)]
    patience_container: Duration,
    /// A pod that no node takes: an autoscaler may be adding one
    #[arg(long, env = "NOVACULA_PATIENCE_UNSCHEDULABLE", default_value = "90s", value_parser = humantime::parse_duration)]
    patience_unschedulable: Duration,
    /// A pod that quota or admission refuses
    #[arg(long, env = "NOVACULA_PATIENCE_REFUSED", default_value = "20s", value_parser = humantime::parse_duration)]
    patience_refused: Duration,
}

/// How it gets its certificate, once.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Enrolment")]
pub(crate) struct Enrolment {
    /// Read the join token from this file
    #[arg(long, env = "NOVACULA_JOIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) join_token_file: Option<PathBuf>,
    /// Enrol with the projected ServiceAccount token in this file instead; with --endpoint and --ca-file
    #[arg(long, env = "NOVACULA_SERVICE_ACCOUNT_TOKEN_FILE", value_name = "FILE")]
    pub(crate) service_account_token_file: Option<PathBuf>,
    /// The control plane's authorities (PEM), which alone are shown that token
    #[arg(long, env = "NOVACULA_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Its name in the organization, where the join token does not say it (1 to 63 of a-z, 0-9, -)
    #[arg(long, env = "NOVACULA_EXECUTOR_NAME", value_name = "NAME")]
    pub(crate) executor_name: Option<ExecutorId>,
    /// Where the control plane is, if not where the join token or an earlier value said; also for who is enrolled
    #[arg(long, env = "NOVACULA_ENDPOINT", value_name = "URL")]
    pub(crate) endpoint: Option<Endpoint>,
}

/// What the cluster's people allow.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Upgrades")]
pub(crate) struct Wishes {
    /// Refuse upgrades, for this reason
    #[arg(long, env = "NOVACULA_PIN", value_name = "REASON")]
    pub(crate) pin: Option<String>,
    /// The channel of this executor
    #[arg(long, env = "NOVACULA_CHANNEL")]
    pub(crate) channel: Option<Channel>,
    /// The widest channel that this cluster accepts
    #[arg(long, env = "NOVACULA_CHANNEL_CEILING", value_name = "CHANNEL")]
    pub(crate) channel_ceiling: Option<Channel>,
}

/// How images are looked at before they are deployed.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Registries")]
pub(crate) struct Registries {
    /// Names of imagePullSecrets to look at images with
    #[arg(long = "pull-secret", env = "NOVACULA_PULL_SECRETS", value_delimiter = ',', value_name = "SECRET")]
    pub(crate) pull_secrets: Vec<String>,
    /// Ask another host for a registry's images, as the cluster's nodes do
    #[arg(
        long = "registry-mirror",
        env = "NOVACULA_REGISTRY_MIRRORS",
        value_delimiter = ',',
        value_name = "HOST=MIRROR"
    )]
    pub(crate) registry_mirrors: Vec<String>,
    /// Trust these authorities (PEM) for registries, beside the usual ones
    #[arg(long, env = "NOVACULA_REGISTRY_CA_FILE", value_name = "FILE")]
    pub(crate) registry_ca_file: Option<PathBuf>,
    /// Speak plain HTTP with these registries
    #[arg(
        long = "plain-http-registry",
        env = "NOVACULA_PLAIN_HTTP_REGISTRIES",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub(crate) plain_http_registries: Vec<String>,
}

// === impl Run ===

impl Run {
    /// How long each reason against a new version has to last.
    #[must_use]
    pub fn patience(&self) -> Patience {
        let Waits { patience_pull, patience_container, patience_unschedulable, patience_refused } = self.patience;
        Patience {
            pull: patience_pull,
            container: patience_container,
            unschedulable: patience_unschedulable,
            refused: patience_refused,
            window: self.monitor_window,
            ..Patience::default()
        }
    }
}

/// Where `ready` looks.
#[derive(Clone, Debug, Args)]
pub struct Ready {
    /// As for `run`
    #[arg(long, env = "NOVACULA_READY_FILE", default_value = READY_FILE)]
    pub ready_file: PathBuf,
}

const READY_FILE: &str = "/run/novacula/ready";

/// Outside a pod there is none, and it has to be said.
fn own_namespace() -> String {
    std::fs::read_to_string(NAMESPACE_FILE).map_or_else(|_| "novacula-system".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Run {
        let words = [&["novacula-operator", "run", "--pod", "a"], words].concat();
        match Arguments::try_parse_from(words).expect("fine").command {
            Command::Run(run) => *run,
            Command::Ready(ready) => panic!("{ready:?}"),
        }
    }

    #[test]
    fn who_says_nothing_of_patience_has_the_usual_one() {
        assert_eq!(run(&[]).patience(), Patience::default());
    }

    #[test]
    fn each_word_of_patience_is_for_its_own_reason() {
        let words =
            ["pull=1s", "container=2s", "unschedulable=3s", "refused=4s"].map(|word| format!("--patience-{word}"));
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["--monitor-window=5s"]).collect();
        let [pull, container, unschedulable, refused, window] = [1, 2, 3, 4, 5].map(Duration::from_secs);
        let expected = Patience { pull, container, unschedulable, refused, window, ..Patience::default() };
        assert_eq!(run(&words).patience(), expected);
    }
}
