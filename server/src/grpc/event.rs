//! `EventService`.

use domain::Actor;
use proto::convert::field::to_timestamp;
use proto::v1;
use proto::v1::event_service_server::EventService;
use store::EventRow;
use tonic::{Request, Response, Status};

use crate::app::event::{EventFilter, Order};
use crate::app::names;
use crate::grpc::access;
use crate::grpc::wire::{Answers, Service, done, page, place};

#[tonic::async_trait]
impl EventService for Service {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let filter = EventFilter {
            organization: place("parent", &request.parent)?,
            after_sequence: request.after_sequence,
            kinds: request.types,
            target: request.target,
        };
        let order = if request.newest_first { Order::NewestFirst } else { Order::OldestFirst };
        let page = page(request.page_size, &request.page_token);
        let page = done(self.app.event_list(&caller, &filter, order, &page).await)?;
        let rows = page.listed.rows;
        let actors: Vec<Option<Actor>> = rows.iter().map(|row| names::actor(&row.actor)).collect();
        let asked = actors.iter().flatten().cloned();
        let names = done(self.app.names(&caller, filter.organization.as_ref(), asked).await)?;
        let event = |(row, actor): (EventRow, Option<Actor>)| v1::Event {
            actor_display_name: actor.map(|actor| names.of(&actor)).unwrap_or_default(),
            ..event(row)
        };
        Ok(Response::new(v1::ListEventsResponse {
            events: rows.into_iter().zip(actors).map(event).collect(),
            next_page_token: page.listed.next_page_token,
            watch_after_sequence: page.watch_after.unwrap_or_default(),
        }))
    }

    type WatchEventsStream = Answers<v1::WatchEventsResponse>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let parent = place("parent", &request.parent)?;
        let rows = self.app.event_watch(caller, parent, request.types, request.after_sequence);
        let encode = |row| v1::WatchEventsResponse { event: Some(event(row)) };
        Ok(Response::new(self.watch(done(rows.await)?, encode)))
    }
}

fn event(row: EventRow) -> v1::Event {
    v1::Event {
        sequence: row.sequence,
        r#type: row.kind,
        actor: row.actor,
        target: row.target,
        organization: row.organization.map(|id| format!("organizations/{id}")).unwrap_or_default(),
        time: Some(to_timestamp(row.time)),
        details: row.details.into_iter().collect(),
        actor_display_name: String::new(),
    }
}
