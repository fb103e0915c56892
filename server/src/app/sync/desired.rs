//! What is desired of executors now: a function of the row, the attempt behind the pending upgrade, its release, and the
//! store's clock. Level-triggered: asked whenever something may have changed, it answers the same until something has.

use std::collections::HashMap;

use domain::attempt::remaining_ttl;
use domain::executor::State;
use domain::{
    Attempt, AttemptId, Desired, Executor, ExecutorUid, Reason, Refusal, Release, ReleaseId, Timestamp, Version, Want,
};

use super::deleted;
use crate::app::App;
use crate::app::error::Error;
use crate::app::spec::spec;

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

impl App {
    /// What is desired of each of these executors; one answer for each. The store is asked for all of them together.
    pub(crate) async fn sync_desired(&self, uids: &[ExecutorUid]) -> Result<HashMap<ExecutorUid, Wanted>, Error> {
        let now = self.now().await?;
        let executors = self.store.executor_list_by_uid(uids).await?;
        let attempts = self.attempts_desired(&executors).await?;
        let releases = self.releases_desired(attempts.values()).await?;
        let mut wanted: HashMap<ExecutorUid, Wanted> =
            uids.iter().map(|uid| (*uid, Wanted::Gone(deleted(*uid)))).collect();
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
        let say = |want, rollback_to| Wanted::Desired { desired: Desired { generation, want }, rollback_to };
        let Some(attempt) = attempt.filter(|attempt| attempt.is_pending()) else {
            return say(Want::Nothing, None);
        };
        if attempt.rollback_requested {
            let want = Want::RollBack { attempt: attempt.id };
            return say(want, Some(attempt.from_version.clone()));
        }
        // Refused ones are said too: the executor remembers, and reports again what it was asked again.
        match release.and_then(|release| spec(release, executor)) {
            Some(spec) => {
                let remaining_ttl = remaining_ttl(attempt, &self.settings.policy, now);
                let want = Want::Upgrade { attempt: attempt.id, spec, remaining_ttl };
                say(want, None)
            }
            None => {
                tracing::error!(executor = %executor.name, attempt = %attempt.id, release = %attempt.release, "the pending release has no artifact for this executor any more");
                say(Want::Nothing, None)
            }
        }
    }

    async fn attempts_desired(&self, executors: &[Executor]) -> Result<HashMap<ExecutorUid, Attempt>, Error> {
        let pending: Vec<AttemptId> = executors.iter().filter_map(|executor| executor.pending).collect();
        if pending.is_empty() {
            return Ok(HashMap::new());
        }
        let attempts = self.store.attempt_list_by_id(&pending).await?;
        let by_executor = |attempt: Attempt| (attempt.executor, attempt);
        Ok(attempts.into_iter().map(by_executor).collect())
    }

    /// A fan-out names one release many times.
    async fn releases_desired(
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
    let message = format!("{} is deactivated; a person has to activate it before it may sync", executor.name);
    Refusal::new(Reason::ExecutorDeactivated, message).with("executor", &executor.name)
}
