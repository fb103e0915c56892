//! Nodes: the machines that an executor reports. Out of support, the question is refused (rule 14).

use domain::{Executor, ExecutorName, Reason, Refusal, Version};
use store::{NodeRecord, Page};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::page::{Listed, PageRequest};

/// Rows of a page when none are asked for.
const PAGE: usize = 100;

/// Refuses an executor that is more than one major behind the control plane.
pub(crate) fn check_support(executor: &Executor, control_plane: &Version) -> Result<(), Refusal> {
    let Some(running) = executor.version.as_ref().filter(|version| version.is_out_of_support(control_plane)) else {
        return Ok(());
    };
    let oldest = control_plane.major().saturating_sub(1);
    let message = format!(
        "{} runs {running}, more than one major behind the control plane's {control_plane}: its nodes are not shown; upgrade it to {oldest}.x or later, hop by hop",
        executor.name
    );
    Err(Refusal::new(Reason::OutOfSupport, message)
        .with("running_version", running)
        .with("server_version", control_plane)
        .with("oldest_supported_major", oldest))
}

impl App {
    /// A page of an executor's nodes, by name.
    ///
    /// # Errors
    /// `NOT_FOUND`, `OUT_OF_SUPPORT`; bad page fields.
    pub async fn node_list(
        &self,
        caller: &Caller,
        name: &ExecutorName,
        page: &PageRequest,
    ) -> Result<Listed<NodeRecord>, Error> {
        caller.authorize(Some(&name.organization))?;
        let executor = self.executor_read(name).await?;
        check_support(&executor, &self.settings.server_version)?;
        let cut = page.judge::<String>(format!("nodes of {}", executor.uid), PAGE)?;
        let page = Page { after: cut.after.clone(), limit: cut.one_more() };
        let rows = self.store.node_list(executor.uid, page).await?;
        Ok(cut.page(rows, |row| row.name.clone()))
    }
}
