//! Withdrawing a release: it is offered to nobody, and attempts without leave are cancelled (`RELEASE_YANKED`).

use domain::attempt::Input;
use domain::audit::EventKind;
use domain::release::{Release, Status};
use domain::{Actor, Event, Kind, Reason, Refusal, ReleaseId};
use store::Page;

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::commit::Patience;
use crate::app::error::Error;

/// Longest reason, in bytes.
const REASON_MAX: usize = 1_024;

/// Attempts cancelled at a time.
const SLICE: usize = 1_000;

impl App {
    /// Withdraws a published release. Doing it twice keeps the first reason, and sweeps again.
    ///
    /// # Errors
    /// `NOT_FOUND`, `RELEASE_NOT_PUBLISHED`; no reason given.
    pub async fn release_yank(&self, caller: &Caller, id: &ReleaseId, reason: &str) -> Result<Release, Error> {
        caller.authorize(None)?;
        if reason.trim().is_empty() || reason.len() > REASON_MAX {
            let rule = format!("is required, in at most {REASON_MAX} bytes: those who wait for the release are told");
            return Err(Error::field("reason", rule));
        }
        let mut patience = Patience::new();
        let release = loop {
            let mut release = self.release_read(id).await?;
            match release.status {
                Status::Yanked => break release,
                Status::Published => {}
                Status::Draft => {
                    let message = format!("release {id} is a draft, and offered to nobody");
                    return Err(Refusal::new(Reason::ReleaseNotPublished, message).into());
                }
            }
            release.status = Status::Yanked;
            release.yank_reason = Some(reason.to_owned());
            let event = Event {
                kind: EventKind::ReleaseYanked,
                actor: caller.actor(),
                target: id.resource_name(),
                organization: None,
                time: self.now().await?,
                details: vec![("reason", reason.to_owned())],
            };
            match self.store.release_commit(&release, &[event]).await {
                Err(error) if patience.again(&error).await => {}
                written => {
                    written?;
                    break release;
                }
            }
        };
        self.yank_sweep(id, &caller.actor()).await?;
        Ok(release)
    }

    /// Cancels what leads to a yanked release and has no leave. A sweep that was cut short is finished by the next, which the
    /// server's start brings ([`Self::yank_resume`]).
    async fn yank_sweep(&self, id: &ReleaseId, actor: &Actor) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = Page { after, limit: SLICE };
            let open = self.store.attempt_list_open_by_release(id, None, page).await?;
            for attempt in open.iter().filter(|attempt| !attempt.has_leave()) {
                self.attempt_tell(attempt.executor, attempt.id, &Input::Yank, actor.clone()).await?;
            }
            match open.last() {
                Some(last) if open.len() >= SLICE => after = Some(last.id),
                _ => return Ok(()),
            }
        }
    }

    /// Finishes the sweeps that an earlier process may have left.
    ///
    /// # Errors
    /// The store's.
    pub async fn yank_resume(&self) -> Result<(), Error> {
        for kind in [Kind::Agent, Kind::Operator] {
            let releases = self.store.release_list(kind).await?;
            for release in releases.iter().filter(|release| release.status == Status::Yanked) {
                self.yank_sweep(&release.id, &Actor::System("yank")).await?;
            }
        }
        Ok(())
    }
}
