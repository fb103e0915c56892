//! What the handlers share: fields from the wire, pages, errors, streams, and the views of `app` as messages.

use std::pin::Pin;
use std::sync::Arc;

use domain::OrganizationId;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use proto::convert;
use proto::convert::executor::{Presence, Surroundings};
use proto::v1;
use tonic::Status;

use crate::app::error::Error;
use crate::app::executor::View;
use crate::app::page::PageRequest;
use crate::app::{App, Settings};
use crate::grpc::error;
use crate::supervise::Supervisor;

/// A stream of answers.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What every API service stands on.
#[derive(Clone, Debug)]
pub struct Service {
    pub(super) app: Arc<App>,
    tasks: Supervisor,
}

// === impl Service ===

impl Service {
    /// Watches are tasks of `tasks`, and end as soon as it stops.
    #[must_use]
    pub const fn new(app: Arc<App>, tasks: Supervisor) -> Self {
        Self { app, tasks }
    }

    /// A watch on the wire: it ends with UNAVAILABLE when the server drains, so that its reader dials again and resumes.
    pub(super) fn watch<T, W>(
        &self,
        rows: BoxStream<'static, Result<T, Error>>,
        encode: impl Fn(T) -> W + Send + 'static,
    ) -> Answers<W>
    where
        T: 'static,
        W: Send + 'static,
    {
        let rows = rows.map(move |row| match row {
            Ok(row) => Ok(encode(row)),
            Err(failed) => Err(error::status(&failed)),
        });
        let farewell = error::unavailable("the server is going away; watch again from where you are");
        Box::pin(self.tasks.drive("watch", rows, Err(farewell)))
    }
}

/// A field that was converted, or what is wrong with it.
pub(crate) fn field<T>(converted: Result<T, convert::Error>) -> Result<T, Status> {
    converted.map_err(|wrong| match wrong.value.as_str() {
        "" => error::field(&wrong.field, wrong.rule),
        value => error::field(&wrong.field, format!("{value:?} {}", wrong.rule)),
    })
}

/// What a use case answered.
pub(crate) fn done<T>(answer: Result<T, Error>) -> Result<T, Status> {
    answer.map_err(|failed| error::status(&failed))
}

/// `organizations/{organization}`.
pub(super) fn organization(name: &'static str, value: &str) -> Result<OrganizationId, Status> {
    let refuse = |rule: String| field(Err(convert::Error::new(name, rule, value)));
    if value.is_empty() {
        return field(Err(convert::Error::missing(name)));
    }
    match value.strip_prefix("organizations/") {
        Some(id) => OrganizationId::new(id).or_else(|wrong| refuse(format!("is refused: {wrong}"))),
        None => refuse("is not of the form organizations/{organization}".to_owned()),
    }
}

/// The same, where empty means the installation.
pub(super) fn place(name: &'static str, value: &str) -> Result<Option<OrganizationId>, Status> {
    match value {
        "" => Ok(None),
        value => organization(name, value).map(Some),
    }
}

/// A page that was asked for.
pub(super) fn page(size: i32, token: &str) -> PageRequest {
    PageRequest { size, token: token.to_owned() }
}

/// An executor as the API shows it.
pub(super) fn executor(view: &View, settings: &Settings) -> v1::Executor {
    let around = Surroundings {
        presence: Presence { online: view.presence.online, last_seen: view.presence.last_seen },
        control_plane: &settings.server_version,
        pending: view.pending.as_ref().map(|(attempt, spec)| (attempt, spec.as_ref())),
    };
    convert::executor::executor(&view.executor, around)
}
