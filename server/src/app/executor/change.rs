//! What people change about an executor: channel and labels, activation, deletion, holds.

use std::collections::BTreeMap;

use domain::attempt::Input;
use domain::audit::EventKind;
use domain::executor::State;
use domain::{Attempt, Channel, ExecutorName, Version};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::commit::{Draft, Patience, cleared};
use crate::app::error::Error;
use crate::app::executor::View;

/// Most labels of one executor.
const LABELS_MAX: usize = 64;

/// Longest label key or value, in bytes: what Kubernetes allows for values.
const LABEL_MAX: usize = 63;

/// The fields to change; those that are not set stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Which releases it is shown.
    pub channel: Option<Channel>,
    /// All its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The revision that the caller has read, as its etag; another one by now is refused. Empty: not checked.
    pub etag: String,
}

#[derive(Clone, Copy, Debug)]
enum Change<'a> {
    Update(&'a Update),
    Deactivate,
    Activate,
    Delete,
    ClearHold(&'a Version),
}

impl App {
    /// Changes channel or labels.
    ///
    /// # Errors
    /// `NOT_FOUND`; bad fields.
    pub async fn executor_update(&self, caller: &Caller, name: &ExecutorName, update: &Update) -> Result<View, Error> {
        caller.authorize(Some(&name.organization))?;
        if let Some(labels) = &update.labels {
            check_labels(labels)?;
        }
        self.executor_changed(caller, name, Change::Update(update)).await
    }

    /// Ends its stream at once and refuses its certificate. An attempt without leave is cancelled.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn executor_deactivate(&self, caller: &Caller, name: &ExecutorName) -> Result<View, Error> {
        caller.authorize(Some(&name.organization))?;
        self.executor_changed(caller, name, Change::Deactivate).await
    }

    /// Lets it sync again; also the person's decision after a duel (rule 7).
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn executor_activate(&self, caller: &Caller, name: &ExecutorName) -> Result<View, Error> {
        caller.authorize(Some(&name.organization))?;
        self.executor_changed(caller, name, Change::Activate).await
    }

    /// Deletes it: its name is free, its certificates are refused for ever, its attempts stay.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn executor_delete(&self, caller: &Caller, name: &ExecutorName) -> Result<(), Error> {
        caller.authorize(Some(&name.organization))?;
        self.executor_write(caller, name, Change::Delete).await
    }

    /// Forgets that a version rolled back or was refused here.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such hold.
    pub async fn executor_clear_hold(
        &self,
        caller: &Caller,
        name: &ExecutorName,
        version: &Version,
    ) -> Result<View, Error> {
        caller.authorize(Some(&name.organization))?;
        self.executor_changed(caller, name, Change::ClearHold(version)).await
    }

    async fn executor_changed(&self, caller: &Caller, name: &ExecutorName, change: Change<'_>) -> Result<View, Error> {
        self.executor_write(caller, name, change).await?;
        let executor = self.executor_read(name).await?;
        self.executor_view(executor).await
    }

    async fn executor_write(&self, caller: &Caller, name: &ExecutorName, change: Change<'_>) -> Result<(), Error> {
        let mut patience = Patience::new();
        loop {
            let executor = self.executor_read(name).await?;
            let open = self.open_attempt(&executor).await?;
            let mut draft = self.draft(executor, caller.actor()).await?;
            self.change(&mut draft, open.as_ref(), change).await?;
            match self.write(draft).await {
                Err(error) if patience.again(&error).await => {}
                written => return written.map(|_| ()).map_err(Error::from),
            }
        }
    }

    async fn change(&self, draft: &mut Draft, open: Option<&Attempt>, change: Change<'_>) -> Result<(), Error> {
        match change {
            Change::Update(update) => update.carry_out(draft),
            Change::Deactivate => {
                if draft.executor().state == State::Deactivated {
                    return Ok(());
                }
                draft.executor_mut().state = State::Deactivated;
                draft.emit(EventKind::ExecutorDeactivated, Vec::new());
                self.tell(draft, open, &Input::Deactivate).await
            }
            Change::Activate => {
                activate(draft);
                Ok(())
            }
            Change::Delete => {
                let uid = draft.executor().uid.to_string();
                draft.delete();
                draft.emit(EventKind::ExecutorDeleted, vec![("uid", uid)]);
                self.tell(draft, open, &Input::Delete).await
            }
            Change::ClearHold(version) => clear_hold(draft, version),
        }
    }

    async fn tell(&self, draft: &mut Draft, open: Option<&Attempt>, input: &Input) -> Result<(), Error> {
        if let Some(attempt) = open {
            self.decide(draft, attempt, input).await?;
        }
        Ok(())
    }
}

// === impl Update ===

impl Update {
    fn carry_out(&self, draft: &mut Draft) -> Result<(), Error> {
        let current = draft.executor().revision.to_string();
        if !self.etag.is_empty() && self.etag != current {
            let rule = format!("the executor is at {current} by now; read it again and decide");
            return Err(Error::field("executor.etag", rule));
        }
        let mut details = Vec::new();
        let executor = draft.executor_mut();
        if let Some(channel) = self.channel.filter(|channel| *channel != executor.channel) {
            details.push(("channel", format!("{} -> {channel}", executor.channel)));
            executor.channel = channel;
        }
        if let Some(labels) = self.labels.as_ref().filter(|labels| **labels != executor.labels) {
            let shown: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            details.push(("labels", shown.join(" ")));
            executor.labels.clone_from(labels);
        }
        if !details.is_empty() {
            draft.emit(EventKind::ExecutorUpdated, details);
        }
        Ok(())
    }
}

fn activate(draft: &mut Draft) {
    let executor = draft.executor_mut();
    let was_duplicated = executor.duplicated_since.take().is_some();
    let was_deactivated = executor.state == State::Deactivated;
    executor.state = State::Active;
    if was_duplicated || was_deactivated {
        let details = vec![("was_duplicated", was_duplicated.to_string())];
        draft.emit(EventKind::ExecutorActivated, details);
    }
}

fn clear_hold(draft: &mut Draft, version: &Version) -> Result<(), Error> {
    let executor = draft.executor_mut();
    let Some(hold) = executor.hold_on(version) else {
        return Err(Error::not_found(format!("hold of {version} on {}", executor.name)));
    };
    let mut details = vec![("version", version.to_string())];
    details.extend(cleared(&executor.name, hold));
    executor.holds.retain(|hold| hold.version != *version);
    draft.emit(EventKind::HoldCleared, details);
    Ok(())
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Error> {
    if labels.len() > LABELS_MAX {
        let rule = format!("has {} entries; at most {LABELS_MAX} are kept", labels.len());
        return Err(Error::field("executor.labels", rule));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    // No spaces and no `=`: a label has to be sayable in a filter.
    let fits = |text: &str| text.len() <= LABEL_MAX && text.bytes().all(allowed);
    match labels.iter().find(|(key, value)| key.is_empty() || !fits(key) || !fits(value)) {
        None => Ok(()),
        Some((key, _)) => {
            let shown: String = key.chars().take(80).collect();
            let rule = format!(
                "{shown:?}: keys and values are at most {LABEL_MAX} of A-Z, a-z, 0-9, '.', '_', '-', '/', and a key is not empty"
            );
            Err(Error::field("executor.labels", rule))
        }
    }
}
