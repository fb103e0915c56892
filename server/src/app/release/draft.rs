//! Making a draft.

use domain::audit::EventKind;
use domain::release::{Release, Status};
use domain::{Channel, Event, ReleaseId, Revision};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;

/// Longest release notes, in bytes: they travel with every list of targets.
pub const NOTES_MAX: usize = 64 * 1024;

impl App {
    /// Makes a draft.
    ///
    /// # Errors
    /// `ALREADY_EXISTS`; a pre-release on stable; notes that are too long.
    pub async fn release_create(
        &self,
        caller: &Caller,
        id: &ReleaseId,
        channel: Channel,
        notes: &str,
    ) -> Result<Release, Error> {
        caller.authorize(None)?;
        if id.version.is_prerelease() && channel == Channel::Stable {
            let rule = format!("{} is a pre-release, and stable takes none; use beta or dev", id.version);
            return Err(Error::field("channel", rule));
        }
        if notes.len() > NOTES_MAX {
            let rule = format!("is {} bytes long; at most {NOTES_MAX} are kept", notes.len());
            return Err(Error::field("release_notes", rule));
        }
        let now = self.now().await?;
        let release = Release {
            id: id.clone(),
            revision: Revision::default(),
            channel,
            status: Status::Draft,
            notes: notes.to_owned(),
            floor: None,
            sequence: None,
            artifacts: Vec::new(),
            create_time: now,
            publish_time: None,
            yank_reason: None,
        };
        let event = Event {
            kind: EventKind::ReleaseCreated,
            actor: caller.actor(),
            target: id.resource_name(),
            organization: None,
            time: now,
            details: vec![("channel", channel.to_string())],
        };
        self.store.release_insert(&release, &[event]).await?;
        Ok(release)
    }
}
