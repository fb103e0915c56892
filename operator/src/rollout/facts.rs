//! A rollout as the cluster shows it: the Deployment, and the pods of its new version.

use k8s_openapi::api::core::v1 as core;

use crate::deployment::Own;

/// What is seen of a rollout at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// What the Deployment names now.
    pub image: String,
    /// Who set it.
    pub image_set_by: Vec<String>,
    /// It makes no new pods.
    pub paused: bool,
    /// Why its controller cannot make the new pod.
    pub refused: Option<String>,
    /// Its controller has waited for as long as it is told to.
    pub deadline_exceeded: Option<String>,
    /// The new version's pods that are not on their way out.
    pub pods: Vec<Pod>,
}

/// A pod of the new version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `Pending`, `Running` and so on.
    pub phase: String,
    /// Why no node takes it.
    pub unschedulable: Option<String>,
    /// Its containers, those that prepare it first.
    pub containers: Vec<Container>,
}

/// A container of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Reason and message of waiting.
    pub waiting: Option<(String, String)>,
    /// It runs.
    pub running: bool,
    /// Its readiness probe says so.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// Why its last run ended.
    pub last_reason: Option<String>,
    /// What the runtime said of that.
    pub last_message: Option<String>,
    /// With which code.
    pub last_exit_code: Option<i32>,
}

/// Which run of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The present one, or the last.
    Last,
    /// The one before it.
    Previous,
}

impl Rollout {
    /// Reads it; of `pods` only those that run the Deployment's present image count.
    #[must_use]
    pub fn read(own: &Own, pods: &[core::Pod], container: &str) -> Self {
        let progressing = own.progressing.as_ref();
        let exceeded = progressing.filter(|found| !found.holds && found.reason == "ProgressDeadlineExceeded");
        let new = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none() && image_of(pod, container) == Some(&own.image));
        Self {
            image: own.image.clone(),
            image_set_by: own.set_by(),
            paused: own.paused,
            refused: own.replica_failure.as_ref().filter(|found| found.holds).map(|found| found.message.clone()),
            deadline_exceeded: exceeded.map(|found| found.message.clone()),
            pods: new.map(Pod::read).collect(),
        }
    }
}

impl Pod {
    /// Whether all of it is.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.containers.is_empty() && self.containers.iter().all(|container| container.ready)
    }

    fn read(pod: &core::Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let scheduled = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled");
        let refused =
            scheduled.filter(|found| found.status == "False" && found.reason.as_deref() == Some("Unschedulable"));
        let prepare = status.init_container_statuses.unwrap_or_default();
        let main = status.container_statuses.unwrap_or_default();
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            phase: status.phase.unwrap_or_default(),
            unschedulable: refused.map(|found| found.message.unwrap_or_default()),
            containers: prepare.iter().chain(&main).map(Container::read).collect(),
        }
    }
}

impl Container {
    fn read(status: &core::ContainerStatus) -> Self {
        let state = status.state.clone().unwrap_or_default();
        let last = status.last_state.clone().unwrap_or_default().terminated;
        let ended = state.terminated.clone().or(last);
        // A container that prepares the pod has done its part when it ended well.
        let done = state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0) && status.ready;
        Self {
            name: status.name.clone(),
            waiting: state
                .waiting
                .map(|waiting| (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())),
            running: state.running.is_some(),
            ready: status.ready || done,
            restarts: status.restart_count,
            last_reason: ended.as_ref().and_then(|ended| ended.reason.clone()),
            last_message: ended.as_ref().and_then(|ended| ended.message.clone()),
            last_exit_code: ended.map(|ended| ended.exit_code),
        }
    }
}

fn image_of<'a>(pod: &'a core::Pod, container: &str) -> Option<&'a String> {
    let containers = &pod.spec.as_ref()?.containers;
    containers.iter().find(|found| found.name == container)?.image.as_ref()
}
