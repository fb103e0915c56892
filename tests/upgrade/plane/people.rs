//! What people ask of a control plane, and what they see.

use std::time::Duration;

use domain::attempt::request::Replace;
use domain::role::Demand;
use domain::{Attempt, Role, TokenId};
use server::app::caller::Caller;
use server::app::executor::View;
use server::app::upgrade::{Ask, Mode};
use store::Page;

use super::{Plane, executor_name, owner, release_id};
use crate::Result;

impl Plane {
    /// A person asks for an upgrade.
    pub(crate) async fn request(&self, name: &str, target: &str) -> Result<Attempt> {
        self.request_with(name, target, Replace::No, None).await
    }

    pub(crate) async fn request_with(
        &self,
        name: &str,
        target: &str,
        replace: Replace,
        ttl: Option<Duration>,
    ) -> Result<Attempt> {
        let ask = Ask {
            name: executor_name(name)?,
            target_version: target.parse()?,
            expected_version: None,
            ttl,
            replace,
            request_id: None,
            mode: Mode::Write,
        };
        Ok(self.app.upgrade_request(&owner(Demand::Deploy), &ask).await?.attempt)
    }

    pub(crate) async fn cancel(&self, attempt: &Attempt) -> std::result::Result<Attempt, server::app::error::Error> {
        self.app.upgrade_cancel(&owner(Demand::Deploy), &attempt.name()).await
    }

    pub(crate) async fn attempt(&self, attempt: &Attempt) -> Result<Attempt> {
        Ok(self.app.attempt_get(&owner(Demand::Look), &attempt.name()).await?.attempt)
    }

    pub(crate) async fn attempts(&self, name: &str) -> Result<Vec<Attempt>> {
        let uid = self.executor(name).await?.executor.uid;
        Ok(self.store.attempt_list(uid, Page { after: None, limit: 100 }).await?)
    }

    pub(crate) async fn nodes(&self, name: &str) -> Result<Vec<String>> {
        let uid = self.executor(name).await?.executor.uid;
        let nodes = self.store.node_list(uid, Page { after: None, limit: 100 }).await?;
        Ok(nodes.into_iter().map(|node| node.name).collect())
    }

    pub(crate) async fn executor(&self, name: &str) -> Result<View> {
        Ok(self.app.executor_get(&owner(Demand::Look), &executor_name(name)?).await?)
    }

    pub(crate) async fn deactivate(&self, name: &str) -> Result {
        self.app.executor_deactivate(&owner(Demand::Deploy), &executor_name(name)?).await?;
        Ok(())
    }

    pub(crate) async fn activate(&self, name: &str) -> Result {
        self.app.executor_activate(&owner(Demand::Deploy), &executor_name(name)?).await?;
        Ok(())
    }

    pub(crate) async fn delete(&self, name: &str) -> Result {
        self.app.executor_delete(&owner(Demand::Deploy), &executor_name(name)?).await?;
        Ok(())
    }

    pub(crate) async fn yank(&self, version: &str) -> Result {
        let caller = Caller { token: TokenId::new("publisher")?, role: Role::Publisher, demand: Demand::Publish };
        self.app.release_yank(&caller, &release_id(version)?, "by a test").await?;
        Ok(())
    }
}
