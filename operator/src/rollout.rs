//! Whether a new version comes up: what the cluster shows of a rollout goes in, a finding comes out. Pure, but for reading.
//!
//! A reason counts when it lasts. How long, [`Patience`] says: a registry may hiccup, an autoscaler may be adding a node. Crashes count by
//! their number. A pod that runs and is not ready counts only if the control plane has been reached from here for a while: else it is an
//! outage, or one that has just ended, which rolls nobody back.

mod facts;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::attempt::{ErrorCode, Stage, Waiting};

pub use facts::{Container, Pod, Rollout, Run};

/// How long each reason has to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// An image that cannot be pulled.
    pub pull: Duration,
    /// A container that cannot be made or started.
    pub container: Duration,
    /// A pod that no node takes.
    pub unschedulable: Duration,
    /// Pods that quota or admission refuses.
    pub refused: Duration,
    /// A control plane that is reached from here, and a pod that does not become ready: it may have asked last while that was away.
    pub reached: Duration,
    /// Restarts of one pod.
    pub restarts: i32,
    /// After which a person is asked.
    pub window: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            pull: Duration::from_secs(15),
            container: Duration::from_secs(10),
            unschedulable: Duration::from_secs(90),
            refused: Duration::from_secs(20),
            // A candidate asks every ten seconds at the latest, is answered inside ten, and looked at every five.
            reached: Duration::from_secs(30),
            restarts: 2,
            window: Duration::from_secs(30 * 60),
        }
    }
}

/// What is watched over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What the Deployment named before.
    pub previous_image: String,
    /// What it is to name now.
    pub target_image: String,
    /// How long ago the image was changed.
    pub age: Duration,
}

/// What there is to say of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing yet.
    Wait,
    /// It does not come up.
    Failed(Fault),
    /// It does not come up, unless the control plane itself is away, or just was: [`Judge::reached`] says.
    FailedUnlessOutage(Fault),
    /// Somebody else changed the image, in these words.
    Superseded(String),
    /// The time is over, and it is not known what becomes of it.
    Overdue(String),
}

/// Why a version does not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In which stage.
    pub stage: Stage,
    /// The typed error.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: String,
    /// Whose log says more: pod, container, which run.
    pub log: Option<(String, String, Run)>,
    /// Whose warnings say more.
    pub pod: Option<String>,
}

impl From<Fault> for Waiting {
    fn from(Fault { code, message, .. }: Fault) -> Self {
        Self { error_code: code, message }
    }
}

/// A reason that has to last. Reasons that alternate are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lasting {
    /// It cannot get better.
    Never,
    Pull,
    Container,
    Unschedulable,
    Refused,
}

/// Looks at a rollout again and again, and remembers since when each reason lasts.
#[derive(Clone, Debug)]
pub struct Judge {
    patience: Patience,
    since: BTreeMap<Lasting, Duration>,
    /// Since when, without a break, the control plane has been reached from here while a pod is not ready.
    reached_since: Option<Duration>,
}

impl Judge {
    /// That has seen nothing yet.
    #[must_use]
    pub const fn new(patience: Patience) -> Self {
        Self { patience, since: BTreeMap::new(), reached_since: None }
    }

    /// Looks once; `now` is this process's own clock.
    pub fn look(&mut self, rollout: &Rollout, trial: &Trial, now: Duration) -> Finding {
        let finding = self.find(rollout, trial, now);
        if !matches!(finding, Finding::FailedUnlessOutage(_)) {
            self.reached_since = None;
        }
        finding
    }

    /// After [`Finding::FailedUnlessOutage`], and with what the control plane answered to this process: whether that finding counts.
    pub fn reached(&mut self, answered: bool, now: Duration) -> bool {
        if !answered {
            self.reached_since = None;
            return false;
        }
        now.saturating_sub(*self.reached_since.get_or_insert(now)) >= self.patience.reached
    }

    fn find(&mut self, rollout: &Rollout, trial: &Trial, now: Duration) -> Finding {
        if rollout.image != trial.target_image {
            return Finding::Superseded(changed(&rollout.image, &rollout.image_set_by, &trial.previous_image));
        }
        if let Some(fault) = self.lasting(rollout, now).or_else(|| crashed(rollout, self.patience.restarts)) {
            return Finding::Failed(fault);
        }
        if let Some(fault) = stuck(rollout) {
            return fault;
        }
        if trial.age >= self.patience.window {
            return Finding::Overdue(overdue(rollout, self.patience.window));
        }
        Finding::Wait
    }

    /// The first of the reasons that have lasted long enough.
    fn lasting(&mut self, rollout: &Rollout, now: Duration) -> Option<Fault> {
        let found: BTreeMap<Lasting, Fault> = reasons(rollout).into_iter().rev().collect();
        self.since.retain(|reason, _| found.contains_key(reason));
        let patience = self.patience;
        let mut due = None;
        for (reason, fault) in found {
            let since = *self.since.entry(reason).or_insert(now);
            let enough = match reason {
                Lasting::Never => Duration::ZERO,
                Lasting::Pull => patience.pull,
                Lasting::Container => patience.container,
                Lasting::Unschedulable => patience.unschedulable,
                Lasting::Refused => patience.refused,
            };
            if due.is_none() && now.saturating_sub(since) >= enough {
                due = Some(fault);
            }
        }
        due
    }
}

/// What would count if it lasts, or happens once more: what people are told while it does not count yet.
#[must_use]
pub fn waits_out(rollout: &Rollout) -> Option<Waiting> {
    let lasting = reasons(rollout).into_iter().next().map(|(_, fault)| fault);
    lasting.or_else(|| crashed(rollout, 1)).map(Waiting::from)
}

/// Reasons that are there now, the most telling first.
fn reasons(rollout: &Rollout) -> Vec<(Lasting, Fault)> {
    let mut found = Vec::new();
    for pod in &rollout.pods {
        for container in &pod.containers {
            let Some((reason, why)) = &container.waiting else {
                continue;
            };
            let (lasting, code) = match reason.as_str() {
                "InvalidImageName" => (Lasting::Never, ErrorCode::ImagePull),
                "ImagePullBackOff"
                | "ErrImagePull"
                | "ErrImageNeverPull"
                | "RegistryUnavailable"
                | "ImageInspectError"
                | "SignatureValidationFailed" => (Lasting::Pull, ErrorCode::ImagePull),
                "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" | "StartError" => {
                    (Lasting::Container, ErrorCode::ContainerConfig)
                }
                _ => continue,
            };
            let message = format!("container {} of pod {}: {reason}: {why}", container.name, pod.name);
            let fault = Fault { stage: Stage::Start, code, message, log: None, pod: Some(pod.name.clone()) };
            found.push((lasting, fault));
        }
        if let Some(why) = &pod.unschedulable {
            let message = format!("no node takes pod {}: {why}", pod.name);
            let fault = Fault {
                stage: Stage::Start,
                code: ErrorCode::Unschedulable,
                message,
                log: None,
                pod: Some(pod.name.clone()),
            };
            found.push((Lasting::Unschedulable, fault));
        }
    }
    if let Some(why) = &rollout.refused {
        let message = format!("the new pod is refused: {why}");
        let fault = Fault { stage: Stage::Start, code: ErrorCode::AdmissionRefused, message, log: None, pod: None };
        found.push((Lasting::Refused, fault));
    }
    found
}

/// The container that was restarted most, and at least so often.
fn crashed(rollout: &Rollout, restarts: i32) -> Option<Fault> {
    let containers = rollout.pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)));
    let (pod, container) = containers
        .filter(|(_, container)| !container.ready && container.restarts >= restarts)
        .max_by_key(|(_, container)| container.restarts)?;
    let (code, how) = match (container.last_reason.as_deref(), container.last_exit_code) {
        (Some("StartError" | "ContainerCannotRun"), _) => {
            (ErrorCode::ContainerConfig, "could not be started".to_owned())
        }
        (Some("OOMKilled"), _) => (ErrorCode::OutOfMemory, "was killed for its memory".to_owned()),
        (_, Some(0)) => (ErrorCode::CleanExit, "exited with 0".to_owned()),
        (_, Some(code)) => (ErrorCode::CrashLoop, format!("exited with {code}")),
        (_, None) => (ErrorCode::CrashLoop, "ended".to_owned()),
    };
    let now = container.waiting.as_ref().map_or("running again", |(reason, _)| reason);
    let said = container.last_message.as_deref().filter(|said| !said.is_empty());
    let message = format!(
        "container {} of pod {} {how} and was restarted {} times ({now}){}",
        container.name,
        pod.name,
        container.restarts,
        said.map(|said| format!(": {said}")).unwrap_or_default(),
    );
    let run = if container.running { Run::Previous } else { Run::Last };
    Some(Fault {
        stage: Stage::Start,
        code,
        message,
        log: Some((pod.name.clone(), container.name.clone(), run)),
        pod: Some(pod.name.clone()),
    })
}

/// The Deployment has given up waiting.
fn stuck(rollout: &Rollout) -> Option<Finding> {
    let why = rollout.deadline_exceeded.as_ref()?;
    let running = rollout.pods.iter().find_map(|pod| {
        let container = pod.containers.iter().find(|container| container.running && !container.ready)?;
        Some((pod, container))
    });
    Some(match running {
        Some((pod, container)) => Finding::FailedUnlessOutage(Fault {
            stage: Stage::Connect,
            code: ErrorCode::NeverReady,
            message: format!("pod {} runs and does not become ready: {why}", pod.name),
            log: Some((pod.name.clone(), container.name.clone(), Run::Last)),
            pod: Some(pod.name.clone()),
        }),
        // A pod that is ready only waits for its time: it is past the point that this deadline is about.
        None if rollout.pods.iter().any(|pod| pod.is_ready()) => return None,
        // What would have counted a little later says more than that it is late.
        None if !reasons(rollout).is_empty() => Finding::Failed(reasons(rollout).swap_remove(0).1),
        None => Finding::Failed(Fault {
            stage: Stage::Start,
            code: ErrorCode::ProgressDeadline,
            message: format!("{why}; {}", state_of(rollout)),
            log: None,
            pod: rollout.pods.first().map(|pod| pod.name.clone()),
        }),
    })
}

fn state_of(rollout: &Rollout) -> String {
    match rollout.pods.first() {
        Some(pod) => format!("pod {} is {}", pod.name, pod.phase),
        None => "there is no new pod".to_owned(),
    }
}

fn overdue(rollout: &Rollout, window: Duration) -> String {
    let window = humantime::format_duration(window);
    let paused = if rollout.paused { "; the Deployment is paused" } else { "" };
    format!(
        "{window} after the image was changed it is not known whether the new version comes up: {}{paused}",
        state_of(rollout)
    )
}

/// Somebody changed the image of a Deployment while an attempt was open, in words.
#[must_use]
pub fn changed(image: &str, set_by: &[String], previous_image: &str) -> String {
    let who = if set_by.is_empty() { "somebody".to_owned() } else { set_by.join(", ") };
    let back = if image == previous_image { "back " } else { "" };
    format!("{who} set the image {back}to {image} in the meantime, and that stays")
}

#[cfg(test)]
mod tests;
