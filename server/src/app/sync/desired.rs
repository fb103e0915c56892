//! What is desired of executors now: a function of the row, the attempt behind the pending upgrade, its release, and the
//! store's clock. Level-triggered: asked whenever something may have changed, it answers the same until something has.

use std::collections::HashMap;

use domain::attempt::remaining_ttl;
use domain::executor::State;
use domain::release::Location;
use domain::{
    AgentUpgradeSpec, Artifact, Attempt, Desired, Executor, ExecutorUid, Kind, OperatorUpgradeSpec,
    Reason, Refusal, Release, ReleaseId, Spec, Timestamp, Version, Want,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::deleted;
use crate::app::App;
use crate::app::error::Error;

/// Attempts that are read side by side: as many as the store has readers to keep busy.
const READS_AT_ONCE: usize = 8;

/// What a session has to do about its executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Say this.
    Desired {
        /// What is desired.
        desired: Desired,
        /// For a rollback: which version comes back.
        rollback_to: Option<Version>,
    },
    /// Say nothing: two instances use this identity, and a person has not decided yet (rule 7).
    Withheld,
    /// Close the stream: deactivated or deleted.
    Gone(Refusal),
}

/// The spec of a release for an executor; none when it has no artifact for it.
#[must_use]
pub fn spec(release: &Release, executor: &Executor) -> Option<Spec> {
    let target_version = release.id.version.clone();
    let artifact = match release.id.kind {
        Kind::Agent => release.agent_artifact(executor.platform.as_ref()?)?,
        Kind::Operator => release.operator_artifact()?,
    };
    Some(match artifact.clone() {
        Artifact::Agent {
            size,
            sha256,
            location,
            signatures,
            ..
        } => Spec::Agent(AgentUpgradeSpec {
            download_uri: match location {
                Location::Stored => format!("/artifacts/{sha256}"),
                Location::External(url) => url,
            },
            size_bytes: size,
            sha256,
            minisign_signatures: signatures,
            target_version,
        }),
        Artifact::Operator {
            image,
            digest,
            signatures,
        } => Spec::Operator(OperatorUpgradeSpec {
            image,
            digest,
            minisign_signatures: signatures,
            target_version,
        }),
    })
}

impl App {
    /// What is desired of each of these executors; one answer for each. The store is asked for all of them together.
    pub(crate) async fn sync_desired(
        &self,
        uids: &[ExecutorUid],
    ) -> Result<HashMap<ExecutorUid, Wanted>, Error> {
        let now = self.now().await?;
        let executors = self.store.executor_list_by_uid(uids).await?;
        let attempts = self.pending_attempts(&executors).await?;
        let releases = self.releases_of(attempts.values()).await?;
        let mut wanted: HashMap<ExecutorUid, Wanted> = uids
            .iter()
            .map(|uid| (*uid, Wanted::Gone(deleted(*uid))))
            .collect();
        for executor in &executors {
            let attempt = attempts.get(&executor.uid);
            let release = attempt.and_then(|attempt| releases.get(&attempt.release));
            let one = self.wanted(executor, attempt, release, now);
            wanted.insert(executor.uid, one);
        }
        Ok(wanted)
    }

    fn wanted(
        &self,
        executor: &Executor,
        attempt: Option<&Attempt>,
        release: Option<&Release>,
        now: Timestamp,
    ) -> Wanted {
        if executor.state == State::Deactivated {
            return Wanted::Gone(deactivated(executor));
        }
        if executor.duplicated_since.is_some() {
            return Wanted::Withheld;
        }
        let generation = executor.generation;
        let say = |want, rollback_to| Wanted::Desired {
            desired: Desired { generation, want },
            rollback_to,
        };
        let Some(attempt) = attempt.filter(|attempt| attempt.is_pending()) else {
            return say(Want::Nothing, None);
        };
        if attempt.rollback_requested {
            let want = Want::RollBack {
                attempt: attempt.id,
            };
            return say(want, Some(attempt.from_version.clone()));
        }
        // Refused ones are said too: the executor remembers, and reports again what it was asked again.
        match release.and_then(|release| spec(release, executor)) {
            Some(spec) => {
                let remaining_ttl = remaining_ttl(attempt, &self.settings.policy, now);
                let want = Want::Upgrade {
                    attempt: attempt.id,
                    spec,
                    remaining_ttl,
                };
                say(want, None)
            }
            None => {
                tracing::error!(executor = %executor.name, attempt = %attempt.id, release = %attempt.release, "the pending release has no artifact for this executor any more");
                say(Want::Nothing, None)
            }
        }
    }

    async fn pending_attempts(
        &self,
        executors: &[Executor],
    ) -> Result<HashMap<ExecutorUid, Attempt>, Error> {
        let pending: Vec<_> = executors
            .iter()
            .filter_map(|executor| executor.pending)
            .collect();
        let read = |id| self.store.attempt_get(id);
        let attempts: Vec<Option<Attempt>> = stream::iter(pending)
            .map(read)
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let by_executor = |attempt: Attempt| (attempt.executor, attempt);
        Ok(attempts.into_iter().flatten().map(by_executor).collect())
    }

    async fn releases_of(
        &self,
        attempts: impl Iterator<Item = &Attempt>,
    ) -> Result<HashMap<ReleaseId, Release>, Error> {
        let mut releases = HashMap::new();
        for attempt in attempts {
            if !releases.contains_key(&attempt.release)
                && let Some(release) = self.store.release_get(&attempt.release).await?
            {
                releases.insert(attempt.release.clone(), release);
            }
        }
        Ok(releases)
    }
}

/// What a deactivated executor is told.
pub(super) fn deactivated(executor: &Executor) -> Refusal {
    let message = format!(
        "{} is deactivated; a person has to activate it before it may sync",
        executor.name
    );
    Refusal::new(Reason::ExecutorDeactivated, message).with("executor", &executor.name)
}
