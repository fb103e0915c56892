//! What the page of an executor shows at one moment, as four answers of the API say it.

use std::time::SystemTime;

use domain::ExecutorName;
use proto::v1;
use proto::v1::executor::State;

use crate::web::client::Api;
use crate::web::error::PageError;
use crate::web::page::attempt::diagnosis::Diagnosis;
use crate::web::show;

use super::panel::Panel;
use super::short;

/// Attempts that are shown with the executor.
const RECENT: i32 = 6;

/// The moment.
#[derive(Debug)]
pub(super) struct Now {
    /// Its name.
    pub(super) name: ExecutorName,
    /// Its row.
    pub(super) executor: v1::Executor,
    /// Labels in order.
    pub(super) labels: Vec<(String, String)>,
    /// The Upgrade panel.
    pub(super) panel: Panel,
    /// What is on its way.
    pub(super) open: Option<v1::Attempt>,
    /// Why that does not go on, when it does not.
    pub(super) diagnosis: Option<Diagnosis>,
    /// The newest attempts.
    pub(super) attempts: Vec<v1::Attempt>,
    /// Whether there are more.
    pub(super) has_more: bool,
}

// === impl Now ===

impl Now {
    /// Asks the API.
    ///
    /// # Errors
    /// There is no such executor, or the reader may not look.
    pub(super) async fn read(api: &Api, name: &ExecutorName, now: SystemTime) -> Result<Self, PageError> {
        let text = || name.to_string();
        let (mut executors, mut upgrades) = (api.executors(), api.upgrades());
        let executor = executors.get_executor(v1::GetExecutorRequest { name: text() }).await?.into_inner();
        let targets = v1::ListUpgradeTargetsRequest { name: text() };
        let targets = upgrades.list_upgrade_targets(targets).await?.into_inner();
        let explained = upgrades.explain_upgrade(v1::ExplainUpgradeRequest { name: text() }).await?.into_inner();
        let list = v1::ListAttemptsRequest { parent: text(), page_size: RECENT, ..Default::default() };
        let listed = upgrades.list_attempts(list).await?.into_inner();
        let panel = Panel::new(targets, &executor.version, &explained.findings);
        let open = explained.attempt.clone().filter(|attempt| attempt.end_time.is_none());
        let diagnosis = open.as_ref().and_then(|open| Diagnosis::of(open, explained, now));
        let mut labels: Vec<(String, String)> = executor.labels.clone().into_iter().collect();
        labels.sort();
        Ok(Self {
            name: name.clone(),
            executor,
            labels,
            panel,
            open,
            diagnosis,
            attempts: listed.attempts,
            has_more: !listed.next_page_token.is_empty(),
        })
    }

    /// A sentence about it.
    pub(super) fn short(&self, message: &str) -> String {
        short(message, &self.name)
    }

    /// Whether it may sync.
    pub(super) fn is_active(&self) -> bool {
        self.executor.state() != State::Deactivated
    }

    /// Whether it is a Deployment, and not a binary.
    pub(super) fn is_operator(&self) -> bool {
        self.executor.kind() == v1::Kind::Operator
    }

    /// `stable`, `beta held down to stable by its host`.
    pub(super) fn channel(&self) -> String {
        let own = show::channel(self.executor.channel());
        match self.executor.channel_ceiling() {
            v1::Channel::Unspecified => own,
            ceiling => format!("{own} (its host accepts nothing wider than {})", show::channel(ceiling)),
        }
    }
}
