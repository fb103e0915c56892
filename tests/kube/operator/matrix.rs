//! The operator's crash matrix: at each of its steps it stands still, its pod is killed, the API server dies and comes back, or the
//! registry dies; then nobody helps. What becomes of it is held by `docs/operate/operator-crash-matrix.md`.
//!
//! A trial is a fault, and its rows are upgrades side by side, each in a namespace of its own: they wait for each other at their steps,
//! since one API server and one registry serve them all (a pod is killed at once). `just operator-crash-matrix` writes the page anew.

mod page;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use ::operator::{GO, Misbehaviour, STOPPED, fault::Point};
use anyhow::{Context as _, anyhow, ensure};
use harness::{
    kube::{Cluster, NODE, Program, Tier},
    matrix::{self, Ending},
    parts::trial,
    wait,
};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::scene::{FIRST, LABEL, NAME, Plane, Scene};
use crate::{LIMIT, Result};

/// What happens at the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Pod,
    ApiServer,
    Registry,
}

/// The part of an upgrade in which it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The old version moves the Deployment to a good one.
    Change,
    /// The new version has it confirmed.
    Confirm,
    /// The new version crashes, and the old one moves the Deployment back.
    Back,
}

/// One experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) part: Part,
    pub(super) point: Point,
    pub(super) fault: Fault,
}

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("matrix_pods_that_die_at_any_step", NODE, || run(Fault::Pod)),
        trial("matrix_an_api_server_that_dies_at_any_step", NODE, || run(Fault::ApiServer)),
        trial("matrix_a_registry_that_dies_at_any_step", NODE, || run(Fault::Registry)),
        trial("matrix_page_shows_every_step", &[], || page::page().is_whole()),
    ]
}

// === impl Fault ===

impl Fault {
    pub(super) const ALL: [Self; 3] = [Self::Pod, Self::ApiServer, Self::Registry];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod killed",
            Self::ApiServer => "API server killed",
            Self::Registry => "registry killed",
        }
    }
}

// === impl Part ===

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Change, Self::Confirm, Self::Back];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Change => "Change of the image",
            Self::Confirm => "Confirmation",
            Self::Back => "Way back",
        }
    }

    pub(super) fn story(self) -> &'static str {
        match self {
            Self::Change => {
                "The old version has leave for a good one, and moves its own Deployment; the fault hits the old version."
            }
            Self::Confirm => "The new version leads and is confirmed; the fault hits the new version.",
            Self::Back => {
                "The new version crashes at every start; the fault hits the old version, which moves the Deployment back."
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Confirm => "confirmation",
            Self::Back => "way back",
        }
    }
}

// === impl Row ===

impl Row {
    pub(super) fn all(fault: Fault) -> Vec<Self> {
        let row = |part, point| Self { part, point, fault };
        vec![
            row(Part::Change, Point::BeforeChange),
            row(Part::Change, Point::Changed),
            row(Part::Confirm, Point::OutcomeKept),
            row(Part::Back, Point::BeforeBack),
            row(Part::Back, Point::Back),
            row(Part::Back, Point::OutcomeKept),
        ]
    }

    /// Of the version before, and of the one after.
    fn conduct(self) -> (Option<Misbehaviour>, Option<Misbehaviour>) {
        let stop = Some(Misbehaviour::StopAt(self.point));
        match self.part {
            Part::Change => (stop, None),
            Part::Confirm => (None, stop),
            Part::Back => (stop, Some(Misbehaviour::CrashAtStart)),
        }
    }

    /// What a node has to have to take its pods.
    fn room(self) -> String {
        format!("novacula.test/{}-{}", self.part.name().replace(' ', "-"), self.point.as_str())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.part.name(), self.point.as_str(), self.fault.name())
    }
}

/// Where all rows of a fault happen.
struct Ground<'c> {
    cluster: &'c Cluster,
    plane: Arc<Plane>,
    fault: Fault,
}

fn run(fault: Fault) -> Result {
    let own;
    let (cluster, plane) = match fault {
        Fault::Pod => (Cluster::shared()?, Plane::shared()?),
        Fault::ApiServer | Fault::Registry => {
            own = Cluster::start(Tier::Node)?;
            (&own, Arc::new(Plane::start(&own)?))
        }
    };
    let endings = Ground { cluster, plane, fault }.run()?;
    page::page().hold(&endings)
}

impl Ground<'_> {
    fn run(&self) -> Result<Vec<(matrix::Row, Ending)>> {
        let begun = side_by_side(Row::all(self.fault), |row| Ok((row, self.begin(row)?)))?;
        self.strike()?;
        for (row, (_, standing)) in begun.iter().filter(|_| self.fault != Fault::Pod) {
            fs::write(standing.within(GO), "").with_context(|| row.to_string())?;
        }
        if self.fault == Fault::ApiServer {
            self.cluster.start_again(Program::ApiServer)?;
            self.cluster.until_ready()?;
        }
        for (row, _) in begun.iter().filter(|(row, _)| self.holds_pods_back(*row)) {
            self.mark(&format!("{}=yes", row.room()))?;
        }
        let ended = side_by_side(begun, |(row, (scene, _))| {
            let (attempt, _) = scene.ended().with_context(|| row.to_string())?;
            Ok((row, scene, attempt))
        })?;
        if self.fault == Fault::Registry {
            // The version that runs may have to be pulled for what comes next.
            self.cluster.registry().start_again()?;
        }
        side_by_side(ended, |(row, scene, attempt)| {
            Ok((page::shown(row), ending(&scene, &attempt).with_context(|| format!("{row}: {attempt}"))?))
        })
    }

    /// Up to the step, where a process stands still.
    fn begin(&self, row: Row) -> Result<(Scene<'_>, Standing)> {
        let (before, after) = row.conduct();
        let room = row.room();
        self.mark(&format!("{room}=yes"))?;
        let selector = format!("nodeSelector.{}=yes", room.replace('.', "\\."));
        let name = format!("matrix-{}-{}", row.part.name().replace(' ', "-"), row.point.as_str());
        // Nothing is late because others are waited for.
        let values = ["--set-string", &selector, "--set", "rollout.startSeconds=300"];
        let scene = Scene::start_at(Arc::clone(&self.plane), self.cluster, &name, &values, before)?;
        scene.release(after)?;
        if self.holds_pods_back(row) {
            self.mark(&format!("{room}-"))?;
        }
        scene.request()?;
        let look = || standing(&scene);
        let standing =
            wait::until_at_leisure(&format!("{row}: a process that stands still"), LIMIT, look, Option::is_some)
                .with_context(|| scene.story())?;
        let standing = standing.context("a process that stands still")?;
        if self.fault == Fault::Pod {
            // At once: nobody else has to stand for it, and a new pod that is ready ends this one.
            let process = Pid::from_raw(standing.process).context("a process id")?;
            kill_process(process, Signal::KILL)?;
        }
        Ok((scene, standing))
    }

    /// A node takes the new pod once all rows stand and the fault is there: else the old one may have been ended before, or the node
    /// may have the image.
    fn holds_pods_back(&self, row: Row) -> bool {
        self.fault != Fault::Pod && row.part == Part::Change
    }

    fn mark(&self, label: &str) -> Result {
        self.cluster.kubectl(&["label", "--overwrite", "nodes", "--all", label]).map(drop)
    }

    /// What happens to all of them at once.
    fn strike(&self) -> Result {
        match self.fault {
            Fault::Pod => {}
            Fault::ApiServer => self.cluster.kill(Program::ApiServer)?,
            Fault::Registry => self.cluster.registry().kill(),
        }
        Ok(())
    }
}

/// Does it for all of them at once; what went wrong with any is told together.
fn side_by_side<T: Send, U: Send>(all: Vec<T>, each: impl Fn(T) -> Result<U> + Sync) -> Result<Vec<U>> {
    let each = &each;
    let done: Vec<Result<U>> = thread::scope(|scope| {
        let running: Vec<_> = all.into_iter().map(|one| scope.spawn(move || each(one))).collect();
        running.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("it panicked")))).collect()
    });
    let (done, wrong): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    let wrong: Vec<_> = wrong.into_iter().filter_map(Result::err).map(|error| format!("{error:?}")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(done.into_iter().filter_map(Result::ok).collect())
}

/// A process of a pod that stands still.
#[derive(Debug)]
struct Standing {
    process: i32,
}

impl Standing {
    /// A path of the pod, as this machine sees it.
    fn within(&self, path: &str) -> PathBuf {
        let root = Path::new("/proc").join(self.process.to_string()).join("root");
        root.join(path.trim_start_matches('/'))
    }
}

fn standing(scene: &Scene<'_>) -> Result<Option<Standing>> {
    for pod in scene.namespace.pods(LABEL)? {
        let name = pod["metadata"]["name"].as_str().context("a pod's name")?;
        // One that is not there yet, or no more, does not stand still.
        let Ok(process) = scene.process(name) else { continue };
        let standing = Standing { process };
        if standing.within(STOPPED).exists() {
            return Ok(Some(standing));
        }
    }
    Ok(None)
}

/// Checked in every row: one version is live, its pod is online, and nothing of the attempt is left on the Deployment.
fn ending(scene: &Scene<'_>, attempt: &Value) -> Result<Ending> {
    let text = |field: &str, prefix: &str| {
        let text = attempt[field].as_str().unwrap_or_default();
        let text = text.strip_prefix(prefix).unwrap_or(text).to_lowercase();
        if text.is_empty() || text == "unspecified" { "–".to_owned() } else { text }
    };
    let live = scene.executor()?["version"].as_str().unwrap_or_default().to_owned();
    let image = scene.image()?;
    scene.settled(&image).with_context(|| scene.story())?;
    let version = if live == FIRST { FIRST } else { &scene.target };
    scene.online(version)?;
    ensure!(scene.image()? == image, "{NAME} names another image again");
    Ok(Ending {
        runs: if version == FIRST { "old" } else { "new" },
        outcome: text("outcome", "OUTCOME_"),
        stage: text("stage", "STAGE_"),
        code: text("errorCode", "").to_uppercase(),
    })
}
